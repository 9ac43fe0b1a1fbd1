package proxy

import (
	"runtime"
	"runtime/debug"
	"sync/atomic"
	"time"
)

// Connections that are idle should weigh little. But each was opened with a stack and garbage of
// several times what it keeps, and the collector would leave all that until the heap has grown
// threefold.
const (
	trimAfter = 64 // so many connections that came or went, and memory is given back
	// Soon where there are more or fewer of them for good: what is kept and what was garbage lie
	// side by side otherwise.
	trimSoon  = 100 * time.Millisecond
	trimLater = 2 * time.Second
)

// trimmer knows how many connections there were when memory was last given back, and how many have
// come or gone since.
type trimmer struct {
	then, moves atomic.Int64
	// Told when there are trimAfter more or fewer; when so many have moved.
	grown, stirred chan struct{}
}

func newTrimmer() *trimmer {
	return &trimmer{grown: make(chan struct{}, 1), stirred: make(chan struct{}, 1)}
}

// count notes that a connection has come or gone, and how many there are.
func (c *trimmer) count(n int64) {
	if c.moves.Add(1) == trimAfter {
		tell(c.stirred)
	}
	if d := n - c.then.Load(); d <= -trimAfter || d >= trimAfter {
		tell(c.grown)
	}
}

func tell(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// trimMemory gives memory back when many connections have come or gone.
func (p *Proxy) trimMemory() {
	for p.ctx.Err() == nil {
		select {
		case <-p.trimmer.stirred:
			p.trimmer.await(p.ctx.Done())
		case <-p.ctx.Done():
			return
		}
		p.trimmer.then.Store(p.metrics.Connections.Load())
		p.trimmer.moves.Store(0)
		p.forward.Rest()
		runtime.GC() // what is pooled outlives one collection
		debug.FreeOSMemory()
	}
}

// await waits for a moment that is good for it.
func (c *trimmer) await(done <-chan struct{}) {
	wait := trimLater
	select {
	case <-c.grown:
		wait = trimSoon
	default:
	}
	select {
	case <-time.After(wait):
	case <-done:
	}
}
