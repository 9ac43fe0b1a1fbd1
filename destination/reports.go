package destination

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/tulle-mesh/tulle/destination/crd"
	"github.com/tulle-mesh/tulle/destination/policy"
	"github.com/tulle-mesh/tulle/destination/registry"
	"github.com/tulle-mesh/tulle/destination/status"
)

// report answers what a policy's status should be; nil if there is no such policy.
func (v *view) report(ref registry.PolicyRef) *status.Report {
	policy := v.Policy(ref)
	if policy == nil {
		return nil
	}
	facts := status.Facts{}
	if profile, ok := policy.Body.(*crd.ServiceProfile); ok {
		facts = v.profileFacts(profile)
	}
	return status.Of(policy, facts)
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
	for _, b := range policy.FromServiceProfile(profile, time.Time{}).Default {
		if svc != nil && !v.leadsSomewhere(b, svc) {
			facts.Missing = append(facts.Missing, b.String())
		}
	}
	return facts
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
	w := newWatcher()
	list := d.hub.watch(question{policies: true}, w)
	cells := map[registry.PolicyRef]*cell{}
	last := map[registry.PolicyRef]*status.Report{}
	defer func() {
		d.hub.release(list, w)
		for _, c := range cells {
			d.hub.release(c, w)
		}
	}()
	w.notify()
	for {
		select {
		case <-ctx.Done():
			return
		case <-w.wake:
		}
		d.followPolicies(list.answer.Load().policies, cells, w)
		for ref, c := range cells {
			report := c.answer.Load().report
			if report != nil && !report.Equal(last[ref]) {
				set(report)
			}
			last[ref] = report
		}
	}
}

// followPolicies watches the reports of these policies, and of no other.
func (d *Destination) followPolicies(
	refs []registry.PolicyRef, cells map[registry.PolicyRef]*cell, w *watcher,
) {
	there := map[registry.PolicyRef]bool{}
	for _, ref := range refs {
		there[ref] = true
		if cells[ref] == nil {
			cells[ref] = d.hub.watch(question{report: ref}, w)
		}
	}
	for ref, c := range cells {
		if !there[ref] {
			d.hub.release(c, w)
			delete(cells, ref)
		}
	}
}
