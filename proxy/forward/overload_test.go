package forward

import (
	"fmt"
	"io"
	"net/http"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tulle-mesh/tulle/destination/api"
	"github.com/tulle-mesh/tulle/proxy/authorize"
	"github.com/tulle-mesh/tulle/proxy/discover"
	"github.com/tulle-mesh/tulle/proxy/h2"
	"github.com/tulle-mesh/tulle/proxy/header"
	"github.com/tulle-mesh/tulle/proxy/memory"
	"github.com/tulle-mesh/tulle/proxy/metric"
	"golang.org/x/net/http2/hpack"
)

// one bounds what is under way at the application to one request.
func (h *hedged) one() *discover.Port {
	in := h.session.Port(8080)
	h.say(&api.Resource{Kind: api.Kind_KIND_INBOUND,
		Name: api.KeyString(&api.Key{Key: &api.Key_InboundPort{InboundPort: 8080}}),
		Body: &api.Resource_Inbound{Inbound: &api.Inbound{Port: 8080,
			Protocol: api.Protocol_PROTOCOL_DETECT, Mode: api.Mode_MODE_PERMISSIVE,
			DefaultAction: api.Action_ACTION_ALLOW, Reach: api.Reach_REACH_DIALED,
			Probes:      []*api.Probe{{Path: "/ready"}},
			Concurrency: &api.Concurrency{MinRequests: 1, MaxRequests: 1}}}})
	return in
}

// What an application has no room for is answered at once, in every protocol, with when to come
// again. Only a proxy is told that it may ask another one.
func TestWhatAnApplicationHasNoRoomFor(t *testing.T) {
	for _, tt := range []struct {
		name        string
		who         authorize.Caller
		http1, grpc bool
		target      string
		want        string
	}{
		{"a peer", meshedCaller, false, false, "/", "503"},
		{"a peer in gRPC", meshedCaller, false, true, "/", "200 14"},
		{"a stranger in HTTP/1", plainCaller, true, false, "/", "503"},
		{"a stranger in HTTP/2", plainCaller, false, false, "/", "503"},
		{"a stranger in gRPC", plainCaller, false, true, "/", "200 14"},
		{"the kubelet", plainCaller, true, false, "/ready", "200"},
		{"the pod itself", ownCaller, true, false, "/", "200"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHedged(t, 1, answer(1000, 200, "first"), answer(0, 200, "second"))
				in := h.one()
				_, first := h.arrives(in, plainCaller, true).request()
				time.Sleep(500 * time.Millisecond)
				var fields []hpack.HeaderField
				if tt.grpc {
					fields = append(fields, grpcCall)
				}
				began := time.Now()
				_, s := h.arrives(in, tt.who, tt.http1).ask(tt.target, true, fields...)
				got, body := s.wait(t)
				if s.grpc != "" {
					got += " " + s.grpc
				}
				if got != tt.want || time.Since(began) > 100*time.Millisecond {
					t.Errorf("%s %s after %v, want %s", got, body, time.Since(began), tt.want)
				}
				if tt.want != "200" {
					wantCrowded(t, s, tt.who.Meshed())
				}
				if got, body := first.wait(t); got+body != "200first" {
					t.Errorf("the first is answered by %s %s", got, body)
				}
				_, s = h.arrives(in, plainCaller, true).request()
				if got, _ := s.wait(t); got != "200" {
					t.Errorf("once it is answered the next is refused: %s", got)
				}
				synctest.Wait()
			})
		})
	}
}

func wantCrowded(t *testing.T, s *answers, meshed bool) {
	t.Helper()
	after, err := strconv.Atoi(header.Value(s.head, "retry-after"))
	if err != nil || after < 1 || after > mostSeconds {
		t.Errorf("retry-after is %q", header.Value(s.head, "retry-after"))
	}
	if got := header.Value(s.head, header.Undelivered); (got != "") != meshed {
		t.Errorf("undelivered is %q", got)
	}
	want := ""
	if meshed {
		want = "overload: too many requests are under way at the application"
	}
	if got := header.Value(s.head, header.Error); got != want {
		t.Errorf("tulle-error is %q", got)
	}
}

