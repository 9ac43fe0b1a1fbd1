package dev

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/tulle-mesh/tulle/destination/api"
	"github.com/tulle-mesh/tulle/test/await"
)

const consulMesh = `
namespace: shop
consul: {address: "ADDRESS"}
services:
  web: {command: [x], calls: [api, rates.service.consul]}
  api: {command: [x]}
`

// What is in Consul's catalog is called by its name there, through the caller's proxy.
func TestCallsOfConsulsServices(t *testing.T) {
	p := mustPlan(t, false, strings.Replace(consulMesh, "ADDRESS", "http://127.0.0.1:8500", 1))
	web := p.behind("web")[0]
	s := &session{mesh: p.mesh, plan: p, state: &state{dir: t.TempDir()}}
	want := web.Upstreams["rates.service.consul"] + "=rates.service.consul:80"
	if env := strings.Join(s.proxyEnv(web), "\n"); !strings.Contains(env, want) {
		t.Errorf("the proxy is told\n%s\nwithout %s", env, want)
	}
	if name := urlVariable("rates.service.consul"); name != "RATES_SERVICE_CONSUL_URL" {
		t.Errorf("the process is told by %s", name)
	}
	if len(p.ports.Calls) != 1 || p.ports.Calls[0].Service != "api" {
		t.Errorf("calls that can be checked are %v", p.ports.Calls)
	}
	if order := p.startOrder(); len(order) != 2 || order[1] != web {
		t.Errorf("the order is %v", order)
	}
}

func TestParseRefusesOfConsul(t *testing.T) {
	mesh := func(consul, calls string) string {
		return consul + "\nservices:\n  web: {command: [x], " + calls + "}\n"
	}
	const there = "consul: {address: 'http://127.0.0.1:8500'}"
	for _, c := range []struct{ name, text, want string }{
		{"no Consul", mesh("", "calls: [a.service.consul]"),
			`m.yaml:3: service web calls "a.service.consul": say where Consul is`},
		{"no proxy", mesh(there, "meshed: false, calls: [a.service.consul]"),
			"is not meshed: its proxy would find it"},
		{"no name", mesh(there, "calls: [a_b.service.consul]"), "which is no DNS name"},
		{"no address", mesh("consul: {}", "calls: []"), "m.yaml:1: consul: needs an address"},
		{"no URL", mesh("consul: {address: 'ftp://x'}", "calls: []"),
			"m.yaml:1: consul: the address of Consul"},
		{"another field", mesh("consul: {adress: x}", "calls: []"),
			`m.yaml:1: consul: unknown field "adress": use one of address`},
	} {
		_, err := parseMesh("m.yaml", t.TempDir(), []byte(c.text))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
}

// The control plane on one machine answers from Consul too, beside what Up wrote.
func TestPlaneReadsConsul(t *testing.T) {
	catalog := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Has("index") {
			<-r.Context().Done() // nothing changes
			return
		}
		var body any = map[string][]string{"rates": {}}
		if r.URL.Path == "/v1/health/service/rates" {
			body = []any{map[string]any{"Service": map[string]any{
				"ID": "rates-1", "Address": "127.0.0.1", "Port": 7777}}}
		}
		w.Header().Set("X-Consul-Index", "7")
		_ = json.NewEncoder(w).Encode(body) // who asked may be gone
	}))
	t.Cleanup(catalog.Close)
	objects := t.TempDir()
	pl := mustPlan(t, false, strings.Replace(consulMesh, "ADDRESS", catalog.URL, 1))
	if err := writeObjects(objects, pl); err != nil {
		t.Fatal(err)
	}
	me, err := podObject("shop",
		&Instance{Name: "dev", Service: "web", Workload: "web", App: "127.0.0.1:1"})
	if err != nil {
		t.Fatal(err)
	}
	if err := writeYAML(filepath.Join(objects, "dev.yaml"), me); err != nil {
		t.Fatal(err)
	}
	var p *plane
	await.Return(t, "the control plane's start", func() {
		in := inputs{folders: []string{objects}, consul: pl.mesh.Consul}
		p, err = startPlane(t.Context(), in, quiet)
	})
	if err != nil {
		t.Fatal(err)
	}
	defer await.Return(t, "the control plane's end", func() {
		if err := p.close(); err != nil {
			t.Error(err)
		}
	})
	a := ask1(t, p, identityOf("shop", "web"))
	a.subscribe("rates.service.consul:80")
	a.subscribe("api.shop.svc.cluster.local:80")
	for _, want := range []string{"127.0.0.1:7777", pl.behind("api")[0].App} {
		a.until("the endpoint "+want, func(r *api.Resource) bool {
			return slices.ContainsFunc(r.GetEndpoints().GetEndpoints(),
				func(ep *api.Endpoint) bool { return ep.Address == want })
		})
	}
}
