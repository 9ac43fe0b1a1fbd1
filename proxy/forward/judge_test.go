package forward

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tulle-mesh/tulle/destination/api"
	"github.com/tulle-mesh/tulle/proxy/h1"
	"github.com/tulle-mesh/tulle/proxy/h2"
	"github.com/tulle-mesh/tulle/proxy/metric"
	"golang.org/x/net/http2/hpack"
)

// broken is a mesh in memory, whose cluster has outlier detection.
type broken struct{ *hedged }

// newBroken has an endpoint a, which always acts so, and others that answer after a while.
func newBroken(t *testing.T, endpoints int, o *api.OutlierDetection, a act) *broken {
	h := newHedged(t, endpoints)
	h.rule.Retry, h.rule.Hedge = false, 0
	h.behaves(a)
	h.protect(o, nil)
	return &broken{h}
}

// behaves says what the endpoint a does from now on; the others are well, and slower.
func (h *hedged) behaves(a act) {
	well := status(10, "0", "well") // of both
	h.backends.mu.Lock()
	h.always = map[string]act{"a:80": a, "b:80": well, "c:80": well}
	h.backends.mu.Unlock()
}

// protect says what protects the cluster. What was slow is forgotten fast.
func (h *hedged) protect(o *api.OutlierDetection, limits *api.ClusterLimits) {
	h.say(&api.Resource{Kind: api.Kind_KIND_CLUSTER, Name: "web",
		Body: &api.Resource_Cluster{Cluster: &api.Cluster{Name: "web",
			OutlierDetection: o, Limits: limits,
			Balancer: &api.Cluster_Ewma{Ewma: &api.EWMA{DefaultRttMs: 1, DecayMs: 10}}}}})
}

// load sends so many requests, one after the other, so far apart that whatever was slow is
// forgotten. It returns how many were for a.
func (b *broken) load(t *testing.T, n int) int {
	t.Helper()
	before := b.at("a:80")
	for range n {
		_, s := b.conn.request()
		s.wait(t)
		time.Sleep(500 * time.Millisecond)
	}
	return b.at("a:80") - before
}

// at is how many tries an endpoint has got.
func (h *hedged) at(address string) (n int) {
	all, _ := h.seen()
	for _, one := range all {
		if one.at == address {
			n++
		}
	}
	return n
}

// minuteLong ejects for a minute after three failures in a row.
func minuteLong() *api.OutlierDetection {
	return &api.OutlierDetection{ConsecutiveFailures: 3, BaseEjectionMs: 60_000,
		MaxEjectionMs: 120_000}
}

// Of three endpoints one fails. After so many failures it is left alone, until one request has
// shown that it is back.
func TestAnEndpointThatFailsIsLeftAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBroken(t, 3, minuteLong(), answer(0, 500, "no"))
		if n := b.load(t, 100); n != 3 {
			t.Errorf("the endpoint that fails gets %d of 100 requests, want 3", n)
		}
		time.Sleep(66 * time.Second)
		if n := b.load(t, 20); n != 1 {
			t.Errorf("%d of 20 requests probe, want 1", n)
		}
		if n := b.load(t, 20); n != 0 || b.conn.cluster().Ejected() != 1 {
			t.Errorf("after a probe that failed it gets %d requests", n)
		}
		b.behaves(answer(10, 200, "well"))
		time.Sleep(132 * time.Second)
		if n := b.load(t, 50); n < 5 || b.conn.cluster().Ejected() != 0 {
			t.Errorf("after a probe that succeeded it gets %d of 50 requests", n)
		}
		text := pageOf(b.Metrics)
		for _, want := range []string{`backend="web",enforced="true",reason="consecutive"} 1`,
			`backend="web",enforced="true",reason="probe"} 1`,
			`tulle_endpoints_ejected{backend="web"} 0`} {
			if !strings.Contains(text, want) {
				t.Errorf("the metrics do not say %s:\n%s", want, text)
			}
		}
	})
}

func pageOf(r *metric.Registry) string {
	var b strings.Builder
	t := metric.NewText(func(p []byte) bool { b.Write(p); return true })
	r.WriteText(t, "test")
	t.Flush()
	return b.String()
}

