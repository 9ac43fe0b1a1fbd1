package dev

import (
	"net"
	"reflect"
	"strings"
	"testing"
)

func mustPlan(t *testing.T, record bool, text string) *plan {
	t.Helper()
	m, err := parseMesh("mesh.yaml", t.TempDir(), []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	p, err := newPlan(m, record)
	if err == nil {
		t.Cleanup(p.close)
	}
	if err != nil {
		t.Fatal(err)
	}
	return p
}

const smallMesh = `
namespace: shop
services:
  legacy: {command: [x], meshed: false, calls: [web, old]}
  web: {command: [x], replicas: 2, calls: [payments, payments-v2]}
  old: {command: [x], meshed: false, appProtocol: grpc}
  payments:
    variants: {v1: {command: [x]}, v2: {command: [x]}}
  db: {address: "127.0.0.1:5432"}
`

func TestPlan(t *testing.T) {
	p := mustPlan(t, false, smallMesh)
	at := map[string]*Instance{}
	seen := map[string]bool{}
	for k := range p.ports.Instances {
		i := &p.ports.Instances[k]
		at[i.Name] = i
		for _, addr := range []string{i.App, i.Mesh, i.Admin} {
			if addr != "" && seen[addr] {
				t.Errorf("%s is used twice", addr)
			}
			seen[addr] = true
		}
	}
	web := at["web-1"]
	if web == nil || web.ID != "spiffe://cluster.local/ns/shop/sa/web" || web.Mesh == "" ||
		web.Admin == "" || web.Relay != "" {
		t.Errorf("web-1: %+v", web)
	}
	if len(web.Upstreams) != 2 || web.Upstreams["payments"] == web.Upstreams["payments-v2"] ||
		web.Upstreams["payments"] == at["web-0"].Upstreams["payments"] {
		t.Errorf("upstreams of web: %v and %v", web.Upstreams, at["web-0"].Upstreams)
	}
	if legacy := at["legacy-0"]; legacy.Mesh != "" || legacy.ID != "" ||
		legacy.Upstreams["web"] != at["web-0"].Mesh || legacy.Upstreams["old"] != at["old-0"].App {
		t.Errorf("legacy-0 must call the first instance itself: %+v", legacy)
	}
	if db := at["db-0"]; db.App != "127.0.0.1:5432" || db.Mesh == "" {
		t.Errorf("db-0: %+v", db)
	}
	wantCalls := []Call{
		{From: "legacy", Service: "web",
			Possible: []Target{{"web", "spiffe://cluster.local/ns/shop/sa/web"}}},
		{From: "legacy", Service: "old", Possible: []Target{{"old", ""}}},
		{From: "web", FromID: "spiffe://cluster.local/ns/shop/sa/web", Service: "payments",
			Possible: []Target{
				{"payments-v1", "spiffe://cluster.local/ns/shop/sa/payments-v1"},
				{"payments-v2", "spiffe://cluster.local/ns/shop/sa/payments-v2"}}},
		{From: "web", FromID: "spiffe://cluster.local/ns/shop/sa/web", Service: "payments-v2",
			Possible: []Target{
				{"payments-v2", "spiffe://cluster.local/ns/shop/sa/payments-v2"}}},
	}
	if !reflect.DeepEqual(p.ports.Calls, wantCalls) {
		t.Errorf("calls:\n got %+v\nwant %+v", p.ports.Calls, wantCalls)
	}
}

func TestPlanRecords(t *testing.T) {
	p := mustPlan(t, true, smallMesh)
	for k := range p.ports.Instances {
		if i := &p.ports.Instances[k]; i.Relay == "" || i.peerAddress() != i.Relay {
			t.Errorf("%s has no relay: %+v", i.Name, i)
		}
	}
	if legacy := p.behind("legacy")[0]; legacy.Upstreams["web"] != p.behind("web")[0].Relay {
		t.Errorf("legacy goes past the relay: %+v", legacy)
	}
}

// What is called starts before what calls it; a circle does not hang.
func TestStartOrder(t *testing.T) {
	p := mustPlan(t, false, `services:
  a: {command: [x], calls: [b, c-v1]}
  b: {command: [x], calls: [c]}
  c: {variants: {v1: {command: [x]}}, calls: [a]}
  d: {command: [x], calls: [d]}
`)
	var names []string
	for _, i := range p.startOrder() {
		names = append(names, i.Name)
	}
	if got := strings.Join(names, " "); got != "c-v1-0 b-0 a-0 d-0" {
		t.Errorf("order %s", got)
	}
}

func TestPlanRefusesAPortInUse(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	port, err := portOf(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	m := &Mesh{Namespace: "x", Services: []Service{{Name: "web",
		Workload: Workload{Name: "web", Command: []string{"x"}, Port: port, Replicas: 1}}}}
	if _, err := newPlan(m, false); err == nil ||
		!strings.Contains(err.Error(), "service web wants port") ||
		!strings.Contains(err.Error(), "$PORT") {
		t.Errorf("plan: %v", err)
	}
}
