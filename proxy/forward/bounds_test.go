package forward

import (
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tulle-mesh/tulle/destination/api"
	"github.com/tulle-mesh/tulle/proxy/h2"
	"github.com/tulle-mesh/tulle/proxy/header"
)

// newBounded is a mesh in memory, whose cluster has limits.
func newBounded(
	t *testing.T, endpoints int, limits *api.ClusterLimits, acts ...act,
) *hedged {
	h := newHedged(t, endpoints, acts...)
	h.rule.Retry, h.rule.Hedge = false, 0
	h.protect(nil, limits)
	return h
}

// overflows checks what was counted beyond a limit.
func (h *hedged) overflows(t *testing.T, limit, want string) {
	t.Helper()
	name := `tulle_cluster_overflows_total{backend="web",limit="` + limit + `"} `
	if text := pageOf(h.Metrics); !strings.Contains(text, name+want+"\n") {
		t.Errorf("the metrics do not say %s%s:\n%s", name, want, text)
	}
}

// Beyond as many requests as may be under way the next is refused at once, in the words of its
// protocol, and is not tried again. One that ends makes room.
func TestRequestsBeyondTheLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newBounded(t, 2, &api.ClusterLimits{MaxRequests: 2}, hang, hang)
		h.rule.Retry = true
		h.conn.http1 = false
		first, _ := h.conn.request()
		second, _ := h.conn.request()
		synctest.Wait()
		began := time.Now()
		_, s := h.conn.request()
		if got, body := s.wait(t); got != "503" || !strings.Contains(body, "under way to web") ||
			header.Value(s.head, header.Error) == "" {
			t.Errorf("answered by %s %s %v", got, body, s.head)
		}
		_, s = h.conn.request(grpcField)
		if got, _ := s.wait(t); got != "200" || s.grpc != "14" {
			t.Errorf("a gRPC call is answered by %s, status %s", got, s.grpc)
		}
		if took := time.Since(began); took != 0 {
			t.Errorf("that took %v", took)
		}
		h.overflows(t, "requests", "2")
		if c, _ := h.counted(); c.limited != 2 {
			t.Errorf("%d requests count as limited, want 2", c.limited)
		}
		first.OnReset(h2.CodeCancel, net.ErrClosed)
		h.conn.batch.flush()
		_, s = h.conn.request()
		if got, _ := s.wait(t); got != "200" {
			t.Errorf("the next one is answered by %s", got)
		}
		second.OnReset(h2.CodeCancel, net.ErrClosed)
		h.conn.batch.flush()
	})
}

// Of requests that wait, for a connection or for an endpoint, as many wait as may.
func TestPendingBeyondTheLimit(t *testing.T) {
	for name, prepare := range map[string]func(h *hedged){
		"for a connection": func(h *hedged) { h.notDialed(nobodyAnswers) },
		"for an endpoint":  func(h *hedged) { h.are() },
	} {
		for _, http1 := range []bool{true, false} {
			t.Run(name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					h := newBounded(t, 1, &api.ClusterLimits{MaxPending: 2})
					h.conn.http1 = http1
					prepare(h)
					first, _ := h.conn.request()
					h.conn.request()
					_, s := h.conn.request()
					if got, body := s.wait(t); got != "503" ||
						!strings.Contains(body, "too many requests wait for web") {
						t.Errorf("answered by %s %s", got, body)
					}
					h.overflows(t, "pending", "1")
					first.OnReset(h2.CodeCancel, net.ErrClosed)
					h.conn.batch.flush()
					_, s = h.conn.request()
					synctest.Wait()
					h.overflows(t, "pending", "1")
					s.wait(t) // it has waited
				})
			})
		}
	}
}

// A failure beyond as many retries as may be under way is the caller's.
func TestRetriesBeyondTheLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newBounded(t, 3, &api.ClusterLimits{MaxRetries: 1},
			answer(0, 500, "no"), hang, answer(0, 500, "no, again"),
			answer(0, 500, "once more"), answer(0, 200, "yes"))
		h.rule.Retry = true
		first, _ := h.conn.request()
		synctest.Wait()
		_, s := h.conn.request()
		if got, body := s.wait(t); got != "500" || body != "no, again" {
			t.Errorf("answered by %s %s", got, body)
		}
		h.overflows(t, "retries", "1")
		first.OnReset(h2.CodeCancel, net.ErrClosed)
		h.conn.batch.flush()
		_, s = h.conn.request()
		if got, _ := s.wait(t); got != "200" {
			t.Errorf("the next is answered by %s", got)
		}
	})
}

// A retry or a hedge for which there is no budget takes nobody's place.
func TestRetriesBeyondTheBudgetAreNone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newBounded(t, 3, &api.ClusterLimits{MaxRetries: 1}, hang, answer(0, 500, "no"))
		h.rule.Retry, h.rule.Hedge = true, hedgeAfter
		h.rule.Route.Budget.Configure(&api.RetryBudget{TtlMs: 10_000})
		first, _ := h.conn.request()
		time.Sleep(2 * hedgeAfter)
		_, s := h.conn.request()
		s.wait(t)
		if counted, _ := h.counted(); counted.refused != 2 {
			t.Errorf("%d tries are beyond the budget, want 2", counted.refused)
		}
		if strings.Contains(pageOf(h.Metrics), `limit="retries"`) {
			t.Error("one of them is beyond the limit")
		}
		first.OnReset(h2.CodeCancel, net.ErrClosed)
		h.conn.batch.flush()
	})
}

// Beyond as many connections as may be open requests wait for one of them.
func TestConnectionsBeyondTheLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newBounded(t, 1, &api.ClusterLimits{MaxConnections: 1, MaxPending: 1},
			answer(100, 200, "first"), answer(100, 200, "second"))
		_, s := h.conn.request()
		synctest.Wait()
		_, later := h.conn.request()
		began := time.Now()
		s.wait(t)
		if got, body := later.wait(t); got != "200" || body != "second" {
			t.Errorf("answered by %s %s", got, body)
		}
		if took := time.Since(began); took != 200*time.Millisecond {
			t.Errorf("the two took %v: one after the other is 200ms", took)
		}
		h.overflows(t, "connections", "1")
	})
}
