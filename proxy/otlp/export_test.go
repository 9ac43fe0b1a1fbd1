package otlp

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2/hpack"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/tulle-mesh/tulle/proxy/metric"
	"github.com/tulle-mesh/tulle/proxy/outcome"
	"github.com/tulle-mesh/tulle/proxy/trace"
	"github.com/tulle-mesh/tulle/proxy/wire"
	"github.com/tulle-mesh/tulle/test/await"
	"github.com/tulle-mesh/tulle/test/collector"
	"github.com/tulle-mesh/tulle/test/output"
)

// options are a tracer's, of all traces, to a collector.
func options(t testing.TB, addr string, overHTTP bool) Options {
	return Options{
		Settings: Settings{Endpoint: addr, HTTP: overHTTP,
			Sampling: trace.Sampling{Ratio: trace.Million, PerSecond: 1e6}},
		Dial: func(ctx context.Context, addr string) (*wire.Conn, error) {
			nc, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
			if err != nil {
				return nil, err
			}
			return wire.New(nc, nil), nil
		},
		Workload: func() metric.Workload { return metric.Workload{Name: "me"} },
		Version:  "test", UserAgent: "test/1", Log: slog.New(slog.NewTextHandler(said(t), nil)),
		Metrics: metric.NewRegistry(), Age: time.Millisecond,
	}
}

// said shows the log of a test that failed.
func said(t testing.TB) *output.Buffer {
	var b output.Buffer
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(b.String())
		}
	})
	return &b
}

// run runs a tracer until the test ends.
func run(t testing.TB, o Options) *Tracer {
	tracer := New(o)
	go tracer.Run()
	t.Cleanup(func() {
		tracer.Stop()
		await.Receive(t, "the tracer has ended", tracer.Done())
	})
	return tracer
}

func overBoth(t *testing.T, f func(t *testing.T, c *collector.Collector, o Options)) {
	for _, overHTTP := range []bool{false, true} {
		name := map[bool]string{false: "gRPC", true: "HTTP"}[overHTTP]
		t.Run(name, func(t *testing.T) {
			c := collector.New(t)
			f(t, c, options(t, map[bool]string{false: c.GRPC, true: c.HTTP}[overHTTP], overHTTP))
		})
	}
}

func TestSpansAreExported(t *testing.T) {
	overBoth(t, func(t *testing.T, c *collector.Collector, o Options) {
		tracer := run(t, o)
		const many = 3 * batchSpans
		for range many {
			r := record(nil)
			await.True(t, "there is room", func() bool { return len(tracer.queue) < queueLen })
			tracer.Take(r)
		}
		await.True(t, "all are exported", func() bool { return tracer.exported.Load() == many })
		if n := len(c.All()); n != many {
			t.Errorf("%d arrive", n)
		}
	})
}

// A collector that is busy gets a batch once more, when it has asked for that; one that refuses it
// does not.
func TestABusyCollectorIsAskedAgain(t *testing.T) {
	overBoth(t, func(t *testing.T, c *collector.Collector, o Options) {
		var asked atomic.Int32
		c.Refuse = func() error {
			if asked.Add(1) < 3 {
				return status.Error(codes.Unavailable, "busy")
			}
			return nil
		}
		c.RefuseHTTP = func(w http.ResponseWriter) bool {
			busy := asked.Add(1) < 3
			if busy {
				w.Header().Set("Retry-After", "1")
				w.WriteHeader([]int{429, 503}[asked.Load()%2])
			}
			return busy
		}
		tracer := run(t, o)
		began := time.Now()
		tracer.Take(record(nil))
		await.True(t, "it is exported", func() bool { return tracer.exported.Load() == 1 })
		took := time.Since(began)
		if o.HTTP && took < 2*time.Second || took < pauseMin/2 {
			t.Errorf("it is exported after %v", took)
		}
		if n := asked.Load(); n != 3 {
			t.Errorf("the collector is asked %d times", n)
		}
	})
}

func TestACollectorThatRefusesIsNotAskedAgain(t *testing.T) {
	overBoth(t, func(t *testing.T, c *collector.Collector, o Options) {
		var asked atomic.Int32
		c.Refuse = func() error {
			asked.Add(1)
			return status.Error(codes.InvalidArgument, "no")
		}
		c.RefuseHTTP = func(w http.ResponseWriter) bool {
			asked.Add(1)
			w.WriteHeader(400)
			return true
		}
		tracer := run(t, o)
		tracer.Take(record(nil))
		await.True(t, "it is lost", func() bool { return tracer.failed.Load() == 1 })
		if n := asked.Load(); n != 1 {
			t.Errorf("the collector is asked %d times", n)
		}
	})
}

