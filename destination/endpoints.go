package destination

import (
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/tulle-mesh/tulle/destination/api"
	"github.com/tulle-mesh/tulle/destination/crd"
	"github.com/tulle-mesh/tulle/destination/registry"
	"github.com/tulle-mesh/tulle/identity/names"
	"github.com/tulle-mesh/tulle/identity/spiffe"
	"github.com/tulle-mesh/tulle/proxy/config"
)

// Labels that Kubernetes puts on nodes.
const (
	labelRegion = "topology.kubernetes.io/region"
	labelZone   = "topology.kubernetes.io/zone"
)

// cluster answers how to use the endpoints that a Route refers to, and by which policies.
func (v *view) cluster(ref clusterRef) (*api.Cluster, []registry.PolicyRef) {
	out := &api.Cluster{
		Name: v.mesh.clusterName(ref), Variant: ref.variant, Metadata: v.metadataOf(ref),
	}
	use := v.useOf(ref)
	use.Set(out)
	return out, refsOf(use)
}

// metadataOf says whose a cluster is.
func (v *view) metadataOf(ref clusterRef) *api.Metadata {
	if !ref.addr.IsValid() {
		return &api.Metadata{Namespace: ref.service.Namespace, Service: ref.service.Name}
	}
	if w := v.WorkloadAt(ref.addr.Addr()); w != nil {
		return &api.Metadata{Namespace: w.Namespace}
	}
	if svc, _, _ := v.listing(ref.addr); svc != nil {
		return &api.Metadata{Namespace: svc.Namespace, Service: svc.Name}
	}
	return &api.Metadata{}
}

// endpoints answers which endpoints a Route refers to.
func (v *view) endpoints(ref clusterRef) []*api.Endpoint {
	var found []*api.Endpoint
	switch {
	case ref.addr.IsValid():
		found = v.addressEndpoint(ref.addr)
	case ref.unknown == "":
		found = v.serviceEndpoints(ref)
	}
	slices.SortFunc(found, func(a, b *api.Endpoint) int { return strings.Compare(a.Id, b.Id) })
	return found
}

// addressEndpoint is who was dialled by an address, ready or not: there is no other.
func (v *view) addressEndpoint(addr netip.AddrPort) []*api.Endpoint {
	w := v.WorkloadAt(addr.Addr())
	if w == nil {
		return v.listedEndpoint(addr)
	}
	ep := v.endpoint(addr, w)
	if v.workloadOpaque(w, addr.Port()) {
		ep.Protocol = api.Protocol_PROTOCOL_OPAQUE
	}
	v.dialItself(ep, w, addr)
	if node := v.Node(w.Node); node != nil {
		ep.Locality = &api.Locality{
			Region: node.Labels.Get(labelRegion), Zone: node.Labels.Get(labelZone), Node: node.Name,
		}
	}
	return []*api.Endpoint{ep}
}

// listedEndpoint is an address that no workload has and a slice lists: an unmeshed server's, unless
// the slice says where its proxy is.
func (v *view) listedEndpoint(addr netip.AddrPort) []*api.Endpoint {
	_, _, listed := v.listing(addr)
	if listed == nil {
		return nil
	}
	ep := v.endpoint(addr, nil)
	ep.Protocol = v.listedProtocol(addr)
	behind(ep, listed.Mesh)
	return []*api.Endpoint{ep}
}

// behind makes an endpoint one that is behind a proxy, where its source knows of that.
func behind(ep *api.Endpoint, mesh *registry.Mesh) {
	if mesh != nil {
		ep.Identity, ep.MeshAddress = mesh.Identity, mesh.Address.String()
	}
}

// listedProtocol is what the service says that such an address speaks.
func (v *view) listedProtocol(addr netip.AddrPort) api.Protocol {
	svc, port, _ := v.listing(addr)
	return v.protocolOf(svc, port, v.profile(svc, svc.Namespace))
}

// serviceEndpoints recomputes a service's endpoints from all its slices.
func (v *view) serviceEndpoints(ref clusterRef) []*api.Endpoint {
	svc := v.Service(ref.service)
	if svc == nil {
		return nil
	}
	port := svc.Port(ref.port)
	if port == nil {
		return nil
	}
	protocol := v.protocolOf(svc, port, v.profile(svc, svc.Namespace))
	out := v.membersOf(svc, port, ref, false)
	if len(out) == 0 {
		// As kube-proxy does: who is the last to serve is still called while it is ending.
		out = v.membersOf(svc, port, ref, true)
	}
	for _, ep := range out {
		ep.Protocol = protocol
	}
	if v.prefersPlaces(ref.service) {
		v.addRegions(out)
	}
	return out
}

