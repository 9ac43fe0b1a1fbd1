package kube

import (
	"cmp"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/tulle-mesh/tulle/destination/crd"
	"github.com/tulle-mesh/tulle/destination/registry"
	"github.com/tulle-mesh/tulle/identity/names"
)

const (
	labelTemplateHash = "pod-template-hash" // put on a ReplicaSet's pods by its Deployment

	// The kubelet names no path for a gRPC probe, since the protocol does.
	grpcHealthPath = "/grpc.health.v1.Health/Check"
)

func convertMeta(o metav1.Object) registry.Meta {
	m := registry.Meta{
		Namespace: o.GetNamespace(), Name: o.GetName(),
		Created: o.GetCreationTimestamp().UTC(), Labels: registry.NewLabels(o.GetLabels()),
	}
	for key, value := range o.GetAnnotations() {
		if !strings.HasPrefix(key, names.Prefix) {
			continue
		}
		if m.Annotations == nil {
			m.Annotations = map[string]string{}
		}
		m.Annotations[key] = value
	}
	return m
}

func convertNamespace(ns *corev1.Namespace) *registry.Namespace {
	return &registry.Namespace{Meta: convertMeta(ns)}
}

func convertNode(node *corev1.Node) *registry.Node {
	out := &registry.Node{Meta: convertMeta(node)}
	for _, address := range node.Status.Addresses {
		if addr, ok := parseIP(address.Address); ok {
			out.Addresses = append(out.Addresses, addr)
		}
	}
	out.Networks = parseNetworks(node.Spec.PodCIDRs)
	return out
}

func convertServiceCIDR(c *networkingv1.ServiceCIDR) *registry.Network {
	return &registry.Network{Meta: convertMeta(c), Prefixes: parseNetworks(c.Spec.CIDRs)}
}

func parseNetworks(all []string) (out []netip.Prefix) {
	for _, text := range all {
		if network, err := netip.ParsePrefix(text); err == nil {
			out = append(out, network.Masked())
		}
	}
	return out
}

func convertService(svc *corev1.Service) *registry.Service {
	policy := svc.Spec.InternalTrafficPolicy
	out := &registry.Service{
		Meta:       convertMeta(svc),
		PreferIPv6: len(svc.Spec.IPFamilies) > 0 && svc.Spec.IPFamilies[0] == corev1.IPv6Protocol,
		External:   svc.Spec.Type == corev1.ServiceTypeExternalName,
		Alias:      strings.ToLower(strings.TrimSuffix(svc.Spec.ExternalName, ".")),
		NodeLocal:  policy != nil && *policy == corev1.ServiceInternalTrafficPolicyLocal,
		Selected:   len(svc.Spec.Selector) > 0, // with none, nobody makes slices but by hand
		Selector:   registry.NewLabels(svc.Spec.Selector),
	}
	out.Addresses, out.Outer = parseIPs(clusterIPs(svc)), parseIPs(outerIPs(svc))
	for i := range svc.Spec.Ports {
		p := &svc.Spec.Ports[i]
		if !isTCP(p.Protocol) || p.Port <= 0 || p.Port > 65535 {
			continue
		}
		port := registry.ServicePort{
			Name: p.Name, Number: uint16(p.Port), Target: targetOf(p),
		}
		if p.AppProtocol != nil {
			port.AppProtocol = *p.AppProtocol
		}
		out.Ports = append(out.Ports, port)
	}
	return out
}

func targetOf(p *corev1.ServicePort) registry.NamedPort {
	if p.TargetPort.Type == intstr.String {
		return registry.NamedPort{Name: p.TargetPort.StrVal}
	}
	return registry.NamedPort{Number: uint16(cmp.Or(p.TargetPort.IntVal, p.Port))}
}

func clusterIPs(svc *corev1.Service) []string {
	if len(svc.Spec.ClusterIPs) > 0 {
		return svc.Spec.ClusterIPs
	}
	return []string{svc.Spec.ClusterIP} // the API server fills ClusterIPs, and files have none
}

// outerIPs are the addresses beside the cluster IPs at which kube-proxy, too, has the service. What
// is for a load balancer that wants to see it (mode Proxy) goes past: it may end TLS, or write a
// PROXY header.
func outerIPs(svc *corev1.Service) []string {
	out := slices.Clone(svc.Spec.ExternalIPs)
	for _, in := range svc.Status.LoadBalancer.Ingress {
		if in.IPMode == nil || *in.IPMode != corev1.LoadBalancerIPModeProxy {
			out = append(out, in.IP)
		}
	}
	return out
}

func isTCP(p corev1.Protocol) bool { return p == "" || p == corev1.ProtocolTCP }

