package tunnel

import (
	"context"
	"crypto/tls"
	"io"
	"log/slog"
	"net"
	"time"

	"github.com/tulle-mesh/tulle/proxy/balance"
	"github.com/tulle-mesh/tulle/proxy/config"
	"github.com/tulle-mesh/tulle/proxy/live"
	"github.com/tulle-mesh/tulle/proxy/memory"
	"github.com/tulle-mesh/tulle/proxy/metric"
	"github.com/tulle-mesh/tulle/proxy/outcome"
	"github.com/tulle-mesh/tulle/proxy/wire"
)

// Carrier carries opaque connections: it has what all tunnels share. Use newCarrier.
type Carrier struct {
	Options
	pipes pipes
	open  live.Set[io.Closer] // what a cut ends

	reasons *outcome.Counters
	refused struct {
		unknown, undialable, policy *metric.Counter
		unmatched, answered         *metric.Counter // by the rules of a route
	}
	dialFailures *metric.Counter
	shedWork     *metric.Counter
}

// Options are what tunnels need from others.
type Options struct {
	Ctx      context.Context // its end cuts everything
	Limits   config.Limits
	Identity string // this proxy's SPIFFE ID
	Log      *slog.Logger
	Sampled  *slog.Logger // for what strangers make it say
	Metrics  *metric.Registry
	Memory   *memory.Gauge
	Held     *wire.Allowance // for peers that are slow to take it
	Dialer   *net.Dialer
	// MeshConfig is how an endpoint's proxy is spoken to, which proves its identity.
	MeshConfig func(e *balance.Endpoint, alpn string) *tls.Config
	// Watch bounds the life of a connection by its certificates'; stop ends the watch.
	Watch func(state *tls.ConnectionState, from net.Addr, drain, end func()) (stop func())
	// Strangers bounds the addresses in metrics.
	Strangers *metric.Addresses
	Seen      *outcome.Watch // who looks at connections hangs there
}

// New makes a carrier, which works for as long as Options.Ctx lasts.
func New(o Options) *Carrier {
	c := &Carrier{
		Options:      o,
		reasons:      outcome.NewCounters(o.Metrics),
		dialFailures: o.Metrics.Counter(metric.RetryCause, "connect"),
		shedWork:     o.Metrics.Counter(metric.ShedWork, "memory"),
	}
	refused := func(why string) *metric.Counter {
		return o.Metrics.Counter(metric.ConnectionRefused, why)
	}
	c.refused.unknown, c.refused.policy = refused("unknown_destination"), refused("policy")
	c.refused.undialable = refused("no_connection")
	c.refused.unmatched = refused(outcome.NoRoute.String())
	c.refused.answered = refused(outcome.RouteAnswer.String())
	return c
}

// Cut ends every connection at once.
func (c *Carrier) Cut() { c.open.Each(func(o io.Closer) { o.Close() }) }

// Close gives back what is kept between tunnels, when the last one has ended.
func (c *Carrier) Close() { c.pipes.close() }

func (c *Carrier) track(o io.Closer) (stop func()) {
	c.open.Add(o)
	if c.Ctx.Err() != nil {
		o.Close()
	}
	return func() { c.open.Remove(o) }
}

// shed cuts a connection for which there is no memory, and counts that. It reports whether it has.
func (c *Carrier) shed(nc net.Conn, labels func() metric.Labels) bool {
	if !c.Memory.Full(time.Now()) {
		return false
	}
	c.shedWork.Inc()
	c.Refuse(nc, labels, outcome.Overload, "the proxy is out of memory")
	return true
}
