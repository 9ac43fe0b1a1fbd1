package viz

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/tulle-mesh/tulle/proxy/metric"
	"github.com/tulle-mesh/tulle/viz/api"
)

// mesh feeds a store as its streams would, on a clock of its own. It begins at a slot's start.
type mesh struct {
	t     *testing.T
	store *store
	now   time.Time
}

func newMesh(t *testing.T) *mesh {
	return &mesh{t, newStore(views), time.Unix(1_800_000_000, 0)}
}

// pod is one proxy.
type pod struct {
	mesh    *mesh
	stream  *stream
	started time.Time
	startID string
	who     workload
}

func (m *mesh) pod(ns, name, podName string) *pod {
	id := "spiffe://cluster.local/ns/" + ns + "/sa/" + name
	return &pod{
		mesh: m, stream: &stream{who: reporter{id, ns, name, podName}}, started: m.now,
		startID: "a", who: workload{ns, "deployment", name, podName},
	}
}

func (p *pod) message(series ...*api.Series) *api.ReportRequest {
	return &api.ReportRequest{
		StartId: p.startID, UptimeMs: uint64(p.mesh.now.Sub(p.started).Milliseconds()),
		Series: series,
		Workload: &api.Workload{Namespace: p.who.namespace, Kind: p.who.kind, Name: p.who.name,
			Pod: p.who.pod},
	}
}

func (p *pod) try(series ...*api.Series) error {
	r, err := checkReport(p.stream.who, p.message(series...))
	if err != nil {
		return err
	}
	return p.mesh.store.apply(p.mesh.now, p.stream, r)
}

func (p *pod) report(series ...*api.Series) {
	p.mesh.t.Helper()
	if err := p.try(series...); err != nil {
		p.mesh.t.Fatal(err)
	}
}

// reconnect is a new stream after the old one ended.
func (p *pod) reconnect() {
	p.mesh.store.end(p.mesh.now, p.stream)
	p.stream = &stream{who: p.stream.who}
}

// restart is a new life of the proxy.
func (p *pod) restart(startID string) {
	p.reconnect()
	p.startID, p.started = startID, p.mesh.now
}

func (m *mesh) stat(q Query) []StatRow {
	m.t.Helper()
	answer, err := m.store.stat(m.now, q)
	if err != nil {
		m.t.Fatal(err)
	}
	return answer.Rows
}

func (m *mesh) one(q Query) StatRow {
	m.t.Helper()
	rows := m.stat(q)
	if len(rows) != 1 {
		m.t.Fatalf("%+v gives %d rows, want 1: %+v", q, len(rows), rows)
	}
	return rows[0]
}

func inbound(id uint32, requests, failures uint64, peerID string) *api.Series {
	labels := &api.Labels{Direction: api.Direction_DIRECTION_INBOUND, PeerId: peerID, Port: 8080}
	s := &api.Series{Id: id, Labels: labels, Requests: requests, Failures: failures}
	s.Labels.Security = api.Security_SECURITY_MTLS
	if peerID == "" {
		s.Labels.Security, s.Labels.PeerAddress =
			api.Security_SECURITY_PLAINTEXT_UNMESHED, "10.1.2.3"
	}
	return s
}

func outbound(id uint32, to *pod, route string) *api.Series {
	return &api.Series{Id: id, Labels: &api.Labels{
		Direction: api.Direction_DIRECTION_OUTBOUND,
		Authority: to.who.name + ".shop.svc.cluster.local:80", Namespace: "shop",
		Service: to.who.name, Route: route,
		Security: api.Security_SECURITY_MTLS, PeerId: to.stream.who.id,
		Peer: &api.Workload{Namespace: to.who.namespace, Kind: to.who.kind, Name: to.who.name,
			Pod: to.who.pod},
	}}
}

func near(got *float64, want float64) bool {
	return got != nil && math.Abs(*got-want) < 1e-6 // metric.Quantile counts whole nanoseconds
}

