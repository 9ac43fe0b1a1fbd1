package destination

import (
	"slices"

	"github.com/tulle-mesh/tulle/destination/api"
	"github.com/tulle-mesh/tulle/destination/crd"
	"github.com/tulle-mesh/tulle/destination/policy"
	"github.com/tulle-mesh/tulle/destination/registry"
	"github.com/tulle-mesh/tulle/proxy/config"
)

// policy returns what counts for callers in a namespace of a service's port, or nil.
func (v *view) policy(
	svc *registry.Service, port *registry.ServicePort, callerNamespace string,
) *policy.Policy {
	parent := v.parent(svc, port)
	profiles := v.profiles(svc, callerNamespace)
	out := policy.Merge(profiles, parent, callerNamespace)
	if noFrontend(svc) != "" {
		return out
	}
	routes := slices.DeleteFunc(v.attached(svc, callerNamespace), func(r policy.Route) bool {
		return v.noRoutes(r.Origin.Kind, svc, port, out) != ""
	})
	if len(routes) == 0 {
		return out
	}
	out = policy.Merge(append(profiles, routes...), parent, callerNamespace)
	for _, r := range routes {
		if out.Uses(r.Origin) {
			v.used = append(v.used, refOf(r.Origin))
		}
	}
	return out
}

// profile is what ServiceProfiles alone say to callers in a namespace of a service, or nil.
func (v *view) profile(svc *registry.Service, callerNamespace string) *policy.Policy {
	return policy.Merge(v.profiles(svc, callerNamespace),
		policy.Parent{Host: v.mesh.host(svc.Key())}, callerNamespace)
}

func (v *view) parent(svc *registry.Service, port *registry.ServicePort) policy.Parent {
	return policy.Parent{Host: v.mesh.host(svc.Key()), Port: port.Number, PortName: port.Name}
}

func refOf(o policy.Origin) registry.PolicyRef {
	return registry.PolicyRef{
		Kind: o.Kind, Name: registry.Name{Namespace: o.Namespace, Name: o.Name},
	}
}

// profiles reads the ServiceProfiles of a service that callers in a namespace go by.
func (v *view) profiles(svc *registry.Service, callerNamespace string) (out []policy.Route) {
	for _, ns := range []string{callerNamespace, svc.Namespace} {
		name := registry.Name{Namespace: ns, Name: v.mesh.host(svc.Key())}
		ref := registry.PolicyRef{Kind: crd.Kind, Name: name}
		p := v.Policy(ref)
		if p != nil && p.Problem == "" {
			v.used = append(v.used, ref)
			out = append(out, policy.FromServiceProfile(p.Body.(*crd.ServiceProfile), p.Created))
		}
		if callerNamespace == svc.Namespace {
			break
		}
	}
	return out
}

// attached reads the Gateway API's routes of a service that callers in a namespace go by.
func (v *view) attached(svc *registry.Service, callerNamespace string) (out []policy.Route) {
	for _, p := range v.PoliciesOn(svc.Key(), crd.HTTPRoute, crd.GRPCRoute, crd.TLSRoute,
		crd.TCPRoute) {
		if p.Namespace != callerNamespace && p.Namespace != svc.Namespace {
			continue // another consumer's
		}
		if route, ok := policy.FromRoute(p.Body, p.Created, v.mesh.ClusterDomain); ok {
			out = append(out, route)
		}
	}
	return out
}

// noRoutes says why the Gateway API's routes of a kind have no say at a service's port, or "". They
// have none where proxies do not see what they are about, or no address of the service, by which
// its frontend is known.
func (v *view) noRoutes(
	kind string, svc *registry.Service, port *registry.ServicePort, profile *policy.Policy,
) string {
	if why := noFrontend(svc); why != "" {
		return why
	}
	if kind != crd.TLSRoute && kind != crd.TCPRoute {
		return v.unread(svc, port, profile)
	}
	switch protocol := v.protocolOf(svc, port, profile); {
	case protocol == api.Protocol_PROTOCOL_HTTP1, protocol == api.Protocol_PROTOCOL_HTTP2:
		return "its port is declared to be HTTP"
	case kind == crd.TCPRoute:
		return ""
	case protocol == api.Protocol_PROTOCOL_OPAQUE:
		return declaredOpaque
	case opaqueByNumber(port):
		return "its port is opaque by its number, unless its appProtocol says https or tls"
	}
	return ""
}

const declaredOpaque = "its port is declared to be opaque"

// unread says why proxies do not read what is said at a service's port, or "".
func (v *view) unread(
	svc *registry.Service, port *registry.ServicePort, profile *policy.Policy,
) string {
	if why := v.noHTTP(svc, port, profile); why != "" {
		return why
	}
	if opaqueByNumber(port) {
		return "its port is opaque by its number, unless its appProtocol says http, http2 or grpc"
	}
	return ""
}

// opaqueByNumber says whether proxies do not ask what a port is.
func opaqueByNumber(port *registry.ServicePort) bool {
	return appProtocol(port.AppProtocol) == api.Protocol_PROTOCOL_DETECT &&
		slices.Contains(config.DefaultOpaquePorts, port.Number)
}

// noFrontend says why a service has no address of its own at which it is called, or "". One without
// ports of its own is called by its name alone.
func noFrontend(svc *registry.Service) string {
	switch {
	case svc.External:
		return "it is of type ExternalName"
	case len(svc.Addresses) == 0 && !svc.AnyPort:
		return "it is headless: whoever calls it has chosen a pod"
	}
	return ""
}

// noHTTP says why proxies see no HTTP at a service's port, or "". The policy is a profile's, or all
// that counts there.
func (v *view) noHTTP(
	svc *registry.Service, port *registry.ServicePort, p *policy.Policy,
) string {
	if kind := p.Carried(); kind != "" {
		return "its port has " + kind + "s"
	}
	switch v.protocolOf(svc, port, p) {
	case api.Protocol_PROTOCOL_OPAQUE:
		return declaredOpaque
	case api.Protocol_PROTOCOL_TLS:
		return "its port is declared to have the application's own TLS"
	}
	return ""
}
