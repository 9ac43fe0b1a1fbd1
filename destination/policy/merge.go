package policy

import (
	"cmp"
	"slices"

	"github.com/tulle-mesh/tulle/destination/crd"
)

// Policy is what counts for one caller of one service.
type Policy struct {
	Rules   []OriginRule
	Default []Backend
	Budget  *Budget
	Opaque  []crd.PortRange
}

// OriginRule is a rule and the object that it is of.
type OriginRule struct {
	Rule
	Origin Origin
}

// Merge returns what counts of several routes for callers in a namespace of one parent, or nil
// where nothing does.
//
// Routes of the caller's own namespace (a consumer's) beat those of any other (the producer's),
// and replace them as a whole. Among the routes that are left, the rules of the oldest come first;
// of equally old ones, those whose namespace and name come first in the alphabet. These are the
// rules of Gateway API (GEP-1426, and the API's rules on conflicts). What a policy has one of is
// taken from the first route that has it.
func Merge(routes []Route, parent Parent, callerNamespace string) *Policy {
	routes = slices.DeleteFunc(slices.Clone(routes), func(r Route) bool {
		return !slices.Contains(r.Parents, parent)
	})
	own := func(r Route) bool { return r.Origin.Namespace == callerNamespace }
	if slices.ContainsFunc(routes, own) {
		routes = slices.DeleteFunc(routes, func(r Route) bool { return !own(r) })
	}
	if len(routes) == 0 {
		return nil
	}
	out := &Policy{}
	for _, r := range slices.SortedStableFunc(slices.Values(routes), compare) {
		for _, rule := range r.Rules {
			out.Rules = append(out.Rules, OriginRule{rule, r.Origin})
		}
		if len(out.Default) == 0 {
			out.Default = r.Default
		}
		out.Budget = cmp.Or(out.Budget, r.Budget)
		out.Opaque = append(out.Opaque, r.Opaque...)
	}
	return out
}

func compare(a, b Route) int {
	return cmp.Or(a.Created.Compare(b.Created),
		cmp.Compare(a.Origin.Namespace, b.Origin.Namespace),
		cmp.Compare(a.Origin.Name, b.Origin.Name))
}

// DefaultBackends are for what no rule gives backends; none: the service itself.
func (p *Policy) DefaultBackends() []Backend {
	if p == nil {
		return nil
	}
	return p.Default
}

// IsOpaque says whether a port of the service carries no HTTP. A nil policy says nothing.
func (p *Policy) IsOpaque(port uint16) bool {
	return p != nil &&
		slices.ContainsFunc(p.Opaque, func(r crd.PortRange) bool { return r.Contains(port) })
}
