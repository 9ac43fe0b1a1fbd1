package proxy

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"time"

	"github.com/tulle-mesh/tulle/destination/api"
	"github.com/tulle-mesh/tulle/proxy/config"
	"github.com/tulle-mesh/tulle/proxy/detect"
	"github.com/tulle-mesh/tulle/proxy/metric"
	"github.com/tulle-mesh/tulle/proxy/timer"
)

// opaque is a connection to an endpoint that will be carried without being understood.
type opaque struct {
	up       leg
	endpoint *endpoint
	backend  *backend
	route    *route
}

// forwardOutbound carries an opaque connection of the application's to an endpoint of its target.
func (p *Proxy) forwardOutbound(nc net.Conn, c *serverConn, w words) {
	if p.memory.Full(now()) {
		p.shed.Inc()
		return
	}
	o, err := p.openOpaque(c)
	if err != nil {
		p.sampled.Info("cannot forward a connection", "to", c.dst, "err", err)
		abort(nc) // what could not be reached has not ended in order
		return
	}
	defer o.up.Close()
	p.newTunnel(nc, o.up).carry(w, p.metrics.Cell(p.opaqueLabels(o, w.first)))
}

// openOpaque picks an endpoint of c's target and connects to it.
func (p *Proxy) openOpaque(c *serverConn) (o opaque, err error) {
	o.route = p.resolve(p.ctx, c.target, 0) // it was waited for before the protocol was looked at
	if o.route == nil || o.route.resolution == api.Resolution_RESOLUTION_NOT_FOUND || len(o.route.fallback.backends.backends) == 0 {
		p.refused.unknown.Inc()
		return o, errors.New("destination knows nothing by this address")
	}
	o.backend = o.route.fallback.backends.pick()
	if o.endpoint, o.up, err = p.dialEndpoint(o.backend.cluster); err != nil {
		p.refused.undialable.Inc()
	}
	return o, err
}

func (p *Proxy) opaqueLabels(o opaque, f detect.First) metric.Labels {
	r := o.route
	l := metric.Labels{Direction: metric.Outbound, Authority: r.authority, Namespace: r.namespace, Service: r.service,
		Backend: o.backend.cluster.name, Protocol: "tcp"}
	if l.Authority == "" {
		l.Authority = outsideAuthority
	}
	p.peerLabels(&l, o.endpoint)
	if !o.endpoint.meshed() && f.Protocol == detect.TLS {
		l.Security = metric.TLSPassthrough
	}
	return l
}

// dialEndpoint connects to one of a cluster's endpoints, and tries others when that fails: nothing was sent yet.
func (p *Proxy) dialEndpoint(c *cluster) (*endpoint, leg, error) {
	set := p.awaitEndpoints(c)
	if set == nil {
		return nil, nil, errors.New("no endpoint is ready for " + c.name)
	}
	var last *endpoint
	var err error
	for range min(p.limits.MaxTries, len(set.endpoints)) {
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
		e.failed(now(), p.limits.EndpointRest)
		p.dialFailures.Inc()
		last = e
	}
	return nil, nil, err
}

// awaitEndpoints gives a cluster that has none the time that a request would wait.
func (p *Proxy) awaitEndpoints(c *cluster) *endpointSet {
	for until := time.Now().Add(p.limits.DiscoveryWait); ; p.sleep(timer.Tick) {
		if s := c.set.Load(); s != nil && len(s.endpoints) > 0 {
			return s
		}
		if p.ctx.Err() != nil || time.Now().After(until) {
			return nil
		}
	}
}

func (p *Proxy) dialOpaque(e *endpoint) (leg, error) {
	ctx, cancel := context.WithTimeout(p.ctx, p.limits.DialTimeout)
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
	tl := newTLSLeg(nc.(*net.TCPConn), nil, tls.Client, p.meshClientConfig(e, config.ALPNTCP))
	if err := tl.HandshakeContext(ctx); err != nil {
		nc.Close()
		return nil, err
	}
	return tl, nil
}

// forwardInbound carries an opaque connection to the application.
func (p *Proxy) forwardInbound(nc net.Conn, c *serverConn, w words) {
	if c == nil {
		return
	}
	if up := p.dialApplication(nc, c); up != nil {
		defer up.Close()
		p.carryInbound(nc, up, c, w)
	}
}

// dialApplication connects to the application for an opaque connection that its caller may have; nil: there is none to be
// had, and the caller has been told as far as it can be.
func (p *Proxy) dialApplication(nc net.Conn, c *serverConn) leg {
	if p.memory.Full(now()) {
		p.shed.Inc()
		return nil
	}
	if p.refuses(c) {
		return nil
	}
	e := c.app.cluster.set.Load().endpoints[0]
	up, err := p.dialOpaque(e)
	if err != nil {
		p.log.Debug("the application does not answer", "port", c.number, "err", err)
		p.refused.undialable.Inc()
		abort(nc)
		return nil
	}
	e.answered.Store(true)
	return up
}

// carryInbound joins a caller with the application until the policy forbids it, or they are done.
func (p *Proxy) carryInbound(nc net.Conn, up leg, c *serverConn, w words) {
	if w.first.Protocol == detect.TLS && !c.caller.meshed() {
		c.caller.security = metric.TLSPassthrough
	}
	t := p.newTunnel(nc, up)
	t.caller = c.caller
	c.port.tunnels.add(t)
	defer c.port.tunnels.remove(t)
	if p.refuses(c) { // it may have changed before the port knew this tunnel
		t.Close()
		return
	}
	t.carry(w, p.metrics.Cell(c.inboundLabels(c.port.policy.Load().route.fallback, "tcp")))
}

// refuses asks the policy about an opaque connection.
func (p *Proxy) refuses(c *serverConn) bool {
	refusal := c.port.verdict(c.caller)
	if refusal == nil {
		return false
	}
	p.sampled.Info("refused an inbound connection", "from", c.caller.address, "id", c.caller.id, "port", c.number, "reason", refusal.reason)
	p.refused.policy.Inc()
	return true
}
