package forward

import (
	"fmt"
	"math"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tulle-mesh/tulle/destination/api"
	"github.com/tulle-mesh/tulle/proxy/authorize"
	"github.com/tulle-mesh/tulle/proxy/discover"
	"github.com/tulle-mesh/tulle/proxy/header"
	"github.com/tulle-mesh/tulle/proxy/timer"
	"golang.org/x/net/http2/hpack"
)

// A backend that knows the deadline may give up before the wheel's next tick: late is late, whoever
// says so first.
func TestABackendThatGivesUpAtTheDeadlineIsLate(t *testing.T) {
	l := listen(t)
	s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		time.Sleep(time.Millisecond)
		panic(http.ErrAbortHandler)
	})}
	go s.Serve(l)
	t.Cleanup(func() { s.Close() })
	p := newHarness(t)
	p.update(l.Addr().String())
	conn := p.web()
	conn.answer().Fallback.Request = time.Millisecond
	for range 50 {
		_, answer := conn.request()
		if status, body := answer.wait(t); status != "504" {
			t.Fatalf("status %s %q, want 504", status, body)
		}
	}
}

// What gRPC says of its deadlines means nothing in a request that is not gRPC.
func TestOnlyGRPCHasItsDeadlines(t *testing.T) {
	p := newHarness(t)
	l := listen(t)
	s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		time.Sleep(50 * time.Millisecond)
	})}
	go s.Serve(l)
	t.Cleanup(func() { s.Close() })
	p.update(l.Addr().String())
	_, answer := p.web().request(hpack.HeaderField{Name: "grpc-timeout", Value: "1m"})
	if status, body := answer.wait(t); status != "200" {
		t.Errorf("status %s %q, want 200", status, body)
	}
}

// told are the deadlines that backends were told of, one a try: the mesh's own, and gRPC's.
type told chan string

func (c told) tell(then act) act {
	return func(w http.ResponseWriter, r *http.Request) {
		c <- r.Header.Get(header.Deadline) + "," + r.Header.Get("grpc-timeout")
		then(w, r)
	}
}

// What is left of a request's time goes on with each try: to proxies, and in gRPC to everybody.
func TestEachTryIsToldWhatIsLeft(t *testing.T) {
	for _, tt := range []struct {
		name     string
		meshed   bool
		timeouts *api.Timeouts
		fields   []hpack.HeaderField
		want     []string
	}{
		{"to a proxy", true, &api.Timeouts{RequestMs: 1000}, nil, []string{"1000,", "800,"}},
		{"to an application", false, &api.Timeouts{RequestMs: 1000}, nil, []string{",", ","}},
		{"without a timeout", true, nil, nil, []string{",", ","}},
		{"a try's alone", true, &api.Timeouts{TryMs: 500}, nil, []string{",", ","}},
		{"the application's word", true, nil,
			[]hpack.HeaderField{{Name: header.Deadline, Value: "7"}}, []string{",", ","}},
		{"gRPC", true, &api.Timeouts{RequestMs: 1000}, []hpack.HeaderField{grpcCall},
			[]string{",1000000u", ",800000u"}},
		{"gRPC, to an application", false, &api.Timeouts{RequestMs: 1000},
			[]hpack.HeaderField{grpcCall}, []string{",1000000u", ",800000u"}},
		{"gRPC, whose caller has less", true, &api.Timeouts{RequestMs: 1000},
			[]hpack.HeaderField{grpcCall, {Name: "grpc-timeout", Value: "600m"}},
			[]string{",600m", ",400000u"}},
		{"gRPC, whose caller has more", true, &api.Timeouts{RequestMs: 1000},
			[]hpack.HeaderField{grpcCall, {Name: "grpc-timeout", Value: "5S"}},
			[]string{",1000000u", ",800000u"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				heard := make(told, len(tt.want))
				rule := &api.HTTPRule{Retry: &api.Retry{}, Timeouts: tt.timeouts}
				h := retried(t, 2, rule, heard.tell(answer(200, 503, "")),
					heard.tell(answer(0, 200, "second")))
				if tt.meshed {
					h.meshed("a:80", "b:80")
				}
				h.ends(t, h.send("GET", tt.fields...))
				for i, want := range tt.want {
					if got := <-heard; got != want {
						t.Errorf("try %d is told %q, want %q", i+1, got, want)
					}
				}
			})
		})
	}
}

// A number is written as it is, whichever was before it in its place.
func TestDecimals(t *testing.T) {
	var d decimals
	for _, n := range []int64{0, 1, 256, 1, 257, 512, 0, 30_000, math.MaxInt64, 30_000} {
		for range 2 {
			if got, want := d.text(n), fmt.Sprint(n); got != want {
				t.Errorf("%s is written as %s", want, got)
			}
		}
	}
	if n := testing.AllocsPerRun(100, func() { d.text(30_000) }); n > 0 {
		t.Errorf("a number that is known makes %v allocations", n)
	}
}

