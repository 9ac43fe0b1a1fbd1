package proxy

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"time"

	"github.com/tulle-mesh/tulle/destination/api"
	"github.com/tulle-mesh/tulle/proxy/config"
	"github.com/tulle-mesh/tulle/proxy/detect"
	"github.com/tulle-mesh/tulle/proxy/redirect"
)

// acceptPause is how long a listener rests after an error such as "too many open files": it must not spin.
const acceptPause = 50 * time.Millisecond

// listen opens every listener before any of them serves, so that a port in use is an error at start.
func (p *Proxy) listen() error {
	if p.cfg.OutboundListen != "" {
		if err := p.listenOutbound(p.cfg.OutboundListen); err != nil {
			return err
		}
	}
	for _, u := range p.cfg.Upstreams {
		key := &api.Key{Key: &api.Key_Authority{Authority: u.Authority}}
		serve := func(nc net.Conn) *serverConn { return p.serveOutbound(nc, key, netip.AddrPort{}) }
		if err := p.open(u.Listen, "outbound "+u.Authority, serve); err != nil {
			return err
		}
	}
	return p.open(p.cfg.InboundListen, "inbound", p.serveInbound)
}

// listenOutbound also listens on the other family's loopback: that is where the redirection sends IPv6.
func (p *Proxy) listenOutbound(addr string) error {
	if err := p.open(addr, "outbound", p.serveRedirected); err != nil {
		return err
	}
	host, port, _ := net.SplitHostPort(addr)
	if host != "127.0.0.1" {
		return nil
	}
	if err := p.open(net.JoinHostPort("::1", port), "outbound", p.serveRedirected); err != nil {
		p.log.Info("no IPv6 on this host's loopback, serving IPv4 only", "err", err)
	}
	return nil
}

func (p *Proxy) open(addr, what string, serve func(net.Conn) *serverConn) error {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return fmt.Errorf("listen for %s on %s: %w", what, addr, err)
	}
	p.listeners = append(p.listeners, listener{l, what, serve})
	return nil
}

// listener is a socket and who serves what it accepts.
type listener struct {
	net.Listener
	what  string
	serve func(net.Conn) *serverConn // nil: the connection is over
}

// accept runs until the listener is closed. Each connection gets a goroutine.
func (p *Proxy) accept(l listener) {
	for {
		nc, err := l.Accept()
		switch {
		case errors.Is(err, net.ErrClosed):
			return
		case err != nil:
			p.sampled.Warn("cannot accept a connection", "listener", l.what, "err", err)
			p.sleep(acceptPause)
			continue
		}
		n := p.metrics.Connections.Add(1)
		if n > int64(p.limits.MaxConnections) {
			p.refused.limit.Inc()
			p.metrics.Connections.Add(-1)
			nc.Close()
			continue
		}
		p.crowd.count(n)
		p.tasks.Add(1)
		go p.serve(l, nc)
	}
}

// serve finds out what a connection is. What is opaque it carries itself; HTTP's it starts.
func (p *Proxy) serve(l listener, nc net.Conn) {
	if c := l.serve(nc); c != nil {
		p.serveEngine(c, nc)
		return
	}
	p.ended(nc)
}

func (p *Proxy) ended(nc net.Conn) {
	nc.Close()
	p.crowd.count(p.metrics.Connections.Add(-1))
	p.tasks.Done()
}

// serveRedirected takes what the application dialed, wherever that was.
func (p *Proxy) serveRedirected(nc net.Conn) *serverConn {
	dst, err := originalDst(nc)
	if err != nil || p.loops(dst) {
		p.log.Debug("refused an outbound connection", "from", nc.RemoteAddr(), "to", dst, "err", err)
		p.refused.loop.Inc()
		return nil
	}
	return p.serveOutbound(nc, &api.Key{Key: &api.Key_Address{Address: dst.String()}}, dst)
}

// originalDst is where a connection was meant to go. One that was not redirected was meant for where it arrived.
func originalDst(nc net.Conn) (netip.AddrPort, error) {
	tc, ok := nc.(*net.TCPConn)
	if !ok {
		return netip.AddrPort{}, errors.New("not a TCP connection")
	}
	dst, err := redirect.OriginalDst(tc)
	if err != nil {
		dst, err = netip.ParseAddrPort(nc.LocalAddr().String())
	}
	return netip.AddrPortFrom(dst.Addr().Unmap(), dst.Port()), err
}

// loops reports whether a destination is the proxy itself.
func (p *Proxy) loops(dst netip.AddrPort) bool {
	switch dst.Port() {
	case config.OutboundPort, config.InboundPort, config.AdminPort:
		return dst.Addr().IsLoopback() || p.own(dst.Addr())
	}
	return false
}

func (p *Proxy) own(ip netip.Addr) bool {
	for _, o := range p.cfg.PodIPs {
		if o == ip {
			return true
		}
	}
	return false
}

