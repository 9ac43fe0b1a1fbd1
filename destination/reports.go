package destination

import (
	"context"
	"fmt"
	"slices"
	"time"

	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/tulle-mesh/tulle/destination/crd"
	"github.com/tulle-mesh/tulle/destination/policy"
	"github.com/tulle-mesh/tulle/destination/registry"
	"github.com/tulle-mesh/tulle/destination/status"
)

// report answers what a policy's status should be; nil if there is no such policy.
func (v *view) report(ref registry.PolicyRef) *status.Report {
	p := v.Policy(ref)
	if p == nil {
		return nil
	}
	facts := status.Facts{}
	switch body := p.Body.(type) {
	case *crd.ServiceProfile:
		facts = v.profileFacts(body)
		facts.Standing = v.Standing(ref)
	case *crd.BackendTrafficPolicy:
		return v.trafficReport(p, body)
	case *crd.RateLimitPolicy:
		return v.rateLimitReport(p, body)
	case *crd.FaultInjection:
		return v.faultReport(p, body)
	case *crd.TelemetryPolicy:
		return v.telemetryReport(p, body)
	case *gatewayv1.BackendTLSPolicy:
		return v.backendTLSReport(p, body)
	case *crd.ServiceLevelObjective:
		return v.objectiveReport(p, body)
	}
	if route, ok := policy.FromRoute(p.Body, p.Created, v.mesh.ClusterDomain); ok {
		return v.routeReport(p, route)
	}
	if ref.Kind != crd.Kind {
		return nil // it cannot be read: of which parents or targets to say so is not known
	}
	return status.Of(p, facts)
}

func (v *view) profileFacts(profile *crd.ServiceProfile) status.Facts {
	facts := status.Facts{
		NoTarget: v.noTarget(profile.Name),
		Counts:   map[string]int32{"routes": int32(len(profile.Spec.Routes)), "retryable": 0},
	}
	for i := range profile.Spec.Routes {
		if profile.Spec.Routes[i].IsRetryable {
			facts.Counts["retryable"]++
		}
	}
	svc, _ := v.lookup(profile.Name)
	if facts.NoTarget == "" {
		facts.Beaten = v.beaten(svc, profile.Namespace)
		facts.Outbid = v.outbid(svc, profile)
	}
	for _, b := range policy.FromServiceProfile(profile, time.Time{}).Default {
		if svc != nil && !v.leadsSomewhere(b, svc) {
			facts.Missing = append(facts.Missing, b.String())
		}
	}
	return facts
}

// beaten says at which of a service's ports callers in a namespace go by routes of the Gateway API
// in place of a profile's, and by whose.
func (v *view) beaten(svc *registry.Service, namespace string) (out []string) {
	for i := range svc.Ports {
		p := v.policy(svc, &svc.Ports[i], namespace)
		if p == nil || len(p.Rules) == 0 || p.Rules[0].Origin.Kind == crd.Kind {
			continue
		}
		o := p.Rules[0].Origin
		out = append(out, fmt.Sprintf("port %d has those of %s %s/%s",
			svc.Ports[i].Number, o.Kind, o.Namespace, o.Name))
	}
	return out
}

// outbid says at which of a service's ports callers in a profile's namespace go by the retry budget
// of a BackendTrafficPolicy in place of the profile's, and by whose.
func (v *view) outbid(svc *registry.Service, profile *crd.ServiceProfile) (out []string) {
	if profile.Spec.RetryBudget == nil {
		return nil
	}
	for i := range svc.Ports {
		use := v.use(svc, &svc.Ports[i], profile.Namespace)
		if use.RetryBudget() == nil {
			continue
		}
		o := use.Budgeter
		out = append(out, fmt.Sprintf("port %d has that of %s %s/%s",
			svc.Ports[i].Number, o.Kind, o.Namespace, o.Name))
	}
	return out
}

// leadsSomewhere says whether there is such a backend for some port of a service: without a port of
// its own it has the caller's.
func (v *view) leadsSomewhere(b policy.Backend, svc *registry.Service) bool {
	return slices.ContainsFunc(svc.Ports, func(p registry.ServicePort) bool {
		ref := v.backendRef(b, svc.Namespace, p.Number)
		return ref.unknown == "" && (!ref.addr.IsValid() || v.WorkloadAt(ref.addr.Addr()) != nil)
	})
}

// noTarget says why a profile of that name applies to nothing, or "".
func (v *view) noTarget(name string) string {
	svc, _ := v.lookup(name)
	switch {
	case svc != nil && svc.External:
		return fmt.Sprintf("service %s stands for %s: name the profile after that", svc.Key(),
			svc.Alias)
	case svc != nil && v.mesh.host(svc.Key()) == name:
		return ""
	case svc != nil:
		return "it is named after one pod: name it after the service, " + v.mesh.host(svc.Key())
	case !v.inZone(name):
		return fmt.Sprintf("%q is not a service's full DNS name, such as web.shop.svc.%s",
			name, v.mesh.ClusterDomain)
	}
	return fmt.Sprintf("no service is called %s", name)
}

// writeStatus begins once the source has been read: until then nothing is there by what we know.
func (d *Destination) writeStatus(ctx context.Context) error {
	if d.cfg.Status == nil {
		return nil
	}
	select {
	case <-d.synced:
		return d.cfg.Status.Run(ctx, d.watchReports)
	case <-ctx.Done():
		return nil
	}
}

// watchReports tells set of each policy's report, and of each change of one, until the context
// ends.
func (d *Destination) watchReports(ctx context.Context, set func(*status.Report)) {
	f := reportFollower{
		hub: d.hub, watcher: newWatcher(), set: set,
		cells: map[registry.PolicyRef]*cell{}, told: map[*cell]*status.Report{},
	}
	f.list = f.hub.watch(question{policies: true}, f.watcher)
	defer f.release()
	f.follow()
	for {
		select {
		case <-ctx.Done():
			return
		case <-f.watcher.wake:
		}
		for c := range f.watcher.take() {
			if c == f.list {
				f.follow()
			} else if f.cells[c.question.report] == c {
				f.tell(c)
			}
		}
	}
}

// reportFollower watches the reports of the policies that there are.
type reportFollower struct {
	hub     *hub
	watcher *watcher
	set     func(*status.Report)
	list    *cell // which policies there are
	cells   map[registry.PolicyRef]*cell
	told    map[*cell]*status.Report
}

// follow watches the reports of the policies that came, and no longer those of the ones that went.
func (f *reportFollower) follow() {
	there := map[registry.PolicyRef]bool{}
	for _, ref := range f.list.answer.Load().policies {
		there[ref] = true
		if f.cells[ref] == nil {
			f.cells[ref] = f.hub.watch(question{report: ref}, f.watcher)
			f.tell(f.cells[ref])
		}
	}
	for ref, c := range f.cells {
		if !there[ref] {
			f.hub.release(c, f.watcher)
			delete(f.cells, ref)
			delete(f.told, c)
		}
	}
}

// tell passes on a report that says something else than the last one.
func (f *reportFollower) tell(c *cell) {
	report := c.answer.Load().report
	if report != nil && !report.Equal(f.told[c]) {
		f.set(report)
	}
	f.told[c] = report
}

func (f *reportFollower) release() {
	f.hub.release(f.list, f.watcher)
	for _, c := range f.cells {
		f.hub.release(c, f.watcher)
	}
}