// prefersPlaces reports whether anybody's policy on a service says which places come first.
func (v *view) prefersPlaces(service registry.Name) bool {
	for _, on := range []registry.Name{service, {Namespace: service.Namespace}} {
		for _, p := range v.PoliciesOn(on, crd.BackendTrafficPolicyKind) {
			body, ok := p.Body.(*crd.BackendTrafficPolicy)
			if ok && body.Spec.Locality != nil {
				return true
			}
		}
	}
	return false
}

// addRegions says in which regions endpoints are. Their nodes know, which are looked up for whoever
// has use for it alone.
func (v *view) addRegions(list []*api.Endpoint) {
	for _, ep := range list {
		if ep.GetLocality().GetNode() == "" {
			continue
		}
		if node := v.Node(ep.Locality.Node); node != nil {
			ep.Locality.Region = node.Labels.Get(labelRegion)
		}
	}
}

// membersOf returns the endpoints that are ready, or those that serve though they are ending.
func (v *view) membersOf(
	svc *registry.Service, port *registry.ServicePort, ref clusterRef, ending bool,
) []*api.Endpoint {
	byFamily := membersByFamily{}
	for _, slice := range v.Slices(ref.service) {
		// of the target: a named one differs from slice to slice
		number, ok := slice.Port(port.Name)
		for i := range slice.Endpoints {
			ep := &slice.Endpoints[i]
			if w, is := v.memberBehind(ref, ep, ending); ok && is {
				byFamily.add(slice.Family,
					member{v.memberAt(ep, w, number), ep.Hints, v.isSick(w, number)})
			}
		}
	}
	all := byFamily.one(svc.PreferIPv6)
	if !ending {
		all = ref.nearest(fit(all))
	}
	out := make([]*api.Endpoint, len(all))
	for i, m := range all {
		out[i] = m.Endpoint
	}
	return out
}

// memberBehind returns the workload of an endpoint, or nil for an address that is none's, and
// whether it is one of those that are asked for.
func (v *view) memberBehind(
	ref clusterRef, ep *registry.Endpoint, ending bool,
) (*registry.Workload, bool) {
	if !ref.names(ep) || ending && !ep.Serving || !ending && (!ep.Ready || ep.Terminating) {
		return nil, false
	}
	w, ok := v.workloadBehind(ep)
	if !ok {
		return nil, false
	}
	return w, ending == (ep.Terminating || w != nil && w.Terminating)
}

// names reports whether the endpoint is one of those that a Route refers to. Where a service
// publishes addresses that are not ready, Kubernetes marks them ready in the slice.
func (r clusterRef) names(ep *registry.Endpoint) bool {
	if !ep.Address.IsValid() || r.hostname != "" && ep.Hostname != r.hostname {
		return false
	}
	return !r.local || r.node == "" || ep.Node == r.node
}

// memberAt is what a slice's endpoint is today.
func (v *view) memberAt(
	ep *registry.Endpoint, w *registry.Workload, port uint16,
) *api.Endpoint {
	addr := netip.AddrPortFrom(ep.Address, port)
	out := v.endpoint(addr, w)
	out.Locality, out.Weight = localityOf(ep), ep.Weight
	switch {
	case w == nil:
		behind(out, ep.Mesh)
	case ep.Workload.Name == "":
		v.dialItself(out, w, addr) // the slice's author may be anybody
	}
	return out
}

// localityOf is what the slice says of an endpoint: no node need be looked up.
func localityOf(ep *registry.Endpoint) *api.Locality {
	if ep.Zone == "" && ep.Node == "" {
		return nil
	}
	return &api.Locality{Region: ep.Region, Zone: ep.Zone, Node: ep.Node}
}

// workloadBehind returns the workload of an endpoint, or nil for an address that is none's. It says
// no to a stale endpoint: its workload is not known (yet), has ended, is another of
// the same name, or has lost the address. The address may be another's by now, and without its
// workload nobody knows whom to expect there.
func (v *view) workloadBehind(ep *registry.Endpoint) (*registry.Workload, bool) {
	if ep.Workload.Name == "" {
		return v.WorkloadAt(ep.Address), true // a service without a selector may well list pods
	}
	w := v.Member(ep)
	if w == nil {
		v.unseen = true
		return nil, false
	}
	if w.Ended {
		return nil, false
	}
	if ep.WorkloadUID != "" && w.UID != "" && ep.WorkloadUID != w.UID {
		return nil, false
	}
	return w, len(w.Addresses) == 0 || slices.Contains(w.Addresses, ep.Address)
}

