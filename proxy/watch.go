package proxy

import (
	"slices"
	"sync"

	"github.com/tulle-mesh/tulle/proxy/otlp"
	"github.com/tulle-mesh/tulle/proxy/outcome"
	"github.com/tulle-mesh/tulle/proxy/record"
)

// watchers are who looks at requests.
type watchers struct {
	mu     sync.Mutex    // guards what follows, and the order of what is hung
	access *outcome.Hook // the access log's; nil: it is off
	tracer *otlp.Tracer  // nil: tracing is off
	// Replicas of viz, which may want to see single requests.
	replicas []*record.Records
}

func (w *watchers) add(r *record.Records) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.replicas = append(w.replicas, r)
}

// remove forgets one that does not run any more.
func (w *watchers) remove(r *record.Records) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.replicas = slices.DeleteFunc(w.replicas, func(o *record.Records) bool { return o == r })
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
	for _, r := range w.replicas {
		r.Join(all, worth)
	}
	if all.Idle() {
		all = nil
	}
	p.seen.Set(all)
}
