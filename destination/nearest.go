package destination

import (
	"slices"

	"github.com/tulle-mesh/tulle/destination/registry"
)

// nearest keeps the members that are for the caller, as kube-proxy does (KEP-2433, KEP-3015): those
// for its node if every member has hints by node and one is for it, else those for its zone by the
// same rule, else all. So when the last one for a zone is gone, or while only some slices have
// their hints, nobody is left without.
func (r clusterRef) nearest(all []member) []member {
	if r.near == registry.Anywhere {
		return all
	}
	nodes := func(h *registry.Hints) []string { return h.Nodes }
	zones := func(h *registry.Hints) []string { return h.Zones }
	if near := membersFor(all, r.node, nodes); len(near) > 0 {
		return near
	}
	if near := membersFor(all, r.zone, zones); len(near) > 0 {
		return near
	}
	return all
}

// membersFor returns those whose hints name a place; none, unless each has such hints.
func membersFor(
	all []member, place string, places func(*registry.Hints) []string,
) (near []member) {
	for _, m := range all {
		if m.hints == nil || len(places(m.hints)) == 0 {
			return nil
		}
		if slices.Contains(places(m.hints), place) {
			near = append(near, m)
		}
	}
	return near
}
