package policy

import (
	"fmt"
	"strings"
	"testing"
)

// What is said of each object is what Merge does with it.
func TestExplain(t *testing.T) {
	const to = `rules: [{backendRefs: [{name: v1, port: 80}]}]`
	profile := route("shop", "a", 9, "profile")
	profile.Budget = &Budget{Ratio: 0.7}
	consumer := httpRoute("c", 0, to)
	consumer.namespace = "client"
	elsewhere := httpRoute("e", 0,
		`parentRefs: [{group: "", kind: Service, name: web, port: 81}], `+to)
	for _, c := range []struct {
		name   string
		routes []written
		want   string
	}{
		{"a profile alone", nil, "a true the rules are its"},
		{"a route and a profile", []written{httpRoute("r", 0, to)},
			"a true its rules give way to those of HTTPRoute shop/r; its retry budget and opaque" +
				" ports count\nr true the rules are its"},
		{"a consumer's", []written{httpRoute("r", 0, to), consumer},
			"a true its rules give way to those of HTTPRoute client/c; its retry budget and" +
				" opaque ports count\n" +
				"r false callers in client go by what is in their own namespace\n" +
				"c true the rules are its"},
		{"of two kinds", []written{httpRoute("r", 0, to), grpcRoute("g", 0, to)},
			"a true its rules give way to those of GRPCRoute shop/g; its retry budget and opaque" +
				" ports count\nr false a port has routes of one kind, and GRPCRoute shop/g comes" +
				" first\ng true the rules are its"},
		{"of one kind", []written{httpRoute("r", 0, to), httpRoute("s", 1, to)},
			"a true its rules give way to those of HTTPRoute shop/s; its retry budget and opaque" +
				" ports count\nr true its rules are among others', the more specific first, then" +
				" those of older objects\ns true its rules are among others', the more specific" +
				" first, then those of older objects"},
		{"of connections", []written{tcpRoute("r", 0, toV1), tcpRoute("s", 1, toV1)},
			"a true its rules give way to those of TCPRoute shop/s; its retry budget and opaque" +
				" ports count\nr false connections go by TCPRoute shop/s, which is older\n" +
				"s true the rules are its"},
		{"of connections by name", []written{tcpRoute("r", 1, toV1),
			tlsRoute("s", 0, "a.org", toV1)},
			"a true its rules give way to those of TLSRoute shop/s; its retry budget and opaque" +
				" ports count\nr false a port has routes of one kind, and TLSRoute shop/s comes" +
				" first\ns true the rules are its"},
		{"of another port", []written{elsewhere},
			"a true the rules are its\ne false it is about other ports"},
	} {
		routes := []Route{profile}
		for _, w := range c.routes {
			routes = append(routes, w.read(t))
		}
		var got []string
		for _, v := range Explain(routes, web80, "client") {
			got = append(got, fmt.Sprint(v.Name, " ", v.Used, " ", v.Why))
		}
		if got := strings.Join(got, "\n"); got != c.want {
			t.Errorf("%s:\n got %s\nwant %s", c.name, got, c.want)
		}
	}
}
