package forward

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tulle-mesh/tulle/proxy/balance"
	"github.com/tulle-mesh/tulle/proxy/config"
	"github.com/tulle-mesh/tulle/proxy/discover"
	"github.com/tulle-mesh/tulle/proxy/live"
	"github.com/tulle-mesh/tulle/proxy/memory"
	"github.com/tulle-mesh/tulle/proxy/metric"
	"github.com/tulle-mesh/tulle/proxy/outcome"
	"github.com/tulle-mesh/tulle/proxy/route"
	"github.com/tulle-mesh/tulle/proxy/timer"
	"github.com/tulle-mesh/tulle/proxy/wire"
)

// Forwarder carries requests: it has what all exchanges share. Use newForwarder.
type Forwarder struct {
	Options
	flushes   flushQueue
	relief    relief // for a proxy that is short of memory
	mirrors   mirrors
	longHeads atomic.Int64     // what those of requests that wait for an answer take, bytes
	waiting   atomic.Int64     // requests, for their answers
	maxCrowd  int              // of them
	unknown   *discover.Answer // of requests that have none: names their metrics
	deadlines decimals         // in milliseconds

	Servers  live.Set[*ServerConn]
	clients  live.Set[*clientConn]
	draining atomic.Bool

	dialFailures *metric.Counter
	crowded      *metric.Counter
	shedWork     *metric.Counter
	reasons      *outcome.Counters
	delayed      *metric.Counter
	aborted      *metric.Counter
	breached     struct{ caller, backend func(code uint32) } // of HTTP/2, on a stream
}

// Options are what forwarding needs from others.
type Options struct {
	Ctx      context.Context // its end cuts everything
	Tasks    *sync.WaitGroup // counts what runs
	Limits   config.Limits
	Identity string // this proxy's SPIFFE ID
	Log      *slog.Logger
	Sampled  *slog.Logger // for what backends and callers make it say
	Metrics  *metric.Registry
	Wheel    *timer.Wheel
	Memory   func(now time.Time) memory.Level
	Held     *wire.Allowance // for peers that are slow to take it
	// TrustedProxies are the networks of callers without an identity that are believed what they
	// say of their own callers; none: all are.
	TrustedProxies []netip.Prefix
	Cores          int // that connections to an endpoint are spread over
	// DialMesh connects to an endpoint's proxy, which proves its identity; DialPlain to an address.
	DialMesh  func(ctx context.Context, e *balance.Endpoint, alpn string) (*wire.Conn, error)
	DialPlain func(ctx context.Context, address string) (net.Conn, error)
	// Watch bounds the life of a connection by its certificates'; stop ends the watch.
	Watch func(state *tls.ConnectionState, from net.Addr, drain, end func()) (stop func())
	// Strangers bounds the addresses in metrics.
	Strangers *metric.Addresses
	Seen      *outcome.Watch // who looks at requests hangs there
}

// New makes a forwarder, which works for as long as Options.Ctx lasts.
func New(o Options) *Forwarder {
	f := &Forwarder{
		Options:      o,
		maxCrowd:     maxCrowd(memory.Limit()),
		unknown:      &discover.Answer{Route: route.Unknown(route.NewBudget(nil))},
		dialFailures: o.Metrics.Counter(metric.RetryCause, "connect"),
		crowded:      o.Metrics.Counter(metric.ShedWork, "connections"),
		shedWork:     o.Metrics.Counter(metric.ShedWork, "memory"),
		reasons:      outcome.NewCounters(o.Metrics),
		delayed:      o.Metrics.Counter(metric.FaultInjected, "delay"),
		aborted:      o.Metrics.Counter(metric.FaultInjected, "abort"),
	}
	f.breached.caller, f.breached.backend = f.breach(roleCaller), f.breach(roleBackend)
	f.mirrors.resolve(o.Metrics)
	return f
}

// Drain asks every caller's connection to end, those that are yet to come too.
func (f *Forwarder) Drain() {
	f.draining.Store(true)
	f.Servers.Each(func(c *ServerConn) { c.engine.GoAway() })
}

// Cut ends every connection at once.
func (f *Forwarder) Cut() {
	f.Servers.Each(func(c *ServerConn) { c.wire.Close() })
	f.clients.Each(func(c *clientConn) { c.wire.Close() })
}

// Rest gives back the memory that only speed keeps.
func (f *Forwarder) Rest() {
	f.Servers.Each(func(c *ServerConn) { c.engine.Rest() })
	f.clients.Each(func(c *clientConn) { c.engine.Rest() })
}

// trackServer registers a connection that the proxy serves, for the drain and for the life of its
// certificate.
func (f *Forwarder) trackServer(c *ServerConn) (stop func()) {
	f.Servers.Add(c)
	goAway := func() { c.engine.GoAway() }
	unwatch := f.Watch(c.tls, c.wire.RemoteAddr(), goAway, func() { c.wire.Close() })
	if f.draining.Load() {
		goAway()
	}
	if f.Ctx.Err() != nil {
		c.wire.Close() // the drain is over, and did not see this one
	}
	return func() {
		unwatch()
		f.Servers.Remove(c)
	}
}

func (f *Forwarder) trackClient(c *clientConn) (stop func()) {
	f.clients.Add(c)
	unwatch := f.Watch(c.wire.TLS(), c.wire.RemoteAddr(), c.leave, func() { c.wire.Close() })
	if f.Ctx.Err() != nil {
		c.wire.Close()
	}
	return func() {
		unwatch()
		f.clients.Remove(c)
	}
}

// transport is what forwarding keeps with an endpoint.
type transport struct {
	pools pools
	cells cellCache
}

// Attach makes an endpoint's transport.
func Attach() any { return new(transport) }

func transportOf(e *balance.Endpoint) *transport { return e.Transport.(*transport) }

// Apply tells the requests and connections that new endpoints mean something to. No lock is held.
func Apply(ch balance.Change) {
	var b batch
	for _, e := range ch.Gone {
		for _, w := range transportOf(e).pools.retire() {
			w.(waiter).stranded(&b)
		}
	}
	for _, w := range ch.Woken {
		w.(*attempt).wake(&b)
	}
	b.flush()
}
