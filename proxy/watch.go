package proxy

import (
	"context"
	"slices"
	"sync"

	"github.com/tulle-mesh/tulle/proxy/otlp"
	"github.com/tulle-mesh/tulle/proxy/outcome"
	"github.com/tulle-mesh/tulle/proxy/record"
	"github.com/tulle-mesh/tulle/proxy/rpc"
)

// watchers are who looks at requests.
type watchers struct {
	mu     sync.Mutex        // guards what follows, and the order of what is hung
	access *outcome.Hook     // the access log's; nil: it is off
	tracer *otlp.Tracer      // nil: tracing is off
	shown  []*record.Records // one for each replica of viz
}

// watch hangs what the access log and the tracer of the moment want to see.
func (p *Proxy) watch(access *outcome.Hook, t *otlp.Tracer) {
	w := &p.watchers
	w.mu.Lock()
	defer w.mu.Unlock()
	w.access, w.tracer = access, t
	p.hangLocked()
}

// rewatch hangs it anew, for others want to see more, or less.
func (p *Proxy) rewatch() {
	p.watchers.mu.Lock()
	defer p.watchers.mu.Unlock()
	p.hangLocked()
}

// hangLocked makes one hook of all. Where nobody looks there is none.
func (p *Proxy) hangLocked() {
	w, all := &p.watchers, &outcome.Hook{}
	if w.access != nil {
		all.End = w.access.End
	}
	var worth func(*outcome.Record) bool
	if w.tracer != nil {
		all.Trace, all.Traced, worth = w.tracer.Decide, w.tracer.Take, w.tracer.Worth
	}
	for _, r := range w.shown {
		r.Join(all, worth)
	}
	if all.Idle() {
		all = nil
	}
	p.seen.Set(all)
}

// showTo shows a replica of viz single requests until stop is called, or the requests have ended.
func (p *Proxy) showTo(ctx context.Context, client *rpc.Client, of *record.Reporter) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	one := record.NewRecords(record.RecordsOptions{Options: of.Options, StartID: of.StartID,
		Client: client, Log: p.log, Met: p.discovery.Met, Changed: p.rewatch,
		Endpoints: p.endpoints})
	p.watchers.mu.Lock()
	p.watchers.shown = append(p.watchers.shown, one)
	p.watchers.mu.Unlock()
	var running sync.WaitGroup
	running.Go(func() { one.Run(ctx) })
	return func() {
		select {
		case <-p.settled: // it ends by itself, and says what it has to say before
		default:
			cancel()
		}
		running.Wait()
		cancel()
		p.watchers.mu.Lock()
		defer p.watchers.mu.Unlock()
		p.watchers.shown = slices.DeleteFunc(p.watchers.shown,
			func(other *record.Records) bool { return other == one })
		p.hangLocked()
	}
}
