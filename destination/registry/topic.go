package registry

import "net/netip"

// Topic is a part of the registry that an answer may depend on. Whoever has read a topic reads it
// again when it is touched.
type Topic struct {
	kind topicKind
	name Name
	of   string // the kind of a policy
	addr netip.Addr
}

type topicKind uint8

const (
	topicService   topicKind = iota
	topicEndpoints           // of the named service: its slices, and the workloads in them
	topicWorkload            // the named workload, and which slices name it
	topicAddress             // which service, workload or node has an address
	topicNamespace
	topicNode
	topicPolicy
	topicPolicies // which policies there are
	topicNetworks
)

func (r *Registry) touch(kind topicKind, name Name) {
	r.touched[Topic{kind: kind, name: name}] = struct{}{}
}

func (r *Registry) touchAddress(addr netip.Addr) {
	r.touched[Topic{kind: topicAddress, addr: addr}] = struct{}{}
}

func (r *Registry) touchServices(slices map[sliceKey]struct{}) {
	for key := range slices {
		r.touch(topicEndpoints, r.slices.objects[key][0].object.Service)
	}
}

// Changed has one token while a topic has been touched since the last TakeTouched.
func (r *Registry) Changed() <-chan struct{} { return r.changed }

// TakeTouched returns the topics touched since the last call.
func (r *Registry) TakeTouched() map[Topic]struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	touched := r.touched
	r.touched = map[Topic]struct{}{}
	return touched
}
