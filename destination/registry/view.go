package registry

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"
)

// View reads the registry and remembers what it read, so that an answer can be recomputed when,
// and only when, one of those topics is touched. It is valid within one call of Read.
type View struct {
	registry *Registry // its lock is held for reading
	topics   map[Topic]struct{}
}

// Read calls f with the registry as it is. Nothing changes meanwhile.
func (r *Registry) Read(f func(*View)) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	f(&View{registry: r, topics: map[Topic]struct{}{}})
}

// Topics is what has been read so far.
func (v *View) Topics() map[Topic]struct{} { return v.topics }

func (v *View) reads(kind topicKind, name Name) {
	v.topics[Topic{kind: kind, name: name}] = struct{}{}
}

func (v *View) readsAddress(addr netip.Addr) {
	v.topics[Topic{kind: topicAddress, addr: addr}] = struct{}{}
}

// Service returns a service by its name, or nil.
func (v *View) Service(name Name) *Service {
	v.reads(topicService, name)
	return v.registry.services.get(name)
}

// ServicesIn returns a namespace's services, in no order.
func (v *View) ServicesIn(namespace string) []*Service {
	v.reads(topicServices, Name{Namespace: namespace})
	var out []*Service
	for name := range v.registry.servicesIn[namespace] {
		out = append(out, v.registry.services.get(name))
	}
	return out
}

// ServiceAt returns the service that has a virtual address, or nil.
func (v *View) ServiceAt(addr netip.Addr) *Service {
	v.readsAddress(addr)
	for _, name := range sorted(v.registry.servicesByAddress, addr, CompareNames) {
		return v.Service(name)
	}
	return nil
}

// ServiceBehind returns the service that an address beside its own leads to at a port, or nil.
func (v *View) ServiceBehind(addr netip.AddrPort) *Service {
	v.readsAddress(addr.Addr())
	for _, name := range sorted(v.registry.servicesByOuter, addr.Addr(), CompareNames) {
		if svc := v.Service(name); svc.Port(addr.Port()) != nil {
			return svc
		}
	}
	return nil
}

// ServiceNamed returns the service that a DNS name stands for, beside those that namespaces and
// names make, or nil.
func (v *View) ServiceNamed(name string) *Service {
	v.reads(topicHost, Name{Name: name})
	host := v.registry.hosts.get(Name{Name: name})
	if host == nil {
		return nil
	}
	return v.Service(host.Service)
}

// Slices returns a service's slices, in one order on every replica.
func (v *View) Slices(service Name) []*Slice {
	v.reads(topicEndpoints, service)
	return slicesOf(v, v.registry.slicesByService, service)
}

// Nearness says on what of a caller a service's endpoints depend: the most that any of its slices
// has hints by. That changes hardly ever, and who reads no more is not told of each endpoint.
func (v *View) Nearness(service Name) Nearness {
	v.reads(topicNearness, service)
	near := Anywhere
	for key := range v.registry.slicesByService[service] {
		near = max(near, v.registry.slices.get(key).nearness())
	}
	return near
}

// Part is what a source has of a service.
type Part struct {
	Source    string `json:"source"`
	Defines   bool   `json:"defines"`   // its word on ports and addresses counts
	Endpoints int    `json:"endpoints"` // ready or not
}

// Parts says who knows of a service what: first who defines it, then the others in the order of
// their names. It is for people, who ask once, and adds no topic.
func (v *View) Parts(service Name) []Part {
	parts := map[string]Part{}
	for i, s := range v.registry.services.objects[service] {
		parts[s.owner.name] = Part{Source: s.owner.name, Defines: i == 0}
	}
	for key := range v.registry.slicesByService[service] {
		part := parts[key.owner]
		part.Source = key.owner
		part.Endpoints += len(v.registry.slices.get(key).Endpoints)
		parts[key.owner] = part
	}
	return slices.SortedFunc(maps.Values(parts), func(a, b Part) int {
		switch {
		case a.Defines:
			return -1
		case b.Defines:
			return 1
		}
		return cmp.Compare(a.Source, b.Source)
	})
}

// SlicesOf returns the slices that name a workload.
func (v *View) SlicesOf(workload Name) []*Slice {
	v.reads(topicWorkload, workload)
	return slicesOf(v, v.registry.slicesByWorkload, workload)
}

// SlicesAt returns the slices that list an address.
func (v *View) SlicesAt(addr netip.Addr) []*Slice {
	v.readsAddress(addr)
	return slicesOf(v, v.registry.slicesByAddress, addr)
}

func slicesOf[K comparable](v *View, x index[K, sliceKey], key K) []*Slice {
	keys := sorted(x, key, compareSlices)
	out := make([]*Slice, 0, len(keys))
	for _, key := range keys {
		out = append(out, v.registry.slices.get(key))
	}
	return out
}

// Workload returns a workload by its name, or nil.
func (v *View) Workload(name Name) *Workload {
	v.reads(topicWorkload, name)
	return v.registry.workloads.get(name)
}

