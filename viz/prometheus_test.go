package viz

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"sigs.k8s.io/yaml"

	"github.com/tulle-mesh/tulle/proxy/metric"
	"github.com/tulle-mesh/tulle/viz/api"
)

func (m *mesh) page() string {
	var b strings.Builder
	p := newText(&b)
	m.store.writeFlows(p)
	m.store.writeWorkloads(p, m.now)
	p.close()
	return b.String()
}

func (m *mesh) families() map[string]*dto.MetricFamily {
	m.t.Helper()
	parser := expfmt.NewTextParser(model.UTF8Validation)
	out, err := parser.TextToMetricFamilies(strings.NewReader(m.page()))
	if err != nil {
		m.t.Fatal(err)
	}
	return out
}

var selectorPattern = regexp.MustCompile(`(\w+)(=~|!~|!=|=)"([^"]*)"`)

// selects evaluates what stands between the braces of a PromQL selector.
func selects(selector string, labels []*dto.LabelPair) bool {
	has := map[string]string{}
	for _, l := range labels {
		has[l.GetName()] = l.GetValue()
	}
	for _, m := range selectorPattern.FindAllStringSubmatch(selector, -1) {
		value, _ := strconv.Unquote(`"` + m[3] + `"`)
		equal := has[m[1]] == value
		if strings.HasSuffix(m[2], "~") {
			equal = regexp.MustCompile("^(?:" + value + ")$").MatchString(has[m[1]])
		}
		if equal == strings.HasPrefix(m[2], "!") {
			return false
		}
	}
	return true
}

// sum is of the counters that a selector finds, or of its histograms' observations.
func (m *mesh) sum(name, selector string) float64 {
	m.t.Helper()
	return sumOf(m.families()[name], selector)
}

func sumOf(family *dto.MetricFamily, selector string) (sum float64) {
	for _, one := range family.GetMetric() {
		if selects(selector, one.Label) {
			sum += one.GetCounter().GetValue() + float64(one.GetHistogram().GetSampleCount())
		}
	}
	return sum
}

// shopCalls is a mesh in which front called web 100 times, 7 of them in vain, from two pods to two
// pods.
func shopCalls(t *testing.T) (m *mesh, front, web [2]*pod) {
	m = newMesh(t)
	for i := range 2 {
		front[i] = m.pod("shop", "front", fmt.Sprintf("front-%d", i))
		web[i] = m.pod("shop", "web", fmt.Sprintf("web-%d", i))
	}
	m.now = m.now.Add(time.Second)
	for i := range 2 {
		in := inbound(1, 50, uint64(3+i), front[0].stream.who.id)
		in.Bucket = []uint32{uint32(metric.Index(2 * time.Millisecond))}
		in.BucketCount, in.LatencySumUs = []uint64{50}, 100_000
		web[i].report(in)
		out := outbound(1, web[i], "GET /")
		out.Requests, out.Failures, out.Tries = 50, uint64(3+i), 52
		out.Bucket, out.BucketCount, out.LatencySumUs = in.Bucket, in.BucketCount, in.LatencySumUs
		out.Labels.Backend = "web-v2.shop.svc.cluster.local:80"
		front[i].report(out)
	}
	return m, front, web
}

// The selectors are those of Flagger v1.36.1 (pkg/metrics/observers) and of the charts that come
// with Linkerd and Istio.
func TestFiguresInEverybodysNames(t *testing.T) {
	m, _, _ := shopCalls(t)
	for _, c := range []struct {
		name, selector string
		want           float64
	}{
		{"response_total", `namespace="shop",deployment=~"web",classification!="failure",` +
			`direction="inbound"`, 93},
		{"response_total", `namespace="shop",deployment=~"web",direction="inbound"`, 100},
		{"response_total", `deployment="front",direction="outbound",dst_deployment="web",` +
			`dst_namespace="shop",dst_service="web",tls="true",classification="failure"`, 7},
		{"response_total", `deployment=~"web-primary"`, 0},
		{"request_total", `direction="inbound",deployment="web",tls="true"`, 100},
		{"response_latency_ms", `namespace="shop",deployment=~"web",direction="inbound"`, 100},
		{"istio_requests_total", `reporter="destination",destination_workload_namespace="shop",` +
			`destination_workload=~"web",response_code!~"5.*"`, 93},
		{"istio_requests_total", `reporter="destination",destination_workload_namespace="shop",` +
			`destination_workload=~"web",connection_security_policy="mutual_tls",` +
			`source_principal="spiffe://cluster.local/ns/shop/sa/front"`, 100},
		{"istio_requests_total", `reporter="source",source_workload="front",` +
			`destination_service="web.shop.svc.cluster.local",response_code=~"5.*"`, 7},
		{"istio_request_duration_milliseconds", `reporter="destination",` +
			`destination_workload=~"web"`, 100},
		{"tulle_workload_requests_total", `direction="inbound",workload="web",` +
			`kind="deployment",classification="failure"`, 7},
		{"tulle_workload_tries_total", `workload="front",peer="web",service="web"`, 104},
		{"tulle_workload_request_duration_seconds", `workload="web"`, 100},
	} {
		if got := m.sum(c.name, c.selector); got != c.want {
			t.Errorf("%s{%s} is %v, want %v", c.name, c.selector, got, c.want)
		}
	}
}

