package kube

import (
	"github.com/tulle-mesh/tulle/destination/crd"
	"github.com/tulle-mesh/tulle/destination/registry"
)

// convertRateLimit also judges a policy.
func convertRateLimit(p *crd.RateLimitPolicy) *registry.Policy {
	p.Default()
	body := &crd.RateLimitPolicy{ObjectMeta: named(p), Spec: p.Spec}
	out := &registry.Policy{Kind: crd.RateLimitPolicyKind, Body: body}
	for _, ref := range p.Spec.TargetRefs {
		target := registry.Name{Namespace: p.Namespace, Name: ref.Name}
		if ref.IsRoute() {
			target = registry.PolicyRef{Kind: ref.Kind, Name: target}.Target()
		}
		addTarget(out, target.Namespace, target.Name)
	}
	return judge(out, p, &p.Status)
}
