package forward

import (
	"cmp"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/tulle-mesh/tulle/proxy/balance"
	"github.com/tulle-mesh/tulle/proxy/h2"
	"github.com/tulle-mesh/tulle/proxy/metric"
	"golang.org/x/net/http2/hpack"
)

// totals sums what was recorded.
func (p *harness) totals() (requests, failures, timeouts uint64) {
	p.Metrics.Each(func(_ uint32, _ metric.Labels, c *metric.Cell) {
		requests += c.Requests.Load()
		failures += c.Failures.Load()
		timeouts += c.Timeouts.Load()
	})
	return requests, failures, timeouts
}

// hanging is a server that begins each answer as its path says, and goes no further.
func hanging(t testing.TB) string {
	l := listen(t)
	s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/begun":
			http.NewResponseController(w).EnableFullDuplex()
			w.Write([]byte("begun"))
			http.NewResponseController(w).Flush()
		case "/cut":
			w.Header().Set("Content-Length", "10")
			w.Write([]byte("begun"))
			http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		case "/answered":
			return
		}
		// net/http hears of a caller that left while it reads
		if _, err := io.Copy(io.Discard, r.Body); err == nil {
			<-r.Context().Done()
		}
	}), Protocols: &http.Protocols{}}
	s.Protocols.SetHTTP1(true)
	s.Protocols.SetUnencryptedHTTP2(true) // gRPC is asked for in HTTP/2
	go s.Serve(l)
	t.Cleanup(func() { s.Close() })
	return l.Addr().String()
}

// A request is recorded once whatever way it ends, and leaves nothing waiting, pending or armed.
func TestEveryEndingIsRecordedOnce(t *testing.T) {
	nowhere := listen(t).Addr().String()
	held := make(chan struct{})
	t.Cleanup(func() { close(held) })
	for _, tt := range []struct {
		name, path         string
		endpoints          []string
		hold               bool // dials do not end
		cancel, timeout    bool
		started            bool // the response begins
		failures, timeouts uint64
	}{
		{name: "answered", path: "/answered", endpoints: []string{"app"}},
		{name: "cancelled without an endpoint", cancel: true},
		{name: "cancelled in a dial", endpoints: []string{nowhere}, hold: true, cancel: true},
		{name: "cancelled before an answer", endpoints: []string{"app"}, cancel: true},
		{name: "cancelled in an answer", path: "/begun", endpoints: []string{"app"}, cancel: true,
			started: true},
		{name: "timeout without an endpoint", timeout: true, failures: 1, timeouts: 1},
		{name: "timeout in a dial", endpoints: []string{nowhere}, hold: true, timeout: true,
			failures: 1, timeouts: 1},
		{name: "timeout before an answer", endpoints: []string{"app"}, timeout: true, failures: 1,
			timeouts: 1},
		{name: "timeout in an answer", path: "/begun", endpoints: []string{"app"}, timeout: true,
			started: true, failures: 1, timeouts: 1},
		{name: "cut answer", path: "/cut", endpoints: []string{"app"}, started: true, failures: 1},
		{name: "no connection", endpoints: []string{"127.0.0.1:1"}, failures: 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := newHarness(t)
			if tt.hold {
				p.dialer.ControlContext = holdDials(held)
			}
			for i, e := range tt.endpoints {
				if e == "app" {
					tt.endpoints[i] = hanging(t)
				}
			}
			p.update(tt.endpoints...)
			conn := p.web()
			rule := conn.answer().Fallback
			if tt.timeout {
				rule.Request = 50 * time.Millisecond
			}
			s := newAnswers()
			x := newExchange(conn, s)
			x.OnHeaders([]hpack.HeaderField{{Name: ":method", Value: "POST"},
				{Name: ":scheme", Value: "http"}, {Name: ":authority", Value: "web"},
				{Name: ":path", Value: cmp.Or(tt.path, "/hang")}}, true)
			conn.batch.flush()
			if tt.started {
				s.awaitStatus(t)
			}
			if tt.cancel {
				x.OnReset(h2.CodeCancel, net.ErrClosed)
			} else {
				s.wait(t)
			}
			x.OnReset(h2.CodeCancel, net.ErrClosed) // the caller leaves in any case
			n, failed, late := p.totals()
			if n != 1 || failed != tt.failures || late != tt.timeouts {
				t.Errorf("recorded %d requests, %d failures, %d timeouts; want 1, %d, %d",
					n, failed, late, tt.failures, tt.timeouts)
			}
			nothingLeft(t, p, conn.cluster())
		})
	}
}

func nothingLeft(t testing.TB, p *harness, c *balance.Cluster) {
	t.Helper()
	if n := c.Waiting(); n > 0 {
		t.Errorf("%d tries wait for an endpoint", n)
	}
	for _, e := range c.Current().All {
		if n := e.Pending(); n != 0 {
			t.Errorf("%d requests are pending", n)
		}
		for _, pool := range transportOf(e).pools.byKind {
			if pool == nil {
				continue
			}
			pool.mu.Lock()
			if n := pool.waiting.Size(); n > 0 {
				t.Errorf("%d tries wait for a connection", n)
			}
			pool.mu.Unlock()
		}
	}
	if n := p.Wheel.Armed(); n != 0 {
		t.Errorf("%d timers are armed", n)
	}
}
