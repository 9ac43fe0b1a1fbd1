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
	crowdSize = 64 // so many connections that came or went, and memory is given back
	// Soon where there are more or fewer of them for good: what is kept and what was garbage lie
	// side by side otherwise.
	crowdSoon  = 100 * time.Millisecond
	crowdLater = 2 * time.Second
)

// crowd knows how many connections there were when memory was last given back, and how many have
// come or gone since.
type crowd struct {
	then, moves atomic.Int64
	// Told when there are crowdSize more or fewer; when so many have moved.
	grown, stirred chan struct{}
}

func newCrowd() *crowd {
	return &crowd{grown: make(chan struct{}, 1), stirred: make(chan struct{}, 1)}
}

// count notes that a connection has come or gone, and how many there are.
func (c *crowd) count(n int64) {
	if c.moves.Add(1) == crowdSize {
		tell(c.stirred)
	}
	if d := n - c.then.Load(); d <= -crowdSize || d >= crowdSize {
		tell(c.grown)
	}
}

func tell(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// shrink gives memory back when many connections have come or gone.
func (p *Proxy) shrink() {
	for p.ctx.Err() == nil {
		select {
		case <-p.crowd.stirred:
			p.crowd.settle(p.ctx.Done())
		case <-p.ctx.Done():
			return
		}
		p.crowd.then.Store(p.metrics.Connections.Load())
		p.crowd.moves.Store(0)
		p.forward.Rest()
		runtime.GC() // what is pooled outlives one collection
		debug.FreeOSMemory()
	}
}

// settle waits for a moment that is good for it.
func (c *crowd) settle(done <-chan struct{}) {
	wait := crowdLater
	select {
	case <-c.grown:
		wait = crowdSoon
	default:
	}
	select {
	case <-time.After(wait):
	case <-done:
	}
}
