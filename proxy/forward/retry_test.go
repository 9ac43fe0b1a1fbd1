package forward

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tulle-mesh/tulle/destination/api"
	"github.com/tulle-mesh/tulle/proxy/balance"
	"github.com/tulle-mesh/tulle/proxy/h2"
	"github.com/tulle-mesh/tulle/proxy/route"
	"github.com/tulle-mesh/tulle/proxy/timer"
	"github.com/tulle-mesh/tulle/proxy/wire"
	"golang.org/x/net/http2/hpack"
)

// retried is a mesh in memory of as many endpoints, whose one rule is given.
func retried(t *testing.T, endpoints int, rule *api.HTTPRule, acts ...act) *hedged {
	h := newHedged(t, endpoints, acts...)
	h.conn = h.Outbound(h.route(&api.Route{
		Resolution: api.Resolution_RESOLUTION_FOUND, Protocol: api.Protocol_PROTOCOL_DETECT,
		Authority: webAuthority, Backends: []*api.Backend{{Cluster: "web", Weight: 1}},
		Http: []*api.HTTPRule{at("/", rule)},
	}))
	return h
}

// send makes a request without a body.
func (h *hedged) send(method string, fields ...hpack.HeaderField) *answers {
	s := newAnswers()
	head := []hpack.HeaderField{{Name: ":method", Value: method}, {Name: ":scheme", Value: "http"},
		{Name: ":authority", Value: "web"}, {Name: ":path", Value: "/"}}
	newExchange(h.conn, s).OnHeaders(append(head, fields...), true)
	h.conn.batch.flush()
	return s
}

// saying is an act: an answer at once, with fields as "name:value".
func saying(status int, fields ...string) act {
	return func(w http.ResponseWriter, _ *http.Request) {
		for _, f := range fields {
			name, value, _ := strings.Cut(f, ":")
			w.Header().Set(name, value)
		}
		w.WriteHeader(status)
	}
}

// codes are a retry of some statuses, up to so many tries.
func codes(tries uint32, statuses ...uint32) *api.Retry {
	return &api.Retry{Listed: true, MaxTries: tries, Statuses: statuses}
}

// only is a retry of requests of some methods alone.
func only(m *api.Retry, methods ...string) *api.Retry {
	m.Methods = methods
	return m
}

func paused(m *api.Retry, ms uint64) *api.Retry {
	m.BackoffMs = ms
	return m
}

