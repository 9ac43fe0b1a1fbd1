package destination

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/tulle-mesh/tulle/destination/api"
	"github.com/tulle-mesh/tulle/destination/crd"
	"github.com/tulle-mesh/tulle/destination/registry"
)

const (
	// maxKey bounds a key's text: a DNS name and a port.
	maxKey = 253 + len(".:65535")
	// maxAliases bounds a chain of ExternalName services, which may be a ring.
	maxAliases = 4
	// defaultPort is an authority's without one. A proxy that knows better says the port.
	defaultPort = 80
)

// target is what an outbound key means to its caller.
type target struct {
	resolution api.Resolution
	reason     string // of RESOLUTION_NOT_FOUND
	service    *registry.Service
	port       uint16
	hostname   string // one pod of the service, chosen by name
	// Or what was dialed is one address: a workload's, or one that a slice of the service lists.
	addr     netip.AddrPort
	workload *registry.Workload
}

func outside() target { return target{resolution: api.Resolution_RESOLUTION_OUTSIDE} }

func notFound(reason string) target {
	return target{resolution: api.Resolution_RESOLUTION_NOT_FOUND, reason: reason}
}

// Why there is no way to what was asked for, as proxies tell their applications.
const (
	reasonNetworks = "it is in the cluster's networks, and no Service, pod or EndpointSlice has" +
		" it; if it is outside the cluster, say which networks are inside" +
		" (meshctl install --cluster-networks)"
	reasonPod = "an EndpointSlice lists it as a pod's, and that pod is not known, or not yet"

	reasonDenied = "it is outside the cluster, and the mesh's outbound policy is to deny what is" +
		" unknown (meshctl install --outbound-policy)"
	reasonPort  = "the Service has no such TCP port"
	reasonName  = "no Service has this name"
	reasonAlias = "an ExternalName Service leads to no Service"
)

// unknown is what nothing in the cluster has, and is not the cluster's to have.
func (v *view) unknown() target {
	if v.mesh.DenyUnknown {
		return notFound(reasonDenied)
	}
	return outside()
}

// resolve says what an outbound key means to a caller in a namespace. An error is the key's own
// fault.
func (v *view) resolve(key *api.Key, namespace string) (target, error) {
	switch k := key.GetKey().(type) {
	case *api.Key_Address:
		addr, err := parseAddress(k.Address)
		if err != nil {
			return target{}, err
		}
		return v.resolveAddress(addr), nil
	case *api.Key_Authority:
		if addr, err := parseAddress(k.Authority); err == nil {
			return v.resolveAddress(addr), nil
		}
		host, port, err := parseAuthority(k.Authority)
		if err != nil {
			return target{}, err
		}
		return v.resolveName(host, port, namespace), nil
	}
	return target{}, fmt.Errorf("the key names neither an address nor an authority")
}

func parseAddress(text string) (netip.AddrPort, error) {
	if len(text) > maxKey {
		return netip.AddrPort{}, fmt.Errorf("an address of %d bytes is too long", len(text))
	}
	addr, err := netip.ParseAddrPort(text)
	if err != nil || addr.Port() == 0 || addr.Addr().Zone() != "" {
		return netip.AddrPort{}, fmt.Errorf("address %q must be IP:port", text)
	}
	return netip.AddrPortFrom(addr.Addr().Unmap(), addr.Port()), nil
}

func parseAuthority(text string) (host string, port uint16, err error) {
	if len(text) > maxKey {
		return "", 0, fmt.Errorf("an authority of %d bytes is too long", len(text))
	}
	if host, port, err = crd.SplitAuthority(text); err != nil {
		return "", 0, fmt.Errorf("authority %q: %w", text, err)
	}
	if port == 0 {
		port = defaultPort
	}
	return host, port, nil
}

func (v *view) resolveAddress(addr netip.AddrPort) target {
	if svc := v.ServiceAt(addr.Addr()); svc != nil {
		return v.resolveService(svc, "", addr.Port(), maxAliases)
	}
	if w := v.WorkloadAt(addr.Addr()); w != nil {
		return target{
			resolution: api.Resolution_RESOLUTION_FOUND, workload: w, addr: addr, port: addr.Port(),
		}
	}
	if svc := v.ServiceBehind(addr); svc != nil {
		return v.resolveService(svc, "", addr.Port(), maxAliases)
	}
	// A node's own address may lie in the networks. What listens there is the kubelet, a
	// hostNetwork pod or a NodePort: never to be refused, and meshed only where a source says so.
	if _, _, ep := v.listing(addr); v.IsNode(addr.Addr()) && (ep == nil || ep.Mesh == nil) {
		return outside()
	}
	return v.resolveListed(addr)
}