func TestRatesAndQuantilesByHand(t *testing.T) {
	m := newMesh(t)
	web := m.pod("shop", "web", "web-1")
	// For 30 s, each second: 10 requests, 1 of them failed; 9 in the bucket of 1.024 ms, 1 in the
	// bucket of 262 ms.
	fast, slow := metric.Index(1024*time.Microsecond), metric.Index(262144*time.Microsecond)
	for i := range uint64(30) {
		m.now = m.now.Add(time.Second)
		s := inbound(1, 10*(i+1), i+1, "")
		s.Bucket, s.BucketCount = []uint32{uint32(fast), uint32(slow)}, []uint64{9 * (i + 1), i + 1}
		s.ReadBytes, s.ConnectionsOpen = 1000*(i+1), 4
		web.report(s)
	}
	row := m.one(Query{Resource: "deploy/web", Namespace: "shop"})
	if row.Requests != 300 || row.Failures != 30 || row.RPS != 10 || row.Connections != 4 ||
		row.ReadBytesPerSecond != 1000 {
		t.Errorf("row is %+v", row)
	}
	if !near(row.SuccessRate, 0.9) {
		t.Errorf("success rate is %v, want 0.9", *row.SuccessRate)
	}
	// p50 is the 150th of 270 in [1.024, 1.152) ms; p95 the middle of [262.144, 294.912) ms; p99
	// nine tenths into it.
	if !near(row.P50Ms, 1.024+0.128*150/270) || !near(row.P95Ms, 262.144+32.768/2) ||
		!near(row.P99Ms, 262.144+32.768*0.9) {
		t.Errorf("quantiles are %v %v %v", *row.P50Ms, *row.P95Ms, *row.P99Ms)
	}
}

func TestWindowForgetsWhatIsOlder(t *testing.T) {
	m := newMesh(t)
	web := m.pod("shop", "web", "web-1")
	total := uint64(0)
	step := func(seconds int, rate uint64) {
		for range seconds {
			m.now, total = m.now.Add(time.Second), total+rate
			web.report(inbound(1, total, 0, ""))
		}
	}
	step(120, 100)
	step(120, 5)
	if row := m.one(Query{Resource: "deploy"}); row.RPS != 5 || row.Requests != 12_600 {
		t.Errorf("now: %v rps, %d requests", row.RPS, row.Requests)
	}
	if row := m.one(Query{Resource: "deploy", Ago: 2 * time.Minute}); row.RPS != 100 {
		t.Errorf("two minutes ago: %v rps", row.RPS)
	}
	row := m.one(Query{Resource: "deploy", Window: 4 * time.Minute})
	if math.Abs(row.RPS-52.5) > 1 {
		t.Errorf("over four minutes: %v rps", row.RPS)
	}
}

func TestProxyRestartAdds(t *testing.T) {
	m := newMesh(t)
	web := m.pod("shop", "web", "web-1")
	m.now = m.now.Add(10 * time.Second)
	s := inbound(1, 100, 0, "")
	s.ConnectionsOpen = 7
	web.report(s)
	web.restart("b")
	m.now = m.now.Add(10 * time.Second)
	web.report(inbound(1, 40, 0, ""))
	row := m.one(Query{Resource: "deploy/web"})
	if row.Requests != 140 || row.Connections != 0 || row.Proxies != 1 {
		t.Errorf("row is %+v", row)
	}
	// 100 in the first ten seconds and 40 in the second: 7 a second over twenty, not 4 nor 14.
	if row.RPS != 7 {
		t.Errorf("rps is %v, want 7", row.RPS)
	}
}

func TestReconnectNeitherLosesNorDoubles(t *testing.T) {
	m := newMesh(t)
	web := m.pod("shop", "web", "web-1")
	m.now = m.now.Add(time.Second)
	web.report(inbound(1, 10, 0, ""))
	stale := web.stream
	web.reconnect()
	m.now = m.now.Add(20 * time.Second)
	web.report(inbound(1, 210, 0, ""))
	// The same report again, and one that the old stream still carried.
	web.report(inbound(1, 210, 0, ""))
	late := &pod{mesh: m, stream: stale, started: m.now.Add(-2 * time.Second), startID: "a",
		who: web.who}
	late.report(inbound(1, 15, 0, ""))
	row := m.one(Query{Resource: "deploy/web"})
	if row.Requests != 210 || row.RPS != 10 || row.WindowRequests != 210 {
		t.Errorf("row is %+v", row)
	}
}

