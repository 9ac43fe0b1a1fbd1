package kube

import (
	"slices"

	"github.com/tulle-mesh/tulle/destination/crd"
	"github.com/tulle-mesh/tulle/destination/registry"
)

// convertRateLimit also judges a policy: one that the API server took before it had the present
// rules may break them.
func convertRateLimit(p *crd.RateLimitPolicy) *registry.Policy {
	p.Default()
	body := &crd.RateLimitPolicy{Spec: p.Spec}
	body.Namespace, body.Name = p.Namespace, p.Name
	out := &registry.Policy{
		Meta: convertMeta(p), Kind: crd.RateLimitPolicyKind, Generation: p.Generation,
		Body: body, Reported: registry.Status{Parents: ourAncestors(&p.Status)},
	}
	for _, ref := range p.Spec.TargetRefs {
		target := registry.Name{Namespace: p.Namespace, Name: ref.Name}
		if !slices.Contains(out.Targets, target) {
			out.Targets = append(out.Targets, target)
		}
	}
	if err := p.Validate().ToAggregate(); err != nil {
		out.Problem = err.Error()
	}
	return out
}