func convertPod(pod *corev1.Pod) *registry.Workload {
	kind, owner := ownerOf(pod)
	out := &registry.Workload{
		Meta: convertMeta(pod), UID: string(pod.UID), Kind: kind, Owner: owner,
		ServiceAccount: cmp.Or(pod.Spec.ServiceAccountName, "default"),
		Node:           pod.Spec.NodeName, Addresses: podIPs(pod),
		HostNetwork: pod.Spec.HostNetwork,
		Terminating: pod.DeletionTimestamp != nil,
		Ended: pod.Status.Phase == corev1.PodSucceeded ||
			pod.Status.Phase == corev1.PodFailed,
	}
	for c := range containersOf(pod) {
		out.HasProxy = out.HasProxy || c.Name == names.ProxyContainer
		for _, p := range c.Ports {
			if isTCP(p.Protocol) {
				out.Ports = append(out.Ports,
					registry.NamedPort{Name: p.Name, Number: uint16(p.ContainerPort)})
			}
		}
	}
	out.Probes = probesOf(pod, out)
	return out
}

// containersOf lists a pod's containers, and then those that run before them or beside them.
func containersOf(pod *corev1.Pod) func(yield func(*corev1.Container) bool) {
	return func(yield func(*corev1.Container) bool) {
		for _, containers := range [][]corev1.Container{pod.Spec.Containers,
			pod.Spec.InitContainers} {
			for i := range containers {
				if !yield(&containers[i]) {
					return
				}
			}
		}
	}
}

// ownerOf names what a pod is part of. A Deployment's ReplicaSets are called after it and their
// template's hash; with the hash in a label, no ReplicaSet needs to be watched.
func ownerOf(pod *corev1.Pod) (kind, name string) {
	kind, name = "pod", pod.Name
	for _, owner := range pod.OwnerReferences {
		if owner.Controller == nil || !*owner.Controller || owner.Kind == "Node" {
			continue // a static pod belongs to its node, which is no workload
		}
		kind, name = strings.ToLower(owner.Kind), owner.Name
		if of, ok := cronJobOf(owner, pod.CreationTimestamp.Time); ok {
			kind, name = "cronjob", of
		}
		hash := pod.Labels[labelTemplateHash]
		deployment, ok := strings.CutSuffix(owner.Name, "-"+hash)
		if owner.Kind == "ReplicaSet" && ok && hash != "" {
			kind, name = "deployment", deployment
		}
	}
	return kind, name
}

// cronJobOf names the CronJob that a Job is a run of. Kubernetes calls a run after the minute that
// it was due at, counted since 1970; so no Job needs to be watched. A number that is not near the
// pod's creation is part of a name that somebody chose.
func cronJobOf(owner metav1.OwnerReference, created time.Time) (name string, ok bool) {
	const latest = 24 * time.Hour // it may begin after it was due, or the pod replace another
	i := strings.LastIndexByte(owner.Name, '-')
	if owner.Kind != "Job" || i <= 0 {
		return "", false
	}
	minute, err := strconv.ParseInt(owner.Name[i+1:], 10, 32)
	if err != nil {
		return "", false
	}
	age := created.Sub(time.Unix(minute*60, 0))
	return owner.Name[:i], -time.Minute <= age && age <= latest
}

func podIPs(pod *corev1.Pod) []netip.Addr {
	var out []netip.Addr
	for _, text := range append([]corev1.PodIP{{IP: pod.Status.PodIP}}, pod.Status.PodIPs...) {
		if addr, ok := parseIP(text.IP); ok && !slices.Contains(out, addr) {
			out = append(out, addr)
		}
	}
	return out
}

// Workload is what destination makes of a pod of this spec.
func Workload(spec corev1.PodSpec) *registry.Workload {
	return convertPod(&corev1.Pod{Spec: spec})
}

// probesOf lists the paths at which the kubelet, which has no certificate, asks how a pod is, or
// tells it that it has begun or is to end.
func probesOf(pod *corev1.Pod, w *registry.Workload) []registry.Probe {
	var out []registry.Probe
	add := func(p registry.Probe) {
		if p != (registry.Probe{}) && !slices.Contains(out, p) {
			out = append(out, p)
		}
	}
	for c := range containersOf(pod) {
		for _, probe := range []*corev1.Probe{c.LivenessProbe, c.ReadinessProbe, c.StartupProbe} {
			add(convertProbe(probe, w))
		}
		for _, hook := range hooksOf(c) {
			add(convertGet(hook.HTTPGet, w))
		}
	}
	slices.SortFunc(out, func(a, b registry.Probe) int {
		return cmp.Or(cmp.Compare(a.Port, b.Port), cmp.Compare(a.Path, b.Path))
	})
	return out
}

func hooksOf(c *corev1.Container) (out []*corev1.LifecycleHandler) {
	if c.Lifecycle == nil {
		return nil
	}
	for _, hook := range []*corev1.LifecycleHandler{c.Lifecycle.PostStart, c.Lifecycle.PreStop} {
		if hook != nil {
			out = append(out, hook)
		}
	}
	return out
}

func convertProbe(probe *corev1.Probe, w *registry.Workload) registry.Probe {
	switch {
	case probe == nil:
		return registry.Probe{}
	case probe.GRPC != nil:
		return registry.Probe{Path: grpcHealthPath, Port: uint16(probe.GRPC.Port)}
	}
	return convertGet(probe.HTTPGet, w)
}