func TestLongSilenceCountsInTotalsOnly(t *testing.T) {
	m := newMesh(t)
	web := m.pod("shop", "web", "web-1")
	m.now = m.now.Add(time.Second)
	web.report(inbound(1, 10, 0, ""))
	web.reconnect()
	m.now = m.now.Add(10 * time.Minute)
	web.report(inbound(1, 100_010, 0, ""))
	row := m.one(Query{Resource: "deploy/web"})
	if row.Requests != 100_010 || row.RPS != 0 || row.WindowRequests != 0 {
		t.Errorf("row is %+v", row)
	}
}

func TestTwoPodsAddUp(t *testing.T) {
	m := newMesh(t)
	pods := []*pod{m.pod("shop", "web", "web-1"), m.pod("shop", "web", "web-2"),
		m.pod("shop", "checkout", "checkout-1")}
	for i := range uint64(20) {
		m.now = m.now.Add(time.Second)
		for j, p := range pods {
			p.report(inbound(1, (i+1)*uint64(j+1), 0, ""))
		}
	}
	if row := m.one(Query{Resource: "deploy/web"}); row.RPS != 3 || row.Requests != 60 ||
		row.Proxies != 2 {
		t.Errorf("deploy/web is %+v", row)
	}
	if row := m.one(Query{Resource: "ns"}); row.RPS != 6 || row.Name != "shop" || row.Proxies != 3 {
		t.Errorf("ns is %+v", row)
	}
	if rows := m.stat(Query{Resource: "pod"}); len(rows) != 3 || rows[2].Name != "web-2" ||
		rows[2].RPS != 2 {
		t.Errorf("pods are %+v", rows)
	}
	if rows := m.stat(Query{Resource: "deploy", Namespace: "bank"}); len(rows) != 0 {
		t.Errorf("namespace bank has %+v", rows)
	}
}

func TestEndedProxyKeepsItsTotalsForAnHour(t *testing.T) {
	m := newMesh(t)
	web, other := m.pod("shop", "web", "web-1"), m.pod("shop", "other", "other-1")
	m.now = m.now.Add(time.Second)
	web.report(inbound(1, 10, 0, ""))
	m.store.end(m.now, web.stream)
	m.now = m.now.Add(59 * time.Minute)
	other.report(inbound(1, 1, 0, ""))
	row := m.one(Query{Resource: "deploy/web"})
	if row.Requests != 10 || row.Meshed || row.Proxies != 0 || row.RPS != 0 {
		t.Errorf("row is %+v", row)
	}
	m.now = m.now.Add(2 * time.Minute)
	other.report(inbound(1, 2, 0, ""))
	if rows := m.stat(Query{Resource: "deploy/web"}); len(rows) != 0 {
		t.Errorf("an hour later there is %+v", rows)
	}
	alone := newMesh(t)
	alone.pod("shop", "other", "other-1").report(inbound(1, 2, 0, ""))
	if m.store.bytes() != alone.store.bytes() || len(m.store.sizes) != 1 {
		t.Errorf("%d bytes are left, want %d; sizes are %v", m.store.bytes(), alone.store.bytes(),
			m.store.sizes)
	}
}

func TestServiceIsMeasuredByItsCallers(t *testing.T) {
	m := newMesh(t)
	web, checkout := m.pod("shop", "web", "web-1"), m.pod("shop", "checkout", "checkout-1")
	m.now = m.now.Add(10 * time.Second)
	s := outbound(1, checkout, "POST /pay")
	// 100 requests of which 2 failed, by 140 tries of which 42 failed.
	s.Requests, s.Failures, s.Tries, s.FailedTries, s.Retries, s.Timeouts = 100, 2, 140, 42, 40, 3
	web.report(s)
	checkout.report(inbound(1, 140, 42, web.stream.who.id))
	row := m.one(Query{Resource: "svc/checkout"})
	if row.MeasuredBy != "client" || !row.Meshed || row.Requests != 100 || row.RPS != 10 ||
		row.ActualRPS != 14 || row.Timeouts != 3 {
		t.Errorf("service is %+v", row)
	}
	if !near(row.SuccessRate, 0.98) || !near(row.ActualSuccessRate, 0.7) ||
		!near(row.RetryRate, 0.4) {
		t.Errorf("rates are %v %v %v", *row.SuccessRate, *row.ActualSuccessRate, *row.RetryRate)
	}
	if row := m.one(Query{Resource: "deploy/checkout"}); row.MeasuredBy != "server" ||
		row.Requests != 140 || row.RPS != 14 {
		t.Errorf("deployment is %+v", row)
	}
	if row := m.one(Query{Resource: "deploy/web", To: "svc/checkout"}); row.Requests != 100 {
		t.Errorf("web to checkout is %+v", row)
	}
	if row := m.one(Query{Resource: "deploy", From: "deploy/web"}); row.Name != "checkout" ||
		row.Requests != 100 {
		t.Errorf("from web is %+v", row)
	}
	routes, err := m.store.routes(m.now, Query{Resource: "svc/checkout"})
	if err != nil || len(routes.Rows) != 1 || routes.Rows[0].Route != "POST /pay" ||
		!near(routes.Rows[0].ActualSuccessRate, 0.7) {
		t.Errorf("routes are %+v, %v", routes, err)
	}
}

