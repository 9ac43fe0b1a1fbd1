package policy

import (
	"time"

	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/tulle-mesh/tulle/destination/api"
	"github.com/tulle-mesh/tulle/destination/crd"
)

// FromTLSRoute reads a route. Services have their names in a zone, such as cluster.local. Each of
// its hostnames makes a rule, for each has a rank of its own among all of the parent's.
func FromTLSRoute(in *gatewayv1.TLSRoute, created time.Time, zone string) Route {
	r := newReader(object{
		kind: crd.TLSRoute, meta: &in.ObjectMeta, parents: in.Spec.ParentRefs, created: created,
		zone: zone,
	})
	rules := in.Spec.Rules
	if len(rules) == 0 {
		rules = make([]gatewayv1.TLSRouteRule, 1)
	}
	rule := r.carrying(ruleName(rules[0].Name, 0), rules[0].BackendRefs)
	var dropped []error
	if len(in.Spec.Hostnames) == 0 {
		dropped = append(dropped, unsupportedf("a TLSRoute without hostnames"))
	}
	for _, name := range in.Spec.Hostnames {
		if err := api.CheckServerName(string(name)); err != nil {
			dropped = append(dropped, err)
			continue
		}
		named := rule
		named.Hostnames, named.Rank = []string{string(name)}, rankOf(string(name))
		r.add(named, nil)
	}
	r.drop(rule.Name, dropped)
	r.onlyOne(len(rules))
	return r.Route
}

// rankOf puts whole names before wildcards, and of those the longer first.
func rankOf(serverName string) Rank {
	if serverName[0] == '*' {
		return Rank{0, len(serverName)}
	}
	return Rank{1}
}

// FromTCPRoute reads a route. Services have their names in a zone, such as cluster.local.
func FromTCPRoute(in *gatewayv1.TCPRoute, created time.Time, zone string) Route {
	r := newReader(object{
		kind: crd.TCPRoute, meta: &in.ObjectMeta, parents: in.Spec.ParentRefs, created: created,
		zone: zone,
	})
	rules := in.Spec.Rules
	if len(rules) == 0 {
		rules = make([]gatewayv1.TCPRouteRule, 1)
	}
	r.add(r.carrying(ruleName(rules[0].Name, 0), rules[0].BackendRefs), nil)
	r.onlyOne(len(rules))
	return r.Route
}

// carrying is a rule for connections, which are carried unread: to a backend of any protocol. One
// that is not there has its share of them refused, which is what an answer means to them.
func (r *reader) carrying(name string, refs []gatewayv1.BackendRef) Rule {
	rule := Rule{Name: name}
	for i := range refs {
		r.share(&rule, &refs[i], treatment{})
	}
	for i := range rule.Backends {
		rule.Backends[i].Unread = true
	}
	r.unlessEmpty(&rule)
	return rule
}

// onlyOne says that the rules after the first are not obeyed: nothing tells when they would be.
func (r *reader) onlyOne(rules int) {
	for i := 1; i < rules; i++ {
		r.drop(ruleName(nil, i), []error{unsupportedf("a %s of more than one rule", r.kind)})
	}
}

// Carries reports whether the route is about connections, which proxies carry unread.
func (r Route) Carries() bool { return carries(r.Origin.Kind) }

func carries(kind string) bool { return kind == crd.TLSRoute || kind == crd.TCPRoute }

// Carried is the kind of the routes by which a port's connections are carried unread; "": requests
// are read.
func (p *Policy) Carried() string {
	if p == nil || !carries(p.Kind) {
		return ""
	}
	return p.Kind
}

// Protocol is what callers' proxies take a port for that is declared so: what its routes are about.
func (p *Policy) Protocol(declared api.Protocol) api.Protocol {
	switch p.Carried() {
	case crd.TLSRoute:
		return api.Protocol_PROTOCOL_TLS
	case crd.TCPRoute:
		return api.Protocol_PROTOCOL_OPAQUE
	}
	return declared
}

// TLS makes the rules that a caller's proxy carries connections by, whose hostnames of one route
// and one rank are together. Find is HTTP's.
func (p *Policy) TLS(find func([]Backend) []*api.Backend) (out []*api.TLSRule) {
	if p.Carried() != crd.TLSRoute {
		return nil
	}
	for i := range p.Rules {
		r := &p.Rules[i]
		if i > 0 && p.Rules[i-1].Origin == r.Origin {
			last := out[len(out)-1]
			last.ServerNames = append(last.ServerNames, r.Hostnames...)
			continue
		}
		out = append(out, &api.TLSRule{
			Origin: r.origin(), ServerNames: r.Hostnames[:1:1], Backends: find(r.Backends),
		})
	}
	return out
}

// TCP makes the rule that a caller's proxy carries connections by: the oldest route's, whose the
// whole port is. Find is HTTP's.
func (p *Policy) TCP(find func([]Backend) []*api.Backend) []*api.TCPRule {
	if p.Carried() != crd.TCPRoute {
		return nil
	}
	r := &p.Rules[0]
	return []*api.TCPRule{{Origin: r.origin(), Backends: find(r.Backends)}}
}
