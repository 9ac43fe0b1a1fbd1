package registry

import (
	"cmp"
	"net/netip"
	"slices"
	"sync"
)

// Registry is what is known of the cluster.
type Registry struct {
	// mu guards everything below. It is held for map operations and for computing one answer,
	// never across I/O.
	mu sync.RWMutex

	services   table[Name, *Service]
	hosts      table[Name, *Host]
	slices     table[sliceKey, *Slice]
	workloads  table[Name, *Workload]
	nodes      table[Name, *Node]
	networks   table[Name, *Network]
	namespaces table[Name, *Namespace]
	policies   table[PolicyRef, *Policy]
	standings  table[PolicyRef, *Standing]
	healths    table[Name, *Health]

	servicesIn         index[string, Name] // a namespace
	servicesByAddress  index[netip.Addr, Name]
	servicesByOuter    index[netip.Addr, Name]
	workloadsByAddress index[netip.Addr, Name]
	slicesByService    index[Name, sliceKey]
	slicesByWorkload   index[Name, sliceKey]
	slicesByAddress    index[netip.Addr, sliceKey]
	nodesByAddress     index[netip.Addr, string]
	nodesByNetwork     index[netip.Prefix, string]
	policiesByTarget   index[Name, PolicyRef]
	policiesByUse      index[PolicyRef, PolicyRef]

	touched Touched
	changed chan struct{} // holds one token while touched is not empty
}

// sliceKey tells slices of one name apart by their owner: all of them count.
type sliceKey struct {
	name  Name
	owner string
}

func compareSlices(a, b sliceKey) int {
	return cmp.Or(CompareNames(a.name, b.name), cmp.Compare(a.owner, b.owner))
}

// New knows nothing.
func New() *Registry {
	r := &Registry{
		servicesIn:         index[string, Name]{},
		servicesByAddress:  index[netip.Addr, Name]{},
		servicesByOuter:    index[netip.Addr, Name]{},
		workloadsByAddress: index[netip.Addr, Name]{},
		slicesByService:    index[Name, sliceKey]{},
		slicesByWorkload:   index[Name, sliceKey]{},
		slicesByAddress:    index[netip.Addr, sliceKey]{},
		nodesByAddress:     index[netip.Addr, string]{},
		nodesByNetwork:     index[netip.Prefix, string]{},
		policiesByTarget:   index[Name, PolicyRef]{},
		policiesByUse:      index[PolicyRef, PolicyRef]{},

		changed: make(chan struct{}, 1),
	}
	r.services = newTable[Name](r.indexServiceLocked, r.touchServiceLocked)
	r.hosts = newTable[Name](nil, r.touchHostLocked)
	r.slices = newTable[sliceKey](r.indexSliceLocked, r.touchSliceLocked)
	r.workloads = newTable[Name](r.indexWorkloadLocked, r.touchWorkloadLocked)
	r.nodes = newTable[Name](r.indexNodeLocked, r.touchNodeLocked)
	r.networks = newTable[Name](nil, r.touchNetworkLocked)
	r.namespaces = newTable[Name](nil, r.touchNamespaceLocked)
	r.policies = newTable[PolicyRef](r.indexPolicyLocked, r.touchPolicyLocked)
	r.standings = newTable[PolicyRef](nil, r.touchStandingLocked)
	r.healths = newTable[Name](nil, r.touchHealthLocked)
	return r
}

// Owner is a source's hand in the registry.
type Owner struct {
	registry *Registry
	name     string
}

// Owner returns the hand of the source of that name. Each source must have a name of its own, the
// same on every replica.
func (r *Registry) Owner(name string) *Owner { return &Owner{registry: r, name: name} }

// Change is one step: what is set, and what is gone. Readers see all of it or nothing.
type Change struct {
	Set    []Object
	Delete []Object
}

// Apply makes a change to what the owner has put into the registry.
func (o *Owner) Apply(c Change) {
	r := o.registry
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, obj := range c.Delete {
		obj.updateLocked(r, o, false)
	}
	for _, obj := range c.Set {
		obj.updateLocked(r, o, true)
	}
	if len(r.touched.Lost)+len(r.touched.Rest) > 0 {
		select {
		case r.changed <- struct{}{}:
		default:
		}
	}
}

func (s *Service) updateLocked(r *Registry, o *Owner, present bool) {
	r.services.update(s.Key(), owned[*Service]{s, o}, present)
}

func (h *Host) updateLocked(r *Registry, o *Owner, present bool) {
	r.hosts.update(h.Key(), owned[*Host]{h, o}, present)
}

func (s *Slice) updateLocked(r *Registry, o *Owner, present bool) {
	r.slices.update(sliceKey{s.Key(), o.name}, owned[*Slice]{s, o}, present)
}