// Both units say the same.
func TestDurationsInSecondsAndInMilliseconds(t *testing.T) {
	m, _, _ := shopCalls(t)
	for name, unit := range map[string]float64{
		"tulle_workload_request_duration_seconds": 1, "response_latency_ms": 1000,
		"istio_request_duration_milliseconds": 1000,
	} {
		h := m.families()[name].GetMetric()[0].GetHistogram()
		if h.GetSampleSum() != 0.2*unit {
			t.Errorf("%s: the sum is %v, want %v", name, h.GetSampleSum(), 0.2*unit)
		}
		for _, b := range h.Bucket {
			want := uint64(0)
			if b.GetUpperBound() > 0.002*unit {
				want = 100
			}
			if b.GetCumulativeCount() != want {
				t.Errorf("%s: %d up to %v, want %d", name, b.GetCumulativeCount(),
					b.GetUpperBound(), want)
			}
		}
	}
}

func TestOwnNamesAreGoodNames(t *testing.T) {
	m, _, _ := shopCalls(t)
	problems, err := promlint.New(strings.NewReader(m.page())).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		if strings.HasPrefix(p.Metric, "tulle_") {
			t.Errorf("%s: %s", p.Metric, p.Text)
		}
	}
}

// Proxies restart and go away, and a new one comes: what they counted stays counted.
func TestCountersNeverFall(t *testing.T) {
	const all = `namespace="shop",deployment="web",direction="inbound"`
	m, front, web := shopCalls(t)
	last := m.sum("response_total", all)
	step := func(what string, more float64) {
		t.Helper()
		now := m.sum("response_total", all)
		if now != last+more {
			t.Errorf("%s: from %v to %v, want %v more", what, last, now, more)
		}
		last = now
	}
	caller := front[0].stream.who.id
	web[0].restart("b")
	m.now = m.now.Add(time.Second)
	web[0].report(inbound(1, 5, 0, caller))
	step("a proxy restarted", 5)
	m.store.end(m.now, web[1].stream)
	m.now = m.now.Add(30 * time.Minute)
	web[0].report(inbound(1, 6, 0, caller))
	step("another is gone for half an hour", 1)
	for _, n := range []uint64{7, 8} {
		m.now = m.now.Add(historyLength / 2)
		web[0].report(inbound(1, n, 0, caller))
	}
	if len(m.store.processes) != 3 { // both of front, which were never said to have ended
		t.Errorf("%d processes are remembered", len(m.store.processes))
	}
	step("and forgotten", 2)
	web[0].reconnect()
	m.now = m.now.Add(2 * time.Second)
	web[0].report(inbound(1, 8, 0, caller))
	step("a stream broke", 0)
}

// A viz that starts anew counts from nothing, as every process does, and not from what proxies had
// counted before: to Prometheus that would be a burst.
func TestAnOldProxyIsNoBurst(t *testing.T) {
	m := newMesh(t)
	web := m.pod("shop", "web", "web-1")
	m.now = m.now.Add(time.Hour)
	web.report(inbound(1, 1_000_000, 0, ""))
	m.now = m.now.Add(time.Second)
	web.report(inbound(1, 1_000_003, 1, ""))
	if got := m.sum("response_total", ""); got != 3 {
		t.Errorf("%v requests, want 3", got)
	}
}

// An hour after its last proxy a workload has no series any more.
func TestSeriesOfTheGoneAreTakenAway(t *testing.T) {
	m, front, web := shopCalls(t)
	for _, p := range append(front[:], web[:]...) {
		m.store.end(m.now, p.stream)
	}
	other := m.pod("shop", "other", "other-1")
	m.now = m.now.Add(historyLength + time.Minute)
	other.started = m.now.Add(-time.Second)
	other.report(inbound(1, 1, 0, ""))
	if got := m.sum("request_total", ""); got != 1 || len(m.store.flows.all) != 1 ||
		len(m.store.flows.of) != 1 {
		t.Errorf("%v requests; %d flows of %d workloads, want 1 each", got,
			len(m.store.flows.all), len(m.store.flows.of))
	}
}

// At first a proxy knows only its pod's name.
func TestAWorkloadThatIsKnownLater(t *testing.T) {
	m := newMesh(t)
	web := m.pod("shop", "web", "web-1")
	known := web.who
	web.who = workload{}
	m.now = m.now.Add(time.Second)
	web.report(inbound(1, 1, 0, ""))
	if got := m.sum("response_total", `pod="web-1"`); got != 1 {
		t.Errorf("before: %v", got)
	}
	web.who = known
	m.now = m.now.Add(time.Second)
	web.report(inbound(1, 5, 0, ""))
	if got := m.sum("response_total", `deployment="web"`); got != 4 {
		t.Errorf("after: %v", got)
	}
	if n := len(m.store.flows.all); n != 1 {
		t.Errorf("%d flows, want 1", n)
	}
}