func convertGet(get *corev1.HTTPGetAction, w *registry.Workload) registry.Probe {
	if get == nil {
		return registry.Probe{}
	}
	out := registry.Probe{Port: uint16(get.Port.IntVal)}
	if get.Port.Type == intstr.String {
		out.Port = w.Port(get.Port.StrVal)
	}
	if out.TLS = get.Scheme == corev1.URISchemeHTTPS; !out.TLS {
		out.Path = probedPath(get.Path)
	}
	return out
}

// probedPath is how the kubelet asks for a probe's path, but for the query: it makes a URL of it.
func probedPath(path string) string {
	u, err := url.Parse(path)
	if err != nil {
		u = &url.URL{Path: path}
	}
	path = u.EscapedPath()
	if !strings.HasPrefix(path, "/") {
		return "/" + path
	}
	return path
}

func convertSlice(slice *discoveryv1.EndpointSlice) *registry.Slice {
	service := slice.Labels[discoveryv1.LabelServiceName]
	out := &registry.Slice{
		Meta:    convertMeta(slice),
		Service: registry.Name{Namespace: slice.Namespace, Name: service},
	}
	switch slice.AddressType {
	case discoveryv1.AddressTypeIPv4:
		out.Family = registry.IPv4
	case discoveryv1.AddressTypeIPv6:
		out.Family = registry.IPv6
	}
	for _, p := range slice.Ports {
		if port, ok := convertSlicePort(p); ok {
			out.Ports = append(out.Ports, port)
		}
	}
	for i := range slice.Endpoints {
		out.Endpoints = append(out.Endpoints, convertEndpoint(slice, &slice.Endpoints[i]))
	}
	return out
}

func convertSlicePort(p discoveryv1.EndpointPort) (registry.NamedPort, bool) {
	if p.Port == nil || *p.Port <= 0 || *p.Port > 65535 ||
		(p.Protocol != nil && !isTCP(*p.Protocol)) {
		return registry.NamedPort{}, false
	}
	return registry.NamedPort{Name: deref(p.Name), Number: uint16(*p.Port)}, true
}

// convertEndpoint keeps the first address: all addresses of one endpoint are the same target, and
// kube-proxy takes no other either.
func convertEndpoint(slice *discoveryv1.EndpointSlice, ep *discoveryv1.Endpoint) registry.Endpoint {
	ready := ep.Conditions.Ready == nil || *ep.Conditions.Ready
	out := registry.Endpoint{
		Hostname: deref(ep.Hostname), Node: deref(ep.NodeName), Zone: deref(ep.Zone),
		Ready: ready, Serving: ready, Terminating: deref(ep.Conditions.Terminating),
	}
	if serving := ep.Conditions.Serving; serving != nil {
		out.Serving = *serving
	}
	if len(ep.Addresses) > 0 {
		out.Address, _ = parseIP(ep.Addresses[0])
	}
	out.Hints = convertHints(ep.Hints)
	if ep.TargetRef != nil && ep.TargetRef.Kind == "Pod" {
		// A slice that names a pod of another namespace was not made by Kubernetes: whoever
		// writes slices in one namespace must not borrow the identity of a pod in another.
		out.Workload = registry.Name{Namespace: slice.Namespace, Name: ep.TargetRef.Name}
		out.WorkloadUID = string(ep.TargetRef.UID)
	}
	return out
}

// convertHints is nil for hints that say nothing, as for none.
func convertHints(hints *discoveryv1.EndpointHints) *registry.Hints {
	if hints == nil || len(hints.ForZones)+len(hints.ForNodes) == 0 {
		return nil
	}
	out := &registry.Hints{}
	for _, zone := range hints.ForZones {
		out.Zones = append(out.Zones, zone.Name)
	}
	for _, node := range hints.ForNodes {
		out.Nodes = append(out.Nodes, node.Name)
	}
	return out
}

// convertProfile also judges a profile: not all that is wrong can be told to the API server.
func convertProfile(p *crd.ServiceProfile) *registry.Policy {
	p.Default()
	body := &crd.ServiceProfile{ObjectMeta: named(p), Spec: p.Spec}
	out := &registry.Policy{
		Meta: convertMeta(p), Kind: crd.Kind, Generation: p.Generation, Body: body,
		Reported: registry.Status{Conditions: p.Status.Conditions, Counts: p.Status.Counts()},
	}
	if err := p.Validate().ToAggregate(); err != nil {
		out.Problem = err.Error()
	}
	return out
}

func deref[T any](p *T) (v T) {
	if p != nil {
		v = *p
	}
	return v
}

// parseIPs leaves out what is no address.
func parseIPs(all []string) (out []netip.Addr) {
	for _, text := range all {
		if addr, ok := parseIP(text); ok {
			out = append(out, addr)
		}
	}
	return out
}

// parseIP takes an address in any spelling to its one value, and says no to what is none.
func parseIP(text string) (netip.Addr, bool) {
	addr, err := netip.ParseAddr(text)
	if err != nil || addr.Zone() != "" {
		return netip.Addr{}, false
	}
	return addr.Unmap(), true
}
