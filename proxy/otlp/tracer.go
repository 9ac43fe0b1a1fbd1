package otlp

import (
	"context"
	"log/slog"
	"strings"
	"time"

	"golang.org/x/net/http2/hpack"

	"github.com/tulle-mesh/tulle/proxy/metric"
	"github.com/tulle-mesh/tulle/proxy/outcome"
	"github.com/tulle-mesh/tulle/proxy/trace"
	"github.com/tulle-mesh/tulle/proxy/wire"
)

// queueLen is how many records may wait to be exported, as many as OpenTelemetry's SDKs keep: some
// 2 MiB, or 8 of the longest texts that peers can send. Those beyond it are dropped.
const queueLen = 2048

// flushTime is how long what waits may still be exported after Stop.
const flushTime = time.Second

// Settings are what a tracer is told, and may be told anew.
type Settings struct {
	trace.Sampling
	Endpoint string        // HOST:PORT of the collector; empty: there is none
	HTTP     bool          // OTLP over HTTP, not gRPC
	Slow     time.Duration // what is held is worth exporting from here on; 0: however slow it was
}

// Options are what a tracer needs from others.
type Options struct {
	Settings
	Dial      func(ctx context.Context, addr string) (*wire.Conn, error)
	Workload  func() metric.Workload // whose proxy this is
	Identity  string                 // its SPIFFE ID
	Version   string
	UserAgent string
	Log       *slog.Logger
	Metrics   *metric.Registry
	Age       time.Duration // how long a span waits for others; 0: batchAge
}

// Tracer decides which requests are traced, and exports their spans.
type Tracer struct {
	Options
	sampler *trace.Sampler
	shelf   shelf
	queue   chan *outcome.Record
	stop    context.CancelFunc // of running
	running context.Context
	sending context.Context // ends flushTime after running
	cut     context.CancelFunc
	done    chan struct{}
	counts

	encoder encoder // Run's, and so is what follows
	waiting int     // spans in encoder
}

// counts are of spans, but for full, which is of requests.
type counts struct{ exported, full, capped, failed, refused *metric.Counter }

// New makes a tracer; nothing is exported before Run.
func New(o Options) *Tracer {
	t := &Tracer{Options: o, sampler: trace.NewSampler(o.Sampling), done: make(chan struct{})}
	if o.Endpoint != "" {
		t.queue = make(chan *outcome.Record, queueLen)
	}
	t.running, t.stop = context.WithCancel(context.Background())
	t.sending, t.cut = context.WithCancel(context.Background())
	count := func(what string) *metric.Counter { return o.Metrics.Counter(metric.Span, what) }
	t.counts = counts{exported: count("exported"), full: count("queue_full"),
		capped: count("over_limit"), failed: count("export_failed"), refused: count("refused")}
	return t
}

// Decide is an outcome.Hook's Trace.
func (t *Tracer) Decide(head []hpack.HeaderField, at time.Time) *outcome.Trace {
	c := trace.Extract(head)
	verdict := t.sampler.Decide(&c, at)
	switch verdict {
	case trace.Capped:
		t.capped.Inc()
		return nil
	case trace.Ignore:
		return nil
	}
	return &outcome.Trace{Context: c, State: strings.Clone(c.State(head)),
		Held: verdict == trace.Hold}
}

// Take is an outcome.Hook's Traced.
func (t *Tracer) Take(r *outcome.Record) {
	end := r.Start.Add(r.Latency)
	if !r.Trace.Held {
		t.enqueue(r, end)
		return
	}
	if !t.Worth(r) && !t.shelf.put(r, end) {
		return
	}
	for _, other := range t.shelf.take(r.Trace.Context.Trace, end) {
		t.admit(other, end)
	}
	t.admit(r, end)
}

// Worth reports whether a request that nobody has sampled shows something.
func (t *Tracer) Worth(r *outcome.Record) bool {
	return r.Failed || t.Slow > 0 && r.Latency >= t.Slow && !r.Upgraded
}

// admit enqueues a record that was held.
func (t *Tracer) admit(r *outcome.Record, now time.Time) {
	if !t.sampler.Take(now) {
		t.capped.Inc()
		return
	}
	t.enqueue(r, now)
}

func (t *Tracer) enqueue(r *outcome.Record, now time.Time) {
	if n := len(r.Trace.Tries); n > 1 && r.Labels.Direction == metric.Outbound {
		t.sampler.Charge(now, n)
	}
	if t.queue == nil {
		return
	}
	select {
	case <-t.done:
		t.full.Inc()
		return
	default:
	}
	select {
	case t.queue <- r:
		t.exemplify(r)
	default:
		t.full.Inc()
	}
}

// exemplify has metrics point to the request's span. A copy is not in them.
func (t *Tracer) exemplify(r *outcome.Record) {
	if r.Trace.Link == nil {
		t.Metrics.Exemplify(r.Labels, metric.Exemplar{Trace: r.Trace.Context.Trace,
			Span: r.Trace.Span, Latency: r.Latency})
	}
}

// Stop has Run export what waits, for flushTime at most, and end. It does not wait for that.
func (t *Tracer) Stop() {
	t.stop()
	time.AfterFunc(flushTime, t.cut)
}

// Done is closed when Run has ended.
func (t *Tracer) Done() <-chan struct{} { return t.done }
