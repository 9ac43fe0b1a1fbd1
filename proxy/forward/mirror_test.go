package forward

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tulle-mesh/tulle/destination/api"
	"github.com/tulle-mesh/tulle/proxy/h2"
	"github.com/tulle-mesh/tulle/proxy/metric"
	"golang.org/x/net/http2/hpack"
)

// mirrored is a mesh in memory whose route has mirrors in the cluster copy.
type mirrored struct {
	*hedged
	copies *backends
}

const copyAddress = "copy:80"

// newMirrored has backends for requests and for their copies, each with its own acts.
func newMirrored(t *testing.T, acts, copies []act, rules ...*api.HTTPRule) *mirrored {
	h := &mirrored{copies: &backends{acts: copies, listeners: map[string]*listener{}}}
	h.copies.serve(t, copyAddress)
	h.hedged = routed(t, acts, rules...)
	h.DialPlain = func(ctx context.Context, address string) (net.Conn, error) {
		if address == copyAddress {
			return h.copies.dial(ctx, address)
		}
		return h.backends.dial(ctx, address)
	}
	h.say(&api.Resource{Kind: api.Kind_KIND_CLUSTER, Name: "copy",
		Body: &api.Resource_Cluster{Cluster: &api.Cluster{Name: "copy",
			Balancer: &api.Cluster_Ewma{Ewma: &api.EWMA{}}}}})
	h.copiesAre(copyAddress)
	return h
}

// copiesAre says which endpoints the cluster copy has.
func (h *mirrored) copiesAre(addresses ...string) {
	list := &api.Endpoints{}
	for _, a := range addresses {
		list.Endpoints = append(list.Endpoints,
			&api.Endpoint{Id: a, Address: a, Protocol: api.Protocol_PROTOCOL_DETECT})
	}
	h.say(&api.Resource{Kind: api.Kind_KIND_ENDPOINTS, Name: "copy",
		Body: &api.Resource_Endpoints{Endpoints: list}})
}

func mirroring(cluster string, numerator, denominator uint32) *api.Filter {
	return &api.Filter{Filter: &api.Filter_Mirror{Mirror: &api.Mirror{
		Cluster: cluster, Numerator: numerator, Denominator: denominator}}}
}

// copying is a rule that copies everything.
func copying() *api.HTTPRule {
	return at("/", &api.HTTPRule{Filters: []*api.Filter{mirroring("copy", 1, 1)}})
}

// results are what became of copies, as "why:count", in the alphabet.
func (h *mirrored) results() string {
	var out []string
	h.Metrics.EachCounter(func(e metric.Event, why string, n uint64) {
		if e == metric.Mirrored && n > 0 {
			out = append(out, fmt.Sprintf("%s:%d", why, n))
		}
	})
	slices.Sort(out)
	return strings.Join(out, " ")
}

// over checks that nothing is left of copies, and what became of them.
func (h *mirrored) over(t *testing.T, want string) {
	t.Helper()
	synctest.Wait()
	if got := h.results(); got != want {
		t.Errorf("copies are counted as %q, want %q", got, want)
	}
	if n, held := h.mirrors.underWay.Load(), h.mirrors.held.Load(); n != 0 || held != 0 {
		t.Errorf("%d copies are left, with %d bytes", n, held)
	}
	for _, c := range h.conn.answer().Members {
		if c.Name == "copy" {
			nothingLeft(t, h.harness, c)
		}
	}
}

// inBoth runs a test for callers of both protocols.
func inBoth(t *testing.T, test func(t *testing.T, http1 bool)) {
	for _, http1 := range []bool{true, false} {
		t.Run(fmt.Sprintf("HTTP/1,%v", http1), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { test(t, http1) })
		})
	}
}

