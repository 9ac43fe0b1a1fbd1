package otlp

import (
	"cmp"
	"context"
	"errors"
	"time"

	"github.com/tulle-mesh/tulle/proxy/backoff"
	"github.com/tulle-mesh/tulle/proxy/outcome"
)

const (
	// A batch is exported when it has so many spans or bytes, or is so old. A gRPC server takes
	// messages of 4 MiB by default.
	batchSpans = 512
	batchBytes = 1 << 20
	batchAge   = 5 * time.Second

	exportTimeout = 10 * time.Second
	// A batch that cannot be exported for so long is dropped. Meanwhile others fill the queue.
	giveUp = 30 * time.Second
	// The pause before a batch is exported once more; it doubles each time.
	pauseMin = 500 * time.Millisecond
	pauseMax = 5 * time.Second
)

// exporter sends a batch to a collector.
type exporter interface {
	// export returns the collector's answer, an ExportTraceServiceResponse.
	export(ctx context.Context, request []byte) ([]byte, error)
	close()
}

// busy is an error of a collector that may take the batch later.
type busy struct {
	error
	after time.Duration // that it asks for; 0: it has not said
}

func (b *busy) Unwrap() error { return b.error }

// Run exports spans until Stop. Where there is no collector it only waits.
func (t *Tracer) Run() {
	defer close(t.done)
	defer t.cut()
	if t.queue == nil {
		<-t.running.Done()
		return
	}
	to := t.newExporter()
	defer to.close()
	for t.gather() {
		t.deliver(to)
		t.encoder.b, t.waiting = nil, 0 // an idle proxy holds no memory for spans
	}
}

func (t *Tracer) newExporter() exporter {
	if t.HTTP {
		return &overHTTP{t}
	}
	return newOverGRPC(t)
}

// gather waits until a batch is complete. It is false when there is nothing more to export.
func (t *Tracer) gather() bool {
	var old <-chan time.Time // nil: the batch is empty, and may wait for ever
	for t.waiting < batchSpans && len(t.encoder.b) < batchBytes {
		r := t.next(old)
		if r == nil {
			return t.waiting > 0
		}
		if old == nil {
			timer := time.NewTimer(cmp.Or(t.Age, batchAge))
			defer timer.Stop()
			old = timer.C
		}
		t.waiting += t.encoder.spans(r)
	}
	return true
}

// next is the next record of the batch; nil: it has all that it gets. What is in the queue when
// Stop is called still comes.
func (t *Tracer) next(old <-chan time.Time) *outcome.Record {
	select {
	case r := <-t.queue:
		return r
	default:
	}
	select {
	case r := <-t.queue:
		return r
	case <-old:
	case <-t.running.Done():
	}
	return nil
}

// deliver exports the batch, or drops it.
func (t *Tracer) deliver(to exporter) {
	workload := func(a attributes) { resource(t.Workload(), t.Identity, a) }
	body := request(t.encoder.b, workload, t.Version)
	began, retry := time.Now(), backoff.Backoff{Min: pauseMin, Max: pauseMax}
	for {
		err := t.try(to, body)
		if err == nil {
			return
		}
		var later *busy
		if !errors.As(err, &later) || time.Since(began) > giveUp ||
			!t.sleep(later.after, retry.Next()) {
			t.failed.Add(uint64(t.waiting))
			t.Log.Warn("spans cannot be exported, and are lost", "collector", t.Endpoint,
				"spans", t.waiting, "err", err)
			return
		}
	}
}

func (t *Tracer) try(to exporter, body []byte) error {
	ctx, cancel := context.WithTimeout(t.sending, exportTimeout)
	defer cancel()
	answer, err := to.export(ctx, body)
	if err != nil {
		return err
	}
	n, why := rejected(answer)
	n = min(n, uint64(t.waiting))
	if n > 0 {
		t.refused.Add(n)
		t.Log.Warn("the collector refuses spans", "collector", t.Endpoint, "spans", n, "why", why)
	}
	t.exported.Add(uint64(t.waiting) - n)
	return nil
}

// sleep waits as long as the collector asks for, and at least for a pause. It is false if there is
// no time for that.
func (t *Tracer) sleep(asked, pause time.Duration) bool {
	if asked > giveUp {
		return false
	}
	timer := time.NewTimer(max(asked, pause))
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-t.sending.Done():
		return false
	}
}
