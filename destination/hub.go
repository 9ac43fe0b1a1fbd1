package destination

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tulle-mesh/tulle/destination/registry"
)

// debounce lets the events of one change (a rollout, an edit of several files) arrive together. An
// edit is felt this much later; the promise is one second.
const debounce = 20 * time.Millisecond

// hub keeps one cell for each question that somebody asks.
//
// Lock order: cell.computing → Registry.mu (read) → hub.mu. Nothing is locked while hub.mu is
// held.
type hub struct {
	registry *registry.Registry
	mesh     *Mesh

	mu      sync.Mutex // guards the maps, and every cell's topics and watchers
	cells   map[question]*cell
	byTopic map[registry.Topic]map[*cell]struct{}
}

// cell holds the latest answer to a question. Earlier ones are gone: whoever was too slow for them
// does not need them.
type cell struct {
	question  question
	answer    atomic.Pointer[answer]
	computing sync.Mutex  // one computation at a time; guards past
	past      []*resource // earlier endpoints, latest first

	topics   map[registry.Topic]struct{}
	watchers map[*watcher]struct{}
}

// watcher is woken when an answer that it watches has changed. wake holds at most one token:
// changes that come before the watcher has received it need no second one.
type watcher struct{ wake chan struct{} }

func newWatcher() *watcher { return &watcher{wake: make(chan struct{}, 1)} }

func (w *watcher) notify() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

func newHub(reg *registry.Registry, mesh *Mesh) *hub {
	return &hub{
		registry: reg, mesh: mesh,
		cells: map[question]*cell{}, byTopic: map[registry.Topic]map[*cell]struct{}{},
	}
}

// run recomputes what changes of the state have touched, until the context ends.
func (h *hub) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-h.registry.Changed():
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(debounce):
		}
		h.update()
	}
}

// update recomputes each cell that read a touched topic, once, and wakes the watchers of those that
// changed.
func (h *hub) update() {
	for _, c := range h.stale(h.registry.TakeTouched()) {
		c.computing.Lock()
		changed := h.computeLocked(c)
		c.computing.Unlock()
		if changed {
			h.notify(c)
		}
	}
}

func (h *hub) stale(touched map[registry.Topic]struct{}) []*cell {
	h.mu.Lock()
	defer h.mu.Unlock()
	seen := map[*cell]struct{}{}
	var out []*cell
	for t := range touched {
		for c := range h.byTopic[t] {
			if _, ok := seen[c]; !ok {
				seen[c] = struct{}{}
				out = append(out, c)
			}
		}
	}
	return out
}

func (h *hub) notify(c *cell) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for w := range c.watchers {
		w.notify()
	}
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
}

func (h *hub) follow(c *cell, topics map[registry.Topic]struct{}) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for t := range c.topics {
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
	c.topics = topics
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
	if len(c.watchers) > 0 {
		return
	}
	for t := range c.topics {
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