// resolveListed is for an address that no service, workload or node has.
func (v *view) resolveListed(addr netip.AddrPort) target {
	listed := v.SlicesAt(addr.Addr())
	if slices.ContainsFunc(listed, func(s *registry.Slice) bool {
		return s.At(addr.Addr()).Workload.Name != ""
	}) {
		return notFound(reasonPod)
	}
	if svc, _, _ := v.listing(addr); svc != nil {
		return target{
			resolution: api.Resolution_RESOLUTION_FOUND, service: svc, addr: addr,
			port: addr.Port(),
		}
	}
	if v.inNetworks(addr.Addr()) {
		return notFound(reasonNetworks)
	}
	return v.unknown()
}

// listing returns the service behind which a slice, made by hand or of another source than
// Kubernetes, lists an address that is no workload's, the service's port that leads to it, and what
// the slice says of it.
func (v *view) listing(
	addr netip.AddrPort,
) (*registry.Service, *registry.ServicePort, *registry.Endpoint) {
	for _, slice := range v.SlicesAt(addr.Addr()) {
		svc, ep := v.Service(slice.Service), slice.At(addr.Addr())
		if svc == nil || ep.Workload.Name != "" {
			continue
		}
		for i := range svc.Ports {
			if n, ok := slice.Port(svc.Ports[i].Name); ok && n == addr.Port() {
				return svc, &svc.Ports[i], ep
			}
		}
	}
	return nil, nil, nil
}

func (v *view) resolveService(
	svc *registry.Service, hostname string, port uint16, aliases int,
) target {
	if svc.External {
		return v.resolveAlias(svc, port, aliases)
	}
	front := svc.Port(port)
	if front == nil {
		return notFound(reasonPort)
	}
	return target{
		resolution: api.Resolution_RESOLUTION_FOUND, service: svc, hostname: hostname,
		port: front.Number,
	}
}

// resolveAlias follows an ExternalName as DNS does, as far as it leads to a service of this
// cluster.
func (v *view) resolveAlias(svc *registry.Service, port uint16, aliases int) target {
	if aliases == 0 {
		return notFound(reasonAlias)
	}
	next, hostname := v.find(svc.Alias)
	switch {
	case next != nil:
		return v.resolveService(next, hostname, port, aliases-1)
	case v.inZone(svc.Alias):
		return notFound(reasonAlias)
	}
	return outside()
}

// resolveName tries the names that the resolver of the caller's pod would (its search list), in
// that order.
func (v *view) resolveName(host string, port uint16, namespace string) target {
	for _, absolute := range v.candidates(host, namespace) {
		if svc, hostname := v.find(absolute); svc != nil {
			return v.resolveService(svc, hostname, port, maxAliases)
		}
	}
	if v.isOurs(host) {
		return notFound(reasonName)
	}
	return v.unknown()
}

func (v *view) candidates(host, namespace string) []string {
	if v.inZone(host) {
		return []string{host}
	}
	return []string{
		host + "." + namespace + ".svc." + v.mesh.ClusterDomain,
		host + ".svc." + v.mesh.ClusterDomain,
		host + "." + v.mesh.ClusterDomain,
		host,
	}
}

func (v *view) inZone(host string) bool {
	return host == v.mesh.ClusterDomain || strings.HasSuffix(host, "."+v.mesh.ClusterDomain)
}

// isOurs says whether a name for which there is no service could only have been one: it is in the
// cluster's zone, or a short form of a name in it.
func (v *view) isOurs(host string) bool {
	labels := strings.Split(host, ".")
	return v.inZone(host) || len(labels) == 1 || labels[len(labels)-1] == "svc" ||
		(len(labels) == 2 && v.Namespace(labels[1]) != nil) ||
		slices.ContainsFunc(v.mesh.Zones, func(zone string) bool {
			return strings.HasSuffix(host, "."+zone)
		})
}

// find takes a service's name in the cluster's zone, or one that a source has for it elsewhere.
func (v *view) find(absolute string) (svc *registry.Service, hostname string) {
	if v.inZone(absolute) {
		return v.lookup(absolute)
	}
	return v.ServiceNamed(absolute), ""
}

// lookup takes SERVICE.NAMESPACE.svc.ZONE, or POD.SERVICE.NAMESPACE.svc.ZONE where a slice of the
// service has that hostname (StatefulSets, and pods that set hostname and subdomain). A service
// that is not Kubernetes' may itself have two labels.
func (v *view) lookup(absolute string) (svc *registry.Service, hostname string) {
	prefix, ok := strings.CutSuffix(absolute, ".svc."+v.mesh.ClusterDomain)
	if !ok {
		return nil, ""
	}
	labels := strings.Split(prefix, ".")
	if len(labels) < 2 || len(labels) > 3 {
		return nil, ""
	}
	namespace := labels[len(labels)-1]
	whole := strings.Join(labels[:len(labels)-1], ".")
	svc = v.Service(registry.Name{Namespace: namespace, Name: whole})
	if svc != nil || len(labels) == 2 {
		return svc, ""
	}
	name := registry.Name{Namespace: namespace, Name: labels[1]}
	if svc = v.Service(name); svc == nil || !v.hasHostname(name, labels[0]) {
		return nil, ""
	}
	return svc, labels[0]
}