var retryings = []struct {
	name       string
	endpoints  int // 0: two
	retry      *api.Retry
	method     string // "": GET
	timeouts   *api.Timeouts
	broke      bool // the budget has nothing
	acts       []act
	want       string
	took, most time.Duration // milliseconds; 0: as took, but for the timers' resolution
	tries      int
}{
	{name: "a code of the list", retry: codes(2, 503),
		acts: []act{answer(0, 503, "first"), answer(0, 200, "second")},
		want: "200 second", tries: 2},
	{name: "one that is no failure", retry: codes(2, 404),
		acts: []act{answer(0, 404, "first"), answer(0, 200, "second")},
		want: "200 second", tries: 2},
	{name: "another code", retry: codes(2, 503),
		acts: []act{answer(0, 500, "first"), answer(0, 200, "second")},
		want: "500 first", tries: 1},
	{name: "no list but failures", retry: &api.Retry{},
		acts: []act{answer(0, 500, "first"), answer(0, 200, "second")},
		want: "200 second", tries: 2},
	{name: "an empty list", retry: codes(2),
		acts: []act{answer(0, 503, "first"), answer(0, 200, "second")},
		want: "503 first", tries: 1},
	{name: "a broken connection has no code", retry: codes(2),
		acts: []act{cut(10), answer(0, 200, "second")}, want: "200 second", took: 10, tries: 2},
	{name: "all tries are made", endpoints: 3, retry: codes(3, 503),
		acts: []act{answer(0, 503, "1"), answer(0, 503, "2"), answer(0, 503, "3"),
			answer(0, 200, "4")},
		want: "503 3", tries: 3},
	{name: "more tries than by default", endpoints: 3, retry: paused(codes(8, 503), 1),
		acts: []act{answer(0, 503, ""), answer(0, 503, ""), answer(0, 503, ""),
			answer(0, 503, ""), answer(0, 503, ""), answer(0, 503, ""), answer(0, 200, "7")},
		want: "200 7", most: 150, tries: 7},

	{name: "a method that is not meant", method: "POST",
		retry: only(codes(2, 503), "GET", "PUT"),
		acts:  []act{answer(0, 503, "first"), answer(0, 200, "second")},
		want:  "503 first", tries: 1},
	{name: "a method that is not meant breaks off", method: "POST",
		retry: only(codes(2), "GET"), acts: []act{cut(10), answer(0, 200, "second")},
		want: "502 the connection to", took: 10, tries: 1},
	{name: "a method that is not meant takes long", method: "POST",
		retry: only(codes(2), "GET"), timeouts: &api.Timeouts{TryMs: 40},
		acts: []act{hang}, want: "504 the try took longer than its timeout", took: 40, tries: 1},
	{name: "a method that is meant", method: "POST", retry: only(codes(2, 503), "POST"),
		acts: []act{answer(0, 503, "first"), answer(0, 200, "second")},
		want: "200 second", tries: 2},

	{name: "a pause", retry: paused(codes(2, 503), 100),
		acts: []act{answer(0, 503, "first"), answer(0, 200, "second")},
		want: "200 second", took: 100, most: 125, tries: 2},
	{name: "a pause after a broken connection", retry: paused(codes(2), 100),
		acts: []act{cut(10), answer(0, 200, "second")},
		want: "200 second", took: 110, most: 135, tries: 2},
	{name: "a pause grows", retry: paused(codes(3, 503), 100),
		acts: []act{answer(0, 503, ""), answer(0, 503, ""), answer(0, 200, "third")},
		want: "200 third", took: 300, most: 375, tries: 3},
	{name: "a pause that is longer than the request has", retry: paused(codes(2, 503), 100),
		timeouts: &api.Timeouts{RequestMs: 90},
		acts:     []act{answer(0, 503, "first"), answer(0, 200, "second")},
		want:     "503 first", tries: 1},

	{name: "tries that take long", endpoints: 3, retry: codes(10),
		timeouts: &api.Timeouts{RequestMs: 100, TryMs: 40}, acts: []act{hang, hang, hang},
		want: "504 the request took longer than its timeout", took: 100, tries: 3},
	{name: "a try may take longer than the request", retry: codes(10),
		timeouts: &api.Timeouts{RequestMs: 50, TryMs: 400}, acts: []act{hang},
		want: "504 the request took longer than its timeout", took: 50, tries: 1},
	{name: "an answer at the deadline is a timeout", retry: codes(10, 504),
		timeouts: &api.Timeouts{RequestMs: 100}, acts: []act{answer(99, 504, "next proxy")},
		want: "504 next proxy", took: 99, tries: 1},

	{name: "the budget is spent", retry: codes(2, 503), broke: true,
		acts: []act{answer(0, 503, "first"), answer(0, 200, "second")},
		want: "503 first", tries: 1},

	{name: "Retry-After", retry: codes(2, 503),
		acts: []act{saying(503, "retry-after:2"), answer(0, 200, "second")},
		want: "200 second", took: 2000, tries: 2},
	{name: "Retry-After of 429", retry: codes(2, 429),
		acts: []act{saying(429, "retry-after:2"), answer(0, 200, "second")},
		want: "200 second", took: 2000, tries: 2},
	{name: "Retry-After, a date", retry: codes(2, 503), // the test's time begins with 2000
		acts: []act{saying(503, "retry-after:Sat, 01 Jan 2000 00:00:03 GMT"),
			answer(0, 200, "second")},
		want: "200 second", took: 3000, tries: 2},
	{name: "Retry-After, a date in the past", retry: codes(2, 503),
		acts: []act{saying(503, "retry-after:Fri, 31 Dec 1999 23:59:59 GMT"),
			answer(0, 200, "second")},
		want: "200 second", tries: 2},
	{name: "Retry-After of too much", retry: codes(2, 503),
		acts: []act{saying(503, "retry-after:301"), answer(0, 200, "second")},
		want: "200 second", tries: 2},
	{name: "Retry-After is more than a caller waits", retry: codes(2, 503),
		acts: []act{saying(503, "retry-after:16"), answer(0, 200, "second")},
		want: "503", tries: 1},
	{name: "Retry-After is less than the request has", retry: codes(2, 503),
		timeouts: &api.Timeouts{RequestMs: 17_000},
		acts:     []act{saying(503, "retry-after:16"), answer(0, 200, "second")},
		want:     "200 second", took: 16_000, tries: 2},
	{name: "the pause is long, and the rule's own", retry: paused(codes(2, 503), 15_500),
		acts: []act{saying(503, "retry-after:2"), answer(0, 200, "second")},
		want: "200 second", took: 15_500, most: 19_400, tries: 2},
	{name: "Retry-After of nonsense", retry: codes(2, 503),
		acts: []act{saying(503, "retry-after:-2"), answer(0, 200, "second")},
		want: "200 second", tries: 2},
	{name: "Retry-After of another status", retry: codes(2, 500),
		acts: []act{saying(500, "retry-after:2"), answer(0, 200, "second")},
		want: "200 second", tries: 2},
	{name: "Retry-After is less than the pause", retry: paused(codes(2, 503), 4000),
		acts: []act{saying(503, "retry-after:2"), answer(0, 200, "second")},
		want: "200 second", took: 4000, most: 5000, tries: 2},
	{name: "Retry-After is more than the request has", retry: codes(2, 503),
		timeouts: &api.Timeouts{RequestMs: 1900},
		acts:     []act{saying(503, "retry-after:2"), answer(0, 200, "second")},
		want:     "503", tries: 1},
}

