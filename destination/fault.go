package destination

import (
	"github.com/tulle-mesh/tulle/destination/api"
	"github.com/tulle-mesh/tulle/destination/crd"
	"github.com/tulle-mesh/tulle/destination/policy"
	"github.com/tulle-mesh/tulle/destination/registry"
	"github.com/tulle-mesh/tulle/destination/status"
)

// harmed is a policy and the faults that are about a service's port, for callers in a namespace.
// Where proxies see no HTTP there are none.
func (v *view) harmed(p *policy.Policy, front frontPort, namespace string) *policy.Policy {
	var faults []*api.Fault
	var origin policy.Origin
	all := v.PoliciesOn(front.service.Key(), crd.FaultInjectionKind)
	if len(all) == 0 || v.noHTTP(front.service, front.port, p) != "" {
		return p
	}
	for _, o := range all {
		body, ok := o.Body.(*crd.FaultInjection)
		if !ok || o.Problem != "" || !anyCovers(body.Spec.TargetRefs, front) {
			continue
		}
		fault, err := policy.FromFaultInjection(body, namespace, v.mesh.TrustDomain.Name())
		if err != nil || fault == nil {
			continue
		}
		v.used = append(v.used, o.Ref())
		faults = append(faults, fault)
		origin = policy.Origin{
			Group: crd.Group, Kind: o.Kind, Namespace: o.Namespace, Name: o.Name,
		}
	}
	return p.Harm(faults, origin)
}

// faultReport answers what a FaultInjection's status should be, at each of its targets.
func (v *view) faultReport(p *registry.Policy, body *crd.FaultInjection) *status.Report {
	inUse := "requests are harmed until " + body.Spec.Until.UTC().Format(faultTime)
	var targets []status.Target
	for i := range body.Spec.TargetRefs {
		ref := &body.Spec.TargetRefs[i]
		targets = append(targets, status.Target{
			Ref: ancestorOf(ref.Target()), Refused: v.unharmed(p, ref), InUse: inUse,
			Standing: v.Standing(p.Ref()),
		})
	}
	return status.OfPolicy(p, targets)
}

const faultTime = "2006-01-02 15:04:05 MST"

// unharmed says why a fault does nothing at a target, or is nil: there must be a port where it
// does.
func (v *view) unharmed(p *registry.Policy, ref *crd.ServiceReference) *crd.Problem {
	if p.Problem != "" {
		return crd.Problemf(status.ReasonInvalid, "the fault is ignored: %s", p.Problem)
	}
	_, err := policy.FromFaultInjection(p.Body.(*crd.FaultInjection), p.Namespace, "")
	if err != nil {
		return crd.Problemf(status.ReasonInvalid, "the fault is ignored: %s", err)
	}
	return v.atSomePort(p, ref, "fault", func(front frontPort) *crd.Problem {
		all := v.policy(front.service, front.port, front.service.Namespace)
		if why := v.noHTTP(front.service, front.port, all); why != "" {
			return front.nothing("fault", why)
		}
		return nil
	})
}
