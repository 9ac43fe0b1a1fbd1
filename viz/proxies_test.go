package viz

import (
	"strings"
	"testing"
	"time"

	"github.com/tulle-mesh/tulle/viz/api"
)

// holds is a report of what a proxy holds of destination's words.
func (p *pod) holds(revision string, age time.Duration, connected bool) {
	p.mesh.t.Helper()
	m := p.message()
	m.Version, m.ConfigRevision, m.ConfigConnected = "v1", revision, connected
	m.ConfigAgeMs = uint64(age.Milliseconds())
	m.CertificateExpiryUnix = p.mesh.now.Add(time.Hour).Unix()
	r, err := checkReport(p.stream.who, m)
	if err == nil {
		err = p.mesh.store.apply(p.mesh.now, p.stream, r)
	}
	if err != nil {
		p.mesh.t.Fatal(err)
	}
}

func (m *mesh) proxies(q Query) []ProxyRow {
	m.t.Helper()
	answer, err := m.store.reporting(m.now, q)
	if err != nil {
		m.t.Fatal(err)
	}
	return answer.Rows
}

// A proxy is stale when it has been without destination for long, and not when destination had
// nothing to say.
func TestProxiesAndWhatTheyHold(t *testing.T) {
	m := newMesh(t)
	quiet, away := m.pod("shop", "web", "web-1"), m.pod("shop", "web", "web-2")
	back, old := m.pod("shop", "checkout", "checkout-1"), m.pod("bank", "ledger", "ledger-1")
	m.now = m.now.Add(time.Minute)
	quiet.holds("aa", time.Hour, true)
	away.holds("bb", 40*time.Second, false)
	back.holds("aa", 20*time.Second, false)
	old.report() // a proxy of before says nothing of it
	rows := m.proxies(Query{})
	if len(rows) != 4 {
		t.Fatalf("%d rows: %+v", len(rows), rows)
	}
	for i, want := range []ProxyRow{
		{Pod: "ledger-1", Namespace: "bank"},
		{Pod: "checkout-1", Namespace: "shop", ConfigRevision: "aa", Version: "v1"},
		{Pod: "web-1", Namespace: "shop", ConfigRevision: "aa", Version: "v1",
			ConfigConnected: true},
		{Pod: "web-2", Namespace: "shop", ConfigRevision: "bb", Version: "v1", ConfigStale: true},
	} {
		got := rows[i]
		if got.Pod != want.Pod || got.Namespace != want.Namespace || got.Version != want.Version ||
			got.ConfigRevision != want.ConfigRevision || got.ConfigStale != want.ConfigStale ||
			got.ConfigConnected != want.ConfigConnected ||
			(got.ConfigAgeSeconds == nil) != (want.ConfigRevision == "") {
			t.Errorf("%+v, want %+v", got, want)
		}
	}
	if got := rows[2]; *got.ConfigAgeSeconds != 3600 || got.CertificateExpiry == nil ||
		m.now.Sub(got.Started) != time.Minute || got.Workload != "web" {
		t.Errorf("%+v", got)
	}
	for q, n := range map[Query]int{{Namespace: "shop"}: 3, {Resource: "deploy/web"}: 2,
		{Resource: "pod/web-1", Namespace: "shop"}: 1, {Resource: "deploy/none"}: 0} {
		if rows := m.proxies(q); len(rows) != n {
			t.Errorf("%+v: %d rows, want %d", q, len(rows), n)
		}
	}
	if _, err := m.store.reporting(m.now, Query{Resource: "cat"}); err == nil {
		t.Error("a cat is a resource")
	}
	web := m.one(Query{Resource: "deploy/web"})
	if web.ConfigStale != 1 || web.ConfigRevisions != 2 || web.ConfigRevision != "" ||
		*web.ConfigAgeSeconds != 3600 {
		t.Errorf("%+v", web)
	}
	if g, _, err := m.store.graph(m.now, Query{}); err != nil || g.Proxies != 4 {
		t.Errorf("the graph has %+v, %v", g, err)
	}
	if row := m.one(Query{Resource: "pod/web-1"}); row.ConfigRevision != "aa" {
		t.Errorf("%+v", row)
	}
}

func TestWhatIsHeldIsBounded(t *testing.T) {
	p := newMesh(t).pod("shop", "web", "web-1")
	for _, change := range []func(*api.ReportRequest){
		func(m *api.ReportRequest) { m.ConfigRevision = string(make([]byte, 65)) },
		func(m *api.ReportRequest) { m.ConfigAgeMs = 1 << 62 },
	} {
		m := p.message()
		change(m)
		if _, err := checkReport(p.stream.who, m); err == nil {
			t.Errorf("taken: %+v", m)
		}
	}
}

// Prometheus is told how long the proxy that has waited longest has been without destination.
func TestThePageTellsOfStaleConfigurations(t *testing.T) {
	m := newMesh(t)
	quiet, away := m.pod("shop", "web", "web-1"), m.pod("shop", "web", "web-2")
	fine := m.pod("shop", "checkout", "checkout-1")
	m.now = m.now.Add(time.Minute)
	quiet.holds("aa", time.Hour, true)
	away.holds("bb", 6*time.Minute, false)
	fine.holds("aa", time.Hour, true)
	all := m.store.fleets(m.now)
	for k, want := range map[key]time.Duration{
		{"shop", "deployment", "web"}:      6 * time.Minute,
		{"shop", "deployment", "checkout"}: 0,
	} {
		if got := all[k].age; got != want {
			t.Errorf("%v: %v, want %v", k, got, want)
		}
	}
	if page := m.page(); !strings.Contains(page, "\ntulle_workload_config_age_seconds{"+
		`namespace="shop",kind="deployment",workload="checkout"} 0`+"\n") {
		t.Errorf("the page is\n%s", page)
	}
}
