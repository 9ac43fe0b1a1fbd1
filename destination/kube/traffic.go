package kube

import (
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/tulle-mesh/tulle/destination/crd"
	"github.com/tulle-mesh/tulle/destination/registry"
	"github.com/tulle-mesh/tulle/identity/names"
)

// convertTraffic also judges a policy.
func convertTraffic(p *crd.BackendTrafficPolicy) *registry.Policy {
	p.Default()
	body := &crd.BackendTrafficPolicy{ObjectMeta: named(p), Spec: p.Spec}
	out := &registry.Policy{Kind: crd.BackendTrafficPolicyKind, Body: body}
	for i := range p.Spec.TargetRefs {
		ns, name := p.Spec.TargetRefs[i].Service(p.Namespace)
		addTarget(out, ns, name)
	}
	return judge(out, p, &p.Status)
}

// convertBackendTLS keeps what a policy is about, for what it says is not obeyed.
func convertBackendTLS(p *gatewayv1.BackendTLSPolicy) *registry.Policy {
	body := &gatewayv1.BackendTLSPolicy{ObjectMeta: named(p)}
	body.Spec.TargetRefs = p.Spec.TargetRefs
	out := &registry.Policy{Meta: convertMeta(p), Kind: crd.BackendTLSPolicy, Body: body,
		Generation: p.GetGeneration()}
	for i := range p.Spec.TargetRefs {
		if ref := &p.Spec.TargetRefs[i]; crd.TargetsService(ref) {
			addTarget(out, p.Namespace, string(ref.Name))
		}
	}
	out.Reported.Parents = ourAncestors(&p.Status)
	return out
}

// named is what is kept of the metadata of a policy's body: its own name, for messages.
func named(o metav1.Object) metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: o.GetNamespace(), Name: o.GetName()}
}

// addTarget makes a Service one of those that a policy is about, once.
func addTarget(p *registry.Policy, namespace, name string) {
	target := registry.Name{Namespace: namespace, Name: name}
	if !slices.Contains(p.Targets, target) {
		p.Targets = append(p.Targets, target)
	}
}

// judged is a policy of ours that is attached by reference.
type judged interface {
	metav1.Object
	Validate() field.ErrorList
}

// judge completes what is kept of a policy: what the mesh has said of it, and what is wrong with
// it. One that the API server took before it had the present rules may break them.
func judge(
	out *registry.Policy, p judged, status *gatewayv1.PolicyStatus,
) *registry.Policy {
	out.Meta, out.Generation = convertMeta(p), p.GetGeneration()
	out.Reported.Parents = ourAncestors(status)
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
