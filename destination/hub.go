package destination

import (
	"context"
	"maps"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/tulle-mesh/tulle/destination/registry"
)

// hub keeps one cell for each question that somebody asks.
//
// Lock order: cell.computing → Registry.mu (read) → hub.mu → watcher.mu. A stream that is told of a
// change takes no other lock than its flusher's.
type hub struct {
	registry *registry.Registry
	mesh     *Mesh

	mu      sync.Mutex         // guards the maps, and every cell's topics and watchers
	cells   map[question]*cell // so that a question is hashed once: who asks it keeps the cell
	byTopic map[registry.Topic]map[*cell]struct{}

	examined atomic.Uint64 // answers that streams looked at
}

// cell holds the latest answer to a question. Earlier ones are gone: whoever was too slow for them
// does not need them.
type cell struct {
	question  question
	answer    atomic.Pointer[answer]
	computing sync.Mutex  // one computation at a time; guards past
	past      []*resource // earlier endpoints, latest first

	topics   []registry.Topic
	watchers map[*watcher]struct{}
}

func newHub(reg *registry.Registry, mesh *Mesh) *hub {
	return &hub{
		registry: reg, mesh: mesh,
		cells: map[question]*cell{}, byTopic: map[registry.Topic]map[*cell]struct{}{},
	}
}

// backlog is what may wait. Only the hub's goroutine uses it.
type backlog struct {
	topics  map[registry.Topic]struct{} // touched, and what read them not answered anew yet
	changed map[*cell]struct{}          // answered anew, and nobody woken yet
}

func newBacklog() *backlog {
	return &backlog{map[registry.Topic]struct{}{}, map[*cell]struct{}{}}
}

// run recomputes what changes of the state have touched, until the context ends: at once where
// something may be lost, and else when the pacer says.
func (h *hub) run(ctx context.Context) {
	var p pacer
	defer p.resume()
	b := newBacklog()
	for {
		select {
		case <-ctx.Done():
			return
		case <-h.registry.Changed():
			h.publishLosses(b)
		case <-p.rested():
			p.resume()
		}
		if len(b.topics) > 0 && !p.resting() {
			p.rest(h.publish(b))
		}
	}
}

// publishLosses answers anew what a loss has touched, and wakes who watches it. What else has been
// touched waits.
func (h *hub) publishLosses(b *backlog) {
	touched := h.registry.TakeTouched()
	maps.Copy(b.topics, touched.Rest)
	for c := range h.stale(touched.Lost) {
		_, waits := b.changed[c]
		if h.compute(c) || waits {
			delete(b.changed, c)
			h.notify(c)
		}
	}
}

// publish answers anew what has waited, and then wakes who watches it, so that each watcher finds
// all that has changed. It says how many it has woken. Losses do not wait for it.
func (h *hub) publish(b *backlog) (woken int) {
	stale := h.stale(b.topics)
	clear(b.topics)
	for c := range stale {
		select {
		case <-h.registry.Changed():
			h.publishLosses(b)
		default:
		}
		if h.compute(c) {
			b.changed[c] = struct{}{}
		}
	}
	woken = h.notify(slices.Collect(maps.Keys(b.changed))...)
	clear(b.changed)
	return woken
}

// stale returns the cells that read one of these topics.
func (h *hub) stale(topics map[registry.Topic]struct{}) map[*cell]struct{} {
	h.mu.Lock()
	defer h.mu.Unlock()
	out := map[*cell]struct{}{}
	for t := range topics {
		maps.Copy(out, h.byTopic[t])
	}
	return out
}

// notify wakes who watches any of these cells, and says how many: each finds all of them.
func (h *hub) notify(changed ...*cell) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	woken := map[*watcher]struct{}{}
	for _, c := range changed {
		for w := range c.watchers {
			w.add(c)
			woken[w] = struct{}{}
		}
	}
	for w := range woken {
		w.notify()
	}
	return len(woken)
}

// compute answers a cell's question anew, and says whether the answer is another one.
func (h *hub) compute(c *cell) (changed bool) {
	c.computing.Lock()
	defer c.computing.Unlock()
	return h.computeLocked(c)
}

// computeLocked answers a cell's question anew, and says whether the answer is another one. It
// needs c.computing. The topics are entered while the state is still locked, so a change right
// after finds them.
func (h *hub) computeLocked(c *cell) (changed bool) {
	var next *answer
	last := c.answer.Load()
	h.mesh.read(h.registry, func(v *view) {
		next = v.compute(c.question)
		if v.unseen {
			v.keepLast(c.question.cluster, last, next)
		}
		h.follow(c, v.Topics())
	})
	next = next.seal()
	if last.equal(next) {
		return false
	}
	c.keepEndpoints(last, next)
	c.answer.Store(next)
	return true
}

// keepEndpoints prepares deltas from the last few versions of a cluster's endpoints.
func (c *cell) keepEndpoints(last, next *answer) {
	if last := last.endpoints(); last != nil {
		c.past = append([]*resource{last}, c.past...)
		c.past = c.past[:min(len(c.past), keptVersions)]
	}
	if next := next.endpoints(); next != nil {
		next.addDeltas(c.past)
	}
	if last != nil && len(last.subsets) == len(next.subsets) {
		for i, r := range next.subsets {
			r.follow(last.subsets[i])
		}
	}
}

func (h *hub) follow(c *cell, topics map[registry.Topic]struct{}) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, t := range c.topics {
		h.forgetLocked(t, c)
	}
	c.topics = nil
	if len(c.watchers) == 0 {
		return // released while it was computed
	}
	for t := range topics {
		if h.byTopic[t] == nil {
			h.byTopic[t] = map[*cell]struct{}{}
		}
		h.byTopic[t][c] = struct{}{}
	}
	c.topics = slices.AppendSeq(make([]registry.Topic, 0, len(topics)), maps.Keys(topics))
}

// forgetLocked ends a cell's interest in a topic. It needs h.mu.
func (h *hub) forgetLocked(t registry.Topic, c *cell) {
	delete(h.byTopic[t], c)
	if len(h.byTopic[t]) == 0 {
		delete(h.byTopic, t)
	}
}

// watch returns the cell of a question, answered. The watcher hears of every later change, until it
// is released.
func (h *hub) watch(q question, w *watcher) *cell {
	c := h.join(q, w)
	c.computing.Lock()
	defer c.computing.Unlock()
	if c.answer.Load() == nil {
		h.computeLocked(c)
	}
	return c
}

func (h *hub) join(q question, w *watcher) *cell {
	h.mu.Lock()
	defer h.mu.Unlock()
	c := h.cells[q]
	if c == nil {
		c = &cell{question: q, watchers: map[*watcher]struct{}{}}
		h.cells[q] = c
	}
	c.watchers[w] = struct{}{}
	return c
}

// release ends a watch. A cell that nobody watches is forgotten.
func (h *hub) release(c *cell, w *watcher) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(c.watchers, w)
	w.forget(c)
	if len(c.watchers) > 0 {
		return
	}
	for _, t := range c.topics {
		h.forgetLocked(t, c)
	}
	c.topics = nil
	delete(h.cells, c.question)
}

func (h *hub) size() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.cells)
}
