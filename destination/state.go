package destination

import (
	"errors"
	"fmt"
	"net/netip"
	"sync"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/tulle-mesh/tulle/destination/crd"
)

// State is what destination knows of the cluster. A Source writes it, answers read it. The objects in it are shared with
// the source and never changed.
type State struct {
	mu sync.RWMutex // guards everything below; held for map operations and for computing one answer, never across I/O

	services   map[types.NamespacedName]*corev1.Service
	slices     map[types.NamespacedName]*discoveryv1.EndpointSlice
	pods       map[types.NamespacedName]*corev1.Pod
	nodes      map[string]*corev1.Node
	namespaces map[string]*corev1.Namespace
	profiles   map[types.NamespacedName]*crd.ServiceProfile // the valid ones

	servicesByIP    index[netip.Addr, types.NamespacedName]
	podsByIP        index[netip.Addr, types.NamespacedName]
	slicesByService index[types.NamespacedName, types.NamespacedName]
	slicesByPod     index[types.NamespacedName, types.NamespacedName]
	slicesByIP      index[netip.Addr, types.NamespacedName]
	nodesByIP       index[netip.Addr, string]
	nodesByNetwork  index[netip.Prefix, string]

	touched map[topic]struct{} // since the hub last looked
	changed chan struct{}      // holds one token while touched is not empty
}

// topic is a part of the state that an answer may depend on.
type topic struct {
	kind topicKind
	name types.NamespacedName
	addr netip.Addr
}

type topicKind uint8

const (
	topicService   topicKind = iota
	topicEndpoints           // of the named service: its slices, and the pods in them
	topicPod                 // the named pod, and which slices name it
	topicAddress             // which service, pod or node has an address
	topicNamespace
	topicNode
	topicProfile
	topicNetworks
)

// NewState knows nothing.
func NewState() *State {
	return &State{
		services:   map[types.NamespacedName]*corev1.Service{},
		slices:     map[types.NamespacedName]*discoveryv1.EndpointSlice{},
		pods:       map[types.NamespacedName]*corev1.Pod{},
		nodes:      map[string]*corev1.Node{},
		namespaces: map[string]*corev1.Namespace{},
		profiles:   map[types.NamespacedName]*crd.ServiceProfile{},

		servicesByIP:    index[netip.Addr, types.NamespacedName]{},
		podsByIP:        index[netip.Addr, types.NamespacedName]{},
		slicesByService: index[types.NamespacedName, types.NamespacedName]{},
		slicesByPod:     index[types.NamespacedName, types.NamespacedName]{},
		slicesByIP:      index[netip.Addr, types.NamespacedName]{},
		nodesByIP:       index[netip.Addr, string]{},
		nodesByNetwork:  index[netip.Prefix, string]{},

		touched: map[topic]struct{}{},
		changed: make(chan struct{}, 1),
	}
}

// errKind is what Set and Delete say to an object of a kind that destination does not use.
var errKind = errors.New("destination does not use this kind")

// Change is one step of the state: what is set, and what is gone. Readers see all of it or nothing.
type Change struct {
	Set    []metav1.Object
	Delete []metav1.Object
}

// Apply makes a change.
func (s *State) Apply(c Change) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var errs []error
	for _, obj := range c.Delete {
		errs = append(errs, s.put(obj, false))
	}
	for _, obj := range c.Set {
		errs = append(errs, s.put(obj, true))
	}
	if len(s.touched) > 0 {
		select {
		case s.changed <- struct{}{}:
		default:
		}
	}
	return errors.Join(errs...)
}

func (s *State) put(obj metav1.Object, present bool) error {
	name := types.NamespacedName{Namespace: obj.GetNamespace(), Name: obj.GetName()}
	switch o := obj.(type) {
	case *corev1.Service:
		replace(s.services, name, o, present, s.indexService)
	case *discoveryv1.EndpointSlice:
		replace(s.slices, name, o, present, s.indexSlice)
	case *corev1.Pod:
		replace(s.pods, name, o, present, s.indexPod)
	case *corev1.Node:
		replace(s.nodes, name.Name, o, present, s.indexNode)
	case *corev1.Namespace:
		replace(s.namespaces, name.Name, o, present, s.indexNamespace)
	case *crd.ServiceProfile:
		replace(s.profiles, name, o, present && len(o.Validate()) == 0, s.indexProfile)
	default:
		return fmt.Errorf("%T %s: %w", obj, name, errKind)
	}
	return nil
}

// replace takes the old object out of the indexes and puts the new one in. Each touches what depends on it.
func replace[K, V comparable](all map[K]V, key K, obj V, present bool, reindex func(obj V, add bool)) {
	if old, ok := all[key]; ok {
		reindex(old, false)
		delete(all, key)
	}
	if present {
		all[key] = obj
		reindex(obj, true)
	}
}

// keep adds to an index or removes from it.
func keep[K, V comparable](x index[K, V], k K, v V, add bool) {
	if add {
		x.add(k, v)
		return
	}
	x.remove(k, v)
}