func TestUnmeshedDestinationHasARow(t *testing.T) {
	m := newMesh(t)
	web, db := m.pod("shop", "web", "web-1"), m.pod("shop", "db", "db-1")
	m.now = m.now.Add(10 * time.Second)
	s := outbound(1, db, "")
	s.Labels.Security, s.Labels.PeerId, s.Requests =
		api.Security_SECURITY_PLAINTEXT_UNMESHED, "", 50
	web.report(s)
	row := m.one(Query{Resource: "deploy/db"})
	if row.Meshed || row.MeasuredBy != "client" || row.Requests != 50 || row.RPS != 5 {
		t.Errorf("row is %+v", row)
	}
}

func TestReportsThatChangeThePast(t *testing.T) {
	m := newMesh(t)
	web := m.pod("shop", "web", "web-1")
	m.now = m.now.Add(time.Second)
	before := inbound(1, 10, 0, "")
	before.Bucket, before.BucketCount = []uint32{3, 9}, []uint64{5, 5}
	web.report(before)
	m.now = m.now.Add(time.Second)
	fell := inbound(1, 10, 0, "")
	fell.Bucket, fell.BucketCount = []uint32{3, 9}, []uint64{5, 4}
	unlabelled := inbound(2, 1, 0, "")
	unlabelled.Labels = nil
	for name, s := range map[string]*api.Series{
		"counter 0 fell": inbound(1, 9, 0, ""), "bucket 9 fell": fell,
		"changed its labels": inbound(1, 11, 0, "spiffe://x/y"),
		"without labels":     unlabelled,
	} {
		err := web.try(s)
		if status.Code(err) != codes.InvalidArgument || !strings.Contains(err.Error(), name) {
			t.Errorf("want %q, got %v", name, err)
		}
	}
	known := inbound(1, 12, 0, "")
	known.Labels = nil
	web.report(known)
	if row := m.one(Query{Resource: "deploy"}); row.Requests != 12 {
		t.Errorf("row is %+v", row)
	}
}

func TestSeriesAreCapped(t *testing.T) {
	m := newMesh(t)
	web := m.pod("shop", "web", "web-1")
	series := func(from, n int) (out []*api.Series) {
		for i := range n {
			s := inbound(uint32(from+i), 1, 0, "")
			s.Labels.Port = uint32(from + i)
			out = append(out, s)
		}
		return out
	}
	err := web.try(series(0, MaxSeriesPerProxy+1)...)
	if status.Code(err) != codes.ResourceExhausted {
		t.Errorf("one series too many in a report: %v", err)
	}
	web.report(series(0, MaxSeriesPerProxy)...)
	m.now = m.now.Add(time.Second)
	err = web.try(series(MaxSeriesPerProxy, 1)...)
	if status.Code(err) != codes.ResourceExhausted {
		t.Errorf("one series too many in all: %v", err)
	}
}

// A pod that restarts its proxy without end, each time with as many labels as it may, gets its
// share of the memory and no more.
func TestReporterBudget(t *testing.T) {
	m := newMesh(t)
	web := m.pod("shop", "web", "web-1")
	var refused error
	for life := range 100 {
		web.restart(fmt.Sprint(life))
		m.now = m.now.Add(time.Second)
		var all []*api.Series
		for i := range MaxSeriesPerProxy {
			s := inbound(uint32(i), 1, 0, "")
			s.Labels.Authority, s.Labels.Port = strings.Repeat("x", MaxLabelLength), uint32(i)
			all = append(all, s)
		}
		if refused = web.try(all...); refused != nil {
			break
		}
	}
	if status.Code(refused) != codes.ResourceExhausted {
		t.Errorf("a hundred lives ended with %v", refused)
	}
	if size := m.store.sizes[web.stream.who]; size > ReporterBudget {
		t.Errorf("the pod takes %d bytes", size)
	}
	if m.store.refused == 0 {
		t.Error("no series was counted as refused")
	}
	other := m.pod("shop", "other", "other-1")
	other.report(inbound(1, 1, 0, ""))
}

