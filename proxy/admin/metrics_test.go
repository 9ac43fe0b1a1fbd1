package admin

import (
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/tulle-mesh/tulle/proxy/metric"
)

func record(r *metric.Registry) {
	c := r.Cell(metric.Labels{
		Direction: metric.Outbound, Authority: "web.shop.svc.cluster.local:80",
		Namespace: "shop", Service: "web", Route: "GET /books", Backend: "web-v2",
		Peer:   metric.Workload{Namespace: "shop", Kind: "deploy", Name: "web", Pod: "web-1"},
		PeerID: "spiffe://cluster.local/ns/shop/sa/web",
		OwnID:  "spiffe://cluster.local/ns/shop/sa/front", Security: metric.MTLS,
		Protocol: "http/2", Port: 8080,
	})
	c.Requests.Add(5)
	c.Failures.Add(1)
	c.Tries.Add(7)
	c.FailedTries.Add(3)
	c.Retries.Add(2)
	c.RetriesRefused.Add(1)
	c.Timeouts.Add(1)
	for range 6 {
		c.CountNear(metric.SameZone)
	}
	c.CountNear(metric.UnknownNearness)
	c.ReadBytes.Add(10)
	c.WrittenBytes.Add(20)
	for _, d := range []time.Duration{
		100 * time.Microsecond, time.Millisecond, 3 * time.Millisecond,
		2 * time.Second, 10 * time.Minute,
	} {
		c.ObserveLatency(d)
	}
	tcp := r.Cell(metric.Labels{
		Direction: metric.Inbound, Protocol: "tcp", Security: metric.PlaintextUnmeshed,
		PeerAddress: "10.1.1.1",
	})
	tcp.OpenConnection()
	r.Cell(metric.Labels{Direction: metric.Inbound, Authority: "never used"})
	for e := metric.ConnectionRefused; e <= metric.Mirrored; e++ {
		r.Counter(e, "limit").Inc()
	}
	all := metric.RateLimit{Namespace: "shop", Policy: "web", Limit: "all", Enforced: true}
	r.Limited(all).Add(4)
	r.Limited(all).Share.Store(25)
	r.Connections.Store(3)
	r.CertificateExpiry.Store(1_900_000_000)
}

func scrape(t *testing.T, r *rig) (string, map[string]*dto.MetricFamily) {
	t.Helper()
	status, page := r.do(t, "GET", "/metrics", "")
	if status != 200 {
		t.Fatalf("%d %s", status, page)
	}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(page))
	if err != nil {
		t.Fatal(err)
	}
	return page, families
}

func TestMetricsPage(t *testing.T) {
	r := newRig(t, "127.0.0.1:0")
	record(r.registry)
	page, families := scrape(t, r)
	problems, err := promlint.New(strings.NewReader(page)).Lint()
	if err != nil || len(problems) > 0 {
		t.Errorf("promlint: %v %v", problems, err)
	}
	for name, want := range map[string]float64{
		"tulle_requests_total": 5, "tulle_request_failures_total": 1, "tulle_tries_total": 7,
		"tulle_try_failures_total": 3, "tulle_retries_total": 2, "tulle_retries_refused_total": 1,
		"tulle_timeouts_total": 1, "tulle_tcp_connections_opened_total": 1,
		"tulle_tcp_connections_open": 1, "tulle_tcp_read_bytes_total": 10,
		"tulle_tcp_written_bytes_total": 20, "tulle_proxy_connections_open": 3,
		"tulle_series_dropped_total": 0, "tulle_build_info": 1,
		"tulle_connections_refused_total": 1, "tulle_protocol_errors_total": 1,
		"tulle_outcome_reasons_total": 1, "tulle_retry_causes_total": 1,
		"tulle_control_plane_errors_total": 1, "tulle_work_shed_total": 1,
		"tulle_rate_limited_total":                   4,
		"tulle_mirrors_total":                        1,
		"tulle_tries_by_nearness_total":              6,
		"tulle_rate_limit_share":                     25,
		"tulle_certificate_expiry_timestamp_seconds": 1_900_000_000,
	} {
		f := families[name]
		if f == nil || len(f.Metric) != 1 {
			t.Errorf("%s: %v, want one sample", name, f)
			continue
		}
		m := f.Metric[0]
		if got := m.GetCounter().GetValue() + m.GetGauge().GetValue(); got != want {
			t.Errorf("%s is %v, want %v", name, got, want)
		}
	}
	for _, name := range []string{
		"process_resident_memory_bytes", "process_virtual_memory_bytes", "process_open_fds",
		"process_max_fds", "process_cpu_seconds_total", "process_start_time_seconds",
		"go_goroutines", "go_info", "go_gc_duration_seconds", "go_gc_gogc_percent",
		"go_gc_gomemlimit_bytes", "go_sched_gomaxprocs_threads",
	} {
		if families[name] == nil {
			t.Errorf("no %s", name)
		}
	}
	if strings.Contains(page, "never used") {
		t.Error("a series without a recording is shown")
	}
}

