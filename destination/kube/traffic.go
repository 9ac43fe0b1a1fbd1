package kube

import (
	"slices"

	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/tulle-mesh/tulle/destination/crd"
	"github.com/tulle-mesh/tulle/destination/registry"
	"github.com/tulle-mesh/tulle/identity/names"
)

// convertTraffic also judges a policy: one that the API server took before it had the present rules
// may break them.
func convertTraffic(p *crd.BackendTrafficPolicy) *registry.Policy {
	p.Default()
	body := &crd.BackendTrafficPolicy{Spec: p.Spec}
	body.Namespace, body.Name = p.Namespace, p.Name
	out := &registry.Policy{
		Meta: convertMeta(p), Kind: crd.BackendTrafficPolicyKind, Generation: p.Generation,
		Body: body, Reported: registry.Status{Parents: ourAncestors(&p.Status)},
	}
	for i := range p.Spec.TargetRefs {
		ns, name := p.Spec.TargetRefs[i].Service(p.Namespace)
		if target := (registry.Name{Namespace: ns, Name: name}); !slices.Contains(
			out.Targets, target) {
			out.Targets = append(out.Targets, target)
		}
	}
	if err := p.Validate().ToAggregate(); err != nil {
		out.Problem = err.Error()
	}
	return out
}

// ourAncestors is what the mesh says of a policy already. What others say is theirs, and changes
// without our noticing.
func ourAncestors(status *gatewayv1.PolicyStatus) (out []gatewayv1.RouteParentStatus) {
	for _, a := range status.Ancestors {
		if a.ControllerName == names.GatewayController {
			out = append(out, gatewayv1.RouteParentStatus{
				ParentRef: a.AncestorRef, ControllerName: a.ControllerName,
				Conditions: a.Conditions,
			})
		}
	}
	return out
}
