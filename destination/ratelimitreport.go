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
	if _, err := policy.RateLimits(p.Body.(*crd.RateLimitPolicy), nil, one); err != nil {
		return crd.Problemf(status.ReasonInvalid, "the policy is ignored: %s", err)
	}
	at := func(front frontPort) *crd.Problem { return v.unlimitedAt(p, front) }
	if ref.IsRoute() {
		return v.atSomeParent(p, ref, at)
	}
	return v.atSomePort(p, ref, "policy", at)
}

// atSomeParent says why a policy is in force at none of the ports of Services that a route which it
// names is attached to, or is nil.
func (v *view) atSomeParent(
	p *registry.Policy, ref *crd.ServiceReference, at func(frontPort) *crd.Problem,
) *crd.Problem {
	name := registry.PolicyRef{Kind: ref.Kind,
		Name: registry.Name{Namespace: p.Namespace, Name: ref.Name}}
	route := v.Policy(name)
	if route == nil {
		return appliesToNothing("policy", fmt.Sprintf("there is no %s %s", ref.Kind, name.Name))
	}
	read, ok := policy.FromRoute(route.Body, route.Created, v.mesh.ClusterDomain)
	if ok && ref.SectionName != "" && !read.Has(ref.SectionName) {
		return appliesToNothing("policy", fmt.Sprintf("%s %s has no rule that is called %s",
			ref.Kind, name.Name, ref.SectionName))
	}
	why := appliesToNothing("policy", fmt.Sprintf("%s %s is attached to no Service of its own"+
		" namespace", ref.Kind, name.Name))
	for _, target := range route.Targets {
		svc := v.Service(target)
		for i := 0; svc != nil && svc.Namespace == p.Namespace && i < len(svc.Ports); i++ {
			if why = at(frontPort{svc, &svc.Ports[i]}); why == nil {
				return nil
			}
		}
	}
	return why
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
	for _, other := range v.limiters(front) {
		n := len(other.body.Spec.Limits)
		fits := total+n <= api.MaxRateLimits
		switch {
		case other.policy.Ref() == p.Ref() && fits:
			return nil
		case other.policy.Ref() == p.Ref():
			return crd.Problemf(crd.ReasonConflicted, "port %d of Service %s has %d limits by"+
				" policies whose names come before, and may have %d",
				front.port.Number, front.service.Key(), total, api.MaxRateLimits)
		case fits:
			total += n
		}
	}
	return front.nothing("policy", "no rule that the policy names is in use there")
}