func leave(x *exchange) {
	x.OnReset(h2.CodeCancel, nil)
	x.c.batch.flush()
}

// streamed is an act: an answer that goes on for as long as its caller wants it to.
func streamed(w http.ResponseWriter, r *http.Request) {
	io.WriteString(w, "some")
	http.NewResponseController(w).Flush()
	<-r.Context().Done()
}

// A place is given back however a request ends.
func TestAPlaceAtTheApplicationIsGivenBack(t *testing.T) {
	for name, tt := range map[string]struct {
		act act
		end func(*exchange)
	}{
		"answered":        {act: answer(0, 200, "body")},
		"without a body":  {act: answer(0, 204, "")},
		"a failure":       {act: answer(0, 500, "body")},
		"an empty one":    {act: answer(0, 500, "")},
		"broken off":      {act: cut(0)},
		"the caller left": {act: hang, end: leave},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHedged(t, 1, tt.act)
				in := h.one()
				x, s := h.arrives(in, plainCaller, true).request()
				synctest.Wait()
				if tt.end != nil {
					tt.end(x)
				} else {
					s.wait(t)
				}
				synctest.Wait()
				c := in.Now().Concurrency
				if !c.Enter(time.Now()) || c.Enter(time.Now()) {
					t.Error("there is not one place once it has ended")
				}
			})
		})
	}
}

// An answer that goes on holds no place: how long it takes is up to its caller.
func TestAnAnswerThatGoesOnHoldsNoPlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHedged(t, 1, streamed, answer(0, 200, "second"))
		in := h.one()
		x, _ := h.arrives(in, plainCaller, true).request()
		synctest.Wait()
		_, s := h.arrives(in, plainCaller, true).request()
		if got, _ := s.wait(t); got != "200" {
			t.Errorf("beside an answer that goes on: %s", got)
		}
		leave(x)
		synctest.Wait()
	})
}

// A proxy that is told that a request was not delivered asks another endpoint, of any request, once
// for nothing. Where there is none, its caller is told.
func TestWhatWasNotDeliveredGoesElsewhere(t *testing.T) {
	refused := func(fields ...string) act {
		return saying(503, append(fields, header.Undelivered+":1", header.Error+":no room",
			"retry-after:1")...)
	}
	for _, tt := range []struct {
		name      string
		endpoints []string
		unmeshed  bool
		acts      []act
		want      string
		tries     int
	}{
		{"elsewhere", []string{"a:80", "b:80"}, false,
			[]act{refused(), answer(0, 200, "second")}, "200 second", 2},
		{"nowhere else", []string{"a:80"}, false, []act{refused()}, "503", 1},
		{"everywhere", []string{"a:80", "b:80"}, false, []act{refused(), refused()}, "503", 2},
		{"an application that says so", []string{"a:80", "b:80"}, true,
			[]act{refused(), answer(0, 200, "second")}, "503", 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := retried(t, len(tt.endpoints), &api.HTTPRule{}, tt.acts...)
				if !tt.unmeshed {
					h.meshed(tt.endpoints...)
				}
				got, took := h.ends(t, h.send("POST"))
				if got != tt.want || took > 100*time.Millisecond {
					t.Errorf("answered by %q after %v, want %q", got, took, tt.want)
				}
				if all, _ := h.seen(); len(all) != tt.tries {
					t.Errorf("tries are %v, want %d", all, tt.tries)
				}
			})
		})
	}
}

