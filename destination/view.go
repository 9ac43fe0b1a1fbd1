package destination

import (
	"net/netip"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/tulle-mesh/tulle/destination/crd"
)

// Mesh is what destination is told about the mesh, and cannot read from the cluster.
type Mesh struct {
	TrustDomain   spiffeid.TrustDomain
	ClusterDomain string         // "cluster.local"
	Networks      []netip.Prefix // of pods and services, beside those that nodes name: unknown addresses in them are refused
	Strict        bool           // the mode of workloads that say none
	LocalMesh     bool           // believe tulle.dev/mesh-address: a mesh on one machine, from files
}

// view reads the state and remembers what it read, so that the answer can be recomputed when, and only when, one of
// those topics is touched.
type view struct {
	state  *State // its lock is held for reading
	mesh   *Mesh
	topics map[topic]struct{}
}

func (s *State) read(mesh *Mesh, f func(*view)) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	f(&view{state: s, mesh: mesh, topics: map[topic]struct{}{}})
}

func (v *view) reads(kind topicKind, name types.NamespacedName) {
	v.topics[topic{kind: kind, name: name}] = struct{}{}
}

func (v *view) readsAddress(addr netip.Addr) {
	v.topics[topic{kind: topicAddress, addr: addr}] = struct{}{}
}

func (v *view) service(name types.NamespacedName) *corev1.Service {
	v.reads(topicService, name)
	return v.state.services[name]
}

func (v *view) serviceAt(addr netip.Addr) *corev1.Service {
	v.readsAddress(addr)
	for _, name := range names(v.state.servicesByIP, addr) {
		return v.service(name)
	}
	return nil
}

// slices returns a service's, in one order on every replica.
func (v *view) slices(service types.NamespacedName) []*discoveryv1.EndpointSlice {
	v.reads(topicEndpoints, service)
	return v.slicesNamed(names(v.state.slicesByService, service))
}

// slicesOf returns those that name a pod.
func (v *view) slicesOf(pod types.NamespacedName) []*discoveryv1.EndpointSlice {
	v.reads(topicPod, pod)
	return v.slicesNamed(names(v.state.slicesByPod, pod))
}

func (v *view) slicesNamed(sorted []types.NamespacedName) []*discoveryv1.EndpointSlice {
	out := make([]*discoveryv1.EndpointSlice, 0, len(sorted))
	for _, name := range sorted {
		out = append(out, v.state.slices[name])
	}
	return out
}

func (v *view) pod(name types.NamespacedName) *corev1.Pod {
	v.reads(topicPod, name)
	return v.state.pods[name]
}

// podAt returns the pod that has an address now: of two, for a moment, the one that stays, or else the newer.
func (v *view) podAt(addr netip.Addr) *corev1.Pod {
	v.readsAddress(addr)
	var best *corev1.Pod
	for _, name := range names(v.state.podsByIP, addr) {
		if pod := v.state.pods[name]; best == nil || succeeds(pod, best) {
			best = pod
		}
	}
	if best != nil {
		v.reads(topicPod, nameOf(best))
	}
	return best
}

func succeeds(pod, other *corev1.Pod) bool {
	if leaving, otherLeaving := pod.DeletionTimestamp != nil, other.DeletionTimestamp != nil; leaving != otherLeaving {
		return otherLeaving
	}
	return pod.CreationTimestamp.After(other.CreationTimestamp.Time.Add(time.Nanosecond))
}

func (v *view) node(name string) *corev1.Node {
	v.reads(topicNode, types.NamespacedName{Name: name})
	return v.state.nodes[name]
}

func (v *view) isNode(addr netip.Addr) bool {
	v.readsAddress(addr)
	return len(v.state.nodesByIP[addr]) > 0
}

func (v *view) namespace(name string) *corev1.Namespace {
	v.reads(topicNamespace, types.NamespacedName{Name: name})
	return v.state.namespaces[name]
}

// profile returns the copy that counts for a caller: its own namespace's before the service's.
func (v *view) profile(authority, callerNamespace, serviceNamespace string) *crd.ServiceProfile {
	for _, ns := range []string{callerNamespace, serviceNamespace} {
		name := types.NamespacedName{Namespace: ns, Name: authority}
		v.reads(topicProfile, name)
		if profile := v.state.profiles[name]; profile != nil {
			return profile
		}
	}
	return nil
}

// inNetworks says whether an address is one that only the cluster can have given.
func (v *view) inNetworks(addr netip.Addr) bool {
	for _, network := range v.mesh.Networks {
		if network.Contains(addr) {
			return true
		}
	}
	v.reads(topicNetworks, types.NamespacedName{})
	for network := range v.state.nodesByNetwork {
		if network.Contains(addr) {
			return true
		}
	}
	return false
}

// annotation returns the nearest that is set, and whether any is: the object's own, then its namespace's.
func (v *view) annotation(own map[string]string, namespace, key string) (string, bool) {
	if value, ok := own[key]; ok {
		return value, true
	}
	if ns := v.namespace(namespace); ns != nil {
		value, ok := ns.Annotations[key]
		return value, ok
	}
	return "", false
}
