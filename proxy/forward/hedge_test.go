package forward

import (
	"cmp"
	"math/rand/v2"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tulle-mesh/tulle/destination/api"
	"github.com/tulle-mesh/tulle/proxy/h2"
	"github.com/tulle-mesh/tulle/proxy/metric"
	"github.com/tulle-mesh/tulle/proxy/route"
	"github.com/tulle-mesh/tulle/proxy/timer"
	"golang.org/x/net/http2/hpack"
)

// hedgeAfter is what the tests' rule says.
const hedgeAfter = 50 * time.Millisecond

// hedged is a mesh in memory, whose route hedges.
type hedged struct {
	*harness
	*backends
	conn *ServerConn
	rule *route.Rule
}

func newHedged(t *testing.T, endpoints int, acts ...act) *hedged {
	h := &hedged{backends: &backends{acts: acts, listeners: map[string]*listener{}}}
	all := []string{"a:80", "b:80", "c:80"}[:endpoints]
	for _, a := range all {
		h.backends.serve(t, a)
	}
	h.harness = newHarness(t)
	h.DialPlain = h.dial
	h.update()
	h.are(all...)
	h.conn = h.web()
	h.rule = h.conn.answer().Fallback
	h.rule.Retry, h.rule.Hedge = true, hedgeAfter
	return h
}

// are says which endpoints there are.
func (h *hedged) are(addresses ...string) {
	var list []*api.Endpoint
	for _, a := range addresses {
		list = append(list, &api.Endpoint{Id: a, Address: a, Protocol: api.Protocol_PROTOCOL_DETECT,
			Workload: &api.Workload{Namespace: "shop", Pod: a}})
	}
	h.say(&api.Resource{Kind: api.Kind_KIND_ENDPOINTS, Name: "web",
		Body: &api.Resource_Endpoints{Endpoints: &api.Endpoints{Endpoints: list}}})
}

// counted sums what was recorded; requests are by the pod that they are counted at.
func (h *hedged) counted() (c figures, at []string) {
	h.Metrics.Each(func(_ uint32, l metric.Labels, cell *metric.Cell) {
		for range cell.Requests.Load() {
			at = append(at, l.Peer.Pod)
		}
		c.failures += cell.Failures.Load()
		c.tries += cell.Tries.Load()
		c.failedTries += cell.FailedTries.Load()
		c.retries += cell.Retries.Load()
		c.hedges += cell.Hedges.Load()
		c.refused += cell.RetriesRefused.Load()
		c.timeouts += cell.Timeouts.Load()
		c.faulted += cell.Faulted.Load()
		c.limited += cell.Limited.Load()
	})
	return c, at
}

type figures struct {
	failures, tries, failedTries, retries, hedges, refused, timeouts uint64
	faulted, limited                                                 uint64
}

// ends waits for the end of an exchange, and for what follows from it.
func (h *hedged) ends(t *testing.T, s *answers) (got string, took time.Duration) {
	began := time.Now()
	status, body := s.wait(t)
	took = time.Since(began)
	synctest.Wait()
	nothingLeft(t, h.harness, h.conn.cluster())
	return strings.TrimSpace(status + " " + body), took
}

