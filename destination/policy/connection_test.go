package policy

import (
	"fmt"
	"strings"
	"testing"

	"github.com/tulle-mesh/tulle/destination/api"
	"github.com/tulle-mesh/tulle/destination/crd"
)

func tlsRoute(name string, age int, hostnames, refs string) written {
	return written{crd.TLSRoute, "shop", name, age,
		"hostnames: [" + hostnames + "], rules: [{backendRefs: [" + refs + "]}]"}
}

func tcpRoute(name string, age int, refs string) written {
	return written{crd.TCPRoute, "shop", name, age, "rules: [{backendRefs: [" + refs + "]}]"}
}

const toV1, toV2 = "{name: v1, port: 80}", "{name: v2, port: 80}"

// carriedBy is what callers are told of connections: names, and where they go.
func carriedBy(p *Policy) string {
	var out []string
	find := func(all []Backend) []*api.Backend {
		return []*api.Backend{{Cluster: where(all)}}
	}
	for _, r := range p.TLS(find) {
		out = append(out, fmt.Sprintf("%s %s -> %s", r.Origin.Rule,
			strings.Join(r.ServerNames, "|"), r.Backends[0].Cluster))
	}
	for _, r := range p.TCP(find) {
		out = append(out, fmt.Sprintf("%s -> %s", r.Origin.Rule, r.Backends[0].Cluster))
	}
	return strings.Join(append(out, "else "+where(p.DefaultBackends())), "; ")
}

// The most specific name comes first, whoever's it is: whole names, then longer suffixes, then the
// older route's. Of TCPRoutes the oldest has the port. What is left is refused.
func TestRulesOfConnections(t *testing.T) {
	a := tlsRoute("a", 5, `"*.example.com", b.example.com, "*.com"`, toV1)
	for _, c := range []struct {
		name   string
		routes []written
		want   string
	}{
		{"by name", []written{tlsRoute("a", 0, "b.org, a.org", toV1)},
			"a/0 b.org|a.org -> v1.shop:80; else 404"},
		{"the more specific first", []written{a, tlsRoute("b", 1,
			`"*.sub.example.com", b.example.com, c.example.com`, toV2)},
			"a/0 b.example.com -> v1.shop:80; " +
				"b/0 b.example.com|c.example.com|*.sub.example.com -> v2.shop:80; " +
				"a/0 *.example.com|*.com -> v1.shop:80; else 404"},
		{"equally old", []written{tlsRoute("d", 1, "b.org", toV2), tlsRoute("c", 1, "b.org", toV1)},
			"c/0 b.org -> v1.shop:80; d/0 b.org -> v2.shop:80; else 404"},
		{"names that are none", []written{tlsRoute("a", 0, `"10.0.0.1", "*", b.org`, toV1)},
			"a/0 b.org -> v1.shop:80; else 404"},
		{"no names", []written{tlsRoute("a", 0, "", toV1)}, "else 404"},
		{"no backends", []written{tlsRoute("a", 0, "b.org", "")}, "a/0 b.org -> 500; else 404"},
		{"weights", []written{tcpRoute("a", 0, "{name: v1, port: 80, weight: 9}, "+
			"{name: v2, port: 80, weight: 0}, {kind: Bucket, name: b}")},
			"a/0 -> v1.shop:80*9,500; else v1.shop:80*9,500"},
		{"no weight at all", []written{tcpRoute("a", 0, "{name: v1, port: 80, weight: 0}")},
			"a/0 -> 500; else 500"},
		{"the oldest", []written{tcpRoute("a", 1, toV1), tcpRoute("b", 2, toV2)},
			"b/0 -> v2.shop:80; else v2.shop:80"},
		{"of two kinds", []written{tcpRoute("a", 9, toV1), tlsRoute("b", 0, "b.org", toV2)},
			"b/0 b.org -> v2.shop:80; else 404"},
		{"a rule's name", []written{{crd.TCPRoute, "shop", "a", 0,
			"rules: [{name: all, backendRefs: [" + toV1 + "]}]"}},
			"all -> v1.shop:80; else v1.shop:80"},
	} {
		routes := []Route{route("shop", "web.shop.svc.cluster.local", 99, "profile")}
		for _, w := range c.routes {
			routes = append(routes, w.read(t))
		}
		p := Merge(routes, web80, "other")
		if got := carriedBy(p); got != c.want {
			t.Errorf("%s:\n got %s\nwant %s", c.name, got, c.want)
		}
		if p.HTTP(nil) != nil || p.Named() != nil {
			t.Errorf("%s: requests have rules", c.name)
		}
	}
}

// Of four kinds on one port the first by their order has it.
func TestOneKindHasAPort(t *testing.T) {
	all := []written{
		tcpRoute("tcp", 9, toV1), tlsRoute("tls", 8, "b.org", toV1),
		httpRoute("http", 7, "rules: [{}]"), grpcRoute("grpc", 6, "rules: [{}]"),
	}
	want := []string{"TCPRoute OPAQUE", "TLSRoute TLS", " DETECT", " DETECT"}
	var routes []Route
	for i, w := range all {
		routes = append(routes, w.read(t))
		p := Merge(routes, web80, "other")
		protocol := p.Protocol(api.Protocol_PROTOCOL_DETECT).String()
		got := p.Carried() + " " + strings.TrimPrefix(protocol, "PROTOCOL_")
		if got != want[i] || p.Kind != w.kind {
			t.Errorf("with %s: %q, want %q, by %s", w.kind, got, want[i], p.Kind)
		}
		for j := range routes {
			if p.Uses(routes[j].Origin) != (j == i) {
				t.Errorf("with %s: is %s in use?", w.kind, routes[j].Origin)
			}
		}
	}
}

func TestWhatIsNotObeyedOfConnections(t *testing.T) {
	two := "rules: [{backendRefs: [" + toV1 + "]}, {backendRefs: [" + toV2 + "]}]"
	for _, c := range []struct {
		route  written
		obeyed bool
		want   string
	}{
		{tlsRoute("r", 0, "A.org, b.org", toV1), true,
			`rule 0: server name "A.org" is not in lower case`},
		{tlsRoute("r", 0, "", toV1), false,
			"rule 0: a TLSRoute without hostnames is not supported"},
		{written{crd.TLSRoute, "shop", "r", 0, "hostnames: [a], " + two}, true,
			"rule 1: a TLSRoute of more than one rule is not supported"},
		{written{crd.TCPRoute, "shop", "r", 0, two}, true,
			"rule 1: a TCPRoute of more than one rule is not supported"},
		{tcpRoute("r", 0, toV1), true, ""},
		{tcpRoute("r", 0, ""), true, ""},
	} {
		r := c.route.read(t)
		var got []string
		for _, p := range r.Dropped {
			got = append(got, p.Text)
		}
		if got := strings.Join(got, "; "); got != c.want || r.Obeyed != c.obeyed {
			t.Errorf("obeyed %v, dropped %q; want %q", r.Obeyed, got, c.want)
		}
	}
}
