package viz

import (
	"fmt"
	"testing"
	"time"

	"github.com/tulle-mesh/tulle/viz/api"
)

// withEndpoints is an outbound series of a pod that its caller has ejected, or not.
func withEndpoints(id uint32, to *pod, route string, ejected, endpoints uint64) *api.Series {
	s := outbound(id, to, route)
	s.Labels.Backend = s.Labels.Authority
	s.Requests, s.Tries, s.Ejected, s.Endpoints = 10, 10, ejected, endpoints
	return s
}

// Three callers know three endpoints of checkout, the last one only two yet. Two of them have
// ejected the same one, by series of two routes.
func ejectedShop(t *testing.T) (m *mesh, callers, checkout [3]*pod) {
	m = newMesh(t)
	for i := range 3 {
		callers[i] = m.pod("shop", "web", fmt.Sprintf("web-%d", i))
		checkout[i] = m.pod("shop", "checkout", fmt.Sprintf("checkout-%d", i))
	}
	m.now = m.now.Add(time.Second)
	for i, c := range callers {
		out, all := uint64(min(i, 1)), uint64(3-i/2)
		c.report(withEndpoints(1, checkout[0], "cart", out, all),
			withEndpoints(2, checkout[0], "pay", out, all),
			withEndpoints(3, checkout[1], "pay", 0, all))
	}
	checkout[0].report(inbound(1, 60, 0, callers[0].stream.who.id))
	return m, callers, checkout
}

// An endpoint that several callers have ejected is one, whatever series tell of it, and it is a
// matter of the rows that it is in.
func TestEjectionsOfARow(t *testing.T) {
	m, callers, _ := ejectedShop(t)
	want := func(what string, f *Figures, ejected, endpoints uint64) {
		t.Helper()
		if f.Ejected != ejected || f.Endpoints != endpoints {
			t.Errorf("%s: %d of %d are ejected, want %d of %d", what, f.Ejected, f.Endpoints,
				ejected, endpoints)
		}
	}
	for resource, ejected := range map[string]uint64{"svc/checkout": 1, "deploy/checkout": 1,
		"pod/checkout-0": 1, "pod/checkout-1": 0, "ns/shop": 1} {
		row := m.one(Query{Resource: resource})
		want("stat "+resource, &row.Figures, ejected, 3)
	}
	if row := m.one(Query{Resource: "deploy/web"}); row.Ejected != 0 || row.Endpoints != 0 {
		t.Errorf("nobody calls web: %+v", row)
	}
	row := m.one(Query{Resource: "deploy/web", To: "svc/checkout"})
	want("of all that web calls", &row.Figures, 1, 3)
	row = m.one(Query{Resource: "pod/web-0", To: "svc/checkout"})
	want("of what a caller calls that has ejected none", &row.Figures, 0, 3)
	routes, err := m.store.routes(m.now, Query{Resource: "svc/checkout"})
	if err != nil || len(routes.Rows) != 2 {
		t.Fatalf("%+v, %v", routes, err)
	}
	for i := range routes.Rows {
		want("route "+routes.Rows[i].Route, &routes.Rows[i].Figures, 1, 3)
	}
	for _, e := range m.edges(Query{Resource: "pod/checkout-0"}) {
		if e.ReportedBy != "server" {
			says := map[string][2]uint64{"web-0": {0, 3}, "web-1": {1, 3}, "web-2": {1, 2}}[e.Src]
			want("edge from "+e.Src, &e.Figures, says[0], says[1])
		}
	}
	top := m.top(Query{Group: GroupPod, Resource: "svc/checkout"})
	for i := range top.Rows {
		r := &top.Rows[i]
		out := uint64(0)
		if r.To == "checkout-0" && r.From != "web-0" {
			out = 1
		}
		if r.Ejected != out {
			t.Errorf("top: %s has ejected %d of %s", r.From, r.Ejected, r.To)
		}
	}
	want("all of top", &top.Total, 1, 3)
	if got := m.gauge("tulle_workload_endpoints_ejected",
		`workload="web",service="checkout",backend=~"checkout.*"`); got != 1 {
		t.Errorf("Prometheus is told of %v", got)
	}
	m.now = m.now.Add(10 * time.Minute)
	top = m.top(Query{Group: GroupPod, Resource: "svc/checkout"})
	for _, r := range top.Rows {
		if r.To != "checkout-0" || r.From == "web-0" || r.RPS != 0 || r.Ejected != 1 {
			t.Errorf("after ten minutes without a request top shows %+v", r)
		}
	}
	if len(top.Rows) != 4 { // two callers, by two routes
		t.Errorf("after ten minutes without a request top has %d rows", len(top.Rows))
	}
	callers[1].reconnect()
	callers[2].reconnect()
	m.now = m.now.Add(2 * staleAfter)
	row = m.one(Query{Resource: "svc/checkout"})
	want("once its callers have gone", &row.Figures, 0, 3)
}