var hedgings = []struct {
	name      string
	endpoints int // 0: two
	rule      func(*route.Rule)
	acts      []act
	want      string        // status and body
	took      time.Duration // milliseconds, but for the timers' resolution
	winner    int           // the try at whose endpoint the request counts, from 1
	cancelled int           // tries
	counted   figures
}{
	{name: "the hedge is first", acts: []act{hang, answer(10, 200, "second")},
		want: "200 second", took: 60, winner: 2, cancelled: 1,
		counted: figures{tries: 2, hedges: 1}},
	{name: "the slow try is first after all", acts: []act{answer(80, 200, "first"), hang},
		want: "200 first", took: 80, winner: 1, cancelled: 1,
		counted: figures{tries: 2, hedges: 1}},
	{name: "no try is slow", acts: []act{answer(40, 200, "first")},
		want: "200 first", took: 40, winner: 1, counted: figures{tries: 1}},
	{name: "there is no other endpoint", endpoints: 1, acts: []act{answer(200, 200, "first")},
		want: "200 first", took: 200, winner: 1, counted: figures{tries: 1}},
	{name: "there is one hedge a request", endpoints: 3,
		acts: []act{answer(400, 200, "first"), hang},
		want: "200 first", took: 400, winner: 1, cancelled: 1,
		counted: figures{tries: 2, hedges: 1}},
	{name: "the hedge fails", acts: []act{answer(200, 200, "first"), answer(10, 503, "no")},
		want: "200 first", took: 200, winner: 1,
		counted: figures{tries: 2, failedTries: 1, hedges: 1}},
	{name: "the slow try fails", acts: []act{answer(80, 503, "no"), answer(100, 200, "second")},
		want: "200 second", took: 150, winner: 2,
		counted: figures{tries: 2, failedTries: 1, hedges: 1}},
	{name: "both fail, and there is a retry", endpoints: 3,
		acts: []act{answer(80, 500, ""), answer(40, 500, ""), answer(0, 200, "third")},
		want: "200 third", took: 90, winner: 3,
		counted: figures{tries: 3, failedTries: 2, hedges: 1, retries: 1}},
	{name: "both fail, and there is none", rule: func(u *route.Rule) { u.MaxTries = 2 },
		acts: []act{answer(80, 500, "first"), answer(40, 502, "second")},
		want: "502 second", took: 90, winner: 2,
		counted: figures{tries: 2, failedTries: 2, hedges: 1, failures: 1}},
	{name: "a failure is retried, and the retry hedged", endpoints: 3,
		acts: []act{answer(10, 500, ""), hang, answer(0, 200, "third")},
		want: "200 third", took: 60, winner: 3, cancelled: 1,
		counted: figures{tries: 3, failedTries: 1, hedges: 1, retries: 1}},
	{name: "no more tries are allowed", rule: func(u *route.Rule) { u.MaxTries = 1 },
		acts: []act{answer(200, 200, "first")},
		want: "200 first", took: 200, winner: 1, counted: figures{tries: 1}},
	{name: "the budget is spent", rule: func(u *route.Rule) {
		u.Route.Budget.Configure(&api.RetryBudget{TtlMs: 10_000})
	}, acts: []act{answer(200, 200, "first")},
		want: "200 first", took: 200, winner: 1, counted: figures{tries: 1, refused: 1}},
	{name: "the deadline comes", rule: func(u *route.Rule) { u.Request = 100 * time.Millisecond },
		acts: []act{hang, hang}, want: "504 the request took longer than its timeout", took: 100,
		winner: 2, cancelled: 2,
		counted: figures{tries: 2, failedTries: 2, hedges: 1, failures: 1, timeouts: 1}},
	{name: "the deadline comes when the hedge has failed",
		rule: func(u *route.Rule) { u.Request = 100 * time.Millisecond },
		acts: []act{hang, answer(10, 500, "")},
		want: "504 the request took longer than its timeout", took: 100,
		winner: 1, cancelled: 1,
		counted: figures{tries: 2, failedTries: 2, hedges: 1, failures: 1, timeouts: 1}},
	{name: "the slow try takes longer than a try may",
		rule: func(u *route.Rule) { u.Try = 80 * time.Millisecond },
		acts: []act{hang, answer(60, 200, "second")},
		want: "200 second", took: 110, winner: 2, cancelled: 1,
		counted: figures{tries: 2, failedTries: 1, hedges: 1}},
	{name: "a try without a hedge takes longer than it may", endpoints: 1,
		rule: func(u *route.Rule) { u.Try, u.MaxTries = 80*time.Millisecond, 1 },
		acts: []act{hang}, want: "504 the try took longer than its timeout", took: 80,
		winner: 1, cancelled: 1,
		counted: figures{tries: 1, failedTries: 1, failures: 1, timeouts: 1}},
	{name: "both take longer than a try may",
		rule: func(u *route.Rule) { u.Try, u.MaxTries = 80*time.Millisecond, 2 },
		acts: []act{hang, hang}, want: "504 the try took longer than its timeout", took: 130,
		winner: 2, cancelled: 2,
		counted: figures{tries: 2, failedTries: 2, hedges: 1, failures: 1, timeouts: 1}},
	{name: "the hedge's backend breaks off", acts: []act{answer(200, 200, "first"), cut(10)},
		want: "200 first", took: 200, winner: 1,
		counted: figures{tries: 2, failedTries: 1, hedges: 1}},
	{name: "the slow try's backend breaks off", acts: []act{cut(80), answer(100, 200, "second")},
		want: "200 second", took: 150, winner: 2,
		counted: figures{tries: 2, failedTries: 1, hedges: 1}},
}