// A copy has what the rule's filters make of the request, and a backend's has what the backend's
// make of that; the answers to neither are anybody's.
func TestACopyIsWhatTheFiltersMake(t *testing.T) {
	inBoth(t, func(t *testing.T, http1 bool) {
		told, copied := make(telling, 1), make(telling, 2)
		filters := append(marking("rule"), mirroring("copy", 1, 1),
			rewriting(&api.Rewrite{Host: "inside", Path: replacing("/a", "/b")}))
		h := newMirrored(t, []act{told.tell(200)}, []act{copied.tell(201), copied.tell(404)},
			at("/a", &api.HTTPRule{Filters: filters, Backends: []*api.Backend{{Cluster: "web",
				Weight: 1, Filters: append(marking("backend"), mirroring("copy", 1, 1))}}}))
		h.conn.http1 = http1
		_, s := h.conn.ask("/a/x?y=z", true)
		if got, _ := h.ends(t, s); got != "200 told" {
			t.Errorf("answered by %q", got)
		}
		h.over(t, "answered:2")
		got := []string{<-copied, <-copied}
		slices.Sort(got)
		want := []string{"inside /b/x?y=z x-last=backend x-all=rule,backend",
			"inside /b/x?y=z x-last=rule x-all=rule"}
		if !slices.Equal(got, want) {
			t.Errorf("the copies are %q, want %q", got, want)
		}
		if got := <-told; got != want[0] {
			t.Errorf("the request is %q, want %q", got, want[0])
		}
	})
}

// copyEnds are what may become of a copy. The request is answered as if there were none.
var copyEnds = []struct {
	name string
	act  act
	when func(h *mirrored)
	want string
}{
	{"it is answered", answer(10, 200, "copy"), nil, "answered:1"},
	{"it is answered late", answer(20_000, 200, "copy"), nil, "answered:1"},
	{"it is answered by an error", answer(10, 500, "copy"), nil, "failed:1"},
	{"its backend breaks off", cut(10), nil, "failed:1"},
	{"its backend hangs", hang, nil, "timeout:1"},
	{"nobody listens", nil, func(h *mirrored) { h.copies.notDialed(nobodyListens) }, "failed:1"},
	{"nobody answers", nil, func(h *mirrored) { h.copies.notDialed(nobodyAnswers) }, "failed:1"},
	{"no connection comes in time", nil, func(h *mirrored) {
		h.copies.notDialed(nobodyAnswers)
		h.Limits.DiscoveryWait = 50 * time.Millisecond
	}, "timeout:1"},
	{"there is no endpoint", nil, func(h *mirrored) { h.copiesAre() }, "no_endpoint:1"},
	{"there are too many", nil, func(h *mirrored) { h.Limits.Mirrors.Max = 0 }, "crowded:1"},
	{"its head is too long", nil, func(h *mirrored) { h.Limits.Mirrors.AllHeld = 10 }, "crowded:1"},
	{"the queue is full", nil, func(h *mirrored) {
		h.conn.answer().Members[1].Current().Params.MaxQueue = 0
	}, "crowded:1"},
}

func TestWhatBecomesOfACopy(t *testing.T) {
	for _, tt := range copyEnds {
		t.Run(tt.name, func(t *testing.T) {
			inBoth(t, func(t *testing.T, http1 bool) {
				h := newMirrored(t, []act{answer(20, 200, "told")}, []act{tt.act}, copying())
				h.conn.http1 = http1
				if tt.when != nil {
					tt.when(h)
				}
				began := time.Now()
				_, s := h.conn.request()
				status, body := s.wait(t)
				if took := time.Since(began); status+" "+body != "200 told" ||
					took > 40*time.Millisecond {
					t.Errorf("answered by %s %q after %v", status, body, took)
				}
				time.Sleep(h.Limits.Mirrors.Timeout + time.Second)
				h.over(t, tt.want)
				nothingLeft(t, h.harness, h.conn.cluster())
				if c, at := h.counted(); len(at) != 1 || c != (figures{tries: 1}) {
					t.Errorf("counted %+v, %v", c, at)
				}
			})
		})
	}
}

// An endpoint that leaves takes the copies with it that wait for a connection.
func TestCopiesOfAnEndpointThatLeaves(t *testing.T) {
	inBoth(t, func(t *testing.T, http1 bool) {
		h := newMirrored(t, nil, nil, copying())
		h.conn.http1 = http1
		h.copies.notDialed(nobodyAnswers)
		_, s := h.conn.request()
		s.wait(t)
		h.copiesAre()
		h.over(t, "no_endpoint:1")
	})
}

// Of a thousand requests 10 % are a hundred, give or take one.
func TestAShareIsCopied(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newMirrored(t, nil, nil,
			at("/", &api.HTTPRule{Filters: []*api.Filter{mirroring("copy", 10, 100)}}))
		for range 1000 {
			_, s := h.conn.request()
			s.wait(t)
		}
		synctest.Wait()
		if copies, _ := h.copies.seen(); len(copies) < 99 || len(copies) > 101 {
			t.Errorf("%d of 1000 requests were copied, want 100", len(copies))
		}
	})
}

