package kube

import (
	"github.com/tulle-mesh/tulle/destination/crd"
	"github.com/tulle-mesh/tulle/destination/registry"
)

// convertFault also judges a fault.
func convertFault(f *crd.FaultInjection) *registry.Policy {
	f.Default()
	body := &crd.FaultInjection{ObjectMeta: named(f), Spec: f.Spec}
	out := &registry.Policy{Kind: crd.FaultInjectionKind, Body: body}
	for _, ref := range f.Spec.TargetRefs {
		addTarget(out, f.Namespace, ref.Name)
	}
	return judge(out, f, &f.Status)
}