// A hedge is sent beside a try that is slow, and the first good answer counts: once, and where it
// came from.
func TestHedging(t *testing.T) {
	for _, tt := range hedgings {
		for protocol, http1 := range map[string]bool{"HTTP/1": true, "HTTP/2": false} {
			t.Run(tt.name+" in "+protocol, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					h := newHedged(t, cmp.Or(tt.endpoints, 2), tt.acts...)
					h.conn.http1 = http1
					if tt.rule != nil {
						tt.rule(h.rule)
					}
					_, s := h.conn.request()
					got, took := h.ends(t, s)
					if got != tt.want {
						t.Errorf("answered by %q, want %q", got, tt.want)
					}
					if late := took - tt.took*time.Millisecond; late < 0 || late > 4*timer.Tick {
						t.Errorf("took %v, want %dms", took, tt.took)
					}
					h.check(t, tt.winner, tt.cancelled, tt.counted)
				})
			})
		}
	}
}

// check looks at what the backends saw and what was recorded.
func (h *hedged) check(t *testing.T, winner, cancelled int, want figures) {
	t.Helper()
	all, left := h.seen()
	if left != cancelled {
		t.Errorf("%d tries were cancelled, want %d: %v", left, cancelled, all)
	}
	counted, at := h.counted()
	if counted != want {
		t.Errorf("counted are %+v, want %+v", counted, want)
	}
	if len(at) != 1 || len(all) < winner || at[0] != all[winner-1].at {
		t.Errorf("the request counts at %v, want that of try %d of %v", at, winner, all)
	}
	if len(all) > 1 && want.hedges > 0 && all[len(all)-1].at == all[len(all)-2].at {
		t.Errorf("one endpoint was asked twice: %v", all)
	}
}

// Of requests that nobody may repeat, or of which not all is here, there is one try.
func TestWhatIsNotHedged(t *testing.T) {
	long := strings.Repeat("b", 4*limits.RetryBodyLimit)
	for name, send := range map[string]func(h *hedged, x *exchange){
		"a body that is not complete": func(h *hedged, x *exchange) {
			x.OnData([]byte("begun"), false)
			h.conn.batch.flush()
			time.Sleep(2 * hedgeAfter)
			x.OnData(nil, true)
		},
		"a body that is too long to be kept": func(h *hedged, x *exchange) {
			h.mu.Lock()
			h.unread = 1 // half of it does not leave for now
			h.mu.Unlock()
			h.conn.http1, h.Limits.RetryBodyLimit = false, len(long)-1
			x.OnData([]byte(long), true)
		},
		"a route that does not hedge": func(h *hedged, x *exchange) {
			h.rule.Hedge = 0
			x.OnData([]byte("all"), true)
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHedged(t, 2, answer(200, 200, "first"), answer(0, 200, "second"))
				x, s := h.post()
				send(h, x)
				h.conn.batch.flush()
				if got, _ := h.ends(t, s); got != "200 first" {
					t.Errorf("answered by %q", got)
				}
				h.check(t, 1, 0, figures{tries: 1})
			})
		})
	}
}

// post begins a request with a body.
func (h *hedged) post(fields ...hpack.HeaderField) (*exchange, *answers) {
	s := newAnswers()
	x := newExchange(h.conn, s)
	x.OnHeaders(append([]hpack.HeaderField{{Name: ":method", Value: "POST"},
		{Name: ":scheme", Value: "http"}, {Name: ":authority", Value: "web"},
		{Name: ":path", Value: "/"}}, fields...), false)
	return x, s
}

