package destination

import "sync"

// flusher flushes a stream when its watcher is woken, on a goroutine that lives only while there is
// something to flush: 10,000 streams that rest have none. The stream's handler owns it.
type flusher struct {
	stream *stream
	fail   func(error) // is told why the stream must end

	mu      sync.Mutex // guards what follows
	due     bool
	stopped bool
	running sync.WaitGroup // a goroutine, or none
	busy    bool           // there is one
}

// newFlusher flushes what the stream was asked so far, and from then on what it is woken for.
func newFlusher(s *stream, fail func(error)) *flusher {
	f := &flusher{stream: s, fail: fail}
	s.watcher.call(f.wake)
	return f
}

// wake never blocks.
func (f *flusher) wake() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.stopped {
		return
	}
	f.due = true
	if !f.busy {
		f.busy = true
		f.running.Go(f.run)
	}
}

func (f *flusher) run() {
	for f.more() {
		if err := f.stream.flush(); err != nil {
			f.fail(err)
		}
	}
}

// more says whether to flush once more, and else ends the goroutine.
func (f *flusher) more() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.busy = f.due && !f.stopped
	f.due = false
	return f.busy
}

// stop waits until nothing is being flushed, and nothing will be. What a flush may wait for must
// have ended.
func (f *flusher) stop() {
	f.mu.Lock()
	f.stopped = true
	f.mu.Unlock()
	f.running.Wait()
}