func (s *State) touch(kind topicKind, name types.NamespacedName) {
	s.touched[topic{kind: kind, name: name}] = struct{}{}
}

func (s *State) touchAddress(addr netip.Addr) {
	s.touched[topic{kind: topicAddress, addr: addr}] = struct{}{}
}

// takeTouched returns the topics touched since the last call.
func (s *State) takeTouched() map[topic]struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	touched := s.touched
	s.touched = map[topic]struct{}{}
	return touched
}

func (s *State) indexService(svc *corev1.Service, add bool) {
	name := nameOf(svc)
	s.touch(topicService, name)
	for _, text := range clusterIPs(svc) {
		if addr, ok := parseIP(text); ok {
			keep(s.servicesByIP, addr, name, add)
			s.touchAddress(addr)
		}
	}
}

func clusterIPs(svc *corev1.Service) []string {
	if len(svc.Spec.ClusterIPs) > 0 {
		return svc.Spec.ClusterIPs
	}
	return []string{svc.Spec.ClusterIP} // ClusterIPs is filled by the API server, and files have none
}

func (s *State) indexSlice(slice *discoveryv1.EndpointSlice, add bool) {
	name, service := nameOf(slice), serviceOf(slice)
	keep(s.slicesByService, service, name, add)
	s.touch(topicEndpoints, service)
	for i := range slice.Endpoints {
		ep := &slice.Endpoints[i]
		if pod, ok := podOf(slice, ep); ok {
			keep(s.slicesByPod, pod, name, add)
			s.touch(topicPod, pod)
		}
		for _, text := range ep.Addresses {
			if addr, ok := parseIP(text); ok {
				keep(s.slicesByIP, addr, name, add)
			}
		}
	}
}

func serviceOf(slice *discoveryv1.EndpointSlice) types.NamespacedName {
	return types.NamespacedName{Namespace: slice.Namespace, Name: slice.Labels[discoveryv1.LabelServiceName]}
}

// podOf returns the pod that an endpoint names.
func podOf(slice *discoveryv1.EndpointSlice, ep *discoveryv1.Endpoint) (types.NamespacedName, bool) {
	if ep.TargetRef == nil || ep.TargetRef.Kind != "Pod" {
		return types.NamespacedName{}, false
	}
	// A slice that names a pod of another namespace was not made by Kubernetes: whoever writes slices in one namespace
	// must not borrow the identity of a pod in another.
	return types.NamespacedName{Namespace: slice.Namespace, Name: ep.TargetRef.Name}, true
}

func (s *State) indexPod(pod *corev1.Pod, add bool) {
	name := nameOf(pod)
	s.touch(topicPod, name)
	s.touchServices(s.slicesByPod[name])
	if pod.Spec.HostNetwork || isOver(pod) {
		return // the address is the node's, or may be another pod's already
	}
	for _, addr := range podIPs(pod) {
		if addr.IsLoopback() {
			continue // a mesh on one machine: every pod has it
		}
		keep(s.podsByIP, addr, name, add)
		s.touchAddress(addr)
		s.touchServices(s.slicesByIP[addr])
	}
}

func (s *State) touchServices(slices map[types.NamespacedName]struct{}) {
	for name := range slices {
		s.touch(topicEndpoints, serviceOf(s.slices[name]))
	}
}

func podIPs(pod *corev1.Pod) []netip.Addr {
	var out []netip.Addr
	for _, text := range append([]corev1.PodIP{{IP: pod.Status.PodIP}}, pod.Status.PodIPs...) {
		if addr, ok := parseIP(text.IP); ok {
			out = append(out, addr)
		}
	}
	return out
}

// isOver is true of a pod whose containers have ended for good: its address is free for another.
func isOver(pod *corev1.Pod) bool {
	return pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed
}

func (s *State) indexNode(node *corev1.Node, add bool) {
	s.touch(topicNode, types.NamespacedName{Name: node.Name})
	for _, address := range node.Status.Addresses {
		if addr, ok := parseIP(address.Address); ok {
			keep(s.nodesByIP, addr, node.Name, add)
			s.touchAddress(addr)
		}
	}
	for _, text := range node.Spec.PodCIDRs {
		if network, err := netip.ParsePrefix(text); err == nil {
			keep(s.nodesByNetwork, network.Masked(), node.Name, add)
			s.touch(topicNetworks, types.NamespacedName{})
		}
	}
}

func (s *State) indexNamespace(ns *corev1.Namespace, _ bool) {
	s.touch(topicNamespace, types.NamespacedName{Name: ns.Name})
}

func (s *State) indexProfile(profile *crd.ServiceProfile, _ bool) {
	s.touch(topicProfile, nameOf(profile))
}

func nameOf(obj metav1.Object) types.NamespacedName {
	return types.NamespacedName{Namespace: obj.GetNamespace(), Name: obj.GetName()}
}
