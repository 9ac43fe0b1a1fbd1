package viz

import (
	"testing"
	"time"
)

func TestBackendsOfAService(t *testing.T) {
	m := newMesh(t)
	front, other := m.pod("shop", "front", "front-1"), m.pod("bank", "front", "front-1")
	v1, v2 := m.pod("shop", "web-v1", "web-v1-1"), m.pod("shop", "web-v2", "web-v2-1")
	m.now = m.now.Add(10 * time.Second)
	for i, caller := range []*pod{front, other} {
		good, bad := outbound(1, v1, ""), outbound(2, v2, "")
		good.Labels.Service, bad.Labels.Service = "web", "web"
		good.Labels.Backend = "web-v1.shop.svc.cluster.local:80"
		bad.Labels.Backend = "web-v2.shop.svc.cluster.local:80"
		good.Requests, good.Tries = 90, 90
		bad.Requests, bad.Tries, bad.Failures, bad.FailedTries = 10, 12, uint64(i), 3
		elsewhere := outbound(3, v1, "")
		elsewhere.Labels.Service, elsewhere.Labels.Backend = "else", "else.shop.svc:80"
		caller.report(good, bad, elsewhere, outbound(4, v2, "no backend was picked"))
	}
	answer, err := m.store.backends(m.now, Query{Resource: "svc/web", Namespace: "shop"})
	if err != nil {
		t.Fatal(err)
	}
	if len(answer.Rows) != 2 {
		t.Fatalf("%+v", answer.Rows)
	}
	a, b := answer.Rows[0], answer.Rows[1]
	if a.Backend != "web-v1.shop.svc.cluster.local:80" || a.Service != "web" ||
		a.Namespace != "shop" || a.WindowRequests != 180 || *a.SuccessRate != 1 {
		t.Errorf("%+v", a)
	}
	if b.WindowRequests != 20 || b.WindowTries != 24 || !near(b.SuccessRate, 0.95) ||
		!near(b.ActualSuccessRate, 0.75) {
		t.Errorf("%+v", b)
	}
	routes, err := m.store.routes(m.now, Query{Resource: "svc/web", Namespace: "shop"})
	if err != nil || len(routes.Rows) != 1 || len(routes.Rows[0].Backends) != 2 {
		t.Fatalf("%+v, %v", routes, err)
	}
	if got := routes.Rows[0].Backends[1]; got.Backend != b.Backend || got.WindowRequests != 20 ||
		!near(got.Share, 0.1) {
		t.Errorf("the route's second backend is %+v", got)
	}
	if _, err := m.store.backends(m.now, Query{Resource: "house"}); err == nil {
		t.Error("a kind that is none was taken")
	}
}
