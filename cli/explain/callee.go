package explain

import (
	"fmt"
	"strings"

	"github.com/tulle-mesh/tulle/destination"
	"github.com/tulle-mesh/tulle/destination/api"
	"github.com/tulle-mesh/tulle/destination/crd"
	"github.com/tulle-mesh/tulle/destination/policy"
	"github.com/tulle-mesh/tulle/destination/registry"
	"github.com/tulle-mesh/tulle/proxy/authorize"
	"github.com/tulle-mesh/tulle/proxy/discover"
	"github.com/tulle-mesh/tulle/proxy/metric"
	"github.com/tulle-mesh/tulle/proxy/outcome"
)

// callee is the last part of the way: what the proxy of one of these endpoints, which are alike,
// makes of the request.
func (e *explainer) callee(like []*api.Endpoint) error {
	e.secured(like)
	ep := like[0]
	if ep.GetMeshAddress() == "" {
		return nil
	}
	pod := registry.Name{Namespace: ep.GetWorkload().GetNamespace(),
		Name: ep.GetWorkload().GetPod()}
	told, err := e.Inbound(pod, ep.GetTargetPort())
	if err != nil {
		return fmt.Errorf("ask what the proxy of pod %s is told: %w", pod, err)
	}
	m := newModel()
	port := m.Port(uint16(ep.GetTargetPort()))
	m.hear(told, &api.Key{Key: &api.Key_InboundPort{InboundPort: ep.GetTargetPort()}})
	if e.admitted(port, told, ep) {
		e.limited(port.Now(), told)
	}
	return nil
}

// admitted asks whether the application may be reached.
func (e *explainer) admitted(port *discover.Port, told *Told, ep *api.Endpoint) bool {
	who := authorize.Caller{ID: e.from.Identity, Security: metric.MTLS, Chose: chosen(ep)}
	if !e.from.Meshed {
		who = authorize.Caller{Security: metric.PlaintextUnmeshed}
	}
	s := Step{Stage: StageAuthorization, By: told.decided(destination.AboutMode)}
	if refusal := port.Verdict(who); refusal != nil {
		s.Says = workloadText(ep) + " refuses it: " + refusal.Reason
		next := "declare the port in the pod's containerPorts or in a Service in front of it"
		if who.ID == "" {
			next = "give the caller a proxy (meshctl inject), or let callers without one in: " +
				"tulle.dev/mode: permissive"
		}
		e.fail(s, outcome.Denied, refusal.Status, next)
		return false
	}
	s.Says = workloadText(ep) + " takes callers of the mesh, and those without an identity"
	if told.inbound().GetMode() == api.Mode_MODE_STRICT {
		s.Says = workloadText(ep) + " takes callers of the mesh only"
	}
	e.path.Steps = append(e.path.Steps, s)
	return true
}

// limited says what bounds the requests that are let in.
func (e *explainer) limited(a *discover.PortAnswer, told *Told) {
	in := told.inbound()
	if e.Request.Method != "" {
		for _, i := range a.Limits.Matching(e.head) {
			l := in.GetRateLimits()[i]
			o := l.GetOrigin()
			says := fmt.Sprintf("at most %d requests in %s for each pod%s", l.GetRequests(),
				millis(l.GetWindowMs()), rateKeyWords(l.GetKeys()))
			if l.GetDryRun() {
				says += "; it is a dry run, and nothing is refused"
			}
			e.say(StageRateLimits, says, Object{o.GetKind(), o.GetNamespace(), o.GetName(),
				"spec.limits[name=" + o.GetRule() + "]"})
		}
	}
	if c := in.GetConcurrency(); c != nil {
		e.say(StageConcurrency, "its proxy lets in only as many requests at a time as the "+
			"application takes without becoming slower",
			told.users(crd.BackendTrafficPolicyKind, policy.FieldConcurrency, "")...)
	}
}

func rateKeyWords(keys []*api.RateKey) string {
	var all []string
	for _, k := range keys {
		switch k := k.GetKey().(type) {
		case *api.RateKey_Identity:
			all = append(all, "caller")
		case *api.RateKey_Header:
			all = append(all, "value of header "+k.Header)
		case *api.RateKey_Path:
			all = append(all, "path")
		}
	}
	if len(all) == 0 {
		return ""
	}
	return " and " + strings.Join(all, ", ")
}
