package serve

import (
	"container/list"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tulle-mesh/tulle/proxy/memory"
	"github.com/tulle-mesh/tulle/proxy/wire"
)

// listener hands out connections that have a place.
type listener struct {
	net.Listener
	limits  Limits
	metrics *listenerMetrics
	memory  memory.Gauge

	mu sync.Mutex // guards what follows, and the places of connections
	// greeting are those whose handshake is not over; nil where there is none.
	greeting    *share
	established *share
	identities  map[string]int // SVIDs to their connections
}

// conn is a connection that has a place, until it is closed.
type conn struct {
	net.Conn
	from    *listener
	address netip.Prefix
	closed  sync.Once
	wire    atomic.Pointer[wire.Conn] // has the socket since take
	cut     atomic.Bool               // reset was called

	// The listener's mutex guards these.
	share    *share        // where its place is
	element  *list.Element // nil once it was taken away
	identity string        // what it is counted by; "" for nothing, or not yet
}

// secure makes a listener for callers who prove themselves in a handshake.
func secure(l net.Listener, limits Limits, m *listenerMetrics) *listener {
	out := plain(l, limits, m)
	out.established.yields = false
	out.greeting = newShare(limits.Handshakes, limits.HandshakesPerAddress, true)
	return out
}

// plain makes a listener whose every connection counts as established.
func plain(l net.Listener, limits Limits, m *listenerMetrics) *listener {
	limits = limits.within(memory.Limit())
	return &listener{
		Listener: l, limits: limits, metrics: m, identities: map[string]int{},
		established: newShare(limits.Connections, limits.PerAddress, true),
	}
}

// Accept returns the next connection that gets a place; those that get none are closed.
func (l *listener) Accept() (net.Conn, error) {
	for {
		nc, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		c := &conn{Conn: nc, from: l, address: AddressOf(nc.RemoteAddr().String())}
		if why := l.enter(c, l.first()); why != "" {
			l.metrics.refused(why)
			c.reset()
			continue
		}
		l.metrics.connections.Inc()
		return c, nil
	}
}

func (l *listener) first() *share {
	if l.greeting != nil {
		return l.greeting
	}
	return l.established
}

// enter gives a new connection a place in s, or says why not.
func (l *listener) enter(c *conn, s *share) (why reason) {
	noMemory := l.memory.Full(time.Now())
	l.mu.Lock()
	evicted, why := s.add(c, noMemory)
	l.mu.Unlock()
	l.end(evicted)
	return why
}

// establish moves c to those whose handshake is over. identity is "" for callers without an SVID.
func (l *listener) establish(c *conn, identity string) (why reason) {
	noMemory := l.memory.Full(time.Now())
	l.mu.Lock()
	evicted, why := l.establishLocked(c, identity, noMemory)
	l.mu.Unlock()
	l.end(evicted)
	return why
}

func (l *listener) establishLocked(c *conn, identity string, noMemory bool) (*conn, reason) {
	switch {
	case c.element == nil:
		return nil, reasonFairness // it gave way while its handshake ended
	case identity != "" && l.identities[identity] >= l.limits.PerIdentity:
		return nil, reasonIdentity
	}
	c.share.remove(c)
	evicted, why := l.established.add(c, noMemory)
	if why == "" && identity != "" {
		l.identities[identity]++
		c.identity = identity
	}
	return evicted, why
}

// end closes a connection that gave way; whoever reads it gives the rest back.
func (l *listener) end(c *conn) {
	if c == nil {
		return
	}
	l.metrics.refused(reasonFairness)
	c.reset()
}

func (l *listener) leave(c *conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if c.element != nil {
		c.share.remove(c)
	}
	if c.identity == "" {
		return
	}
	if l.identities[c.identity]--; l.identities[c.identity] == 0 {
		delete(l.identities, c.identity)
	}
}

// Close gives c's place back.
func (c *conn) Close() error {
	c.closed.Do(func() {
		c.from.leave(c)
		c.from.metrics.connections.Dec()
	})
	if w := c.wire.Load(); w != nil {
		return w.Close()
	}
	return c.Conn.Close()
}

// take says that w has the socket from now on. A reset that came a moment before finds it too.
func (c *conn) take(w *wire.Conn) {
	c.wire.Store(w)
	if c.cut.Load() {
		c.reset()
	}
}

// reset closes without a goodbye, so that the kernel keeps nothing of a connection that is refused.
// Whoever reads it gives its place back.
func (c *conn) reset() {
	c.cut.Store(true)
	if w := c.wire.Load(); w != nil {
		w.CutAtClose()
		w.Close()
		return
	}
	if tcp, ok := c.Conn.(*net.TCPConn); ok {
		tcp.SetLinger(0) // it fails on what is closed already
	}
	c.Conn.Close()
}