// serveOutbound is a connection from the application to key. dst is its original address, where there is one.
func (p *Proxy) serveOutbound(nc net.Conn, key *api.Key, dst netip.AddrPort) *serverConn {
	t := p.discovery.target(key)
	r := p.resolve(p.ctx, t, p.limits.DiscoveryWait)
	c := &serverConn{p: p, target: t, dst: keyTarget(key)}
	if p.outboundProtocol(r, dst) == api.Protocol_PROTOCOL_OPAQUE {
		p.forwardOutbound(nc, c, words{})
		return nil
	}
	httpOnly := r != nil && takesHTTPOnly(r.protocol, len(r.rules))
	f, err := p.hear(nc, httpOnly)
	switch {
	case err != nil:
		return nil
	case f.Protocol.IsHTTP():
		return c.speaks(nc, f)
	case f.Silent(), f.Unsure:
		return p.forwardSilent(nc, c, f)
	case httpOnly && f.Protocol != detect.TLS: // the application's own TLS has no headers for us
		p.sampled.Info("refused an outbound connection", "to", c.dst, "reason", errNotHTTP)
		p.refused.policy.Inc()
		abort(nc)
		return nil
	}
	p.forwardOutbound(nc, c, heard(f))
	return nil
}

// takesHTTPOnly reports whether a port is declared to be HTTP: by its protocol, or where that is not said by rules, which
// nothing but HTTP has.
func takesHTTPOnly(protocol api.Protocol, rules int) bool {
	switch protocol {
	case api.Protocol_PROTOCOL_HTTP1, api.Protocol_PROTOCOL_HTTP2:
		return true
	case api.Protocol_PROTOCOL_DETECT:
		return rules > 0
	}
	return false
}

// hear finds out what a caller speaks. Where only HTTP is taken nobody speaks before the caller, so one that is silent is
// waited for as long as between two requests; else silence is an answer, and so is a pause that leaves it open.
func (p *Proxy) hear(nc net.Conn, httpOnly bool) (detect.First, error) {
	f, err := detect.NewReader(nc, p.hearLimits()).Read()
	if err != nil || !httpOnly || !f.Silent() && !f.Unsure {
		return f, err
	}
	return p.hearLater(nc, f)
}

// hearLater waits for a caller that has said nothing so far that tells what it speaks. A drain does not wait for it.
func (p *Proxy) hearLater(nc net.Conn, so detect.First) (detect.First, error) {
	p.quiet.add(nc)
	defer p.quiet.remove(nc)
	if p.draining() {
		return detect.First{}, errDraining
	}
	l := p.detectLimits()
	l.Silence = p.limits.IdleHTTP
	f, err := detect.Continue(nc, l, so.Bytes).Read()
	if err == nil && f.Silent() {
		err = os.ErrDeadlineExceeded
	}
	return f, err
}

var errDraining = errors.New("the proxy is draining")

func (p *Proxy) detectLimits() detect.Limits {
	return detect.Limits{Silence: p.limits.DetectTimeout, Header: p.limits.HeaderTimeout, Bytes: config.DetectBytes}
}

// hearLimits are for a port that may be anything.
func (p *Proxy) hearLimits() detect.Limits {
	l := p.detectLimits()
	l.Pause = l.Silence
	return l
}

// outboundProtocol is what is known before a byte was read.
func (p *Proxy) outboundProtocol(r *route, dst netip.AddrPort) api.Protocol {
	if r != nil && r.protocol != api.Protocol_PROTOCOL_DETECT {
		return r.protocol
	}
	if p.cfg.OpaquePorts[dst.Port()] {
		return api.Protocol_PROTOCOL_OPAQUE
	}
	return api.Protocol_PROTOCOL_DETECT
}

func keyTarget(k *api.Key) string {
	if a := k.GetAuthority(); a != "" {
		return a
	}
	return k.GetAddress()
}

// resolve returns where key goes: destination's answer, or past the mesh for an address that is not the cluster's. nil:
// it is the cluster's, and there is no answer.
func (p *Proxy) resolve(ctx context.Context, t *target, wait time.Duration) *route {
	r := t.route.Load()
	if r == nil && wait > 0 && (p.discovery.connected() || !p.outside(t.key.GetAddress())) {
		r = t.wait(ctx, wait) // the way out of the cluster does not wait for a destination that is away
	}
	if r != nil && r.resolution != api.Resolution_RESOLUTION_OUTSIDE {
		return r
	}
	if r == nil && !p.outside(t.key.GetAddress()) {
		return nil
	}
	return t.past(p)
}

// outside reports whether an address is surely not the cluster's.
func (p *Proxy) outside(addr string) bool {
	dst, err := netip.ParseAddrPort(addr)
	if err != nil {
		return false
	}
	for _, n := range p.cfg.ClusterNetworks {
		if n.Contains(dst.Addr()) {
			return false
		}
	}
	return len(p.cfg.ClusterNetworks) > 0
}