// sheddings are all kinds of work, and from which level of memory on each is refused: 0, never.
// Each says whether its work went on at a level.
var sheddings = []struct {
	name string
	from memory.Level
	does func(t *testing.T, level memory.Level) bool
}{
	{"a copy", memory.Tight, func(t *testing.T, level memory.Level) bool {
		h := newMirrored(t, []act{answer(0, 200, "")}, []act{answer(0, 200, "")}, copying())
		h.runsShort(level)
		h.answered(t, h.send("GET"), level < memory.Full)
		synctest.Wait()
		return h.results() == "answered:1"
	}},
	{"a retry", memory.Tight, func(t *testing.T, level memory.Level) bool {
		h := newHedged(t, 2, answer(0, 503, "first"), answer(0, 200, "second"))
		h.runsShort(level)
		got, _ := h.send("GET").wait(t)
		return got == "200"
	}},
	{"a hedge", memory.Tight, func(t *testing.T, level memory.Level) bool {
		h := newHedged(t, 2, answer(500, 200, "first"), answer(0, 200, "second"))
		h.runsShort(level)
		_, body := h.send("GET").wait(t)
		return body == "second"
	}},
	{"a stranger in HTTP/1", memory.Short, asIf(plainCaller, true, false, "/")},
	{"a stranger in HTTP/2", memory.Short, asIf(plainCaller, false, false, "/")},
	{"a stranger in gRPC", memory.Short, asIf(plainCaller, false, true, "/")},
	{"a peer", memory.Full, asIf(meshedCaller, false, false, "/")},
	{"a peer in gRPC", memory.Full, asIf(meshedCaller, false, true, "/")},
	{"the pod itself", memory.Short, asIf(ownCaller, true, false, "/")},
	{"the application", memory.Full, func(t *testing.T, level memory.Level) bool {
		h := newHedged(t, 1, answer(0, 200, ""))
		h.runsShort(level)
		s := h.send("GET")
		h.answered(t, s, level < memory.Full)
		return s.status == "200"
	}},
	{"the kubelet", 0, asIf(plainCaller, true, false, "/ready")},
}

var ownCaller = authorize.Caller{Security: metric.Loopback}

// runsShort says how short the proxy is of memory.
func (h *harness) runsShort(level memory.Level) {
	h.Memory = func(time.Time) memory.Level { return level }
}

// asIf is a request for the application.
func asIf(
	who authorize.Caller, http1, grpc bool, target string,
) func(*testing.T, memory.Level) bool {
	return func(t *testing.T, level memory.Level) bool {
		var fields []hpack.HeaderField
		act := answer(0, 200, "")
		if grpc {
			fields, act = append(fields, grpcCall), status(0, "0", "")
		}
		h := newHedged(t, 1, act)
		c := h.arrives(h.admits(), who, http1)
		h.runsShort(level)
		_, s := c.ask(target, true, fields...)
		s.wait(t)
		went := s.status == "200" && (!grpc || s.grpc == "0")
		h.answered(t, s, went)
		return went
	}
}

// answered checks the answer to a request that went on, or was refused.
func (h *hedged) answered(t *testing.T, s *answers, went bool) {
	t.Helper()
	s.wait(t)
	after, err := strconv.Atoi(header.Value(s.head, "retry-after"))
	if refused := err == nil && after >= 1 && after <= mostSeconds; refused == went {
		t.Errorf("went on: %v; answered by %s %v", went, s.status, s.head)
	}
}

// A proxy that is short of memory refuses one kind of work after the other, and in the end all but
// the kubelet's probes.
func TestTheOrderInWhichWorkIsRefused(t *testing.T) {
	for _, tt := range sheddings {
		for level := memory.Ease; level <= memory.Full; level++ {
			t.Run(fmt.Sprintf("%s at level %d", tt.name, level), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					want := tt.from == 0 || level < tt.from
					if went := tt.does(t, level); went != want {
						t.Errorf("goes on: %v, want %v", went, want)
					}
					synctest.Wait()
				})
			})
		}
	}
}

// While nearly as many requests wait as may, nothing is sent twice.
func TestACrowdIsNotAddedTo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHedged(t, 2, answer(0, 503, "first"), answer(0, 200, "second"))
		h.maxCrowd = 100
		h.waiting.Store(90)
		if got, _ := h.send("GET").wait(t); got != "503" {
			t.Errorf("answered by %s", got)
		}
		synctest.Wait()
	})
}