func (w *Workload) updateLocked(r *Registry, o *Owner, present bool) {
	r.workloads.update(w.Key(), owned[*Workload]{w, o}, present)
}

func (n *Node) updateLocked(r *Registry, o *Owner, present bool) {
	r.nodes.update(n.Key(), owned[*Node]{n, o}, present)
}

func (n *Network) updateLocked(r *Registry, o *Owner, present bool) {
	r.networks.update(n.Key(), owned[*Network]{n, o}, present)
}

func (n *Namespace) updateLocked(r *Registry, o *Owner, present bool) {
	r.namespaces.update(n.Key(), owned[*Namespace]{n, o}, present)
}

func (p *Policy) updateLocked(r *Registry, o *Owner, present bool) {
	r.policies.update(p.Ref(), owned[*Policy]{p, o}, present)
}

func (s *Standing) updateLocked(r *Registry, o *Owner, present bool) {
	r.standings.update(s.Ref(), owned[*Standing]{s, o}, present)
}

// owned is an object, and who put it there.
type owned[T Object] struct {
	object T
	owner  *Owner
}

// compare puts the object that counts first: the oldest, and of equals the one whose owner's name
// comes first. A service whose source knows no ports of it has no age either, and comes last: who
// gives a name ports and policies means the name to have them.
func (a owned[T]) compare(b owned[T]) int {
	return cmp.Or(cmp.Compare(a.rank(), b.rank()),
		a.object.meta().Created.Compare(b.object.meta().Created),
		cmp.Compare(a.owner.name, b.owner.name))
}

func (a owned[T]) rank() int {
	if svc, ok := any(a.object).(*Service); ok && svc.AnyPort {
		return 1
	}
	return 0
}

// table holds the objects of one kind. Of several owners' objects of one key, the first counts.
type table[K comparable, T Object] struct {
	objects map[K][]owned[T]
	index   func(key K, obj T, present bool) // keeps the indexes; nil where there are none
	touch   func(key K, was, is T)           // marks topics; one of the two may be nil
}

func newTable[K comparable, T Object](
	index func(key K, obj T, present bool), touch func(key K, was, is T),
) table[K, T] {
	return table[K, T]{objects: map[K][]owned[T]{}, index: index, touch: touch}
}

// update sets an owner's object, or removes it. What counted before leaves the indexes, what counts
// now enters them, and the topics are touched that depend on either.
func (t *table[K, T]) update(key K, one owned[T], present bool) {
	all := t.objects[key]
	had, was := len(all) > 0, t.get(key)
	if had && t.index != nil {
		t.index(key, was, false)
	}
	all = slices.DeleteFunc(all, func(o owned[T]) bool { return o.owner.name == one.owner.name })
	if present {
		i, _ := slices.BinarySearchFunc(all, one, owned[T].compare)
		all = slices.Insert(all, i, one)
	}
	t.objects[key] = all
	if len(all) == 0 {
		delete(t.objects, key)
	} else if t.index != nil {
		t.index(key, all[0].object, true)
	}
	if had || len(all) > 0 {
		t.touch(key, was, t.get(key))
	}
}

// get returns the object that counts, or nil.
func (t *table[K, T]) get(key K) (obj T) {
	if all := t.objects[key]; len(all) > 0 {
		return all[0].object
	}
	return obj
}

func (r *Registry) indexServiceLocked(name Name, svc *Service, present bool) {
	r.servicesIn.set(name.Namespace, name, present)
	for _, addr := range svc.Addresses {
		r.servicesByAddress.set(addr, name, present)
	}
	for _, addr := range svc.Outer {
		r.servicesByOuter.set(addr, name, present)
	}
}

func (r *Registry) indexSliceLocked(key sliceKey, slice *Slice, present bool) {
	r.slicesByService.set(slice.Service, key, present)
	for i := range slice.Endpoints {
		ep := &slice.Endpoints[i]
		if ep.Workload.Name != "" {
			r.slicesByWorkload.set(ep.Workload, key, present)
		}
		if ep.Address.IsValid() {
			r.slicesByAddress.set(ep.Address, key, present)
		}
	}
}

func (r *Registry) indexWorkloadLocked(name Name, w *Workload, present bool) {
	for _, addr := range w.own() {
		r.workloadsByAddress.set(addr, name, present)
	}
}

func (r *Registry) indexNodeLocked(_ Name, node *Node, present bool) {
	for _, addr := range node.Addresses {
		r.nodesByAddress.set(addr, node.Name, present)
	}
	for _, network := range node.Networks {
		r.nodesByNetwork.set(network, node.Name, present)
	}
}

func (r *Registry) indexPolicyLocked(ref PolicyRef, p *Policy, present bool) {
	for _, service := range p.Targets {
		r.policiesByTarget.set(service, ref, present)
	}
	for _, used := range p.Uses {
		r.policiesByUse.set(used, ref, present)
	}
}