// Whatever proxies say, the page has its bound, and what one makes up does not touch the others.
func TestFlowsAreBounded(t *testing.T) {
	m := newMesh(t)
	m.now = m.now.Add(time.Second)
	total := uint64(0)
	most := maxFlows(views)
	for p := range flowShares + 1 {
		liar := m.pod("shop", fmt.Sprintf("liar%d", p), fmt.Sprintf("liar%d-1", p))
		var all []*api.Series
		for i := range uint32(most/flowShares + 10) {
			s := outbound(i, m.pod("shop", fmt.Sprintf("made-up-%d", i), ""), "")
			s.Requests = 1
			total++
			all = append(all, s)
		}
		liar.report(all...)
	}
	if n := len(m.store.flows.all); n > most+1 {
		t.Errorf("%d flows: the bound is %d", n, most)
	}
	page := m.families()
	if got := sumOf(page["request_total"], ""); got != float64(total) {
		t.Errorf("%v requests, want %d: none is lost", got, total)
	}
	if sumOf(page["tulle_workload_requests_total"], `workload="liar0",peer="other"`) == 0 {
		t.Error("nothing is counted under the name other")
	}
	if sumOf(page["tulle_viz_flows_folded_total"], "") == 0 {
		t.Error("nobody is told")
	}
}

// Callers without a certificate and names outside the cluster are anybody's to choose.
func TestStrangersMakeNoSeries(t *testing.T) {
	m := newMesh(t)
	web := m.pod("shop", "web", "web-1")
	m.now = m.now.Add(time.Second)
	var all []*api.Series
	for i := range uint32(100) {
		s := inbound(2*i, 1, 0, "")
		s.Labels.PeerAddress = fmt.Sprintf("10.9.9.%d", i)
		out := &api.Series{Id: 2*i + 1, Requests: 1, Labels: &api.Labels{
			Direction: api.Direction_DIRECTION_OUTBOUND,
			Authority: fmt.Sprintf("%d.example.org:443", i),
		}}
		all = append(all, s, out)
	}
	web.report(all...)
	if n := len(m.store.flows.all); n != 2 {
		t.Errorf("%d flows, want 2", n)
	}
}

func TestMetricsHaveAPortOfTheirOwn(t *testing.T) {
	v := New(Config{Log: slog.New(slog.DiscardHandler)})
	l := listen(t)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- v.ServeMetrics(ctx, l) }()
	for path, want := range map[string]int{
		"/metrics": http.StatusOK, "/api/stat?resource=deploy": http.StatusNotFound,
		"/": http.StatusNotFound,
	} {
		response, err := http.Get("http://" + l.Addr().String() + path)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(response.Body)
		response.Body.Close()
		if response.StatusCode != want {
			t.Errorf("%s: %s", path, response.Status)
		}
		if want == http.StatusOK && !strings.Contains(string(body), "tulle_viz_flows_folded") {
			t.Errorf("%s", body)
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Errorf("ServeMetrics ended with %v", err)
	}
	if _, err := http.Get("http://" + l.Addr().String() + "/metrics"); err == nil {
		t.Error("it still answers")
	}
}

// queriesIn finds what a document asks Prometheus, wherever it says so.
func queriesIn(document any) (all []string) {
	switch v := document.(type) {
	case map[string]any:
		for name, value := range v {
			if query, ok := value.(string); ok && name == "query" {
				all = append(all, query)
			}
			all = append(all, queriesIn(value)...)
		}
	case []any:
		for _, value := range v {
			all = append(all, queriesIn(value)...)
		}
	}
	return all
}

// What the documentation's templates ask for is there, under the labels by which they ask.
func TestTemplatesFindWhatTheyAskFor(t *testing.T) {
	m, _, _ := shopCalls(t)
	filled := strings.NewReplacer("{{ namespace }}", "shop", "{{ target }}", "web",
		"{{ interval }}", "1m", "{{args.canary}}", "web-v2", "{{args.namespace}}", "shop",
		"{{args.port}}", "80")
	selector := regexp.MustCompile(`(\w+)\{([^}]*)\}`)
	for file, want := range map[string]int{"flagger.yaml": 2, "argo.yaml": 2} {
		text, err := os.ReadFile("../docs/canary/" + file)
		if err != nil {
			t.Fatal(err)
		}
		var queries []string
		for _, part := range strings.Split(string(text), "\n---\n") {
			var document any
			if err := yaml.Unmarshal([]byte(part), &document); err != nil {
				t.Fatalf("%s: %v", file, err)
			}
			queries = append(queries, queriesIn(document)...)
		}
		if len(queries) != want {
			t.Errorf("%s: %d queries, want %d", file, len(queries), want)
		}
		for _, query := range queries {
			query = filled.Replace(query)
			found := selector.FindAllStringSubmatch(query, -1)
			if len(found) == 0 {
				t.Errorf("%s: no selector in %q", file, query)
			}
			for _, s := range found {
				if m.sum(strings.TrimSuffix(s[1], "_bucket"), s[2]) == 0 {
					t.Errorf("%s: nothing is %s", file, s[0])
				}
			}
		}
	}
}