// A request is copied once, however often it is tried, and not at all where nobody is asked.
func TestWhatIsCopiedOnce(t *testing.T) {
	inBoth(t, func(t *testing.T, http1 bool) {
		retried := copying()
		retried.Retry = &api.Retry{}
		h := newMirrored(t,
			[]act{answer(0, 503, ""), cut(0), answer(0, 200, "third")}, nil, retried)
		h.conn.http1 = http1
		_, s := h.conn.request()
		if got, _ := h.ends(t, s); got != "200 third" {
			t.Errorf("answered by %q", got)
		}
		h.over(t, "answered:1")
	})
}

func TestWhatIsNotCopied(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		copied := func() []*api.Filter { return []*api.Filter{mirroring("copy", 1, 1)} }
		h := newMirrored(t, nil, nil,
			at("/away", &api.HTTPRule{Filters: append(copied(),
				redirecting(&api.Redirect{Host: "example.org", Status: 302}))}),
			at("/none", &api.HTTPRule{Filters: copied(),
				Backends: []*api.Backend{{Answer: 404, Weight: 1}}}), copying())
		h.conn.http1 = false
		for _, target := range []string{"/away", "/none"} {
			_, s := h.conn.ask(target, true)
			s.wait(t)
		}
		x, _ := h.conn.ask("/", false, hpack.HeaderField{Name: ":protocol", Value: "websocket"})
		synctest.Wait()
		x.OnReset(h2.CodeCancel, net.ErrClosed)
		h.conn.batch.flush()
		h.over(t, "")
	})
}

// A copy has all of the body and the trailers, whenever it gets its connection.
func TestACopyHasTheBody(t *testing.T) {
	body := strings.Repeat("b", 100<<10)
	for _, dialed := range []bool{true, false} { // whether it has one before the body comes
		inBoth(t, func(t *testing.T, http1 bool) {
			got := make(chan string, 1)
			h := newMirrored(t, nil, []act{func(_ http.ResponseWriter, r *http.Request) {
				got <- r.Trailer.Get("x-sum")
			}}, copying())
			h.conn.http1 = http1
			hold := make(chan struct{})
			h.DialPlain = h.holding(hold)
			if dialed {
				close(hold)
			}
			x, s := h.post(hpack.HeaderField{Name: "trailer", Value: "x-sum"})
			h.conn.batch.flush()
			synctest.Wait()
			x.OnData([]byte(body[:60<<10]), false)
			x.OnData([]byte(body[60<<10:]), false)
			x.OnHeaders([]hpack.HeaderField{{Name: "x-sum", Value: "7"}}, true)
			h.conn.batch.flush()
			if status, _ := s.wait(t); status != "200" {
				t.Errorf("answered by %s", status)
			}
			if !dialed {
				close(hold)
			}
			if sum := <-got; sum != "7" {
				t.Errorf("the copy's trailer is %q", sum)
			}
			h.over(t, "answered:1")
			if copies, _ := h.copies.seen(); len(copies) != 1 || copies[0].body != body {
				t.Errorf("the copies are %v", copies)
			}
		})
	}
}

// What a fault delays is copied once it goes on, with what came of the body meanwhile and what
// comes later, by the route of its time.
func TestACopyOfWhatIsDelayed(t *testing.T) {
	inBoth(t, func(t *testing.T, http1 bool) {
		trailer := make(chan string, 1)
		rule := copying()
		rule.Faults = always(time.Second, 0)
		h := newMirrored(t, nil, []act{func(_ http.ResponseWriter, r *http.Request) {
			trailer <- r.Trailer.Get("x-sum")
		}}, rule)
		h.conn.http1 = http1
		x, s := h.post(hpack.HeaderField{Name: "trailer", Value: "x-sum"})
		x.OnData([]byte("early "), false)
		h.conn.batch.flush()
		time.Sleep(time.Second / 2)
		if copies, _ := h.copies.seen(); len(copies) > 0 || h.results() != "" {
			t.Errorf("before it goes on the copies are %v", copies)
		}
		time.Sleep(time.Second)
		x.OnData([]byte("late"), false)
		x.OnHeaders([]hpack.HeaderField{{Name: "x-sum", Value: "7"}}, true)
		h.conn.batch.flush()
		if status, _ := s.wait(t); status != "200" {
			t.Errorf("answered by %s", status)
		}
		if sum := <-trailer; sum != "7" {
			t.Errorf("the copy's trailer is %q", sum)
		}
		h.over(t, "answered:1")
		if copies, _ := h.copies.seen(); len(copies) != 1 || copies[0].body != "early late" {
			t.Errorf("the copies are %v", copies)
		}
	})
}