// Whatever a single endpoint does, it gets all the requests; and so do all of them in a dry run.
func TestWhoIsNeverEjected(t *testing.T) {
	dry := minuteLong()
	dry.DryRun = true
	for _, tt := range []struct {
		endpoints, least int
		o                *api.OutlierDetection
	}{{1, 20, minuteLong()}, {2, 4, dry}} {
		synctest.Test(t, func(t *testing.T) {
			b := newBroken(t, tt.endpoints, tt.o, answer(0, 503, "no"))
			if n := b.load(t, 20); n < tt.least {
				t.Errorf("the endpoint that fails gets %d of 20 requests", n)
			}
			if n := b.conn.cluster().Ejected(); n != 0 {
				t.Errorf("%d are ejected", n)
			}
			if want := `enforced="false",reason="consecutive"`; !strings.Contains(
				pageOf(b.Metrics), want) {
				t.Errorf("the metrics do not say %s", want)
			}
		})
	}
}

// What is no failure of an endpoint's ejects nobody.
func TestWhatIsNoFailure(t *testing.T) {
	for name, tt := range map[string]struct {
		act   act
		field hpack.HeaderField // of the request
	}{
		"a caller's mistake":            {answer(0, 404, ""), hpack.HeaderField{}},
		"too many requests":             {answer(0, 429, ""), hpack.HeaderField{}},
		"gRPC: permission denied":       {status(0, "7", ""), grpcField},
		"gRPC: resource exhausted":      {status(0, "8", ""), grpcField},
		"gRPC: not found, in trailers":  {status(0, "5", "message"), grpcField},
		"a long answer, and then a 200": {answer(40, 200, "slow"), hpack.HeaderField{}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := minuteLong()
				o.ConsecutiveFailures = 1
				b := newBroken(t, 2, o, tt.act)
				b.conn.http1 = tt.field.Name == ""
				b.ask(t, 20, tt.field)
				if b.at("a:80") == 0 || b.conn.cluster().Ejected() != 0 {
					t.Errorf("of %d requests one has it ejected", b.at("a:80"))
				}
			})
		})
	}
}

var grpcField = hpack.HeaderField{Name: "content-type", Value: "application/grpc"}

// ask is load for requests with a field.
func (b *broken) ask(t *testing.T, n int, field hpack.HeaderField) {
	t.Helper()
	for range n {
		var fields []hpack.HeaderField
		if field.Name != "" {
			fields = append(fields, field)
		}
		_, s := b.conn.request(fields...)
		s.wait(t)
		time.Sleep(500 * time.Millisecond)
	}
}

// What is one ejects at once, where one is enough.
func TestWhatIsAFailure(t *testing.T) {
	for name, tt := range map[string]struct {
		act   act
		field hpack.HeaderField
		set   func(*broken)
	}{
		"an error":                  {act: answer(0, 500, "")},
		"a connection that breaks":  {act: cut(10)},
		"gRPC: unavailable":         {act: status(0, "14", ""), field: grpcField},
		"gRPC: it, in trailers":     {act: status(0, "14", "message"), field: grpcField},
		"gRPC: an error of HTTP":    {act: answer(0, 502, ""), field: grpcField},
		"gRPC: no status":           {act: answer(0, 200, "message"), field: grpcField},
		"a try that takes too long": {act: hang, set: func(b *broken) { b.rule.Try = time.Second }},
		"a request that does": {act: hang,
			set: func(b *broken) { b.rule.Request = time.Second }},
		"an endpoint that cannot be dialed": {act: hang, set: func(b *broken) {
			b.DialPlain = b.dialAllBut("a:80")
		}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := minuteLong()
				o.ConsecutiveFailures = 1
				b := newBroken(t, 2, o, tt.act)
				b.conn.http1 = tt.field.Name == ""
				if tt.set != nil {
					tt.set(b)
				}
				b.ask(t, 20, tt.field)
				if n := b.at("a:80"); n > 1 || b.conn.cluster().Ejected() != 1 {
					t.Errorf("it gets %d requests, and %d are ejected", n,
						b.conn.cluster().Ejected())
				}
			})
		})
	}
}