// past is the route of a target that is not the mesh's: its own address, in plaintext or the application's own TLS.
func (t *target) past(p *Proxy) *route {
	t.pastOnce.Do(func() {
		m := &api.Route{Resolution: api.Resolution_RESOLUTION_OUTSIDE, Protocol: api.Protocol_PROTOCOL_DETECT,
			Backends: []*api.Backend{{Cluster: outsideAuthority, Weight: 1}}}
		addr := keyTarget(t.key) // a name is looked up as it stands
		c := lone(outsideAuthority, addr, p.ewmaDefaults())
		t.pastRoute, _ = compileRoute(m, t.budget, func(string) *cluster { return c }) // nothing in it can fail
	})
	return t.pastRoute
}

// serveInbound is a connection to the application: from a peer's proxy, or from anyone in plaintext.
func (p *Proxy) serveInbound(nc net.Conn) *serverConn {
	dst, err := originalDst(nc)
	if err != nil {
		return nil
	}
	port, served := p.plainPort(dst)
	opaque := served && p.discovery.inbound(port).wait(p.ctx, false).protocol == api.Protocol_PROTOCOL_OPAQUE
	if opaque && p.cfg.Apps == nil { // no proxy's: it would have dialed the inbound port. Its server may have to speak first
		p.forwardInbound(nc, p.plainConn(nc, port, dst), words{})
		return nil
	}
	l := p.hearLimits()
	l.TLSOnly = opaque
	f, err := detect.NewReader(nc, l).Read()
	if err != nil {
		return nil
	}
	if sni, mesh := meshHello(f.Hello); mesh {
		return p.serveMesh(nc, f, sni, dst)
	}
	c := p.plainConn(nc, port, dst)
	switch {
	case c == nil:
		return nil
	case opaque:
		p.forwardInbound(nc, c, declared(f))
		return nil
	}
	return p.serveApplication(nc, c, f)
}

// plainPort is the target of a caller that is no proxy. It is not served if that is the proxy's own port. Without
// redirection a single application is who was meant.
func (p *Proxy) plainPort(dst netip.AddrPort) (port uint16, served bool) {
	if len(p.cfg.Apps) == 1 {
		for only := range p.cfg.Apps {
			return only, true
		}
	}
	return dst.Port(), p.cfg.Apps == nil && dst.Port() != config.InboundPort
}

// serveApplication serves a connection by what its caller said first. What is HTTP, or may be, is never passed on as it
// came: the application must not see a header that only we may set.
func (p *Proxy) serveApplication(nc net.Conn, c *serverConn, f detect.First) *serverConn {
	httpOnly := c.port.policy.Load().httpOnly
	if httpOnly && (f.Silent() || f.Unsure) {
		var err error
		if f, err = p.hearLater(nc, f); err != nil {
			return nil
		}
	}
	switch {
	case f.Protocol.IsHTTP():
		return c.speaks(nc, f)
	case httpOnly:
		p.refuseForeign(nc, c, f)
		return nil
	case f.Silent(), f.Unsure:
		return p.attendInbound(nc, c, f)
	}
	p.forwardInbound(nc, c, heard(f))
	return nil
}

// refuseForeign cuts what is no HTTP on a port that takes nothing else.
func (p *Proxy) refuseForeign(nc net.Conn, c *serverConn, f detect.First) {
	reason := errNotHTTP
	if f.Protocol == detect.TLS {
		reason = errForeignTLS
	}
	p.sampled.Info("refused an inbound connection", "from", c.caller.address, "id", c.caller.id, "port", c.number, "reason", reason)
	p.refused.policy.Inc()
	abort(nc)
}

var (
	errNotHTTP    = errors.New("the port is declared to be HTTP, which this is not; if it is something else, list it in opaque-ports")
	errForeignTLS = errors.New("the port is declared to be HTTP, and this is TLS of the caller's own; if it has TLS, declare it as https")
)

// plainConn describes an unauthenticated caller; nil: what it dialed is not served.
func (p *Proxy) plainConn(nc net.Conn, port uint16, dst netip.AddrPort) *serverConn {
	from, _ := netip.ParseAddrPort(nc.RemoteAddr().String())
	return p.inboundConn(caller{address: from.Addr().Unmap(), security: p.plainSecurity(from.Addr())}, port, dst)
}

// inboundConn checks that the port may be reached and finds the application behind it.
func (p *Proxy) inboundConn(who caller, port uint16, dst netip.AddrPort) *serverConn {
	addr, refusal := p.appAddress(dst, port)
	if refusal != nil {
		p.sampled.Info("refused an inbound connection", "from", who.address, "id", who.id, "to", dst, "port", port, "reason", refusal.reason)
		p.refused.bypass.Inc()
		return nil
	}
	in := p.discovery.inbound(port)
	in.wait(p.ctx, who.meshed())
	return &serverConn{p: p, inbound: true, caller: who, port: in, number: port, app: backend{cluster: in.application(addr)}}
}

// sleep pauses, or ends with the proxy.
func (p *Proxy) sleep(d time.Duration) {
	select {
	case <-time.After(d):
	case <-p.ctx.Done():
	}
}
