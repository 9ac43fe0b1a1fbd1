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
	topicServices            // those of the named namespace
	topicEndpoints           // of the named service: its slices, and the workloads in them
	topicNearness            // of the named service: by what its endpoints have hints
	topicWorkload            // the named workload, and which slices name it
	topicAddress             // which service, workload, node or slice has an address
	topicHost                // which service a DNS name stands for
	topicNamespace
	topicNode
	topicPolicy
	topicPolicies // which policies there are
	topicTarget   // the policies of a kind, or of all, that are attached to the named service
	topicUsers    // the policies that refer to the named policy
	topicStanding // what proxies made of the named policy
	topicNetworks // of workloads and of services
)

// Touched is the topics that changes have touched.
type Touched struct {
	Lost map[Topic]struct{} // of them something is gone that proxies must not use any longer
	Rest map[Topic]struct{}
}

// touch marks a topic. It is in Lost once one of the changes was a loss.
func (t *Touched) touch(topic Topic, lost bool) {
	if _, already := t.Lost[topic]; already {
		return
	}
	into := &t.Rest
	if lost {
		delete(t.Rest, topic)
		into = &t.Lost
	}
	if *into == nil {
		*into = map[Topic]struct{}{}
	}
	(*into)[topic] = struct{}{}
}

// touching marks what one change touches.
type touching struct {
	registry *Registry
	lost     bool
}

func (t touching) topic(kind topicKind, name Name) {
	t.registry.touched.touch(Topic{kind: kind, name: name}, t.lost)
}

func (t touching) addresses(all []netip.Addr) {
	for _, addr := range all {
		t.registry.touched.touch(Topic{kind: topicAddress, addr: addr}, t.lost)
	}
}

// servicesOf touches the endpoints of the services whose slices these are.
func (t touching) servicesOf(keys map[sliceKey]struct{}) {
	for key := range keys {
		t.topic(topicEndpoints, t.registry.slices.objects[key][0].object.Service)
	}
}

// Changed has one token while a topic has been touched since the last TakeTouched.
func (r *Registry) Changed() <-chan struct{} { return r.changed }

// TakeTouched returns the topics touched since the last call.
func (r *Registry) TakeTouched() Touched {
	r.mu.Lock()
	defer r.mu.Unlock()
	touched := r.touched
	r.touched = Touched{}
	return touched
}