// What a rule says of retries is done, and nothing more.
func TestRetrying(t *testing.T) {
	for _, tt := range retryings {
		for protocol, http1 := range map[string]bool{"HTTP/1": true, "HTTP/2": false} {
			t.Run(tt.name+" in "+protocol, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					rule := &api.HTTPRule{Retry: tt.retry, Timeouts: tt.timeouts}
					h := retried(t, max(tt.endpoints, 2), rule, tt.acts...)
					h.conn.http1 = http1
					if tt.broke {
						h.budget().Configure(&api.RetryBudget{TtlMs: 10_000})
					}
					method := tt.method
					if method == "" {
						method = "GET"
					}
					got, took := h.ends(t, h.send(method))
					if !strings.HasPrefix(got, tt.want) {
						t.Errorf("answered by %q, want %q", got, tt.want)
					}
					least, most := tt.took*time.Millisecond, max(tt.took, tt.most)*time.Millisecond
					if took < least || took > most+4*timer.Tick {
						t.Errorf("took %v, want %v to %v", took, least, most)
					}
					h.tried(t, tt.tries)
				})
			})
		}
	}
}

func (h *hedged) budget() *route.Budget { return h.conn.answer().Fallback.Route.Budget }

// tried checks how many tries there were, and that all but the first are counted as retries.
func (h *hedged) tried(t *testing.T, want int) {
	t.Helper()
	all, _ := h.seen()
	c, _ := h.counted()
	if len(all) != want || c.retries != uint64(want-1) {
		t.Errorf("%d tries, %d retries; want %d tries", len(all), c.retries, want)
	}
	for i := range all[:max(0, len(all)-1)] {
		if all[i].at == all[i+1].at {
			t.Errorf("the endpoint that failed is asked again: %v", all)
		}
	}
}

