package viz

import (
	"log/slog"
	"math"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"github.com/tulle-mesh/tulle/proxy/metric"
	"github.com/tulle-mesh/tulle/viz/api"
	"github.com/tulle-mesh/tulle/viz/slo"
)

func checkoutObjective(route string, latency time.Duration) slo.Objective {
	return slo.Objective{Namespace: "shop", Name: "checkout", Service: "checkout", Route: route,
		Target: 0.99, Window: 30 * 24 * time.Hour, Latency: latency}
}

// caller is web, which calls checkout.
type caller struct {
	*pod
	to *pod
	t  *testing.T
	m  *mesh
	n  map[string]*api.Series
}

func newCaller(t *testing.T) *caller {
	m := newMesh(t)
	return &caller{t: t, m: m, pod: m.pod("shop", "web", "web-1"),
		to: m.pod("shop", "checkout", "checkout-1"), n: map[string]*api.Series{}}
}

// calls are requests that ended in the last second: each takes so long.
func (c *caller) calls(route string, requests, failures, timeouts uint64, each time.Duration) {
	c.t.Helper()
	s := c.n[route]
	if s == nil {
		s = outbound(uint32(len(c.n)+1), c.to, route)
		c.n[route] = s
	}
	s.Requests, s.Failures, s.Timeouts = s.Requests+requests, s.Failures+failures,
		s.Timeouts+timeouts
	s.Bucket, s.BucketCount = addBucket(s.Bucket, s.BucketCount, metric.Index(each), requests)
	c.m.now = c.m.now.Add(time.Second)
	c.report(s)
}

func addBucket(at []uint32, counts []uint64, index int, n uint64) ([]uint32, []uint64) {
	for i := range at {
		if int(at[i]) == index {
			counts[i] += n
			return at, counts
		}
		if int(at[i]) > index {
			return append(at[:i:i], append([]uint32{uint32(index)}, at[i:]...)...),
				append(counts[:i:i], append([]uint64{n}, counts[i:]...)...)
		}
	}
	return append(at, uint32(index)), append(counts, n)
}

func (c *caller) promise(o ...slo.Objective) { c.m.store.setObjectives(c.m.now, o) }

func (c *caller) standing() ObjectiveRow {
	c.t.Helper()
	answer, err := c.m.store.slo(c.m.now, Query{})
	if err != nil || len(answer.Rows) != 1 {
		c.t.Fatalf("%+v %v", answer, err)
	}
	return answer.Rows[0]
}

func (c *caller) counted(requests, bad uint64) {
	c.t.Helper()
	if row := c.standing(); row.Requests != requests || row.Bad != bad {
		c.t.Errorf("%d of %d went wrong, want %d of %d", row.Bad, row.Requests, bad, requests)
	}
}

func TestObjectivesCountWhatCallersSee(t *testing.T) {
	c := newCaller(t)
	c.promise(checkoutObjective("", 0))
	c.calls("pay", 100, 2, 0, time.Millisecond)
	c.calls("", 50, 0, 0, time.Second)
	c.to.report(inbound(1, 500, 500, c.pod.stream.who.id)) // not what a caller saw
	c.counted(150, 2)
	row := c.standing()
	if row.SuccessRate == nil || math.Abs(*row.SuccessRate-148.0/150) > 1e-9 || row.Alert != nil {
		t.Errorf("%+v", row)
	}
}

func TestObjectivesOfARoute(t *testing.T) {
	c := newCaller(t)
	c.promise(checkoutObjective("pay", 0))
	c.calls("pay", 100, 2, 0, time.Millisecond)
	c.calls("cart", 50, 50, 0, time.Millisecond)
	c.calls("", 50, 50, 0, time.Millisecond)
	c.counted(100, 2)
	c.promise(checkoutObjective(defaultRoute, 0))
	c.counted(50, 50)
}

// Slow is as bad as failed, and what is both counts once where that can be known.
func TestObjectivesOfLatency(t *testing.T) {
	for _, tt := range []struct {
		failures, timeouts uint64
		each               time.Duration
		bad                uint64
	}{
		{0, 0, 245 * time.Millisecond, 0}, {0, 0, 246 * time.Millisecond, 10},
		{3, 0, time.Millisecond, 3}, {10, 10, time.Second, 10}, {10, 0, time.Second, 10},
		{3, 3, time.Millisecond, 3}, // their timeout is shorter than what is promised
	} {
		c := newCaller(t)
		c.promise(checkoutObjective("", 250*time.Millisecond))
		c.calls("pay", 10, tt.failures, tt.timeouts, tt.each)
		c.counted(10, tt.bad)
	}
	c := newCaller(t)
	c.promise(checkoutObjective("", 250*time.Millisecond))
	c.calls("pay", 100, 4, 4, time.Second) // of these 96 were slow, and went well
	c.calls("cart", 100, 4, 0, time.Millisecond)
	c.counted(200, 104)
}

