package destination

import (
	"cmp"
	"fmt"

	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/tulle-mesh/tulle/destination/crd"
	"github.com/tulle-mesh/tulle/destination/policy"
	"github.com/tulle-mesh/tulle/destination/registry"
	"github.com/tulle-mesh/tulle/destination/status"
)

// routeReport answers what a route's status should be: what is said is read off the same policies
// that proxies are told of.
func (v *view) routeReport(p *registry.Policy, route policy.Route) *status.Report {
	unresolved := route.Unresolved
	for _, ref := range route.Refs {
		if why := v.unusable(ref, route.Carries()); why != nil {
			unresolved = append(unresolved, *why)
		}
	}
	for _, name := range route.Extensions {
		if _, why := v.fault(faultRef(p.Namespace, name), p.Namespace); why != nil {
			unresolved = append(unresolved, *why)
		}
	}
	var parents []status.Parent
	for i := range route.ParentRefs {
		ref := &route.ParentRefs[i]
		if namespace, name, ok := crd.ParentService(ref, p.Namespace); ok {
			name := registry.Name{Namespace: namespace, Name: name}
			parents = append(parents, status.Parent{
				Ref: *ref, Dropped: route.Dropped, Unresolved: unresolved,
				Refused:  cmp.Or(v.refused(route, ref, name), disobeyed(route)),
				Behind:   v.behind(route, ref, name),
				Standing: v.Standing(p.Ref()),
			})
		}
	}
	return status.OfRoute(p, parents)
}

// disobeyed says why a route as a whole is not obeyed, or is nil.
func disobeyed(route policy.Route) *crd.Problem {
	if route.Obeyed || len(route.Dropped) == 0 {
		return nil
	}
	return crd.Problemf(route.Dropped[0].Reason,
		"no rule is obeyed: %s", status.Texts(route.Dropped))
}

// refused says why a route has no say at a Service that is its parent, or is nil: there must be a
// port where it has.
func (v *view) refused(
	route policy.Route, ref *gatewayv1.ParentReference, name registry.Name,
) *crd.Problem {
	svc := v.Service(name)
	if svc == nil {
		return crd.Problemf(crd.ReasonNoMatchingParent, "there is no Service %s", name)
	}
	parent, _ := policy.ParentOf(ref, route.Origin.Namespace, v.mesh.ClusterDomain)
	why := crd.Problemf(crd.ReasonNoMatchingParent, "Service %s has no such TCP port", name)
	for i := range svc.Ports {
		port := &svc.Ports[i]
		if !parent.Covers(v.parent(svc, port)) {
			continue
		}
		if why = v.refusedAt(route, svc, port); why == nil {
			return nil
		}
	}
	return why
}

func (v *view) refusedAt(
	route policy.Route, svc *registry.Service, port *registry.ServicePort,
) *crd.Problem {
	namespace := route.Origin.Namespace
	why := v.noRoutes(route.Origin.Kind, svc, port, v.profile(svc, namespace))
	if why != "" {
		return crd.Problemf(crd.ReasonNoMatchingParent,
			"Service %s has no port %d for routes: %s", svc.Key(), port.Number, why)
	}
	p := v.policy(svc, port, namespace)
	if p.Uses(route.Origin) || len(route.Rules) == 0 {
		return nil
	}
	return crd.Problemf(crd.ReasonConflicted,
		"port %d of Service %s has %ss, and then %ss have no say", port.Number, svc.Key(), p.Kind,
		route.Origin.Kind)
}

// behind says at which ports of a Service connections go by an older TCPRoute than this one, which
// the Gateway API has accepted all the same, and by which.
func (v *view) behind(
	route policy.Route, ref *gatewayv1.ParentReference, name registry.Name,
) (out []string) {
	svc := v.Service(name)
	if svc == nil || route.Origin.Kind != crd.TCPRoute {
		return nil
	}
	parent, _ := policy.ParentOf(ref, route.Origin.Namespace, v.mesh.ClusterDomain)
	for i := range svc.Ports {
		port := &svc.Ports[i]
		p := v.policy(svc, port, route.Origin.Namespace)
		if parent.Covers(v.parent(svc, port)) && p.Carried() == crd.TCPRoute &&
			p.Uses(route.Origin) && p.Rules[0].Origin != route.Origin {
			out = append(out, fmt.Sprintf("connections to port %d go by %s", port.Number,
				p.Rules[0].Origin))
		}
	}
	return out
}