func (v *view) hasHostname(service registry.Name, hostname string) bool {
	for _, slice := range v.Slices(service) {
		for i := range slice.Endpoints {
			if slice.Endpoints[i].Hostname == hostname {
				return true
			}
		}
	}
	return false
}

// clusterRef is a set of endpoints, before they are looked up. It is comparable: a cell's key.
type clusterRef struct {
	service  registry.Name
	hostname string         // only the pod of that name
	addr     netip.AddrPort // or only what is there; no service then
	unknown  string         // or a name that nothing in the cluster has: no endpoints
	port     uint16
	local    bool              // internalTrafficPolicy Local: each caller has its own node's
	near     registry.Nearness // each caller has those that are for its node or zone
	// Of the caller, as far as local and near ask for it: other callers share the cell.
	node, zone string
	// The callers' namespace, if it has policies of its own on how the endpoints are used. It
	// changes nothing of which endpoints they are.
	variant string
}

// on is the reference for a caller. One that runs nowhere we know of takes all endpoints.
func (r clusterRef) on(c caller) clusterRef {
	if r.local || r.near == registry.SameNode {
		r.node = c.node
	}
	if r.near != registry.Anywhere {
		r.zone = c.zone
	}
	return r
}

// questions are what is asked of a cluster for a caller. A variant's endpoints are asked for apart
// from it: all variants share them.
func (r clusterRef) questions(c caller) []question {
	if r.variant == "" {
		return []question{{cluster: r.on(c)}}
	}
	shared := r
	shared.variant = ""
	return []question{{cluster: r}, {cluster: shared.on(c), endpoints: true}}
}

// resourceName is what the Cluster is called, for callers to whom the reference is made.
func (m *Mesh) resourceName(r clusterRef) string {
	return api.ClusterName(m.clusterName(r), r.variant)
}

// clusterName is what the endpoints are called, the same for every caller. Those of one name differ
// by the caller's node and zone at most, and a proxy has one of each.
func (m *Mesh) clusterName(r clusterRef) string {
	switch {
	case r.addr.IsValid():
		return r.addr.String()
	case r.unknown != "":
		return r.unknown + ":" + strconv.Itoa(int(r.port))
	case r.hostname != "":
		return r.hostname + "." + m.authority(r.service, r.port)
	}
	return m.authority(r.service, r.port)
}

// refOf is what a cluster's name means today. A name that meant something and no longer does has no
// endpoints.
func (v *view) refOf(name string) (clusterRef, error) {
	endpoints, variant := api.SplitCluster(name)
	if variant != "" && len(validation.IsDNS1123Label(variant)) > 0 {
		return clusterRef{}, fmt.Errorf("cluster %q is a variant for no namespace", name)
	}
	ref, err := v.endpointsOf(endpoints)
	ref.variant = variant
	return ref, err
}

func (v *view) endpointsOf(name string) (clusterRef, error) {
	if addr, err := parseAddress(name); err == nil {
		return clusterRef{addr: addr}, nil
	}
	host, port, err := parseAuthority(name)
	if err != nil {
		return clusterRef{}, fmt.Errorf("cluster %w", err)
	}
	if ref := v.namedRef(host, port, ""); v.mesh.clusterName(ref) == name {
		return ref, nil
	}
	return clusterRef{unknown: host, port: port}, nil // an alias by now: another cluster's
}

// namedRef is what a host and a port mean to a namespace: a set of endpoints, be it an empty one.
func (v *view) namedRef(host string, port uint16, namespace string) clusterRef {
	if ip, err := netip.ParseAddr(host); err == nil {
		return v.addressRef(netip.AddrPortFrom(ip.Unmap(), port))
	}
	t := v.resolveName(host, port, namespace)
	if t.resolution != api.Resolution_RESOLUTION_FOUND {
		return clusterRef{unknown: host, port: port}
	}
	return v.ref(t)
}

// addressRef is the same reference as that of a call to the address, which has the same name.
func (v *view) addressRef(addr netip.AddrPort) clusterRef {
	t := v.resolveAddress(addr)
	if t.resolution != api.Resolution_RESOLUTION_FOUND {
		return clusterRef{addr: addr}
	}
	return v.ref(t)
}

func (m *Mesh) host(service registry.Name) string {
	return service.Name + "." + service.Namespace + ".svc." + m.ClusterDomain
}

func (m *Mesh) authority(service registry.Name, port uint16) string {
	return m.host(service) + ":" + strconv.Itoa(int(port))
}

// ref names the endpoints of a target. A pod that was chosen by name is not chosen by place.
func (v *view) ref(t target) clusterRef {
	if t.addr.IsValid() {
		return clusterRef{addr: t.addr}
	}
	ref := clusterRef{service: t.service.Key(), hostname: t.hostname, port: t.port}
	switch {
	case t.hostname != "":
	case t.service.NodeLocal:
		ref.local = true
	default:
		ref.near = v.Nearness(ref.service)
	}
	return ref
}