// inbound is a connection of a caller's to the pod's own application, which does acts.
func inbound(t *testing.T, id string, acts ...act) *hedged {
	h := newHedged(t, 1, acts...)
	in := h.session.Port(8080)
	h.say(&api.Resource{Kind: api.Kind_KIND_INBOUND,
		Name: api.KeyString(&api.Key{Key: &api.Key_InboundPort{InboundPort: 8080}}),
		Body: &api.Resource_Inbound{Inbound: &api.Inbound{Port: 8080,
			Protocol: api.Protocol_PROTOCOL_DETECT, Mode: api.Mode_MODE_PERMISSIVE,
			DefaultAction: api.Action_ACTION_ALLOW, Reach: api.Reach_REACH_DIALED}}})
	caller := authorize.Caller{ID: id, Address: netip.MustParseAddr("127.0.0.1")}
	h.conn = h.Inbound(&discover.Arrival{Caller: caller, Port: in, App: in.Application("a:80")})
	return h
}

const passed = "504 the request's deadline had passed when it came"

// Work whose deadline has passed is ended, or not begun; who is not believed sets no deadline.
func TestADeadlineThatCameAlong(t *testing.T) {
	const client = "spiffe://cluster.local/ns/shop/sa/client"
	proxys := func(value string) hpack.HeaderField {
		return hpack.HeaderField{Name: header.Deadline, Value: value}
	}
	for _, tt := range []struct {
		name, id  string
		fields    []hpack.HeaderField
		act       act
		want      string
		took      time.Duration // milliseconds
		tries     int
		cancelled int
	}{
		{"in time", client, []hpack.HeaderField{proxys("100")}, answer(80, 200, "done"),
			"200 done", 80, 1, 0},
		{"too late", client, []hpack.HeaderField{proxys("100")}, hang,
			"504 the request took longer than its timeout", 100, 1, 1},
		{"none left", client, []hpack.HeaderField{proxys("0")}, hang, passed, 0, 0, 0},
		{"less than none left", client, []hpack.HeaderField{proxys("-20")}, hang, passed, 0, 0, 0},
		{"no number", client, []hpack.HeaderField{proxys("soon")}, answer(0, 200, "done"),
			"200 done", 0, 1, 0},
		{"a caller without a proxy", "", []hpack.HeaderField{proxys("0")},
			answer(0, 200, "done"), "200 done", 0, 1, 0},
		{"gRPC", client, []hpack.HeaderField{grpcCall, {Name: "grpc-timeout", Value: "0m"}}, hang,
			"200", 0, 0, 0},
		{"gRPC of a caller without a proxy", "",
			[]hpack.HeaderField{grpcCall, {Name: "grpc-timeout", Value: "0m"}}, hang,
			"200", 0, 0, 0},
		{"gRPC has its own", client,
			[]hpack.HeaderField{grpcCall, {Name: "grpc-timeout", Value: "100m"}, proxys("0")}, hang,
			"200", 100, 1, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := inbound(t, tt.id, tt.act)
				s := h.send("GET", tt.fields...)
				got, took := h.over(t, s)
				if got != tt.want || tt.want == "200" && s.grpc != "4" {
					t.Errorf("answered by %q, status %q of gRPC", got, s.grpc)
				}
				if late := took - tt.took*time.Millisecond; late < 0 || late > 4*timer.Tick {
					t.Errorf("took %v, want %dms", took, tt.took)
				}
				all, cancelled := h.seen()
				if len(all) != tt.tries || cancelled != tt.cancelled {
					t.Errorf("the application saw %v", all)
				}
			})
		})
	}
}

// over is ends for a connection to the application.
func (h *hedged) over(t *testing.T, s *answers) (got string, took time.Duration) {
	began := time.Now()
	status, body := s.wait(t)
	took = time.Since(began)
	synctest.Wait()
	nothingLeft(t, h.harness, h.conn.side.(*toApplication).app)
	return strings.TrimSpace(status + " " + body), took
}

// A request that waits for the application leaves the queue at its deadline, and says why.
func TestADeadlineEndsAWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := inbound(t, "spiffe://cluster.local/ns/shop/sa/client")
		h.notDialed(nobodyAnswers)
		s := h.send("GET", hpack.HeaderField{Name: header.Deadline, Value: "300"})
		got, took := h.over(t, s)
		if got != "504 the request took longer than its timeout" ||
			took < 300*time.Millisecond || took > 300*time.Millisecond+4*timer.Tick {
			t.Errorf("answered by %q after %v", got, took)
		}
		if why := header.Value(s.head, header.Error); why != "request_timeout: "+requestTimeout {
			t.Errorf("tulle-error is %q", why)
		}
	})
}
