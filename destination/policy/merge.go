package policy

import (
	"cmp"
	"slices"

	"github.com/tulle-mesh/tulle/destination/crd"
)

// Policy is what counts for one caller of one service's port.
type Policy struct {
	Kind    string // of the closed routes whose the rules are; "": of none
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

// Merge returns what counts of several routes for callers in a namespace of one parent's port, or
// nil where nothing does. The routes are of the caller's namespace and of the parent's own.
//
// Routes of the caller's own namespace (a consumer's) beat those of any other (the producer's), and
// replace them as a whole. Among the routes that are left, the rules of the oldest come first; of
// equally old ones, those whose namespace and name come first in the alphabet. These are the rules
// of the Gateway API (GEP-1426, GEP-1294, and the API's rules on conflicts). What a policy has one
// of is taken from the first route that has it.
//
// Closed routes, the Gateway API's, are a group of their own. Where there are any, the rules are
// theirs alone, in the order of their ranks first, and what they do not match is not found. What
// they cannot say (budgets, opaque ports) still comes from the others. Where they are about
// connections, the default is for requests on connections that were there before.
func Merge(routes []Route, parent Parent, callerNamespace string) *Policy {
	open, closed := covering(routes, parent)
	open, closed = counting(open, callerNamespace), ofOneKind(counting(closed, callerNamespace))
	if len(open)+len(closed) == 0 {
		return nil
	}
	out := &Policy{}
	for _, r := range open {
		out.add(r)
	}
	if len(closed) > 0 {
		out.close(closed)
	}
	return out
}

// covering returns the routes that are about a port, those of the Gateway API apart.
func covering(routes []Route, parent Parent) (open, closed []Route) {
	for _, r := range routes {
		switch {
		case !r.covers(parent):
		case r.Closed:
			closed = append(closed, r)
		default:
			open = append(open, r)
		}
	}
	return open, closed
}

func (r Route) covers(parent Parent) bool {
	return slices.ContainsFunc(r.Parents, func(p Parent) bool { return p.Covers(parent) })
}

// counting returns those of several routes that count for callers in a namespace, in their order.
func counting(routes []Route, callerNamespace string) []Route {
	own := func(r Route) bool { return r.Origin.Namespace == callerNamespace }
	if slices.ContainsFunc(routes, own) {
		routes = slices.DeleteFunc(routes, func(r Route) bool { return !own(r) })
	}
	slices.SortStableFunc(routes, compare)
	return routes
}

// precedence is that of the kinds of routes of which a port can have one (GEP-1294, conflicting
// routes).
var precedence = []string{crd.GRPCRoute, crd.HTTPRoute, crd.TLSRoute, crd.TCPRoute}

// ofOneKind returns the routes of the one kind that a port can have.
func ofOneKind(routes []Route) []Route {
	for _, kind := range precedence {
		is := func(r Route) bool { return r.Origin.Kind == kind }
		if slices.ContainsFunc(routes, is) {
			return slices.DeleteFunc(routes, func(r Route) bool { return !is(r) })
		}
	}
	return routes
}

func compare(a, b Route) int {
	return cmp.Or(a.Created.Compare(b.Created), cmp.Compare(a.Origin.path(), b.Origin.path()))
}

func (o Origin) path() string { return o.Namespace + "/" + o.Name }

func (p *Policy) add(r Route) {
	for _, rule := range r.Rules {
		p.Rules = append(p.Rules, OriginRule{rule, r.Origin})
	}
	if len(p.Default) == 0 {
		p.Default = r.Default
	}
	p.Budget = cmp.Or(p.Budget, r.Budget)
	p.Opaque = append(p.Opaque, r.Opaque...)
}

// unmatched names the rule for what no other rule of closed routes matches.
const unmatched = "unmatched"

// close puts the rules of closed routes, which are of one kind, in place of all others.
func (p *Policy) close(routes []Route) {
	p.Kind, p.Rules, p.Default = routes[0].Origin.Kind, nil, nil
	for _, r := range routes {
		p.add(r)
	}
	slices.SortStableFunc(p.Rules, func(a, b OriginRule) int {
		return slices.Compare(b.Rank[:], a.Rank[:])
	})
	nothing := []Backend{{Answer: answerNoMatch, Weight: 1}}
	switch n := len(p.Rules); {
	case p.Kind == crd.TLSRoute:
		p.Default = nothing
	case p.Kind == crd.TCPRoute:
		p.Default = p.Rules[0].Backends
	case n == 0 || p.Rules[n-1].Match != nil:
		p.Rules = append(p.Rules,
			OriginRule{Rule{Name: unmatched, Backends: nothing}, routes[0].Origin})
	}
}

// Uses says whether some rule is an object's.
func (p *Policy) Uses(o Origin) bool {
	return p != nil &&
		slices.ContainsFunc(p.Rules, func(r OriginRule) bool { return r.Origin == o })
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