// The pods of a workload have equal labels, which are kept once, until the last of them is
// forgotten.
func TestEqualLabelsAreKeptOnce(t *testing.T) {
	m := newMesh(t)
	checkout := m.pod("shop", "checkout", "checkout-1")
	var pods []*pod
	for i := range 100 {
		one := m.pod("shop", "web", fmt.Sprint("web-", i))
		one.report(outbound(1, checkout, "POST /pay"))
		pods = append(pods, one)
	}
	if n := len(m.store.labels.sets); n != 2 { // with the endpoint's pod, and without
		t.Errorf("%d labels are kept", n)
	}
	sum := 0
	for _, size := range m.store.sizes {
		sum += size
	}
	if each := sum / len(pods); m.store.bytes() > len(pods)*each-25*m.store.labels.size {
		t.Errorf("%d bytes are counted for %d pods of %d each", m.store.bytes(), len(pods), each)
	}
	for _, one := range pods {
		m.store.end(m.now, one.stream)
	}
	m.now = m.now.Add(historyLength + time.Minute)
	checkout.report()
	if len(m.store.labels.sets) != 0 || m.store.bytes() != processSize {
		t.Errorf("an hour later %d labels and %d bytes are left", len(m.store.labels.sets),
			m.store.bytes())
	}
}

// Series that arrive small and fill their histograms later get no more than their pod's share.
func TestGrowthIsBounded(t *testing.T) {
	m := newMesh(t)
	web := m.pod("shop", "web", "web-1")
	var all []*api.Series
	for i := range MaxSeriesPerProxy {
		s := inbound(uint32(i), 1, 0, "")
		s.Labels.Port = uint32(i)
		for _, label := range []*string{&s.Labels.Authority, &s.Labels.Route, &s.Labels.Backend,
			&s.Labels.Namespace, &s.Labels.Service, &s.Labels.Protocol} {
			*label = strings.Repeat("x", MaxLabelLength)
		}
		all = append(all, s)
	}
	web.report(all...)
	if m.store.refused != 0 {
		t.Fatalf("%d series did not fit at once", m.store.refused)
	}
	for range 3 {
		web.reconnect()
		m.now = m.now.Add(59 * time.Minute) // time enough for as many requests
		for _, s := range all {
			s.Labels = nil
			s.Requests++
			s.Bucket = nil
			for b := range metric.Buckets {
				s.Bucket = append(s.Bucket, uint32(b))
			}
			s.BucketCount = slices.Repeat([]uint64{s.Requests << 12}, metric.Buckets)
		}
		web.report(all...)
	}
	if size := m.store.sizes[web.stream.who]; size > ReporterBudget || m.store.refused == 0 {
		t.Errorf("the pod takes %d bytes, and %d changes were refused", size, m.store.refused)
	}
}

func TestSumsDoNotTurnAround(t *testing.T) {
	sum := counters{requests: math.MaxUint64 - 2, failures: 1}
	sum.add(&counters{requests: 5, failures: 2})
	if sum[requests] != math.MaxUint64 || sum[failures] != 3 {
		t.Errorf("the sums are %v", sum)
	}
}

// The open slot counts as what it takes: that is what busy series fill first.
func TestTheOpenSlotIsWithinTheHistorysBudget(t *testing.T) {
	m := newMesh(t)
	m.pod("shop", "web", "web-1").report(inbound(1, 1, 0, ""), inbound(2, 1, 0, ""))
	open := m.store.history.open
	sum := 0
	for _, one := range open.samples {
		sum += openSize + cap(one)
	}
	recent := 0
	for _, whole := range m.store.level.all {
		recent += cap(whole.recent)
	}
	if sum == 0 || sum != open.size || m.store.history.bytes() != sum+recent {
		t.Errorf("the open slot has %d bytes, and counts %d", sum, open.size)
	}
}