// Both tries are sent the whole body, and the caller's window is given back once.
func TestAHedgeHasTheWholeBody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		body := strings.Repeat("b", limits.RetryBodyLimit)
		h := newHedged(t, 2, hang, answer(0, 200, "second"))
		h.conn.http1 = true
		x, s := h.post()
		x.OnData([]byte(body), true)
		h.conn.batch.flush()
		if got, _ := h.ends(t, s); got != "200 second" {
			t.Errorf("answered by %q", got)
		}
		h.check(t, 2, 1, figures{tries: 2, hedges: 1})
		all, _ := h.seen()
		for _, one := range all {
			if one.body != body {
				t.Errorf("%s got %d bytes, of %d", one.at, len(one.body), len(body))
			}
		}
		if n := s.consumed.Load(); n != int64(len(body)) {
			t.Errorf("%d bytes of window are given back, of %d", n, len(body))
		}
	})
}

// A caller that leaves takes both tries with it, and blames neither endpoint.
func TestACallerThatLeavesAHedgedRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHedged(t, 2, hang, hang)
		x, _ := h.conn.request()
		time.Sleep(2 * hedgeAfter)
		x.OnReset(h2.CodeCancel, net.ErrClosed)
		h.conn.batch.flush()
		synctest.Wait()
		h.check(t, 2, 2, figures{tries: 2, hedges: 1})
		nothingLeft(t, h.harness, h.conn.cluster())
	})
}

// A hedge that has no place does no harm.
func TestAHedgeThatHasNoPlace(t *testing.T) {
	for _, tt := range []struct {
		name      string
		meanwhile func(h *hedged, x *exchange, slow string)
		reached   uint64 // endpoints that count as tried and failed, beside the slow one
	}{
		{"nobody listens", func(h *hedged, _ *exchange, _ string) {
			h.notDialed(nobodyListens)
		}, 1},
		{"the queue for a connection is full", func(h *hedged, x *exchange, _ string) {
			x.mu.Lock()
			defer x.mu.Unlock()
			h.conn.cluster().Current().Params.MaxQueue = 0
		}, 0},
		{"no connection comes in time", func(h *hedged, x *exchange, _ string) {
			h.notDialed(nobodyAnswers)
			x.mu.Lock()
			defer x.mu.Unlock()
			h.Limits.DiscoveryWait = hedgeAfter
		}, 0},
		{"the endpoint leaves", func(h *hedged, _ *exchange, slow string) {
			h.notDialed(nobodyAnswers)
			time.Sleep(hedgeAfter)
			h.are(slow)
		}, 0},
	} {
		for _, http1 := range []bool{true, false} {
			t.Run(tt.name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					h := newHedged(t, 2, answer(200, 200, "first"))
					h.conn.http1 = http1
					x, s := h.conn.request()
					time.Sleep(hedgeAfter / 2)
					synctest.Wait()
					all, _ := h.seen()
					tt.meanwhile(h, x, all[0].at)
					if got, _ := h.ends(t, s); got != "200 first" {
						t.Errorf("answered by %q", got)
					}
					h.check(t, 1, 0, figures{
						tries: 1 + tt.reached, failedTries: tt.reached, hedges: 1,
					})
				})
			})
		}
	}
}

// A gRPC call is answered by the first head that is not a failure already; its status follows.
func TestHedgingGRPC(t *testing.T) {
	for _, tt := range []struct {
		name, body, status string
		acts               []act
		winner, cancelled  int
		counted            figures
	}{
		{"the hedge is first", "second", "0", []act{hang, status(0, "0", "second")}, 2, 1,
			figures{tries: 2, hedges: 1}},
		{"the hedge fails at once", "first", "0",
			[]act{status(200, "0", "first"), status(0, "14", "")}, 1, 0,
			figures{tries: 2, failedTries: 1, hedges: 1}},
		{"the hedge fails in its trailers", "second", "14",
			[]act{hang, status(0, "14", "second")}, 2, 1,
			figures{tries: 2, failedTries: 1, hedges: 1, failures: 1}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHedged(t, 2, tt.acts...)
				h.conn.http1 = false
				_, s := h.conn.request(
					hpack.HeaderField{Name: "content-type", Value: "application/grpc"})
				if got, _ := h.ends(t, s); got != "200 "+tt.body || s.grpc != tt.status {
					t.Errorf("answered by %q and status %s", got, s.grpc)
				}
				h.check(t, tt.winner, tt.cancelled, tt.counted)
			})
		})
	}
}