// An answer of the next proxy's that is as late as our own timeout is one: it is counted so.
func TestALateAnswerCountsAsATimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := retried(t, 2, &api.HTTPRule{Timeouts: &api.Timeouts{RequestMs: 100}},
			answer(99, 504, ""), answer(90, 504, ""))
		h.ends(t, h.send("GET"))
		h.ends(t, h.send("GET"))
		if c, _ := h.counted(); c.timeouts != 1 || c.failures != 2 {
			t.Errorf("counted are %+v", c)
		}
	})
}

// A body that is longer than what is kept of one is not sent again.
func TestALongBodyIsNotRetried(t *testing.T) {
	for size, want := range map[int]string{
		limits.RetryBodyLimit: "200 second", limits.RetryBodyLimit + 1: "503 first",
	} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := retried(t, 2, &api.HTTPRule{Retry: codes(2, 503)},
					answer(0, 503, "first"), answer(0, 200, "second"))
				h.conn.http1 = true
				x, s := h.post()
				x.OnData(make([]byte, size), true)
				h.conn.batch.flush()
				if got, _ := h.ends(t, s); got != want {
					t.Errorf("answered by %q, want %q", got, want)
				}
			})
		})
	}
}

// pushing is an act: a gRPC call's status alone, with fields.
func pushing(status string, fields ...string) act {
	return saying(200, append(fields, "content-type:application/grpc", "grpc-status:"+status)...)
}

// trailing is pushing, but the status comes behind a head.
func trailing(status, field string) act {
	return func(w http.ResponseWriter, _ *http.Request) {
		name, value, _ := strings.Cut(field, ":")
		w.Header().Set("content-type", "application/grpc")
		w.WriteHeader(200)
		http.NewResponseController(w).Flush()
		w.Header().Set(http.TrailerPrefix+"grpc-status", status)
		w.Header().Set(http.TrailerPrefix+name, value)
	}
}

// A server of gRPC says when it may be asked again, and whether.
func TestRetryingGRPC(t *testing.T) {
	const ok = "0"
	for _, tt := range []struct {
		name   string
		retry  *api.Retry
		first  act
		status string
		took   time.Duration // milliseconds
		tries  int
	}{
		{"a status of the list", &api.Retry{Listed: true, GrpcStatuses: []uint32{8, 14}},
			pushing("8"), ok, 0, 2},
		{"another status", &api.Retry{Listed: true, GrpcStatuses: []uint32{8, 14}},
			pushing("13"), "13", 0, 1},
		{"no list but failures", &api.Retry{}, pushing("13"), ok, 0, 2},
		{"permission denied", &api.Retry{}, pushing("7"), "7", 0, 1},
		{"pushback", &api.Retry{}, pushing("14", "grpc-retry-pushback-ms:700"), ok, 700, 2},
		{"pushback behind a head", &api.Retry{}, trailing("14", "grpc-retry-pushback-ms:700"),
			ok, 700, 2},
		{"pushback in place of a pause", &api.Retry{BackoffMs: 5000},
			pushing("14", "grpc-retry-pushback-ms:0"), ok, 0, 2},
		{"never again", &api.Retry{}, pushing("14", "grpc-retry-pushback-ms:-1"), "14", 0, 1},
		{"never again, behind a head", &api.Retry{},
			trailing("14", "grpc-retry-pushback-ms:-1"), "14", 0, 1},
		{"what is no number", &api.Retry{}, pushing("14", "grpc-retry-pushback-ms:1s"),
			"14", 0, 1},
		{"more than anybody waits", &api.Retry{},
			pushing("14", "grpc-retry-pushback-ms:300001"), "14", 0, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := retried(t, 2, &api.HTTPRule{Retry: tt.retry}, tt.first, pushing(ok))
				s := h.send("POST", grpcCall)
				_, took := h.ends(t, s)
				if s.grpc != tt.status {
					t.Errorf("ends with status %s, want %s", s.grpc, tt.status)
				}
				if late := took - tt.took*time.Millisecond; late < 0 || late > 4*timer.Tick {
					t.Errorf("took %v, want %dms", took, tt.took)
				}
				h.tried(t, tt.tries)
			})
		})
	}
}