func TestLabelsOnThePage(t *testing.T) {
	r := newRig(t, "127.0.0.1:0")
	record(r.registry)
	page, _ := scrape(t, r)
	want := `tulle_requests_total{authority="web.shop.svc.cluster.local:80",backend="web-v2",` +
		`direction="outbound",namespace="shop",own_id="spiffe://cluster.local/ns/shop/sa/front",` +
		`peer_id="spiffe://cluster.local/ns/shop/sa/web",peer_kind="deploy",peer_name="web",` +
		`peer_namespace="shop",peer_pod="web-1",port="8080",protocol="http/2",` +
		`route="GET /books",security="mtls",service="web"} 5`
	if !strings.Contains(page, want) {
		t.Errorf("no %s\nin\n%s", want, page)
	}
	want = `{direction="inbound",peer_address="10.1.1.1",protocol="tcp",` +
		`security="plaintext_unmeshed"} 1`
	if !strings.Contains(page, want) {
		t.Errorf("no %s", want)
	}
}

func TestHistogram(t *testing.T) {
	r := newRig(t, "127.0.0.1:0")
	record(r.registry)
	_, families := scrape(t, r)
	h := families["tulle_request_duration_seconds"].Metric[0].GetHistogram()
	if h.GetSampleCount() != 5 || h.GetSampleSum() < 602.004 || h.GetSampleSum() > 602.005 {
		t.Errorf("count %d sum %v", h.GetSampleCount(), h.GetSampleSum())
	}
	got := map[float64]uint64{}
	for _, b := range h.Bucket {
		got[b.GetUpperBound()] = b.GetCumulativeCount()
	}
	for bound, want := range map[float64]uint64{
		0.000512: 1, 0.001024: 2, 0.002048: 2, 0.004096: 3, 1.048576: 3, 4.194304: 4, 67.108864: 4,
	} {
		if n, ok := got[bound]; !ok || n != want {
			t.Errorf("le %v: %d %v, want %d of %v", bound, n, ok, want, got)
		}
	}
	if len(got) > 17 {
		t.Errorf("%d buckets", len(got))
	}
}

// A name made of a peer's bytes must not take the page away from everybody.
func TestLabelThatIsNoText(t *testing.T) {
	r := newRig(t, "127.0.0.1:0")
	record(r.registry)
	labels := metric.Labels{Direction: metric.Inbound, Authority: "a\xff\n\"b"}
	r.registry.Cell(labels).Requests.Add(1)
	labels.Authority = "a\xfe\n\"b" // the same text once repaired
	r.registry.Cell(labels).Requests.Add(1)
	_, families := scrape(t, r)
	if n := len(families["tulle_requests_total"].Metric); n != 2 {
		t.Fatalf("%d series of requests, want the good one and one repaired", n)
	}
}

// A full table: what one scrape costs, against maxScrapes.
func BenchmarkFullPage(b *testing.B) {
	r := metric.NewRegistry()
	fill(r)
	s := New(Options{Registry: r})
	b.ReportAllocs()
	for b.Loop() {
		t := metric.NewText(func([]byte) bool { return true })
		s.writePage(t)
		t.Flush()
	}
}

func fill(r *metric.Registry) {
	for i := range metric.MaxSeries {
		c := r.Cell(metric.Labels{
			Direction: metric.Outbound, Authority: "web.shop.svc.cluster.local:80",
			Namespace: "shop", Service: "web", Port: uint32(i),
			PeerID: "spiffe://cluster.local/ns/shop/sa/web",
			OwnID:  "spiffe://cluster.local/ns/shop/sa/front", Security: metric.MTLS,
		})
		c.Requests.Add(1)
		c.OpenConnection()
		c.ObserveLatency(time.Millisecond)
	}
}
