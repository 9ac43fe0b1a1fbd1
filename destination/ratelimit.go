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
// are left out whole, the last by name, and their status says so.
func (v *view) rateLimits(fronts []frontPort) (out []*api.RateLimit) {
	for _, front := range fronts {
		for _, p := range v.ratePolicies(front) {
			limits, err := policy.RateLimits(p.Body.(*crd.RateLimitPolicy),
				func() int { return v.replicas(front) })
			if err != nil || len(out)+len(limits) > api.MaxRateLimits ||
				slices.Contains(v.used, p.Ref()) {
				continue
			}
			v.used = append(v.used, p.Ref())
			out = append(out, limits...)
		}
	}
	return out
}

// ratePolicies are the policies of a service's port, by name.
func (v *view) ratePolicies(front frontPort) (out []*registry.Policy) {
	all := v.PoliciesOn(front.service.Key(), crd.RateLimitPolicyKind)
	if len(all) == 0 {
		return nil
	}
	profile := v.profile(front.service, front.service.Namespace)
	if v.unread(front.service, front.port, profile) != "" {
		return nil
	}
	for _, p := range all {
		body, ok := p.Body.(*crd.RateLimitPolicy)
		if ok && p.Problem == "" && anyCovers(body.Spec.TargetRefs, front) {
			out = append(out, p)
		}
	}
	return out
}

// anyCovers says whether any of an object's references names a service's port.
func anyCovers(refs []crd.ServiceReference, front frontPort) bool {
	return slices.ContainsFunc(refs, func(r crd.ServiceReference) bool { return covers(r, front) })
}

func covers(r crd.ServiceReference, front frontPort) bool {
	return r.Name == front.service.Name &&
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
