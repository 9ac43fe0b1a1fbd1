package destination

import (
	"fmt"

	"github.com/tulle-mesh/tulle/destination/api"
	"github.com/tulle-mesh/tulle/destination/crd"
	"github.com/tulle-mesh/tulle/destination/policy"
	"github.com/tulle-mesh/tulle/destination/registry"
	"github.com/tulle-mesh/tulle/destination/status"
)

// rateLimitReport answers what a RateLimitPolicy's status should be, at each of its targets.
func (v *view) rateLimitReport(p *registry.Policy, body *crd.RateLimitPolicy) *status.Report {
	inUse := "the policy is in use"
	if body.Spec.DryRun {
		inUse = "the policy is in use, and refuses nothing, for it is a dry run"
	}
	var targets []status.Target
	for i := range body.Spec.TargetRefs {
		ref := &body.Spec.TargetRefs[i]
		targets = append(targets, status.Target{
			Ref: ancestorOf(ref.Target()), Refused: v.unlimited(p, ref), InUse: inUse,
			Standing: v.Standing(p.Ref()),
		})
	}
	return status.OfPolicy(p, targets)
}

// unlimited says why a policy is not in force at a target, or is nil: there must be a port where it
// is.
func (v *view) unlimited(p *registry.Policy, ref *crd.ServiceReference) *crd.Problem {
	if p.Problem != "" {
		return crd.Problemf(status.ReasonInvalid, "the policy is ignored: %s", p.Problem)
	}
	one := func() int { return 1 }
	if _, err := policy.RateLimits(p.Body.(*crd.RateLimitPolicy), one); err != nil {
		return crd.Problemf(status.ReasonInvalid, "the policy is ignored: %s", err)
	}
	return v.atSomePort(p, ref, "policy", func(front frontPort) *crd.Problem {
		return v.unlimitedAt(p, front)
	})
}

// atSomePort says why an object, which messages call a noun, is in force at none of the ports that
// a reference of its names, or is nil. At says it of one port.
func (v *view) atSomePort(
	p *registry.Policy, ref *crd.ServiceReference, noun string, at func(frontPort) *crd.Problem,
) *crd.Problem {
	name := registry.Name{Namespace: p.Namespace, Name: ref.Name}
	svc := v.Service(name)
	if svc == nil {
		return appliesToNothing(noun, fmt.Sprintf("there is no Service %s", name))
	}
	why := appliesToNothing(noun, fmt.Sprintf("Service %s has no such TCP port", name))
	for i := range svc.Ports {
		front := frontPort{svc, &svc.Ports[i]}
		if !covers(*ref, front) {
			continue
		}
		if why = at(front); why == nil {
			return nil
		}
	}
	return why
}

func (f frontPort) nothing(noun, why string) *crd.Problem {
	return appliesToNothing(noun, fmt.Sprintf("of port %d of Service %s: %s", f.port.Number,
		f.service.Key(), why))
}

func appliesToNothing(noun, why string) *crd.Problem {
	return crd.Problemf(status.ReasonTargetNotFound, "the %s applies to nothing: %s", noun, why)
}

func (v *view) unlimitedAt(p *registry.Policy, front frontPort) *crd.Problem {
	profile := v.profile(front.service, front.service.Namespace)
	if why := v.unread(front.service, front.port, profile); why != "" {
		return front.nothing("policy", why)
	}
	total := 0
	for _, other := range v.ratePolicies(front) {
		n := len(other.Body.(*crd.RateLimitPolicy).Spec.Limits)
		switch {
		case total+n > api.MaxRateLimits:
		case other.Ref() == p.Ref():
			return nil
		default:
			total += n
		}
	}
	return crd.Problemf(crd.ReasonConflicted,
		"port %d of Service %s has %d limits by policies whose names come before, and may have %d",
		front.port.Number, front.service.Key(), total, api.MaxRateLimits)
}
