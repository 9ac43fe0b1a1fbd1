package viz

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/tulle-mesh/tulle/proxy/metric"
	"github.com/tulle-mesh/tulle/viz/api"
)

// Why requests did not go well is told by reason; a word of a newer proxy's is other.
func TestReasonsHaveTheirSeries(t *testing.T) {
	m := newMesh(t)
	web := m.pod("shop", "web", "web-1")
	m.now = m.now.Add(time.Second)
	s := inbound(1, 10, 5, "")
	s.Reasons = []*api.ReasonCount{{Reason: "denied", Count: 3}, {Reason: "rate_limited", Count: 1},
		{Reason: "of_tomorrow", Count: 1}}
	web.report(s)
	for selector, want := range map[string]float64{
		`workload="web",direction="inbound",reason="denied"`: 3, `reason="rate_limited"`: 1,
		`reason="other"`: 1, `reason="no_route"`: 0, `workload="web"`: 5,
	} {
		if got := m.sum("tulle_workload_reasons_total", selector); got != want {
			t.Errorf("%s: %v, want %v", selector, got, want)
		}
	}
	m.now = m.now.Add(time.Second)
	s = inbound(1, 10, 5, "")
	if err := web.try(s); err == nil || !strings.Contains(err.Error(), "fell") {
		t.Errorf("reasons that are fewer than before: %v", err)
	}
}

// A pair of workloads that has no traffic any more has no series any more, though both live. Once
// it has again, these go on where they were.
func TestIdleSeriesEnd(t *testing.T) {
	m, front, web := shopCalls(t)
	const all = `deployment="web",direction="inbound"`
	for elapsed := time.Duration(0); elapsed <= historyLength; elapsed += 30 * time.Second {
		if got := m.sum("response_total", all); got != 100 {
			t.Fatalf("after %s: %v", elapsed, got)
		}
		m.now = m.now.Add(30 * time.Second)
		web[0].report()
		web[1].report()
	}
	if got := m.families()["response_total"]; got != nil {
		t.Errorf("after an hour: %v", got)
	}
	m.now = m.now.Add(time.Second)
	s := inbound(1, 57, 3, front[0].stream.who.id)
	s.Bucket = []uint32{uint32(metric.Index(2 * time.Millisecond))}
	s.BucketCount, s.LatencySumUs = []uint64{57}, 114_000
	web[0].report(s)
	if got := m.sum("response_total", all); got != 107 {
		t.Errorf("after that %v, want 107", got)
	}
}

// Kiali does not believe figures of a caller whose namespace is known and nothing else is. Whose
// account a caller has is its workload, if it is that of no other.
func TestCallersByTheirAccount(t *testing.T) {
	m, front, _ := shopCalls(t)
	const by = `reporter="destination",destination_workload="web",source_workload="front",` +
		`source_canonical_service="front",source_canonical_revision="latest"`
	if got := m.sum("istio_requests_total", by); got != 100 {
		t.Errorf("%v of 100", got)
	}
	twin := m.pod("shop", "front", "twin-1")
	twin.who.name = "twin"
	twin.stream.who = reporter{front[0].stream.who.id, "shop", "front", "twin-1"}
	twin.report()
	if got := m.sum("istio_requests_total", by); got != 0 {
		t.Errorf("two workloads have the account, and one of them made %v", got)
	}
}

// Whatever proxies say, Prometheus gets no more series than it was promised.
func TestThePageHasItsBound(t *testing.T) {
	for _, compat := range [][]string{nil, CompatViews()} {
		m := newMesh(t)
		m.store = newStore(viewsOf(compat))
		m.now = m.now.Add(time.Second)
		for p := range 40 {
			one := m.pod("shop", fmt.Sprintf("web%d", p), fmt.Sprintf("web%d-1", p))
			var all []*api.Series
			for i := range uint32(200) {
				s := withEndpoints(i, m.pod("shop", fmt.Sprintf("peer-%d", i), ""), "", 1, 2)
				s.Failures, s.Retries, s.RetriesRefused, s.Timeouts = 1, 1, 1, 1
				s.Faulted, s.Limited, s.DryRefused, s.ConnectionsOpened = 1, 1, 1, 1
				s.ReadBytes, s.WrittenBytes = 1, 1
				s.Bucket, s.BucketCount = []uint32{63}, []uint64{10}
				s.Reasons = []*api.ReasonCount{{Reason: "denied", Count: 1},
					{Reason: "no_route", Count: 1}, {Reason: "overload", Count: 1}}
				all = append(all, s)
			}
			one.report(all...)
		}
		lines := 0
		for line := range strings.Lines(m.page()) {
			if !strings.HasPrefix(line, "#") {
				lines++
			}
		}
		if lines > maxSeries || lines < maxSeries/2 {
			t.Errorf("%v: %d series, of %d", compat, lines, maxSeries)
		}
	}
}

// What is known of a workload's proxies.
func TestWorkloadsProxies(t *testing.T) {
	m := newMesh(t)
	for i := range 3 {
		one := m.pod("shop", "web", fmt.Sprintf("web-%d", i))
		r := one.message()
		r.Version, r.CertificateExpiryUnix = fmt.Sprintf("v%d", i/2), 1_800_000_000+int64(i)
		r.DroppedSeries = 2
		checked, err := checkReport(one.stream.who, r)
		if err != nil {
			t.Fatal(err)
		}
		if err := m.store.apply(m.now, one.stream, checked); err != nil {
			t.Fatal(err)
		}
	}
	all := m.families()
	for name, want := range map[string]float64{
		`tulle_workload_proxies{workload="web",version="v0"}`:                    2,
		`tulle_workload_proxies{version="v1"}`:                                   1,
		`tulle_workload_certificate_expiry_timestamp_seconds{kind="deployment"}`: 1_800_000_000,
		`tulle_workload_recordings_folded{namespace="shop"}`:                     6,
	} {
		name, selector, _ := strings.Cut(name, "{")
		got := 0.0
		for _, one := range all[name].GetMetric() {
			if selects(selector, one.Label) {
				got += one.GetGauge().GetValue()
			}
		}
		if got != want {
			t.Errorf("%s{%s: %v, want %v", name, selector, got, want)
		}
	}
}
