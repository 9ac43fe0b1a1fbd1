package destination

import (
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"

	"github.com/tulle-mesh/tulle/destination/api"
	"github.com/tulle-mesh/tulle/identity/spiffe"
)

// cluster answers what a Route refers to: how to use a set of endpoints, and the set.
func (v *view) cluster(ref clusterRef) (*api.Cluster, *api.Endpoints) {
	cluster := &api.Cluster{
		Name:     v.mesh.clusterName(ref),
		Balancer: &api.Cluster_Ewma{Ewma: &api.EWMA{}},
		Metadata: &api.Metadata{Namespace: ref.service.Namespace, Service: ref.service.Name},
	}
	var found []*api.Endpoint
	switch {
	case ref.addr.IsValid():
		found = v.podEndpoint(ref.addr, cluster)
	case ref.unknown == "":
		found = v.serviceEndpoints(ref)
	}
	slices.SortFunc(found, func(a, b *api.Endpoint) int { return strings.Compare(a.Id, b.Id) })
	return cluster, &api.Endpoints{Endpoints: found}
}

// podEndpoint is the pod that was dialled by its own address, ready or not: there is no other.
func (v *view) podEndpoint(addr netip.AddrPort, cluster *api.Cluster) []*api.Endpoint {
	pod := v.podAt(addr.Addr())
	if pod == nil {
		return nil
	}
	cluster.Metadata.Namespace = pod.Namespace
	ep := v.endpoint(addr, pod)
	if v.podOpaque(pod, addr.Port()) {
		ep.Protocol = api.Protocol_PROTOCOL_OPAQUE
	}
	if node := v.node(pod.Spec.NodeName); node != nil {
		ep.Locality = &api.Locality{
			Region: node.Labels[corev1.LabelTopologyRegion], Zone: node.Labels[corev1.LabelTopologyZone], Node: node.Name,
		}
	}
	return []*api.Endpoint{ep}
}

// serviceEndpoints recomputes a service's endpoints from all its slices.
func (v *view) serviceEndpoints(ref clusterRef) []*api.Endpoint {
	svc := v.service(ref.service)
	if svc == nil {
		return nil
	}
	port := servicePort(svc, ref.port)
	if port == nil {
		return nil
	}
	protocol := v.protocolOf(svc, port, v.profile(v.mesh.host(ref.service), ref.service.Namespace, ref.service.Namespace))
	byFamily := map[discoveryv1.AddressType]map[string]*api.Endpoint{}
	for _, slice := range v.slices(ref.service) {
		if byFamily[slice.AddressType] == nil {
			byFamily[slice.AddressType] = map[string]*api.Endpoint{}
		}
		number, ok := slicePort(slice, port.Name)
		for i := range slice.Endpoints {
			if ok && ref.admits(&slice.Endpoints[i]) {
				v.addEndpoint(byFamily[slice.AddressType], slice, &slice.Endpoints[i], number)
			}
		}
	}
	out := oneFamily(svc, byFamily)
	for _, ep := range out {
		ep.Protocol = protocol
	}
	return out
}

// slicePort finds a service's port in a slice by its name. The number there is the target's: a named targetPort may
// differ from pod to pod, and each slice has one.
func slicePort(slice *discoveryv1.EndpointSlice, name string) (uint16, bool) {
	for _, p := range slice.Ports {
		if p.Port == nil || *p.Port <= 0 || *p.Port > 65535 || (p.Protocol != nil && !isTCP(*p.Protocol)) {
			continue
		}
		if (p.Name == nil && name == "") || (p.Name != nil && *p.Name == name) {
			return uint16(*p.Port), true
		}
	}
	return 0, false
}

// admits leaves out what is not ready, and what is terminating at once, ready for stragglers or not. Where a service
// publishes addresses that are not ready, Kubernetes marks them ready in the slice.
func (r clusterRef) admits(ep *discoveryv1.Endpoint) bool {
	c := ep.Conditions
	if (c.Ready != nil && !*c.Ready) || (c.Terminating != nil && *c.Terminating) || len(ep.Addresses) == 0 {
		return false
	}
	if r.hostname != "" && (ep.Hostname == nil || *ep.Hostname != r.hostname) {
		return false
	}
	return r.node == "" || (ep.NodeName != nil && *ep.NodeName == r.node)
}

// addEndpoint adds what a slice's endpoint is today. The addresses of one endpoint are the same target: the first is
// enough, and kube-proxy takes no other either.
func (v *view) addEndpoint(into map[string]*api.Endpoint, slice *discoveryv1.EndpointSlice, ep *discoveryv1.Endpoint, port uint16) {
	addr, ok := parseIP(ep.Addresses[0])
	if !ok {
		return
	}
	pod, ok := v.podBehind(slice, ep, addr)
	if !ok {
		return
	}
	out := v.endpoint(netip.AddrPortFrom(addr, port), pod)
	out.Locality = localityOf(ep)
	into[out.Id] = out
}

