package registry

import (
	"net/netip"
	"slices"
)

// Each kind says here which topics a change of one of its objects touches, and whether something is
// lost by it: an endpoint that calls must not be sent to any longer, or what led there. A loss is
// told proxies at once, where other changes may wait for more of their kind.

func (r *Registry) touchServiceLocked(name Name, was, is *Service) {
	t := touching{r, was.loses(is)}
	t.topic(topicService, name)
	t.topic(topicServices, Name{Namespace: name.Namespace})
	for _, svc := range present(was, is) {
		t.addresses(svc.Addresses)
		t.addresses(svc.Outer)
	}
}

func (s *Service) loses(next *Service) bool {
	switch {
	case s == nil:
		return false
	case next == nil || s.External != next.External || s.Alias != next.Alias:
		return true
	}
	return lacks(next.Addresses, s.Addresses) || lacks(next.Outer, s.Outer) ||
		lacks(next.Ports, s.Ports)
}

func (r *Registry) touchHostLocked(name Name, was, is *Host) {
	lost := was != nil && (is == nil || is.Service != was.Service)
	touching{r, lost}.topic(topicHost, name)
}

func (r *Registry) touchSliceLocked(_ sliceKey, was, is *Slice) {
	t := touching{r, was.loses(is)}
	for _, slice := range present(was, is) {
		t.topic(topicEndpoints, slice.Service)
		if hinted(was, is) {
			t.topic(topicNearness, slice.Service)
		}
	}
	names := moved(was, is)
	for name := range names {
		t.topic(topicWorkload, name)
	}
	for _, slice := range present(was, is) {
		for i := range slice.Endpoints {
			// nobody's addresses are few, and all touched
			if ep := &slice.Endpoints[i]; ep.Workload.Name == "" || names[ep.Workload] {
				t.addresses([]netip.Addr{ep.Address})
			}
		}
	}
}

// hinted says whether a service has hints by another change than that of its endpoints.
func hinted(was, is *Slice) bool {
	if was != nil && is != nil && was.Service != is.Service {
		return was.nearness()+is.nearness() > Anywhere
	}
	return was.nearness() != is.nearness()
}

// loses says whether an endpoint that could be used is gone, or is not ready any longer.
func (s *Slice) loses(next *Slice) bool {
	if s == nil {
		return false
	}
	usable := map[netip.Addr]Name{}
	if next != nil && next.Service == s.Service && next.Target == s.Target &&
		slices.Equal(next.Ports, s.Ports) {
		for i := range next.Endpoints {
			if ep := &next.Endpoints[i]; ep.usable() {
				usable[ep.Address] = ep.Workload
			}
		}
	}
	return slices.ContainsFunc(s.Endpoints, func(ep Endpoint) bool {
		name, there := usable[ep.Address]
		return ep.usable() && (!there || name != ep.Workload)
	})
}

func (e *Endpoint) usable() bool { return e.Ready && !e.Terminating }

// moved returns the workloads for which it matters that a slice is another: those that entered or
// left it, or all where it is of another service or has other ports.
func moved(was, is *Slice) map[Name]bool {
	before, after := was.members(), is.members()
	if was != nil && is != nil && was.Service == is.Service && slices.Equal(was.Ports, is.Ports) {
		for name := range before {
			if after[name] {
				delete(before, name)
				delete(after, name)
			}
		}
	}
	for name := range after {
		before[name] = true
	}
	return before
}

func (s *Slice) members() map[Name]bool {
	out := map[Name]bool{}
	if s == nil {
		return out
	}
	for i := range s.Endpoints {
		if name := s.Endpoints[i].Workload; name.Name != "" {
			out[name] = true
		}
	}
	return out
}

func (r *Registry) touchWorkloadLocked(name Name, was, is *Workload) {
	t := touching{r, was.loses(is)}
	t.topic(topicWorkload, name)
	t.servicesOf(r.slicesByWorkload[name])
	for _, w := range present(was, is) {
		t.addresses(w.own())
		for _, addr := range w.own() {
			t.servicesOf(r.slicesByAddress[addr])
		}
	}
}

func (w *Workload) loses(next *Workload) bool {
	switch {
	case w == nil:
		return false
	case next == nil || w.UID != next.UID || w.ServiceAccount != next.ServiceAccount:
		return true
	case next.Terminating && !w.Terminating, next.Ended && !w.Ended:
		return true
	}
	return lacks(next.Addresses, w.Addresses)
}

// own returns the addresses that are a workload's and nobody else's: not its node's, not those that
// may be another's already, and not loopback, which every workload of a mesh on one machine has.
func (w *Workload) own() []netip.Addr {
	if w.HostNetwork || w.Ended {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(w.Addresses), netip.Addr.IsLoopback)
}

func (r *Registry) touchNodeLocked(name Name, was, is *Node) {
	t := touching{registry: r}
	t.topic(topicNode, name)
	for _, node := range present(was, is) {
		t.addresses(node.Addresses)
		if len(node.Networks) > 0 {
			t.topic(topicNetworks, Name{})
		}
	}
}

func (r *Registry) touchNetworkLocked(Name, *Network, *Network) {
	touching{registry: r}.topic(topicNetworks, Name{})
}

func (r *Registry) touchNamespaceLocked(name Name, _, _ *Namespace) {
	touching{registry: r}.topic(topicNamespace, name)
}

func (r *Registry) touchPolicyLocked(ref PolicyRef, was, is *Policy) {
	lost := was != nil && is == nil
	r.touched.touch(Topic{kind: topicPolicy, of: ref.Kind, name: ref.Name}, lost)
	touching{registry: r}.topic(topicPolicies, Name{})
	if was.restates(is) {
		return
	}
	for _, p := range present(was, is) {
		for _, service := range p.Targets {
			touching{r, lost}.topic(topicTarget, service)
			r.touched.touch(Topic{kind: topicTarget, of: ref.Kind, name: service}, lost)
		}
		for _, used := range p.Uses {
			r.touched.touch(Topic{kind: topicUsers, of: used.Kind, name: used.Name}, false)
		}
	}
}

// restates says whether the next form of a policy's object asks for the same: its source counts the
// edits, and what it says of itself is none.
func (p *Policy) restates(next *Policy) bool {
	return p != nil && next != nil && p.Generation > 0 && p.Generation == next.Generation &&
		p.Created.Equal(next.Created)
}

func (r *Registry) touchStandingLocked(ref PolicyRef, _, _ *Standing) {
	r.touched.touch(Topic{kind: topicStanding, of: ref.Kind, name: ref.Name}, false)
}

// present returns those of the two that are there.
func present[T any](was, is *T) []*T {
	return slices.DeleteFunc([]*T{was, is}, func(obj *T) bool { return obj == nil })
}

// lacks says whether something of wanted is not in all.
func lacks[T comparable](all, wanted []T) bool {
	return slices.ContainsFunc(wanted, func(one T) bool { return !slices.Contains(all, one) })
}