// gauge adds up what a selector finds.
func (m *mesh) gauge(name, selector string) (sum float64) {
	m.t.Helper()
	for _, one := range m.families()[name].GetMetric() {
		if selects(selector, one.Label) {
			sum += one.GetGauge().GetValue()
		}
	}
	return sum
}

// What is done on purpose is counted like all else: in totals, in the window and for Prometheus.
func TestFaultedAndLimited(t *testing.T) {
	m := newMesh(t)
	web, checkout := m.pod("shop", "web", "web-1"), m.pod("shop", "checkout", "checkout-1")
	for i := range uint64(10) {
		m.now = m.now.Add(time.Second)
		s := outbound(1, checkout, "pay")
		s.Requests, s.Faulted, s.Limited = 10*(i+1), 2*(i+1), 3*(i+1)
		web.report(s)
		in := inbound(1, 8*(i+1), 0, web.stream.who.id)
		in.Limited = 3 * (i + 1)
		checkout.report(in)
	}
	row := m.one(Query{Resource: "svc/checkout"})
	if row.Faulted != 20 || row.Limited != 30 || row.WindowFaulted != 20 ||
		row.WindowLimited != 30 {
		t.Errorf("the service is %+v", row)
	}
	row = m.one(Query{Resource: "deploy/checkout"})
	if row.Faulted != 0 || row.Limited != 30 {
		t.Errorf("its pods say %+v", row)
	}
	if top := m.top(Query{}); len(top.Rows) != 1 || top.Rows[0].WindowFaulted != 20 ||
		top.Total.WindowLimited != 30 {
		t.Errorf("top is %+v", top)
	}
	for name, want := range map[string]float64{"faulted": 20, "limited": 30} {
		name = "tulle_workload_" + name + "_requests_total"
		if got := m.sum(name, `direction="outbound",workload="web"`); got != want {
			t.Errorf("%s is %v, want %v", name, got, want)
		}
	}
	m.now = m.now.Add(10 * time.Minute)
	if row := m.one(Query{Resource: "svc/checkout"}); row.Faulted != 20 || row.WindowFaulted != 0 {
		t.Errorf("later it is %+v", row)
	}
}

// A proxy may say anything; a row's sums must not turn around.
func TestGaugesAreBounded(t *testing.T) {
	m := newMesh(t)
	web, checkout := m.pod("shop", "web", "web-1"), m.pod("shop", "checkout", "checkout-1")
	m.now = m.now.Add(time.Second)
	web.report(withEndpoints(1, checkout, "a", 1<<63, 3))
	if row := m.one(Query{Resource: "svc/checkout"}); row.Ejected != 3 || row.Endpoints != 3 {
		t.Errorf("%d of %d", row.Ejected, row.Endpoints)
	}
	m.now = m.now.Add(time.Second)
	web.report(withEndpoints(1, checkout, "a", 1<<63, 1<<63))
	if row := m.one(Query{Resource: "svc/checkout"}); row.Ejected != mostEndpoints ||
		row.Endpoints != mostEndpoints {
		t.Errorf("%d of %d", row.Ejected, row.Endpoints)
	}
}

// How near callers' requests stay is counted by those that know it.
func TestNearTries(t *testing.T) {
	m := newMesh(t)
	web, checkout := m.pod("shop", "web", "web-1"), m.pod("shop", "checkout", "checkout-1")
	for i := range uint64(10) {
		m.now = m.now.Add(time.Second)
		s := outbound(1, checkout, "pay")
		s.Requests, s.Tries = 10*(i+1), 12*(i+1)
		s.TriesInZone, s.TriesInRegion, s.TriesFarther = 8*(i+1), 1*(i+1), 1*(i+1)
		web.report(s)
		checkout.report(inbound(1, 8*(i+1), 0, web.stream.who.id))
	}
	row := m.one(Query{Resource: "svc/checkout"})
	if row.WindowTriesInZone != 80 || row.WindowTriesInRegion != 10 ||
		row.WindowTriesFarther != 10 || row.InZone == nil || *row.InZone != 0.8 {
		t.Errorf("the service is %+v", row)
	}
	if row := m.one(Query{Resource: "deploy/checkout"}); row.InZone != nil {
		t.Errorf("its pods know of %v", *row.InZone)
	}
}
