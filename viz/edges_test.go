package viz

import (
	"testing"
	"time"

	"github.com/tulle-mesh/tulle/viz/api"
)

func (m *mesh) edges(q Query) []EdgeRow {
	m.t.Helper()
	answer, err := m.store.edges(m.now, q)
	if err != nil {
		m.t.Fatal(err)
	}
	return answer.Rows
}

// shop is web calling checkout over mTLS, and somebody without a proxy calling web.
func shop(m *mesh) (web, checkout *pod) {
	web, checkout = m.pod("shop", "web", "web-1"), m.pod("shop", "checkout", "checkout-1")
	m.now = m.now.Add(10 * time.Second)
	sent := outbound(1, checkout, "")
	sent.Requests, sent.Labels.OwnId = 50, web.stream.who.id
	web.report(sent, inbound(2, 20, 0, ""))
	got := inbound(1, 50, 0, web.stream.who.id)
	got.Labels.OwnId = checkout.stream.who.id
	checkout.report(got)
	return web, checkout
}

func TestEdgesJoinBothSides(t *testing.T) {
	m := newMesh(t)
	web, checkout := shop(m)
	rows := m.edges(Query{})
	if len(rows) != 2 {
		t.Fatalf("%d edges: %+v", len(rows), rows)
	}
	plain, meshed := rows[0], rows[1]
	if meshed.Src != "web" || meshed.Dst != "checkout" || meshed.ClientID != web.stream.who.id ||
		meshed.ServerID != checkout.stream.who.id {
		t.Errorf("meshed edge is %+v", meshed)
	}
	if !meshed.Encrypted || meshed.ReportedBy != "both" || meshed.Reason != "" ||
		meshed.Requests != 50 || meshed.RPS != 5 {
		t.Errorf("meshed edge is %+v", meshed)
	}
	if plain.Src != "10.1.2.3" || plain.Dst != "web" || plain.Encrypted ||
		plain.Reason != "plaintext: the caller has no proxy" {
		t.Errorf("plain edge is %+v", plain)
	}
	if plain.ReportedBy != "server" || plain.ClientID != "" || plain.Requests != 20 {
		t.Errorf("plain edge is %+v", plain)
	}
	if rows := m.edges(Query{Resource: "pod/checkout-1"}); len(rows) != 1 ||
		rows[0].Src != "web-1" || rows[0].ReportedBy != "both" {
		t.Errorf("edges of a pod are %+v", rows)
	}
	if rows := m.edges(Query{Resource: "svc/checkout"}); len(rows) != 1 ||
		rows[0].Dst != "checkout" || rows[0].DstKind != "service" {
		t.Errorf("edges of a service are %+v", rows)
	}
}

// A client that claims an identity for a server which that server does not have is not confirmed by
// it.
func TestEdgeOfOneSideIsNotBoth(t *testing.T) {
	m := newMesh(t)
	web, checkout := m.pod("shop", "web", "web-1"), m.pod("shop", "checkout", "checkout-1")
	m.now = m.now.Add(time.Second)
	sent := outbound(1, checkout, "")
	sent.Requests, sent.Labels.OwnId, sent.Labels.PeerId = 50, web.stream.who.id,
		"spiffe://cluster.local/ns/shop/sa/impostor"
	web.report(sent)
	got := inbound(1, 50, 0, web.stream.who.id)
	got.Labels.OwnId = checkout.stream.who.id
	checkout.report(got)
	rows := m.edges(Query{})
	if len(rows) != 2 || rows[0].ReportedBy == "both" || rows[1].ReportedBy == "both" {
		t.Errorf("edges are %+v", rows)
	}
}

func TestEdgesOfUnmeshedDestination(t *testing.T) {
	m := newMesh(t)
	web, db := m.pod("shop", "web", "web-1"), m.pod("shop", "db", "db-1")
	m.now = m.now.Add(time.Second)
	s := outbound(1, db, "")
	s.Labels.Security, s.Labels.PeerId, s.Requests = api.Security_SECURITY_PLAINTEXT_UNMESHED, "", 5
	lost := outbound(2, db, "")
	lost.Labels.Security, lost.Labels.PeerId, lost.Labels.Peer, lost.Requests =
		api.Security_SECURITY_UNSPECIFIED, "", nil, 5
	web.report(s, lost)
	rows := m.edges(Query{})
	if len(rows) != 1 || rows[0].Dst != "db" || rows[0].Encrypted ||
		rows[0].Reason != "plaintext: the destination has no proxy" {
		t.Errorf("edges are %+v", rows)
	}
}

func TestEdgeEnds(t *testing.T) {
	m := newMesh(t)
	web, checkout := shop(m)
	for range 6 {
		m.now = m.now.Add(time.Minute)
		web.report()
		checkout.report()
	}
	if rows := m.edges(Query{}); len(rows) != 0 {
		t.Errorf("six minutes after the last request there is %+v", rows)
	}
	idle := inbound(2, 20, 0, "")
	idle.ConnectionsOpen = 1
	web.report(idle)
	m.now = m.now.Add(10 * time.Minute)
	if rows := m.edges(Query{}); len(rows) != 1 {
		t.Errorf("with an open connection there is %+v", rows)
	}
}

func (m *mesh) top(q Query) *Top {
	m.t.Helper()
	answer, err := m.store.top(m.now, q)
	if err != nil {
		m.t.Fatal(err)
	}
	return answer
}

func TestTop(t *testing.T) {
	m := newMesh(t)
	web, checkout := shop(m)
	top := m.top(Query{})
	if len(top.Rows) != 2 || top.Proxies != 2 || top.Total.Requests != 70 || top.Total.RPS != 7 {
		t.Fatalf("top is %+v", top)
	}
	if row := top.Rows[0]; row.From != "web" || row.To != "checkout" || row.Route != "[default]" ||
		!row.Encrypted || row.RPS != 5 {
		t.Errorf("first row is %+v", row)
	}
	if row := top.Rows[0]; row.ClientID != web.stream.who.id ||
		row.ServerID != checkout.stream.who.id {
		t.Errorf("IDs are %q %q", row.ClientID, row.ServerID)
	}
	if row := top.Rows[1]; row.From != "10.1.2.3" || row.To != "web" ||
		row.Security != "plaintext-unmeshed" {
		t.Errorf("second row is %+v", row)
	}
	if top := m.top(Query{Group: GroupPod, Resource: "pod/checkout-1"}); len(top.Rows) != 1 ||
		top.Rows[0].To != "checkout-1" {
		t.Errorf("by pod: %+v", top.Rows)
	}
	service := Query{Group: GroupService, To: "svc/checkout", Route: "[default]"}
	if top := m.top(service); len(top.Rows) != 1 || top.Rows[0].Route != "" {
		t.Errorf("by service: %+v", top.Rows)
	}
}

func TestTopTrend(t *testing.T) {
	m := newMesh(t)
	web := m.pod("shop", "web", "web-1")
	total := uint64(0)
	for second := range 30 {
		total += uint64(second/5 + 1)
		m.now = m.now.Add(time.Second)
		web.report(inbound(1, total, 0, ""))
	}
	// Reports come at the end of each second: the one at 5 s falls into the slot from 5 s on.
	trend := m.top(Query{}).Rows[0].Trend
	if len(trend) != trendSlots || trend[trendSlots-1] != (5+4*6)/5.0 || trend[0] != 0 {
		t.Errorf("trend is %v", trend)
	}
}