// Instances are the workloads of an owner that run, those with a proxy first, and then by their
// names. It looks at all there are: it is for people, who ask once, and adds no topic.
func (v *View) Instances(namespace, kind, owner string) (out []*Workload) {
	for name := range v.registry.workloads.objects {
		w := v.registry.workloads.get(name)
		if name.Namespace == namespace && w.Kind == kind && w.Owner == owner && !w.Ended &&
			!w.Terminating {
			out = append(out, w)
		}
	}
	slices.SortFunc(out, func(a, b *Workload) int {
		if a.HasProxy != b.HasProxy {
			if a.HasProxy {
				return -1
			}
			return 1
		}
		return cmp.Compare(a.Name, b.Name)
	})
	return out
}

// Member returns the workload that an endpoint of a service names, or nil. Whoever read the
// service's slices reads it again when one of their workloads changes, so no topic is added.
func (v *View) Member(ep *Endpoint) *Workload { return v.registry.workloads.get(ep.Workload) }

// WorkloadAt returns the workload that has an address now: of two, for a moment, the one that
// stays, or else the newer.
func (v *View) WorkloadAt(addr netip.Addr) *Workload {
	v.readsAddress(addr)
	var best *Workload
	for _, name := range sorted(v.registry.workloadsByAddress, addr, CompareNames) {
		if w := v.registry.workloads.get(name); best == nil || succeeds(w, best) {
			best = w
		}
	}
	if best != nil {
		v.reads(topicWorkload, best.Key())
	}
	return best
}

func succeeds(w, other *Workload) bool {
	if w.Terminating != other.Terminating {
		return other.Terminating
	}
	return w.Created.After(other.Created)
}

// Node returns a node by its name, or nil.
func (v *View) Node(name string) *Node {
	v.reads(topicNode, Name{Name: name})
	return v.registry.nodes.get(Name{Name: name})
}

// IsNode says whether a node has an address.
func (v *View) IsNode(addr netip.Addr) bool {
	v.readsAddress(addr)
	return len(v.registry.nodesByAddress[addr]) > 0
}

// InNodeNetwork says whether an address lies in the network of some node's workloads.
func (v *View) InNodeNetwork(addr netip.Addr) bool {
	v.reads(topicNetworks, Name{})
	for network := range v.registry.nodesByNetwork {
		if network.Contains(addr) {
			return true
		}
	}
	return false
}

// InServiceNetwork says whether an address lies in a network of services, and whether the sources
// know any.
func (v *View) InServiceNetwork(addr netip.Addr) (in, known bool) {
	v.reads(topicNetworks, Name{})
	for name := range v.registry.networks.objects {
		for _, network := range v.registry.networks.get(name).Prefixes {
			if network.Contains(addr) {
				return true, true
			}
		}
	}
	return false, len(v.registry.networks.objects) > 0
}

// Namespace returns a namespace by its name, or nil.
func (v *View) Namespace(name string) *Namespace {
	v.reads(topicNamespace, Name{Name: name})
	return v.registry.namespaces.get(Name{Name: name})
}

// Policy returns a policy of any state, or nil. Whoever uses one must ask for its Problem.
func (v *View) Policy(ref PolicyRef) *Policy {
	v.topics[Topic{kind: topicPolicy, of: ref.Kind, name: ref.Name}] = struct{}{}
	return v.registry.policies.get(ref)
}

// UsersOf returns the policies that refer to one, in one order on every replica.
func (v *View) UsersOf(used PolicyRef) (out []*Policy) {
	v.topics[Topic{kind: topicUsers, of: used.Kind, name: used.Name}] = struct{}{}
	for _, ref := range sorted(v.registry.policiesByUse, used, comparePolicies) {
		out = append(out, v.registry.policies.get(ref))
	}
	return out
}

// Standing returns what proxies made of a policy, or nil while none has been sent any of it.
func (v *View) Standing(ref PolicyRef) *Standing {
	v.topics[Topic{kind: topicStanding, of: ref.Kind, name: ref.Name}] = struct{}{}
	return v.registry.standings.get(ref)
}

// Policies lists all policies, in one order on every replica.
func (v *View) Policies() []PolicyRef {
	v.reads(topicPolicies, Name{})
	return slices.SortedFunc(maps.Keys(v.registry.policies.objects), comparePolicies)
}

// PoliciesOn returns the policies of some kinds, or of all where none is named, that are attached
// to a service, of any state, in one order on every replica. Whoever uses one must ask for its
// Problem. A service without a name stands for its namespace.
func (v *View) PoliciesOn(service Name, kinds ...string) []*Policy {
	if len(kinds) == 0 {
		v.reads(topicTarget, service)
	}
	for _, kind := range kinds {
		v.topics[Topic{kind: topicTarget, of: kind, name: service}] = struct{}{}
	}
	refs := sorted(v.registry.policiesByTarget, service, comparePolicies)
	out := make([]*Policy, 0, len(refs))
	for _, ref := range refs {
		if len(kinds) == 0 || slices.Contains(kinds, ref.Kind) {
			out = append(out, v.registry.policies.get(ref))
		}
	}
	return out
}
