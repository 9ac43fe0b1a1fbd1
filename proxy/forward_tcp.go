package proxy

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tulle-mesh/tulle/destination/api"
	"github.com/tulle-mesh/tulle/proxy/config"
	"github.com/tulle-mesh/tulle/proxy/metric"
)

// copySize is a direction's buffer while it moves bytes: two TLS records' worth.
const copySize = 32 << 10

var copyBuffers = sync.Pool{New: func() any { return new([copySize]byte) }}

// leg is one side of an opaque connection: TCP, or TLS over it.
type leg interface {
	net.Conn
	CloseWrite() error
}

// forwardOutbound carries an opaque connection of the application's to an endpoint of its target.
func (p *Proxy) forwardOutbound(nc net.Conn, c *serverConn, d detected) {
	r := p.resolve(p.ctx, c.target, config.DiscoveryWait)
	if r == nil || r.resolution == api.Resolution_NOT_FOUND || len(r.fallback.backends.backends) == 0 {
		p.log.Info("refused an outbound connection", "to", c.dst, "reason", "destination knows nothing by this address")
		p.refused.unknown.Inc()
		return
	}
	be := r.fallback.backends.pick()
	e, up, err := p.dialEndpoint(be.cluster)
	if err != nil {
		p.log.Info("cannot forward a connection", "to", c.dst, "err", err)
		p.refused.undialable.Inc()
		return
	}
	defer up.Close()
	l := metric.Labels{Direction: metric.Outbound, Authority: r.authority, Namespace: r.namespace, Service: r.service,
		Backend: be.cluster.name, Protocol: "tcp"}
	if l.Authority == "" {
		l.Authority = outsideAuthority
	}
	p.peerLabels(&l, e)
	if !e.meshed() && d.protocol == api.Protocol_TLS {
		l.Security = metric.TLSPassthrough
	}
	p.carry(nc, up, d.peeked, p.metrics.Cell(l))
}

// dialEndpoint connects to one of a cluster's endpoints, and tries others when that fails: nothing was sent yet.
func (p *Proxy) dialEndpoint(c *cluster) (*endpoint, leg, error) {
	set := p.awaitEndpoints(c)
	if set == nil {
		return nil, nil, errors.New("no endpoint is ready for " + c.name)
	}
	var last *endpoint
	var err error
	for range min(config.MaxTries, len(set.endpoints)) {
		e := set.pick(last, now())
		e.ewma.pending.Add(1)
		began := time.Now()
		var up leg
		up, err = p.dialOpaque(e)
		e.ewma.pending.Add(-1)
		if err == nil {
			e.ewma.observe(time.Since(began), set.params, now())
			return e, up, nil
		}
		e.failed(now())
		p.dialFailures.Inc()
		last = e
	}
	return nil, nil, err
}

// awaitEndpoints gives a cluster that has none the time that a request would wait.
func (p *Proxy) awaitEndpoints(c *cluster) *endpointSet {
	for until := time.Now().Add(config.DiscoveryWait); ; p.sleep(wheelTick) {
		if s := c.set.Load(); s != nil && len(s.endpoints) > 0 {
			return s
		}
		if p.ctx.Err() != nil || time.Now().After(until) {
			return nil
		}
	}
}

func (p *Proxy) dialOpaque(e *endpoint) (leg, error) {
	ctx, cancel := context.WithTimeout(p.ctx, config.DialTimeout)
	defer cancel()
	if e.meshed() {
		return p.dialTunnel(ctx, e)
	}
	nc, err := p.dialer.DialContext(ctx, "tcp", e.address)
	if err != nil {
		return nil, err
	}
	return nc.(*net.TCPConn), nil
}

// dialTunnel opens an opaque connection inside mTLS.
func (p *Proxy) dialTunnel(ctx context.Context, e *endpoint) (leg, error) {
	nc, err := p.dialer.DialContext(ctx, "tcp", e.mesh)
	if err != nil {
		return nil, err
	}
	tc := tls.Client(nc, p.meshClientConfig(e, config.ALPNTCP))
	if err := tc.HandshakeContext(ctx); err != nil {
		nc.Close()
		return nil, err
	}
	return tc, nil
}

// forwardInbound carries an opaque connection to the application.
func (p *Proxy) forwardInbound(nc net.Conn, c *serverConn, d detected) {
	if c == nil {
		return
	}
	if refusal := c.port.policy.Load().verdict(c.caller.id); refusal != nil {
		p.log.Info("refused an inbound connection", "from", c.caller.address, "id", c.caller.id, "port", c.number, "reason", refusal.reason)
		p.refused.policy.Inc()
		return
	}
	set := c.app.cluster.set.Load()
	up, err := p.dialOpaque(set.endpoints[0])
	if err != nil {
		p.log.Debug("the application does not answer", "port", c.number, "err", err)
		p.refused.undialable.Inc()
		return
	}
	defer up.Close()
	if d.protocol == api.Protocol_TLS && !c.caller.meshed() {
		c.caller.security = metric.TLSPassthrough
	}
	l := c.inboundLabels(c.port.policy.Load().route.fallback, "tcp")
	p.carry(nc, up, d.peeked, p.metrics.Cell(l))
}

// carry moves bytes both ways until both directions have ended, or neither moved any for config.IdleTCP. The end of one
// direction is passed on as such, and the other goes on.
func (p *Proxy) carry(down net.Conn, up leg, peeked []byte, cell *metric.Cell) {
	from, ok := down.(leg)
	if !ok {
		return
	}
	cell.OpenConnection()
	defer cell.CloseConnection()
	t := &tunnel{p: p, down: from, up: up}
	t.touch()
	stop := p.trackCloser(t)
	defer stop()
	var back sync.WaitGroup
	back.Go(func() { t.copy(from, up, &cell.ReadBytes) })
	if _, err := up.Write(peeked); err == nil {
		cell.WrittenBytes.Add(uint64(len(peeked)))
		t.copy(up, from, &cell.WrittenBytes)
	} else {
		t.Close()
	}
	back.Wait()
}

// tunnel is an opaque connection's two legs.
type tunnel struct {
	p        *Proxy
	down, up leg
	last     atomic.Int64 // when bytes last moved, either way; unix nanoseconds
}

func (t *tunnel) touch() { t.last.Store(time.Now().UnixNano()) }

// Close ends both legs and so both copies.
func (t *tunnel) Close() error {
	return errors.Join(t.down.Close(), t.up.Close())
}

// copy moves one direction's bytes. After an error that is no end, nothing sensible can follow: both legs close.
func (t *tunnel) copy(dst, src leg, count *atomic.Uint64) {
	for {
		if err := t.await(src); err != nil {
			t.Close()
			return
		}
		buf := copyBuffers.Get().(*[copySize]byte)
		n, err := src.Read(buf[:])
		if n > 0 {
			t.touch()
			count.Add(uint64(n))
			if _, werr := dst.Write(buf[:n]); werr != nil {
				err = werr
			}
		}
		copyBuffers.Put(buf)
		switch {
		case err == nil:
		case errors.Is(err, io.EOF):
			dst.CloseWrite()
			return
		case errors.Is(err, os.ErrDeadlineExceeded) && t.idleFor() < config.IdleTCP:
		default:
			t.Close()
			return
		}
	}
}

func (t *tunnel) idleFor() time.Duration { return time.Since(time.Unix(0, t.last.Load())) }

func (t *tunnel) await(src leg) error {
	return src.SetReadDeadline(time.Now().Add(config.IdleTCP))
}
