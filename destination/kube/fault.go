package kube

import (
	"slices"

	"github.com/tulle-mesh/tulle/destination/crd"
	"github.com/tulle-mesh/tulle/destination/registry"
)

// convertFault also judges a fault, as convertRateLimit does a policy.
func convertFault(f *crd.FaultInjection) *registry.Policy {
	f.Default()
	body := &crd.FaultInjection{Spec: f.Spec}
	body.Namespace, body.Name = f.Namespace, f.Name
	out := &registry.Policy{
		Meta: convertMeta(f), Kind: crd.FaultInjectionKind, Generation: f.Generation,
		Body: body, Reported: registry.Status{Parents: ourAncestors(&f.Status)},
	}
	for _, ref := range f.Spec.TargetRefs {
		target := registry.Name{Namespace: f.Namespace, Name: ref.Name}
		if !slices.Contains(out.Targets, target) {
			out.Targets = append(out.Targets, target)
		}
	}
	if err := f.Validate().ToAggregate(); err != nil {
		out.Problem = err.Error()
	}
	return out
}
