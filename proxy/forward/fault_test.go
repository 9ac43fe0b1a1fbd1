package forward

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tulle-mesh/tulle/destination/api"
	"github.com/tulle-mesh/tulle/proxy/header"
	"github.com/tulle-mesh/tulle/proxy/metric"
	"golang.org/x/net/http2/hpack"
)

// always is a fault of every request for the next hour.
func always(delay time.Duration, status uint32) []*api.Fault {
	return []*api.Fault{{
		DelayMs: uint64(delay.Milliseconds()), DelayShare: 1_000_000,
		Status: status, AbortShare: 1_000_000,
		UntilMs: uint64(time.Now().Add(time.Hour).UnixMilli()),
	}}
}

// Who is delayed is served after it, unless an error follows, nobody waits any longer, or the
// request's time is over; a retry is not delayed again.
func TestFaults(t *testing.T) {
	retried := &api.Retry{}
	for _, tt := range []struct {
		name    string
		delay   time.Duration
		status  uint32
		grpc    bool
		acts    []int
		timeout time.Duration
		want    string
		took    time.Duration
		code    string // of gRPC
		tries   uint64
	}{
		{name: "a delay", delay: time.Second, acts: []int{200}, want: "200 told", took: time.Second,
			tries: 1},
		{name: "an error", status: 418, want: "418 a fault is injected: 418"},
		{name: "both", delay: time.Second, status: 503, want: "503 a fault is injected: 503",
			took: time.Second},
		{name: "an error of gRPC", status: 503, grpc: true, want: "200", code: "14"},
		{name: "a delay and a retry", delay: time.Second, acts: []int{500, 200}, want: "200 told",
			took: time.Second, tries: 2},
		{name: "longer than the timeout", delay: time.Second, timeout: 300 * time.Millisecond,
			want: "504 the request took longer than its timeout", took: 300 * time.Millisecond},
	} {
		for _, http1 := range []bool{true, false} {
			if tt.grpc && http1 {
				continue
			}
			t.Run(fmt.Sprintf("%s,%v", tt.name, http1), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					told, acts := make(telling, 2), []act(nil)
					for _, status := range tt.acts {
						acts = append(acts, told.tell(status))
					}
					h := routed(t, acts, at("/", &api.HTTPRule{Retry: retried,
						Timeouts: &api.Timeouts{RequestMs: uint64(tt.timeout.Milliseconds())},
						Faults:   always(tt.delay, tt.status)}))
					h.conn.http1 = http1
					var fields []hpack.HeaderField
					if tt.grpc {
						fields = append(fields, grpcCall)
					}
					_, s := h.conn.request(fields...)
					got, took := h.ends(t, s)
					if got != tt.want || s.grpc != tt.code || took < tt.took ||
						took > tt.took+200*time.Millisecond {
						t.Errorf("%q, status %q of gRPC, after %s; want %q, %q, after %s",
							got, s.grpc, took, tt.want, tt.code, tt.took)
					}
					if c, _ := h.counted(); c.tries != tt.tries || c.faulted != 1 || c.limited > 0 {
						t.Errorf("%d tries, want %d; %d faulted", c.tries, tt.tries, c.faulted)
					}
					if by := header.Value(s.head, header.Error); tt.status > 0 && by == "" {
						t.Error("nothing says that it was on purpose")
					}
					h.wantFaults(t, tt.delay > 0, tt.status > 0 && tt.timeout == 0)
				})
			})
		}
	}
}

func (h *hedged) wantFaults(t *testing.T, delayed, aborted bool) {
	t.Helper()
	got := map[string]bool{}
	h.Metrics.EachCounter(func(e metric.Event, why string, n uint64) {
		if e == metric.FaultInjected && n > 0 {
			got[why] = true
		}
	})
	if got["delay"] != delayed || got["abort"] != aborted {
		t.Errorf("counted %v", got)
	}
}

// A caller that goes away during a delay takes all of its request along, and the body that it sends
// meanwhile is kept for the backend.
func TestADelayedBody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		told := make(telling, 1)
		h := routed(t, []act{told.tell(200)}, at("/", &api.HTTPRule{
			Faults: always(10*time.Second, 0)}))
		h.conn.http1 = false
		x, _ := h.conn.ask("/", false)
		x.OnData([]byte("some of the body"), false)
		x.OnReset(8, nil)
		synctest.Wait()
		nothingLeft(t, h.harness, h.conn.cluster())
		y, s := h.conn.ask("/", false)
		y.OnData([]byte("all of the body"), true)
		if got, took := h.ends(t, s); got != "200 told" || took < 10*time.Second {
			t.Errorf("%q after %s", got, took)
		}
		if n := s.consumed.Load(); n != int64(len("all of the body")) {
			t.Errorf("the window is given back for %d bytes", n)
		}
		if asked, _ := h.seen(); len(asked) != 1 {
			t.Errorf("the backends were asked %d times", len(asked))
		}
	})
}