// holdOver returns the endpoints of the last answer that are still good, for where the new answer
// would be empty only because the registry does not have the workloads yet. A source learns of
// slices and of workloads by two watches, of which one may be behind: after a partition the slices
// are there first, and without this every service that was rolled out meanwhile would be without
// endpoints until the longer list of workloads has come. It holds until a workload of the slices is
// known; what has ended, is ending, or is in the slices as not ready does not stay.
func (v *view) holdOver(ref clusterRef, last []*api.Endpoint) []*api.Endpoint {
	listed := map[string]bool{}
	for _, slice := range v.Slices(ref.service) {
		for i := range slice.Endpoints {
			listed[slice.Endpoints[i].Workload.Name] = true
		}
	}
	return slices.DeleteFunc(slices.Clone(last), func(ep *api.Endpoint) bool {
		name := ep.GetWorkload().GetPod()
		w := v.Workload(registry.Name{Namespace: ref.service.Namespace, Name: name})
		return listed[name] || w == nil || w.Terminating || w.Ended || !hasAddress(w, ep.Address)
	})
}

func hasAddress(w *registry.Workload, hostport string) bool {
	addr, err := netip.ParseAddrPort(hostport)
	return err == nil && slices.Contains(w.Addresses, addr.Addr())
}

// member is an endpoint of a service, and for whom it is.
type member struct {
	*api.Endpoint
	hints *registry.Hints
	sick  bool // its proxy has found that the application is not well
}

// fit leaves out who is not well. Where nobody is well all stay: then it is no pod's own fault, and
// some answers are better than none (Envoy's panic mode, with a threshold of nobody).
func fit(all []member) []member {
	well := slices.DeleteFunc(slices.Clone(all), func(m member) bool { return m.sick })
	if len(well) == 0 {
		return all
	}
	return well
}

// isSick says whether the application behind a workload's port was found not to be well.
func (v *view) isSick(w *registry.Workload, port uint16) bool {
	if w == nil {
		return false
	}
	found := v.Health(w).Port(port)
	return found != nil && found.Unhealthy
}

// membersByFamily holds members by their ID.
type membersByFamily map[registry.Family]map[string]member

func (f membersByFamily) add(family registry.Family, m member) {
	if f[family] == nil {
		f[family] = map[string]member{}
	}
	f[family][m.Id] = m
}

// one takes each workload once. A dual-stack service lists it in two slices; the service's first
// family is preferred.
func (f membersByFamily) one(preferIPv6 bool) []member {
	order := []registry.Family{registry.IPv4, registry.IPv6}
	if preferIPv6 {
		slices.Reverse(order)
	}
	var out []member
	taken := map[string]bool{}
	for _, family := range order {
		now := map[string]bool{}
		for _, m := range f[family] {
			// "": addresses that are no workload's, which are taken from one family as a whole
			key := m.GetWorkload().GetPod()
			if !taken[key] {
				now[key] = true
				out = append(out, m)
			}
		}
		for key := range now {
			taken[key] = true
		}
	}
	return out
}

// endpoint describes an address of a workload, or of nobody known.
func (v *view) endpoint(addr netip.AddrPort, w *registry.Workload) *api.Endpoint {
	ep := &api.Endpoint{
		Id: addr.String(), Address: addr.String(), TargetPort: uint32(addr.Port()),
		Protocol: api.Protocol_PROTOCOL_DETECT,
	}
	if w == nil {
		return ep
	}
	ep.Id = w.Name + "/" + ep.Id
	ep.Workload = workloadOf(w)
	if !v.isMeshed(w, addr.Port()) {
		return ep
	}
	id, err := spiffe.ForWorkload(v.mesh.TrustDomain, w.Namespace, w.ServiceAccount)
	if err != nil {
		return ep // the API server admits no such names
	}
	ep.Identity = id.String()
	ep.MeshAddress = v.meshAddress(w, addr.Addr())
	return ep
}

func (v *view) meshAddress(w *registry.Workload, addr netip.Addr) string {
	if own := w.Annotations[names.AnnotationMeshAddress]; v.mesh.LocalMesh && own != "" {
		return own
	}
	return net.JoinHostPort(addr.String(), strconv.Itoa(config.InboundPort))
}

// dialItself lets callers dial a port that nothing names, in mTLS as ever: by its inbound port the
// workload's proxy does not let them come to it, and what a NetworkPolicy says of the port holds.
// What arrives at an opaque port itself is passed on unread, so for such a one the refusal stays.
func (v *view) dialItself(ep *api.Endpoint, w *registry.Workload, addr netip.AddrPort) {
	if ep.MeshAddress == "" || v.mesh.LocalMesh || v.isNamed(w, addr.Port()) ||
		v.workloadOpaque(w, addr.Port()) {
		return
	}
	ep.MeshAddress = addr.String()
}

// isMeshed says whether a workload's proxy takes what arrives at a port.
func (v *view) isMeshed(w *registry.Workload, port uint16) bool {
	if v.mesh.LocalMesh && w.Annotations[names.AnnotationMeshAddress] != "" {
		return true
	}
	if w.Labels.Get(names.LabelMesh) != names.Mesh || w.HostNetwork || !w.HasProxy ||
		port == config.AdminPort {
		return false
	}
	return !portListed(w.Annotations[names.AnnotationSkipInbound], port, w.Port)
}