// An objective that is new begins with the hour that viz remembers.
func TestObjectivesBeginWithTheHistory(t *testing.T) {
	c := newCaller(t)
	for range 100 {
		c.m.now = c.m.now.Add(59 * time.Second)
		c.calls("pay", 10, 1, 0, time.Millisecond)
	}
	c.promise(checkoutObjective("pay", 0))
	row := c.standing()
	if row.Requests < 590 || row.Requests > 610 || row.Bad*10 != row.Requests {
		t.Errorf("%d of %d went wrong", row.Bad, row.Requests)
	}
	known := row.Requests
	c.promise(checkoutObjective("pay", 0)) // again: nothing is new
	c.counted(known, known/10)
	c.calls("pay", 10, 0, 0, time.Millisecond)
	c.counted(known+10, known/10)
	c.promise()
	if answer, err := c.m.store.slo(c.m.now, Query{}); err != nil || len(answer.Rows) != 0 {
		t.Errorf("%+v %v", answer, err)
	}
}

func TestObjectivesAreAskedForByName(t *testing.T) {
	c := newCaller(t)
	other := checkoutObjective("", 0)
	other.Namespace = "bank"
	c.promise(checkoutObjective("", 0), other)
	for query, want := range map[Query]int{
		{}: 2, {Namespace: "bank"}: 1, {Namespace: "bank", Name: "checkout"}: 1,
		{Name: "pay"}: 0,
	} {
		if answer, err := c.m.store.slo(c.m.now, query); err != nil || len(answer.Rows) != want {
			t.Errorf("%+v: %+v %v", query, answer, err)
		}
	}
}

// Proxies' restarts and viz's reconnects are no requests.
func TestObjectivesCountNothingTwice(t *testing.T) {
	c := newCaller(t)
	c.promise(checkoutObjective("", 0))
	c.calls("pay", 100, 2, 0, time.Millisecond)
	c.reconnect()
	c.calls("pay", 0, 0, 0, time.Millisecond)
	c.counted(100, 2)
	c.restart("b")
	c.n = map[string]*api.Series{}
	c.calls("pay", 5, 1, 0, time.Millisecond)
	c.counted(105, 3)
}

func TestObjectivesOnThePrometheusPage(t *testing.T) {
	c := newCaller(t)
	c.promise(checkoutObjective("", 0))
	page := func() string {
		var page strings.Builder
		text := newText(&page)
		c.m.store.writeObjectives(text)
		text.close()
		return page.String()
	}
	const labels = `{objective_namespace="shop",objective="checkout"}`
	for _, want := range []string{" 0\n", " 2\n"} {
		if text := page(); !strings.Contains(text, slo.BadMetric+labels+want) {
			t.Errorf("want %q in\n%s", want, text)
		}
		c.calls("pay", 100, 2, 0, time.Millisecond)
	}
	problems, err := promlint.New(strings.NewReader(page())).Lint()
	if err != nil || len(problems) > 0 {
		t.Errorf("%v %v", problems, err)
	}
}

// A viz that begins anew goes on with what the last one kept.
func TestObjectivesOutliveViz(t *testing.T) {
	file := filepath.Join(t.TempDir(), "objectives")
	start := func() *Server {
		return New(Config{Log: slog.New(slog.DiscardHandler), ObjectivesFile: file})
	}
	synctest.Test(t, func(t *testing.T) {
		v := start()
		c := newCaller(t)
		c.m.store, c.m.now = v.store, time.Now()
		c.started, c.to.started = c.m.now, c.m.now
		c.promise(checkoutObjective("", 0))
		c.calls("pay", 100, 2, 0, time.Millisecond)
		c.counted(100, 2)
		if err := v.closeKeep(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Second)
		v = start()
		c.m.store, c.m.now = v.store, time.Now()
		c.reconnect()
		c.calls("pay", 0, 0, 0, time.Millisecond) // it tells a viz that is new everything again
		c.counted(100, 2)
		c.calls("pay", 10, 1, 0, time.Millisecond)
		c.counted(110, 3)
		young := newCaller(t)
		young.m, young.pod.mesh = c.m, c.m
		young.pod.stream.who.pod, young.who.pod, young.started = "web-2", "web-2", c.m.now
		young.calls("pay", 5, 5, 0, time.Millisecond)
		c.counted(115, 8)
		if err := v.closeKeep(); err != nil {
			t.Fatal(err)
		}
		v = start()
		w := httptest.NewRecorder()
		r := httptest.NewRequest("GET", "/api/slo?namespace=shop", nil)
		r.Host = "127.0.0.1"
		v.Handler().ServeHTTP(w, r)
		if !strings.Contains(w.Body.String(), `"requests":115,"bad":8`) {
			t.Errorf("it says %s", w.Body)
		}
		if err := v.closeKeep(); err != nil {
			t.Fatal(err)
		}
	})
}