// A caller that leaves blames nobody, and neither does one that was answered by a hedge.
func TestWhoGoesUnjudged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := minuteLong()
		o.ConsecutiveFailures = 1
		b := newBroken(t, 2, o, hang)
		for b.at("a:80") < 3 {
			x, _ := b.conn.request()
			time.Sleep(time.Second)
			x.OnReset(h2.CodeCancel, net.ErrClosed)
			b.conn.batch.flush()
			synctest.Wait()
		}
		b.rule.Retry, b.rule.Hedge = true, hedgeAfter
		for range 20 {
			_, s := b.conn.request()
			if got, _ := b.ends(t, s); got != "200 well" {
				t.Errorf("answered by %q", got)
			}
			time.Sleep(time.Minute)
		}
		if b.conn.cluster().Ejected() != 0 {
			t.Error("an endpoint is ejected that nobody waited for")
		}
		nothingLeft(t, b.harness, b.conn.cluster())
	})
}

// A probe may be a POST, which is sent once. Until it is answered, or has taken longer than it may,
// the others pass the endpoint by. The next probe comes after one that its caller gave up.
func TestAProbeThatTakesItsTime(t *testing.T) {
	for name, tt := range map[string]struct {
		try   time.Duration
		after time.Duration // the endpoint is probed again
		leave bool
	}{
		"it has a timeout":       {try: 5 * time.Second, after: 130 * time.Second},
		"it has none":            {after: 25 * time.Second},
		"its caller gives it up": {leave: true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBroken(t, 2, minuteLong(), answer(0, 500, "no"))
				b.load(t, 30)
				b.behaves(hang)
				b.rule.Try = tt.try
				time.Sleep(66 * time.Second)
				before := b.at("a:80")
				x, _ := b.post()
				x.OnData([]byte("order"), true)
				b.conn.batch.flush()
				synctest.Wait()
				if n := b.at("a:80") - before; n != 1 {
					t.Fatalf("the POST was sent %d times to the endpoint that it probes", n)
				}
				if n := b.load(t, 15); n != 0 {
					t.Errorf("%d requests probe beside it", n)
				}
				if tt.leave {
					x.OnReset(h2.CodeCancel, net.ErrClosed)
					b.conn.batch.flush()
				}
				time.Sleep(tt.after)
				b.behaves(answer(10, 200, "well"))
				if n := b.load(t, 30); n < 2 || b.conn.cluster().Ejected() != 0 {
					t.Errorf("it gets %d requests when it is back", n)
				}
				if !tt.leave {
					x.OnReset(h2.CodeCancel, net.ErrClosed)
					b.conn.batch.flush()
				}
			})
		})
	}
}

// A stream of gRPC may go on for days: its first message says that the endpoint is back.
func TestAStreamProbes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBroken(t, 2, minuteLong(), status(0, "14", ""))
		b.conn.http1 = false
		b.ask(t, 30, grpcField)
		if b.conn.cluster().Ejected() != 1 {
			t.Fatal("it is not ejected")
		}
		b.behaves(func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprint(w, "message")
			http.NewResponseController(w).Flush()
			<-r.Context().Done()
		})
		time.Sleep(66 * time.Second)
		x, _ := b.conn.request(grpcField)
		time.Sleep(time.Second)
		if b.conn.cluster().Ejected() != 0 {
			t.Error("it is still ejected after a message")
		}
		x.OnReset(h2.CodeCancel, net.ErrClosed)
		b.conn.batch.flush()
	})
}

