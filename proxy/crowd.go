package proxy

import (
	"runtime/debug"
	"sync/atomic"
	"time"
)

// Connections that are idle should weigh little. But each was opened with a stack and garbage of several times what it keeps,
// and the collector would leave all that until the heap has grown threefold.
const (
	crowdSize  = 128                    // so many connections more or fewer, and memory is given back
	crowdPause = 250 * time.Millisecond // once in so long: what is kept and what was garbage lie side by side if it is seldom
)

// crowd knows how many connections there were when memory was last given back.
type crowd struct {
	then    atomic.Int64
	changed chan struct{}
}

// count notes how many connections there are.
func (c *crowd) count(n int64) {
	if d := n - c.then.Load(); d > -crowdSize && d < crowdSize {
		return
	}
	select {
	case c.changed <- struct{}{}:
	default:
	}
}

// shrink gives memory back when many connections have come or gone.
func (p *Proxy) shrink() {
	for {
		select {
		case <-p.crowd.changed:
		case <-p.ctx.Done():
			return
		}
		p.sleep(crowdPause)
		p.crowd.then.Store(p.metrics.Connections.Load())
		p.servers.each(func(c *serverConn) { c.engine.Rest() })
		p.clients.each(func(c *clientConn) { c.engine.Rest() })
		debug.FreeOSMemory()
	}
}
