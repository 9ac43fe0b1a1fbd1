package destination

import (
	"cmp"

	"github.com/tulle-mesh/tulle/destination/api"
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
	svc, ref := t.service, v.ref(t)
	p := v.policy(svc, namespace)
	route.Protocol = v.protocolOf(svc, svc.Port(t.port), p)
	route.Destination = &api.Metadata{Namespace: svc.Namespace, Service: svc.Name}
	route.Authority = v.mesh.clusterName(ref)
	route.RetryBudget = p.RetryBudget()
	var refs []clusterRef
	find := func(all []policy.Backend) []*api.Backend {
		if len(all) == 0 || t.hostname != "" { // a pod chosen by name is not split
			refs = append(refs, ref)
			return v.mesh.only(ref)
		}
		backends, more := v.backends(all, svc.Namespace, t.port)
		refs = append(refs, more...)
		return backends
	}
	route.Http = p.HTTP(find)
	route.Backends = find(p.DefaultBackends())
	return refs
}

// only is the list of the one cluster that takes everything.
func (m *Mesh) only(ref clusterRef) []*api.Backend {
	return []*api.Backend{{Cluster: m.clusterName(ref), Weight: 1}}
}

// backends finds the clusters of a policy's backends. A name that nothing in the cluster has keeps
// its share and has no endpoints: requests there fail with a reason, instead of shifting the other
// shares without a word.
func (v *view) backends(
	all []policy.Backend, namespace string, callerPort uint16,
) ([]*api.Backend, []clusterRef) {
	var backends []*api.Backend
	var refs []clusterRef
	for i, weight := range policy.Weights(all) {
		ref := v.backendRef(all[i], namespace, callerPort)
		refs = append(refs, ref)
		backends = append(backends, &api.Backend{Cluster: v.mesh.clusterName(ref), Weight: weight})
	}
	return backends, refs
}

func (v *view) backendRef(b policy.Backend, namespace string, callerPort uint16) clusterRef {
	return v.namedRef(b.Host, cmp.Or(b.Port, callerPort), namespace)
}