// localityOf is what the slice says of an endpoint: no node need be looked up.
func localityOf(ep *discoveryv1.Endpoint) *api.Locality {
	if ep.Zone == nil && ep.NodeName == nil {
		return nil
	}
	l := &api.Locality{}
	if ep.Zone != nil {
		l.Zone = *ep.Zone
	}
	if ep.NodeName != nil {
		l.Node = *ep.NodeName
	}
	return l
}

// podBehind returns the pod of an endpoint, or nil for an address that is no pod's. It says no to a stale endpoint: its
// pod is not known (yet), has ended or is ending, is another of the same name, or has lost the address. Its address may be
// another pod's by now, and without its pod nobody knows whom to expect there.
func (v *view) podBehind(slice *discoveryv1.EndpointSlice, ep *discoveryv1.Endpoint, addr netip.Addr) (*corev1.Pod, bool) {
	name, named := podOf(slice, ep)
	if !named {
		return v.podAt(addr), true // a service without a selector may well list pods
	}
	pod := v.state.pods[name] // topicEndpoints covers the pods in a service's slices
	if pod == nil || pod.DeletionTimestamp != nil || isOver(pod) {
		return nil, false
	}
	if ep.TargetRef.UID != "" && pod.UID != "" && ep.TargetRef.UID != pod.UID {
		return nil, false
	}
	ips := podIPs(pod)
	return pod, len(ips) == 0 || slices.Contains(ips, addr)
}

// oneFamily takes each pod once. A dual-stack service lists it in two slices; the service's first family is preferred.
func oneFamily(svc *corev1.Service, byFamily map[discoveryv1.AddressType]map[string]*api.Endpoint) []*api.Endpoint {
	order := []discoveryv1.AddressType{discoveryv1.AddressTypeIPv4, discoveryv1.AddressTypeIPv6}
	if len(svc.Spec.IPFamilies) > 0 && svc.Spec.IPFamilies[0] == corev1.IPv6Protocol {
		slices.Reverse(order)
	}
	var out []*api.Endpoint
	taken := map[string]bool{}
	for _, family := range order {
		now := map[string]bool{}
		for _, ep := range byFamily[family] {
			key := ep.GetWorkload().GetPod() // "": addresses that are no pod's, which are taken from one family as a whole
			if !taken[key] {
				now[key] = true
				out = append(out, ep)
			}
		}
		for key := range now {
			taken[key] = true
		}
	}
	return out
}

// endpoint describes an address of a pod, or of nobody known.
func (v *view) endpoint(addr netip.AddrPort, pod *corev1.Pod) *api.Endpoint {
	ep := &api.Endpoint{
		Id: addr.String(), Address: addr.String(), TargetPort: uint32(addr.Port()),
		Protocol: api.Protocol_PROTOCOL_DETECT,
	}
	if pod == nil {
		return ep
	}
	ep.Id = pod.Name + "/" + ep.Id
	ep.Workload = workloadOf(pod)
	if !v.isMeshed(pod, addr.Port()) {
		return ep
	}
	id, err := spiffe.ForWorkload(v.mesh.TrustDomain, pod.Namespace, serviceAccount(pod))
	if err != nil {
		return ep // the API server admits no such names
	}
	ep.Identity = id.String()
	ep.MeshAddress = v.meshAddress(pod, addr.Addr())
	return ep
}

func (v *view) meshAddress(pod *corev1.Pod, addr netip.Addr) string {
	if own := pod.Annotations[annotationMeshAddress]; v.mesh.LocalMesh && own != "" {
		return own
	}
	return net.JoinHostPort(addr.String(), strconv.Itoa(meshPort))
}

// isMeshed says whether a pod's proxy takes what arrives at a port.
func (v *view) isMeshed(pod *corev1.Pod, port uint16) bool {
	if v.mesh.LocalMesh && pod.Annotations[annotationMeshAddress] != "" {
		return true
	}
	if pod.Labels[labelMesh] != meshName || pod.Spec.HostNetwork || !hasProxy(pod) || port == adminPort {
		return false
	}
	return !portListed(pod.Annotations[annotationSkipInbound], port, nil)
}

func hasProxy(pod *corev1.Pod) bool {
	isProxy := func(c corev1.Container) bool { return c.Name == proxyContainer }
	return slices.ContainsFunc(pod.Spec.InitContainers, isProxy) || slices.ContainsFunc(pod.Spec.Containers, isProxy)
}

func serviceAccount(pod *corev1.Pod) string {
	if pod.Spec.ServiceAccountName == "" {
		return "default"
	}
	return pod.Spec.ServiceAccountName
}
