package destination

import (
	"cmp"

	"github.com/tulle-mesh/tulle/destination/api"
	"github.com/tulle-mesh/tulle/destination/crd"
	"github.com/tulle-mesh/tulle/destination/policy"
)

// outbound answers an outbound key: the Route, and the clusters that it names.
func (v *view) outbound(key *api.Key, namespace string) (*api.Route, []clusterRef, error) {
	t, err := v.resolve(key, namespace)
	if err != nil {
		return nil, nil, err
	}
	route := &api.Route{
		Resolution: t.resolution, Reason: t.reason, Protocol: api.Protocol_PROTOCOL_DETECT,
	}
	switch {
	case t.resolution != api.Resolution_RESOLUTION_FOUND:
		return route, nil, nil
	case t.addr.IsValid():
		return route, v.routeToAddress(route, t), nil
	}
	return route, v.routeToService(route, t, namespace), nil
}

// routeToAddress keeps to the one address that was dialled: whoever resolved a headless name has
// chosen, and is not balanced away, nor retried elsewhere.
func (v *view) routeToAddress(route *api.Route, t target) []clusterRef {
	ref := v.ref(t)
	if t.workload == nil {
		route.Destination = &api.Metadata{Namespace: t.service.Namespace, Service: t.service.Name}
		route.Protocol = v.listedProtocol(t.addr)
	} else {
		route.Destination = &api.Metadata{Namespace: t.workload.Namespace}
		if v.workloadOpaque(t.workload, t.port) {
			route.Protocol = api.Protocol_PROTOCOL_OPAQUE
		}
	}
	route.Backends = v.mesh.only(ref)
	return []clusterRef{ref}
}

func (v *view) routeToService(route *api.Route, t target, namespace string) []clusterRef {
	svc, port, ref := t.service, t.service.Port(t.port), v.as(v.ref(t), namespace)
	p := v.harmed(v.policyFor(t, namespace), frontPort{svc, port}, namespace)
	if t.hostname == "" {
		var origins []policy.Origin
		p, origins = p.ByDefault(v.use(svc, port, namespace))
		for _, o := range origins {
			v.used = append(v.used, refOf(o))
		}
	}
	route.Protocol = p.Protocol(v.protocolOf(svc, port, p))
	route.Destination = &api.Metadata{Namespace: svc.Namespace, Service: svc.Name}
	route.Authority = v.mesh.clusterName(ref)
	route.RetryBudget = v.retryBudget(t, p, namespace)
	var refs []clusterRef
	find := func(all []policy.Backend) []*api.Backend {
		if len(all) == 0 || t.hostname != "" { // a pod chosen by name is not split
			refs = append(refs, ref)
			return v.mesh.only(ref)
		}
		backends, more := v.backends(all, t, namespace)
		refs = append(refs, more...)
		return backends
	}
	route.Http, route.Tls, route.Tcp = p.HTTP(find), p.TLS(find), p.TCP(find)
	refs = once(refs)
	route.Backends = find(p.DefaultBackends())
	return refs
}

// retryBudget is a BackendTrafficPolicy's before a profile's, whosever they are: of the two kinds
// it is the one for what a service can bear. A profile whose budget does not count says so.
func (v *view) retryBudget(t target, p *policy.Policy, namespace string) *api.RetryBudget {
	if t.hostname == "" {
		use := v.use(t.service, t.service.Port(t.port), namespace)
		if budget := use.RetryBudget(); budget != nil {
			v.used = append(v.used, refOf(use.Budgeter))
			return budget
		}
	}
	return p.RetryBudget()
}

// once leaves of references that are the same the first: hundreds of rules may name one cluster.
func once(refs []clusterRef) (out []clusterRef) {
	seen := map[clusterRef]bool{}
	for _, ref := range refs {
		if !seen[ref] {
			seen[ref] = true
			out = append(out, ref)
		}
	}
	return out
}

// policyFor is what counts for callers of a target in a namespace. The Gateway API's routes are
// about the service, and not about a pod of it that is chosen by name.
func (v *view) policyFor(t target, namespace string) *policy.Policy {
	if t.hostname != "" {
		return v.profile(t.service, namespace)
	}
	return v.policy(t.service, t.service.Port(t.port), namespace)
}

// only is the list of the one cluster that takes everything.
func (m *Mesh) only(ref clusterRef) []*api.Backend {
	return []*api.Backend{{Cluster: m.resourceName(ref), Weight: 1}}
}

// backends finds the clusters of a policy's backends, for callers of a target in a namespace. A
// name that nothing in the cluster has keeps its share, and requests there fail with a reason,
// instead of shifting the other shares without a word: it has no endpoints, or where the policy
// says so a fixed answer.
func (v *view) backends(
	all []policy.Backend, t target, namespace string,
) ([]*api.Backend, []clusterRef) {
	var backends []*api.Backend
	var refs []clusterRef
	for i, weight := range policy.Weights(all) {
		b := &all[i]
		out := &api.Backend{Weight: weight, Answer: b.Answer}
		ref := policy.Ref{Host: b.Host, Port: b.Port}
		if b.Missing != 0 && v.unusable(ref, b.Unread) != nil {
			out.Answer = b.Missing
		}
		if out.Answer == 0 {
			ref := v.as(v.backendRef(*b, t.service.Namespace, t.port), namespace)
			refs = append(refs, ref)
			out.Cluster, out.Filters = v.mesh.resourceName(ref), b.Filters
		}
		backends = append(backends, out)
	}
	return backends, refs
}

func (v *view) backendRef(b policy.Backend, namespace string, callerPort uint16) clusterRef {
	return v.namedRef(b.Host, cmp.Or(b.Port, callerPort), namespace)
}

// unusable says why a service's port can be no backend of a route, or is nil. A service that stands
// for a DNS name is none. What gets connections unread may speak anything.
func (v *view) unusable(ref policy.Ref, unread bool) *crd.Problem {
	what := policy.Backend{Host: ref.Host, Port: ref.Port}
	svc, hostname := v.lookup(ref.Host)
	if svc == nil || hostname != "" || svc.External || svc.Port(ref.Port) == nil {
		return crd.Problemf(crd.ReasonBackendNotFound,
			"no Service with such a port is called %s", what)
	}
	if unread {
		return nil
	}
	if why := v.noHTTP(svc, svc.Port(ref.Port), v.profile(svc, svc.Namespace)); why != "" {
		return crd.Problemf(crd.ReasonUnsupportedProtocol, "of %s: %s", what, why)
	}
	return nil
}
