package kube

import (
	"github.com/tulle-mesh/tulle/destination/crd"
	"github.com/tulle-mesh/tulle/destination/registry"
)

// convertRateLimit also judges a policy.
func convertRateLimit(p *crd.RateLimitPolicy) *registry.Policy {
	p.Default()
	body := &crd.RateLimitPolicy{Spec: p.Spec}
	body.Namespace, body.Name = p.Namespace, p.Name
	out := &registry.Policy{Kind: crd.RateLimitPolicyKind, Body: body}
	for _, ref := range p.Spec.TargetRefs {
		addTarget(out, p.Namespace, ref.Name)
	}
	return judge(out, p, &p.Status)
}