// An endpoint that says when to come back is passed over until then; one that names a time that has
// passed is not.
func TestWhoAsksToBeLeftAlone(t *testing.T) {
	says := func(name, value string, trailers bool) act {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set(name, value)
			if trailers {
				w.Header().Set("content-type", "application/grpc")
				w.Header().Set("grpc-status", "14")
				return
			}
			w.WriteHeader(503)
		}
	}
	for _, tt := range []struct {
		name, value string
		grpc        bool
		alone       bool
	}{
		{"Retry-After", "120", false, true}, {"Retry-After", "0", false, false},
		{"Retry-After", "Mon, 02 Jan 2006 15:04:05 GMT", false, true},  // of 2000
		{"Retry-After", "Fri, 31 Dec 1999 23:59:59 GMT", false, false}, // the day before
		{"Retry-After", "soon", false, false}, {"Retry-After", "-1", false, false},
		{"Grpc-Retry-Pushback-Ms", "120000", true, true},
		{"Grpc-Retry-Pushback-Ms", "-1", true, false},
	} {
		t.Run(tt.name+" "+tt.value, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBroken(t, 2, &api.OutlierDetection{}, says(tt.name, tt.value, tt.grpc))
				var field hpack.HeaderField
				if tt.grpc {
					field, b.conn.http1 = grpcField, false
				}
				b.ask(t, 40, field)
				if n := b.at("a:80"); (n == 1) != tt.alone {
					t.Errorf("it gets %d of 40 requests", n)
				}
			})
		})
	}
}

// A connection that goes away, or was closed before anybody asked anything on it, is no failure. A
// proxy that takes no request has no application.
func TestHowATryIsBrokenOff(t *testing.T) {
	b := newBroken(t, 2, &api.OutlierDetection{ConsecutiveFailures: 1}, nil)
	e := b.conn.cluster().Current().All[0]
	for _, tt := range []struct {
		err    error
		failed bool
	}{
		{h2.ErrRefused, false}, {h1.ErrUnsent, false}, {h1.ErrUndelivered, false},
		{fmt.Errorf("read: %w", h1.ErrStale), false},
		{&h2.StreamError{Code: h2.CodeRefusedStream, Remote: true}, true},
		{&h2.StreamError{Code: h2.CodeInternal, Remote: true}, true},
		{errors.New("connection reset by peer"), true},
	} {
		a := &attempt{x: &exchange{c: b.conn}, endpoint: e}
		a.judgeReset(tt.err)
		if a.judged != tt.failed {
			t.Errorf("%v: a failure is %v", tt.err, a.judged)
		}
	}
}

// dialAllBut reaches everybody but one.
func (b *broken) dialAllBut(dead string) func(context.Context, string) (net.Conn, error) {
	return func(ctx context.Context, address string) (net.Conn, error) {
		if address == dead {
			return nil, errors.New("nobody listens")
		}
		return b.dial(ctx, address)
	}
}

// Each dial that fails is one failure, however many requests wait for it.
func TestAFailedDialIsOneFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBroken(t, 1, minuteLong(), answer(0, 200, ""))
		b.DialPlain = func(context.Context, string) (net.Conn, error) {
			time.Sleep(time.Second)
			return nil, errors.New("nobody listens")
		}
		b.conn.http1 = false
		var all []*exchange
		for range 20 {
			x, _ := b.conn.request()
			all = append(all, x)
		}
		time.Sleep(2500 * time.Millisecond) // two dials
		if strings.Contains(pageOf(b.Metrics), `reason="consecutive"`) {
			t.Error("two dials that failed count as three failures or more")
		}
		for _, x := range all {
			x.OnReset(h2.CodeCancel, net.ErrClosed)
		}
		b.conn.batch.flush()
	})
}

// A hedge is no probe, and goes to nobody who is ejected: then there is none.
func TestAHedgeLeavesTheEjectedAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBroken(t, 2, minuteLong(), answer(0, 500, "no"))
		b.load(t, 30)
		failed := b.at("a:80")
		b.rule.Retry, b.rule.Hedge = true, time.Millisecond // sooner than b answers
		for _, wait := range []time.Duration{0, 2 * time.Minute} {
			time.Sleep(wait)
			if wait > 0 { // the request that probes is this one
				_, s := b.conn.request()
				s.wait(t)
				failed++
			}
			if n := b.load(t, 10); b.at("a:80") != failed || n != 0 {
				t.Errorf("%d of 10 requests are hedged at the endpoint that is ejected", n)
			}
		}
	})
}
