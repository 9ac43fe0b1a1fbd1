package destination

import (
	"cmp"
	"slices"

	"github.com/tulle-mesh/tulle/destination/api"
	"github.com/tulle-mesh/tulle/destination/crd"
	"github.com/tulle-mesh/tulle/destination/policy"
	"github.com/tulle-mesh/tulle/destination/registry"
)

// rateLimits are those of the services' ports that lead to a workload's port. One policy counts
// once, however many of them it is about. Proxies take no more than so many: policies beyond that
// are left out whole, the last by name, and their status says so. Of some limits the pods lend each
// other what they do not need.
func (v *view) rateLimits(fronts []frontPort) (out []*api.RateLimit, lent []*api.Lending) {
	for _, front := range fronts {
		for _, l := range v.limiters(front) {
			limits, err := policy.RateLimits(l.body, l.within,
				func() int { return v.replicas(front) })
			if err != nil || len(out)+len(limits) > api.MaxRateLimits ||
				slices.Contains(v.used, l.policy.Ref()) {
				continue
			}
			v.used = append(v.used, l.policy.Ref())
			for i, m := range limits {
				if l.isLent(i) && m.Requests > 1 && v.replicas(front) > 1 {
					lent = append(lent,
						&api.Lending{Limit: uint32(len(out)), Pool: poolOf(m, front)})
				}
				out = append(out, m)
			}
		}
	}
	return out, lent
}

// isLent says whether pods lend each other shares of a limit: it has one bucket in each of them. Of
// one with many nobody knows how many requests each will need.
func (l *limiter) isLent(i int) bool {
	limit := &l.body.Spec.Limits[i]
	return limit.Mode == crd.RateShared && len(limit.By) == 0 && !l.body.Spec.DryRun
}

// limiter is a policy about a service's port.
type limiter struct {
	policy *registry.Policy
	body   *crd.RateLimitPolicy
	within *api.Match // which of the port's requests; nil: all
}

// limiters are the policies of a service's port, by name. Where proxies do not read what it carries
// there are none.
func (v *view) limiters(front frontPort) (out []limiter) {
	all := v.limiting(front.service)
	if len(all) == 0 {
		return nil
	}
	profile := v.profile(front.service, front.service.Namespace)
	if v.unread(front.service, front.port, profile) != "" {
		return nil
	}
	for _, p := range all {
		body, ok := p.Body.(*crd.RateLimitPolicy)
		if !ok || p.Problem != "" {
			continue
		}
		l := limiter{policy: p, body: body}
		if !anyCovers(body.Spec.TargetRefs, front) {
			rules := v.policy(front.service, front.port, front.service.Namespace)
			if l.within, ok = rules.Within(namedBy(body)); !ok {
				continue
			}
		}
		out = append(out, l)
	}
	return out
}

// limiting are the policies that name a service, or a route of its own namespace that is attached
// to it, by name. A route of another namespace is about the calls from there, and not about pods.
func (v *view) limiting(svc *registry.Service) []*registry.Policy {
	out := v.PoliciesOn(svc.Key(), crd.RateLimitPolicyKind)
	for _, route := range v.PoliciesOn(svc.Key(), crd.HTTPRoute, crd.GRPCRoute) {
		if route.Namespace == svc.Namespace {
			out = append(out, v.PoliciesOn(route.Ref().Target(), crd.RateLimitPolicyKind)...)
		}
	}
	slices.SortFunc(out, func(a, b *registry.Policy) int { return cmp.Compare(a.Name, b.Name) })
	return slices.Compact(out)
}

// namedBy says which rules a policy is about.
func namedBy(p *crd.RateLimitPolicy) func(*policy.OriginRule) bool {
	return func(r *policy.OriginRule) bool {
		return slices.ContainsFunc(p.Spec.TargetRefs, func(ref crd.ServiceReference) bool {
			return ref.IsRoute() && ref.Kind == r.Origin.Kind && ref.Name == r.Origin.Name &&
				p.Namespace == r.Origin.Namespace &&
				(ref.SectionName == "" || ref.SectionName == r.Name)
		})
	}
}

// anyCovers says whether any of an object's references names a service's port.
func anyCovers(refs []crd.ServiceReference, front frontPort) bool {
	return slices.ContainsFunc(refs, func(r crd.ServiceReference) bool { return covers(r, front) })
}

func covers(r crd.ServiceReference, front frontPort) bool {
	return !r.IsRoute() && r.Name == front.service.Name &&
		(r.SectionName == "" || r.SectionName == front.port.Name)
}

// replicas counts the workloads behind a service's port that are ready. One that has an address of
// each family is one.
func (v *view) replicas(front frontPort) int {
	ready := map[string]bool{}
	for _, slice := range v.Slices(front.service.Key()) {
		if _, ok := slice.Port(front.port.Name); !ok {
			continue
		}
		for i := range slice.Endpoints {
			if ep := &slice.Endpoints[i]; ep.Ready && !ep.Terminating {
				ready[cmp.Or(ep.Workload.Name, ep.Address.String())] = true
			}
		}
	}
	return len(ready)
}