// What does not go on after its delay has no copy.
func TestWhatIsDelayedAndDoesNotGoOnIsNotCopied(t *testing.T) {
	for name, tt := range map[string]struct {
		status  uint32
		timeout uint64 // of the request, in ms
		leaves  bool
	}{
		"an error": {status: 503}, "no time left": {timeout: 300}, "nobody waits": {leaves: true},
	} {
		t.Run(name, func(t *testing.T) {
			inBoth(t, func(t *testing.T, http1 bool) {
				rule := copying()
				rule.Faults = always(time.Second, tt.status)
				rule.Timeouts = &api.Timeouts{RequestMs: tt.timeout}
				h := newMirrored(t, nil, nil, rule)
				h.conn.http1 = http1
				x, s := h.conn.request()
				if tt.leaves {
					x.OnReset(h2.CodeCancel, net.ErrClosed)
					h.conn.batch.flush()
				} else {
					s.wait(t)
				}
				time.Sleep(2 * time.Second)
				h.over(t, "")
				if copies, _ := h.copies.seen(); len(copies) > 0 {
					t.Errorf("the copies are %v", copies)
				}
			})
		})
	}
}

// holding lets copies have no connection before hold is closed.
func (h *mirrored) holding(hold chan struct{}) func(context.Context, string) (net.Conn, error) {
	dial := h.DialPlain
	return func(ctx context.Context, address string) (net.Conn, error) {
		if address == copyAddress {
			<-hold
		}
		return dial(ctx, address)
	}
}

// A backend of copies that takes nothing, or gets no connection, does not hold up a request, whose
// window is given back as its own backend takes it; the copy is given up.
func TestACopyThatIsSlow(t *testing.T) {
	const megabyte, piece = 1 << 20, 16 << 10
	for name, when := range map[string]func(h *mirrored){
		"its backend takes nothing": func(h *mirrored) { h.copies.unread = 1 },
		"nobody answers":            func(h *mirrored) { h.copies.notDialed(nobodyAnswers) },
	} {
		t.Run(name, func(t *testing.T) {
			inBoth(t, func(t *testing.T, http1 bool) {
				h := newMirrored(t, nil, []act{answer(1000, 200, "late")}, copying())
				h.conn.http1 = http1
				when(h)
				x, s := h.post()
				h.conn.batch.flush()
				for sent := 0; sent < megabyte; sent += piece {
					x.OnData(make([]byte, piece), sent+piece == megabyte)
					h.conn.batch.flush()
					synctest.Wait()
					if held := h.mirrors.held.Load(); held > int64(h.Limits.Mirrors.Held) {
						t.Fatalf("%d bytes are held", held)
					}
				}
				if status, _ := s.wait(t); status != "200" || s.consumed.Load() != megabyte {
					t.Errorf("answered by %s, %d bytes of window are given back", status,
						s.consumed.Load())
				}
				all, _ := h.seen()
				if len(all) != 1 || len(all[0].body) != megabyte {
					t.Errorf("the backend got %v", all)
				}
				h.over(t, "slow:1")
				time.Sleep(2 * time.Second) // until its backend has answered nobody
			})
		})
	}
}

// What all copies hold is bounded, too.
func TestWhatAllCopiesHold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newMirrored(t, nil, nil, copying())
		h.conn.http1 = false
		h.Limits.Mirrors.AllHeld = h.Limits.Mirrors.Held
		h.copies.notDialed(nobodyAnswers)
		for range 2 {
			x, s := h.post()
			x.OnData(make([]byte, h.Limits.Mirrors.Held/2), true)
			h.conn.batch.flush()
			s.wait(t)
		}
		if got := h.results(); got != "slow:1" {
			t.Errorf("copies are counted as %q", got)
		}
	})
}

