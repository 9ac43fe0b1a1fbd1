package route

import (
	"strings"
	"testing"

	"github.com/tulle-mesh/tulle/destination/api"
)

func rulesOf(t *testing.T, m *api.Route) *Route {
	t.Helper()
	m.Resolution, m.Protocol = api.Resolution_RESOLUTION_FOUND, api.Protocol_PROTOCOL_TLS
	r, err := Compile(m, nil)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func to(cluster string) []*api.Backend { return []*api.Backend{{Cluster: cluster, Weight: 1}} }

// The first rule that has the server name takes a connection: by the whole name, or by a suffix of
// whole labels, in any case.
func TestConnectionsByServerName(t *testing.T) {
	r := rulesOf(t, &api.Route{
		Backends: []*api.Backend{{Answer: 404, Weight: 1}},
		Tls: []*api.TLSRule{
			{ServerNames: []string{"a.example.com", "b.example.com"}, Backends: to("exact")},
			{ServerNames: []string{"*.sub.example.com"}, Backends: to("longer")},
			{ServerNames: []string{"*.example.com", "*.org"}, Backends: to("shorter")},
		},
	})
	for name, want := range map[string]string{
		"a.example.com": "exact", "A.Example.COM": "exact", "b.example.com": "exact",
		"c.example.com": "shorter", "x.sub.example.com": "longer",
		"x.y.sub.example.com": "longer", "sub.example.com": "shorter", "example.org": "shorter",
		"example.com": "", "com": "", "org": "", "": "", ".example.com": "", "xexample.com": "",
		"a.example.com.": "", strings.Repeat("a.", 200) + "example.com": "",
	} {
		rule := r.Connection(true, name)
		got := rule.Backends.Pick().Cluster
		if got != want || (rule == r.Fallback) != (want == "") {
			t.Errorf("%q goes to %q, want %q", name, got, want)
		}
	}
	if r.Connection(false, "") != r.Fallback || !r.OnlyTLS() {
		t.Error("what is not TLS has a rule")
	}
	every := rulesOf(t, &api.Route{Tls: []*api.TLSRule{{Backends: to("all")}}})
	if got := every.Connection(true, "").Backends.Pick().Cluster; got != "all" {
		t.Errorf("a rule for every name sends one without to %q", got)
	}
}

// Of the rules for opaque connections the first takes all, TLS too, by its weights exactly.
func TestConnectionsByWeight(t *testing.T) {
	r := rulesOf(t, &api.Route{Backends: to("default"), Tcp: []*api.TCPRule{
		{Origin: &api.Origin{Rule: "split"}, Backends: []*api.Backend{
			{Cluster: "most", Weight: 3}, {Cluster: "none", Weight: 0}, {Answer: 500, Weight: 1}}},
		{Backends: to("second")},
	}})
	got := map[string]int{}
	for i := range 100 {
		rule := r.Connection(i%2 == 0, "example.com")
		if rule.name != "split" {
			t.Fatalf("rule %q", rule.name)
		}
		got[rule.Backends.Pick().Cluster]++
	}
	if got["most"] < 74 || got["most"] > 76 || got["most"]+got[""] != 100 {
		t.Errorf("100 connections went to %v", got)
	}
	plain := rulesOf(t, &api.Route{Backends: to("default"), Tcp: []*api.TCPRule{{}}})
	if got := plain.Connection(false, "").Backends.Pick().Cluster; got != "default" {
		t.Errorf("a rule without backends sends to %q", got)
	}
	if r := rulesOf(t, &api.Route{Backends: to("default")}); r.Connection(true, "a") != r.Fallback {
		t.Error("without rules there is one")
	}
}

func TestRulesForConnectionsThatAreNotUnderstood(t *testing.T) {
	filtered := []*api.Backend{{Cluster: "c", Weight: 1, Filters: []*api.Filter{{}}}}
	for want, m := range map[string]*api.Route{
		`TLS rule 0 (): server name "10.0.0.1" is an`: {
			Tls: []*api.TLSRule{{ServerNames: []string{"10.0.0.1"}}}},
		`TLS rule 0 (): server name "A" is not in`: {
			Tls: []*api.TLSRule{{ServerNames: []string{"A"}}}},
		`TLS rule 0 (): host "*" has`: {Tls: []*api.TLSRule{{ServerNames: []string{"*"}}}},
		`TLS rule 1 (t): a connection that is`: {
			Tls: []*api.TLSRule{{}, {Origin: &api.Origin{Rule: "t"}, Backends: filtered}}},
		`TCP rule 0 (): a connection that is`: {Tcp: []*api.TCPRule{{Backends: filtered}}},
		`TCP rule 0 (): a fixed answer of status 200`: {
			Tcp: []*api.TCPRule{{Backends: []*api.Backend{{Answer: 200}}}}},
	} {
		m.Resolution, m.Protocol = api.Resolution_RESOLUTION_FOUND, api.Protocol_PROTOCOL_DETECT
		if _, err := Compile(m, nil); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}
