package kube

import (
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/tulle-mesh/tulle/destination/crd"
	"github.com/tulle-mesh/tulle/destination/registry"
	"github.com/tulle-mesh/tulle/identity/names"
)

// Routes of the Gateway API are kept as they are, but for what is not ours to read. What cannot be
// obeyed in them is found out where they are read: it concerns a rule, and not the route.

func convertHTTPRoute(r *gatewayv1.HTTPRoute) *registry.Policy {
	out := routePolicy(crd.HTTPRoute, r, &r.Spec.CommonRouteSpec, &r.Status.RouteStatus)
	out.Body = &gatewayv1.HTTPRoute{ObjectMeta: named(r), Spec: r.Spec}
	for i := range r.Spec.Rules {
		for _, f := range r.Spec.Rules[i].Filters {
			addUse(out, f.ExtensionRef)
		}
	}
	return out
}

func convertGRPCRoute(r *gatewayv1.GRPCRoute) *registry.Policy {
	out := routePolicy(crd.GRPCRoute, r, &r.Spec.CommonRouteSpec, &r.Status.RouteStatus)
	out.Body = &gatewayv1.GRPCRoute{ObjectMeta: named(r), Spec: r.Spec}
	for i := range r.Spec.Rules {
		for _, f := range r.Spec.Rules[i].Filters {
			addUse(out, f.ExtensionRef)
		}
	}
	return out
}

func convertTLSRoute(r *gatewayv1.TLSRoute) *registry.Policy {
	out := routePolicy(crd.TLSRoute, r, &r.Spec.CommonRouteSpec, &r.Status.RouteStatus)
	out.Body = &gatewayv1.TLSRoute{ObjectMeta: named(r), Spec: r.Spec}
	return out
}

func convertTCPRoute(r *gatewayv1.TCPRoute) *registry.Policy {
	out := routePolicy(crd.TCPRoute, r, &r.Spec.CommonRouteSpec, &r.Status.RouteStatus)
	out.Body = &gatewayv1.TCPRoute{ObjectMeta: named(r), Spec: r.Spec}
	return out
}

// addUse notes, once, that a route refers to a policy by a filter of a rule.
func addUse(p *registry.Policy, ref *gatewayv1.LocalObjectReference) {
	if ref == nil || ref.Group != crd.Group {
		return
	}
	used := registry.PolicyRef{Kind: string(ref.Kind),
		Name: registry.Name{Namespace: p.Namespace, Name: string(ref.Name)}}
	if !slices.Contains(p.Uses, used) {
		p.Uses = append(p.Uses, used)
	}
}

// routePolicy keeps what all kinds of routes have: the Services that are parents, and what the mesh
// says of them already. What others say is theirs, and changes without our noticing.
func routePolicy(
	kind string, r metav1.Object, spec *gatewayv1.CommonRouteSpec, status *gatewayv1.RouteStatus,
) *registry.Policy {
	out := &registry.Policy{Meta: convertMeta(r), Kind: kind, Generation: r.GetGeneration()}
	for i := range spec.ParentRefs {
		if ns, name, ok := crd.ParentService(&spec.ParentRefs[i], r.GetNamespace()); ok {
			addTarget(out, ns, name)
		}
	}
	for _, parent := range status.Parents {
		if parent.ControllerName == names.GatewayController {
			out.Reported.Parents = append(out.Reported.Parents, parent)
		}
	}
	return out
}