// A collector that says nothing, and one that is not there, hold up nobody: neither those who tell
// of requests nor the end. What is lost is counted.
func TestAStuckCollectorHoldsUpNobody(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	gone, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	gone.Close()
	for _, addr := range []string{l.Addr().String(), gone.Addr().String()} {
		for _, overHTTP := range []bool{false, true} {
			tracer := New(options(t, addr, overHTTP))
			go tracer.Run()
			const many = 3 * queueLen
			await.Return(t, "all is told", func() {
				for range many {
					tracer.Take(record(nil))
				}
			})
			tracer.Stop()
			await.Receive(t, "it ends", tracer.Done())
			lost := tracer.full.Load() + tracer.failed.Load()
			if left := uint64(len(tracer.queue)); lost+left != many || tracer.exported.Load() > 0 {
				t.Errorf("%d of %d are counted, and %d left", lost, many, left)
			}
			tracer.Take(record(nil))
			if tracer.full.Load()+tracer.failed.Load() != lost+1 {
				t.Error("what comes after the end is not counted")
			}
		}
	}
}

// A collector may refuse some of a batch (OTLP's partial success).
func TestWhatACollectorRefusesIsCounted(t *testing.T) {
	var m message
	m.inner(1, func() {
		m.number(1, 7)
		m.text(2, "too old")
	})
	m.fixed32(15, 1) // of a later version
	if n, why := rejected(m.b); n != 7 || why != "too old" {
		t.Errorf("%d are refused: %s", n, why)
	}
	for i := range m.b {
		rejected(m.b[:i])
	}
}

// Until something of its trace fails or is slow, what nobody has sampled waits, and no longer than
// it may.
func TestWhatIsHeldIsExportedIfItsTraceIsWorthIt(t *testing.T) {
	o := options(t, "127.0.0.1:9", false)
	o.Hold, o.Ratio, o.Slow = true, 0, time.Second
	tracer := New(o) // it does not run: what is to be exported stays in the queue
	held := func(id byte, at time.Duration, change func(*outcome.Record)) *outcome.Record {
		return record(func(r *outcome.Record) {
			r.Trace.Held, r.Start = true, start.Add(at)
			r.Trace.Context.Trace = trace.ID{15: id}
			if change != nil {
				change(r)
			}
		})
	}
	fails := func(r *outcome.Record) { r.Failed = true }
	slow := func(r *outcome.Record) { r.Latency = time.Second }
	tells := func(what string, r *outcome.Record, want int) {
		t.Helper()
		before := len(tracer.queue)
		tracer.Take(r)
		if got := len(tracer.queue) - before; got != want {
			t.Errorf("%s: %d are exported, want %d", what, got, want)
		}
	}
	tells("good", held(1, 0, nil), 0)
	tells("good, of the same trace", held(1, 100*time.Millisecond, nil), 0)
	tells("of another trace", held(2, 0, nil), 0)
	tells("it fails", held(1, time.Second, fails), 3)
	tells("good, of a trace that has failed", held(1, time.Second, nil), 1)
	tells("long after it has failed", held(1, 4*time.Second, nil), 0)
	tells("slow", held(2, time.Second, slow), 2)
	tells("good, and soon forgotten", held(3, 0, nil), 0)
	tells("fails later", held(3, 3*time.Second, fails), 1)
	tells("a connection that was upgraded", held(4, 0, func(r *outcome.Record) {
		slow(r)
		r.Upgraded = true
	}), 0)
	for i := range 10 * maxHeld {
		tracer.Take(held(byte(10+i%100), 5*time.Second, nil))
	}
	if n := len(tracer.shelf.held); n > maxHeld {
		t.Errorf("%d are held", n)
	}
}

// What is beyond the bound is counted, and its request goes on as it came.
func TestWhatIsBeyondTheBoundIsCounted(t *testing.T) {
	o := options(t, "127.0.0.1:9", false)
	o.PerSecond = 3
	tracer := New(o)
	head := []hpack.HeaderField{{Name: "x", Value: "y"}}
	kept := 0
	for range 10 {
		if tracer.Decide(head, start) != nil {
			kept++
		}
	}
	if n := tracer.capped.Load(); kept != 3 || n != 7 {
		t.Errorf("%d are traced, and %d are not", kept, n)
	}
}

// An idle collector's connection dies without a word: the next batch has another one.
func TestALostConnectionIsMadeAnew(t *testing.T) {
	c := collector.New(t)
	o := options(t, c.GRPC, false)
	dial := o.Dial
	var last atomic.Pointer[wire.Conn]
	o.Dial = func(ctx context.Context, addr string) (*wire.Conn, error) {
		w, err := dial(ctx, addr)
		last.Store(w)
		return w, err
	}
	tracer := run(t, o)
	for i := range uint64(3) {
		tracer.Take(record(nil))
		await.True(t, "it is exported", func() bool { return tracer.exported.Load() == i+1 })
		last.Load().Close()
	}
}
