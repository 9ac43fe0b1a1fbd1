package viz

import (
	"compress/gzip"
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	metrics "go.opentelemetry.io/proto/otlp/metrics/v1"
	"google.golang.org/protobuf/proto"

	"github.com/tulle-mesh/tulle/test/await"
	"github.com/tulle-mesh/tulle/test/output"
)

// receiver keeps what was pushed to it.
type receiver struct {
	*httptest.Server
	refuse   atomic.Bool
	requests atomic.Int32
	got      chan *metrics.MetricsData
}

func newReceiver(t *testing.T) *receiver {
	r := &receiver{got: make(chan *metrics.MetricsData, 100)}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		r.requests.Add(1)
		if r.refuse.Load() {
			http.Error(w, "not today", http.StatusServiceUnavailable)
			return
		}
		body, err := gzip.NewReader(q.Body)
		if err != nil {
			t.Error(err)
			return
		}
		text, err := io.ReadAll(body)
		var m metrics.MetricsData
		if err != nil || proto.Unmarshal(text, &m) != nil || len(text) == 0 {
			t.Errorf("%d bytes, %v", len(text), err)
		}
		r.got <- &m
	}))
	t.Cleanup(r.Close)
	return r
}

// push runs a viz with a mesh's figures that pushes all the time, until the test ends.
func (m *mesh) push(to string, log *slog.Logger) {
	v := &Server{store: m.store, cfg: Config{Log: log, Version: "v1"}}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	p := Push{URL: to, Every: time.Millisecond, Instance: "a"}
	go func() { done <- v.PushMetrics(ctx, p) }()
	m.t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			m.t.Errorf("PushMetrics ended with %v", err)
		}
	})
}

// What is pushed is what can be read.
func TestPushedMetrics(t *testing.T) {
	m, _, _ := shopCalls(t)
	r := newReceiver(t)
	m.push(r.URL, slog.New(slog.DiscardHandler))
	sum, observed, buckets := 0.0, uint64(0), uint64(0)
	pushed := await.Receive(t, "a push", r.got)
	for _, one := range pushed.ResourceMetrics[0].ScopeMetrics[0].Metrics {
		switch one.Name {
		case "request_total":
			if !one.GetSum().IsMonotonic {
				t.Error("a counter is not said to be one")
			}
			for _, p := range one.GetSum().DataPoints {
				sum += p.GetAsDouble()
			}
		case "tulle_workload_request_duration_seconds":
			for _, p := range one.GetHistogram().DataPoints {
				observed += p.Count
				if len(p.BucketCounts) != len(p.ExplicitBounds)+1 {
					t.Errorf("%d counts, %d bounds", len(p.BucketCounts), len(p.ExplicitBounds))
				}
				for _, n := range p.BucketCounts {
					buckets += n
				}
			}
		}
	}
	if sum != 200 || observed != 200 || buckets != 200 {
		t.Errorf("%v requests, %d durations, %d in buckets: want 200 each", sum, observed, buckets)
	}
}

// A receiver that refuses is told of once, and the figures come when it does not.
func TestAReceiverThatRefuses(t *testing.T) {
	m, _, _ := shopCalls(t)
	r := newReceiver(t)
	r.refuse.Store(true)
	var log output.Tail
	m.push(r.URL, slog.New(slog.NewTextHandler(&log, nil)))
	await.True(t, "it has refused a few", func() bool { return r.requests.Load() > 5 })
	if n := strings.Count(log.String(), "not today"); n != 1 {
		t.Errorf("it is told of %d times:\n%s", n, log.String())
	}
	r.refuse.Store(false)
	await.Receive(t, "what is pushed afterwards", r.got)
}

// A page of many series comes in several requests.
func TestPushesAreCutUp(t *testing.T) {
	sent, sizes := 0, []int{}
	p := &points{send: func(m *metrics.ResourceMetrics) error {
		n := 0
		for _, one := range m.ScopeMetrics[0].Metrics {
			n += len(one.GetSum().DataPoints)
		}
		sent, sizes = sent+n, append(sizes, n)
		return nil
	}}
	p.family(family{"a_total", "A."}, counterFamily)
	for range 2*maxPoints + 1 {
		p.sample([]string{"l", "x"}, 1)
	}
	if err := p.close(); err != nil || sent != 2*maxPoints+1 || len(sizes) != 3 {
		t.Errorf("%d in %v: %v", sent, sizes, err)
	}
}

func TestWhereToPush(t *testing.T) {
	for to, good := range map[string]bool{"http://otel:4318/v1/metrics": true,
		"https://otel.example/v1/metrics": true, "otel:4318": false, "/v1/metrics": false,
		"grpc://otel:4317": false, "http:///v1": false} {
		if err := CheckPush(to); (err == nil) != good {
			t.Errorf("%s: %v", to, err)
		}
	}
}