// A caller that leaves in the middle of its request takes the copy with it, for nobody could say
// what the rest was. One that has said all does not.
func TestCopiesOfACallerThatLeaves(t *testing.T) {
	for whole, want := range map[bool]string{true: "answered:1", false: "cancelled:1"} {
		inBoth(t, func(t *testing.T, http1 bool) {
			h := newMirrored(t, []act{answer(100, 200, "late")},
				[]act{answer(10, 200, "copy")}, copying())
			h.conn.http1 = http1
			x, _ := h.post()
			x.OnData([]byte("begun"), whole)
			h.conn.batch.flush()
			synctest.Wait()
			x.OnReset(h2.CodeCancel, net.ErrClosed)
			h.conn.batch.flush()
			time.Sleep(time.Second)
			h.over(t, want)
		})
	}
}

// A request that is answered before all of it was sent is one that nobody will finish.
func TestACopyOfARequestThatIsAnsweredEarly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newMirrored(t, []act{answer(0, 413, "too large")}, nil, copying())
		h.conn.http1 = false
		h.backends.unread = 1
		x, s := h.post()
		x.OnData([]byte("begun"), false)
		h.conn.batch.flush()
		if status, _ := s.wait(t); status != "413" {
			t.Errorf("answered by %s", status)
		}
		h.over(t, "cancelled:1")
	})
}

// A copy that is answered before all of it was sent is over.
func TestACopyThatIsAnsweredEarly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newMirrored(t, nil, []act{answer(0, 200, "enough")}, copying())
		h.conn.http1 = false
		h.copies.unread = 1
		x, s := h.post()
		x.OnData([]byte("begun"), false)
		h.conn.batch.flush()
		synctest.Wait()
		if got := h.results(); got != "answered:1" {
			t.Errorf("the copy is counted as %q", got)
		}
		x.OnData([]byte(" and ended"), true)
		h.conn.batch.flush()
		if status, _ := s.wait(t); status != "200" {
			t.Errorf("answered by %s", status)
		}
		h.over(t, "answered:1")
	})
}

// A long answer to a copy is read to its end, and thrown away.
func TestALongAnswerToACopy(t *testing.T) {
	inBoth(t, func(t *testing.T, http1 bool) {
		const megabyte = 1 << 20
		h := newMirrored(t, nil, []act{func(w http.ResponseWriter, _ *http.Request) {
			io.WriteString(w, strings.Repeat("b", megabyte))
		}}, copying())
		h.conn.http1 = http1
		_, s := h.conn.request()
		if got, _ := h.ends(t, s); got != "200" {
			t.Errorf("answered by %q", got)
		}
		h.over(t, "answered:1")
	})
}

// A gRPC call is copied, too. A status that is a failure is one of the copy alone.
func TestCopiesOfGRPC(t *testing.T) {
	for said, want := range map[string]string{"0": "answered:1", "14": "failed:1"} {
		for _, body := range []string{"", "message"} {
			synctest.Test(t, func(t *testing.T) {
				h := newMirrored(t, []act{status(0, "0", "told")}, []act{status(0, said, body)},
					copying())
				h.conn.http1 = false
				_, s := h.conn.request(grpcCall)
				if got, _ := h.ends(t, s); got != "200 told" || s.grpc != "0" {
					t.Errorf("answered by %q, status %s", got, s.grpc)
				}
				h.over(t, want)
			})
		}
	}
}

// Copies have connections of their own, and requests to the same endpoints have theirs.
func TestCopiesHaveTheirOwnConnections(t *testing.T) {
	inBoth(t, func(t *testing.T, http1 bool) {
		h := newMirrored(t, nil, nil, at("/", &api.HTTPRule{
			Filters: []*api.Filter{mirroring("web", 1, 1)}}))
		h.conn.http1 = http1
		h.are("a:80")
		for range 3 {
			_, s := h.conn.request()
			s.wait(t)
			synctest.Wait()
		}
		e := h.conn.cluster().First()
		for _, p := range transportOf(e).pools.byKind {
			if p != nil && len(p.conns) != 1 {
				t.Errorf("%d connections of kind %d, want one for requests and one for copies",
					len(p.conns), p.kind)
			}
		}
		if all, _ := h.seen(); len(all) != 6 || e.Pending() != 0 {
			t.Errorf("the endpoint saw %v; %d are pending", all, e.Pending())
		}
	})
}