// A server of gRPC is told how many tries there were, the caller's own among them; others are told
// nothing.
func TestServersAreToldOfTries(t *testing.T) {
	for _, tt := range []struct {
		name, said string
		fields     []hpack.HeaderField
		want       []string
	}{
		{"gRPC", "", []hpack.HeaderField{grpcCall}, []string{"", "1", "2"}},
		{"gRPC that is a retry itself", "3", []hpack.HeaderField{grpcCall},
			[]string{"3", "4", "5"}},
		{"HTTP", "", nil, []string{"", "", ""}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				told := make(chan string, len(tt.want))
				listen := func(then act) act {
					return func(w http.ResponseWriter, r *http.Request) {
						told <- r.Header.Get(previousAttempts)
						then(w, r)
					}
				}
				h := retried(t, 3, &api.HTTPRule{Retry: &api.Retry{}},
					listen(saying(500)), listen(saying(500)), listen(saying(200)))
				if tt.said != "" {
					tt.fields = append(tt.fields,
						hpack.HeaderField{Name: previousAttempts, Value: tt.said})
				}
				h.ends(t, h.send("POST", tt.fields...))
				for i, want := range tt.want {
					if got := <-told; got != want {
						t.Errorf("try %d: the server is told %q, want %q", i+1, got, want)
					}
				}
			})
		})
	}
}

// meshed puts a proxy before each endpoint, of which the backend sees what it is told.
func (h *hedged) meshed(addresses ...string) {
	h.DialMesh = func(ctx context.Context, e *balance.Endpoint, _ string) (*wire.Conn, error) {
		nc, err := h.dial(ctx, e.Address)
		if err != nil {
			return nil, err
		}
		return wire.New(nc, nil), nil
	}
	list := &api.Endpoints{}
	for _, a := range addresses {
		list.Endpoints = append(list.Endpoints, &api.Endpoint{
			Id: a, Address: a, MeshAddress: a, TargetPort: 80, Identity: h.Identity,
			Protocol: api.Protocol_PROTOCOL_DETECT})
	}
	h.say(&api.Resource{Kind: api.Kind_KIND_ENDPOINTS, Name: "web",
		Body: &api.Resource_Endpoints{Endpoints: list}})
}

// What a proxy asks for in its own name is about its own endpoint: another one is asked at once.
func TestAProxysRetryAfterIsAboutItsEndpoint(t *testing.T) {
	for _, tt := range []struct {
		fields []string
		took   time.Duration
	}{
		{[]string{"retry-after:1", "tulle-error:too many requests wait"}, 0},
		{[]string{"retry-after:1"}, time.Second},
	} {
		synctest.Test(t, func(t *testing.T) {
			h := retried(t, 2, &api.HTTPRule{Retry: &api.Retry{}}, saying(503, tt.fields...),
				answer(0, 200, "second"))
			h.meshed("a:80", "b:80")
			got, took := h.ends(t, h.send("GET"))
			if got != "200 second" || took < tt.took || took > tt.took+4*timer.Tick {
				t.Errorf("%v: answered by %q after %v", tt.fields, got, took)
			}
		})
	}
}

// A caller that leaves during a pause leaves nothing behind.
func TestACallerThatLeavesDuringAPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := retried(t, 2, &api.HTTPRule{Retry: paused(codes(2, 503), 1000)}, saying(503))
		x, _ := h.conn.request()
		time.Sleep(500 * time.Millisecond)
		x.OnReset(h2.CodeCancel, net.ErrClosed)
		h.conn.batch.flush()
		synctest.Wait()
		if all, _ := h.seen(); len(all) != 1 {
			t.Errorf("tries are %v, want one", all)
		}
		nothingLeft(t, h.harness, h.conn.cluster())
	})
}
