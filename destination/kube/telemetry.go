package kube

import (
	"github.com/tulle-mesh/tulle/destination/crd"
	"github.com/tulle-mesh/tulle/destination/registry"
)

// convertTelemetry also judges a policy. One that names another Namespace than its own is about
// nothing.
func convertTelemetry(p *crd.TelemetryPolicy) *registry.Policy {
	p.Default()
	body := &crd.TelemetryPolicy{ObjectMeta: named(p), Spec: p.Spec}
	out := &registry.Policy{Kind: crd.TelemetryPolicyKind, Body: body}
	for _, ref := range p.Spec.TargetRefs {
		if ref.Name == p.Namespace {
			addTarget(out, p.Namespace, "")
		}
	}
	return judge(out, p, &p.Status)
}
