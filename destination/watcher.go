package destination

import "sync"

// watcher collects the cells whose answers have changed, for one stream. It holds no answers: who
// takes a cell finds the latest one in it. So it never has more than the cells that are watched.
type watcher struct {
	wake chan struct{} // holds one token while there is something to look at, unless called is set

	mu      sync.Mutex // guards what follows
	called  func()
	changed map[*cell]struct{}
}

func newWatcher() *watcher { return &watcher{wake: make(chan struct{}, 1)} }

// notify wakes the watcher's owner. It never blocks.
func (w *watcher) notify() {
	w.mu.Lock()
	called := w.called
	w.mu.Unlock()
	if called != nil {
		called()
		return
	}
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// call has f called, which must not block, whenever there is something to look at, and once now.
func (w *watcher) call(f func()) {
	w.mu.Lock()
	w.called = f
	w.mu.Unlock()
	f()
}

// add says that a cell has another answer. It wakes nobody.
func (w *watcher) add(c *cell) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.changed == nil {
		w.changed = map[*cell]struct{}{}
	}
	w.changed[c] = struct{}{}
}

// forget drops a cell that is no longer watched.
func (w *watcher) forget(c *cell) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.changed, c)
}

// take returns the cells that have changed since the last call.
func (w *watcher) take() map[*cell]struct{} {
	w.mu.Lock()
	defer w.mu.Unlock()
	changed := w.changed
	w.changed = nil
	return changed
}