// Where the rule says at which percentile, a try is slow that takes longer than such a share of
// those before it; the time that the rule says is the least.
func TestHedgingAtAPercentile(t *testing.T) {
	for usual, want := range map[time.Duration]time.Duration{5: 50, 200: 200} {
		synctest.Test(t, func(t *testing.T) {
			acts := make([]act, 0, 202)
			for range 200 {
				acts = append(acts, answer(usual, 200, "usual"))
			}
			h := newHedged(t, 2, append(acts, hang, answer(0, 200, "hedge"))...)
			h.rule.Hedge = time.Hour
			h.rule.Usual = route.NewUsual(0.9)
			for range 200 {
				_, s := h.conn.request()
				h.ends(t, s)
			}
			h.rule.Hedge = hedgeAfter
			_, s := h.conn.request()
			got, took := h.ends(t, s)
			least, most := want*time.Millisecond*4/5, want*time.Millisecond*5/4
			if got != "200 hedge" || took < least || took > most+4*timer.Tick {
				t.Errorf("tries take %dms: answered by %q after %v", usual, got, took)
			}
		})
	}
}

// Where tries become slower while one is under way, its hedge is due later, and comes.
func TestAHedgeWaitsForWhatIsUsualByThen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHedged(t, 2, hang, answer(0, 200, "hedge"))
		h.rule.Usual = route.NewUsual(0.9)
		usual := func(d time.Duration) {
			for range 200 {
				h.rule.Usual.Observe(d)
			}
		}
		usual(hedgeAfter)
		_, s := h.conn.request()
		synctest.Wait() // it is with a backend
		usual(4 * hedgeAfter)
		got, took := h.ends(t, s)
		if got != "200 hedge" || took < 3*hedgeAfter || took > 5*hedgeAfter {
			t.Errorf("answered by %q after %v", got, took)
		}
	})
}

// An endpoint whose answers nobody waits for is known to be slow: what comes after goes elsewhere.
func TestAnEndpointThatLosesIsNotFast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHedged(t, 2, hang)
		_, s := h.conn.request()
		h.ends(t, s)
		for range 20 {
			_, s := h.conn.request()
			h.ends(t, s)
		}
		all, _ := h.seen()
		for _, one := range all[1:] {
			if one.at == all[0].at {
				t.Fatalf("the endpoint that hangs is asked again: %v", all)
			}
		}
	})
}

// Of many requests at a time, whatever becomes of their tries, each is recorded once, and nothing
// is left of any.
func TestManyHedgedRequests(t *testing.T) {
	const many = 300
	acts := make([]act, 3*many)
	for i := range acts {
		after := time.Duration(rand.IntN(150))
		acts[i] = []act{
			answer(after, 200, "all"), answer(after, 503, "no"), cut(after), hang,
		}[rand.IntN(4)]
	}
	for _, http1 := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			h := newHedged(t, 3, acts...)
			h.conn.http1 = http1
			h.rule.Try, h.rule.Request = 80*time.Millisecond, 200*time.Millisecond
			h.rule.Route.Budget.Configure(&api.RetryBudget{RetryRatio: 1, TtlMs: 10_000})
			var all []*exchange
			for range many {
				x, _ := h.conn.request()
				all = append(all, x)
				time.Sleep(time.Duration(rand.IntN(4)) * time.Millisecond)
				if left := all[max(0, len(all)-40):]; rand.IntN(4) == 0 {
					left[rand.IntN(len(left))].OnReset(h2.CodeCancel, net.ErrClosed)
					h.conn.batch.flush()
				}
			}
			time.Sleep(time.Second)
			synctest.Wait()
			counted, at := h.counted()
			if len(at) != many || counted.hedges == 0 || counted.retries == 0 {
				t.Errorf("%d of %d requests are recorded: %+v", len(at), many, counted)
			}
			nothingLeft(t, h.harness, h.conn.cluster())
		})
	}
}
