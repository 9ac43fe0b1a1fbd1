package proxy

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"sync/atomic"
	"time"

	"github.com/tulle-mesh/tulle/destination/api"
	"github.com/tulle-mesh/tulle/proxy/authorize"
	"github.com/tulle-mesh/tulle/proxy/config"
	"github.com/tulle-mesh/tulle/proxy/detect"
	"github.com/tulle-mesh/tulle/proxy/discover"
	"github.com/tulle-mesh/tulle/proxy/forward"
	"github.com/tulle-mesh/tulle/proxy/metric"
	"github.com/tulle-mesh/tulle/proxy/outcome"
	"github.com/tulle-mesh/tulle/proxy/redirect"
	"github.com/tulle-mesh/tulle/proxy/tunnel"
	"github.com/tulle-mesh/tulle/proxy/wire"
)

// acceptPause is how long a listener rests after an error such as "too many open files": it must
// not spin.
const acceptPause = 50 * time.Millisecond

// listen opens every listener before any of them serves, so that a port in use is an error at
// start.
func (p *Proxy) listen() error {
	if p.cfg.OutboundListen != "" {
		if err := p.listenOutbound(p.cfg.OutboundListen); err != nil {
			return err
		}
	}
	for _, u := range p.cfg.Upstreams {
		key := &api.Key{Key: &api.Key_Authority{Authority: u.Authority}}
		serve := func(nc net.Conn) *forward.ServerConn {
			return p.serveOutbound(nc, key, netip.AddrPort{})
		}
		if err := p.open(u.Listen, "outbound "+u.Authority, &p.outbound, serve); err != nil {
			return err
		}
	}
	return p.open(p.cfg.InboundListen, "inbound", &p.inbound, p.serveInbound)
}

// listenOutbound also listens on the other family's loopback: that is where the redirection sends
// IPv6.
func (p *Proxy) listenOutbound(addr string) error {
	if err := p.open(addr, "outbound", &p.outbound, p.serveRedirected); err != nil {
		return err
	}
	host, port, _ := net.SplitHostPort(addr)
	if host != "127.0.0.1" {
		return nil
	}
	second := net.JoinHostPort("::1", port)
	if err := p.open(second, "outbound", &p.outbound, p.serveRedirected); err != nil {
		p.log.Info("no IPv6 on this host's loopback, serving IPv4 only", "err", err)
	}
	return nil
}

// serveFunc finds out what a connection is; nil: it is over.
type serveFunc = func(net.Conn) *forward.ServerConn

func (p *Proxy) open(addr, what string, open *atomic.Int64, serve serveFunc) error {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return fmt.Errorf("listen for %s on %s: %w", what, addr, err)
	}
	p.listeners = append(p.listeners, listener{l, what, open, serve})
	return nil
}

// listener is a socket and who serves what it accepts.
type listener struct {
	net.Listener
	what  string
	open  *atomic.Int64 // the open connections of its direction
	serve serveFunc
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
		if !p.admit(l) {
			p.refused.limit.Inc()
			tunnel.Abort(nc)
			continue
		}
		p.tasks.Add(1)
		go p.serve(l, nc)
	}
}

// admit counts a connection, unless there are too many. No direction has what is reserved for the
// other: strangers at the inbound port do not keep the application from calling.
func (p *Proxy) admit(l listener) bool {
	all, own := p.metrics.Connections.Add(1), l.open.Add(1)
	most := int64(p.limits.MaxConnections)
	if all > most || own > most-int64(p.limits.ReservedConnections) {
		p.leave(l)
		return false
	}
	p.trimmer.count(all)
	return true
}

// leave takes a connection out of what admit counts, and returns how many are left.
func (p *Proxy) leave(l listener) int64 {
	l.open.Add(-1)
	return p.metrics.Connections.Add(-1)
}

// serve finds out what a connection is. What is opaque it carries itself; HTTP's it starts.
func (p *Proxy) serve(l listener, nc net.Conn) {
	if c := l.serve(nc); c != nil {
		p.forward.Serve(c, func() { p.ended(l, nc) })
		return
	}
	p.ended(l, nc)
}

func (p *Proxy) ended(l listener, nc net.Conn) {
	nc.Close()
	p.trimmer.count(p.leave(l))
	p.tasks.Done()
}

// serveRedirected takes what the application dialed, wherever that was.
func (p *Proxy) serveRedirected(nc net.Conn) *forward.ServerConn {
	dst, err := originalDst(nc)
	if err != nil || p.loops(dst) {
		p.log.Debug("refused an outbound connection", "from", nc.RemoteAddr(), "to", dst, "err",
			err)
		p.refused.loop.Inc()
		p.tunnels.Refuse(nc, tunnel.Unserved(dst.String()), outcome.Loop,
			"it is for the proxy itself")
		return nil
	}
	return p.serveOutbound(nc, &api.Key{Key: &api.Key_Address{Address: dst.String()}}, dst)
}

// originalDst is where a connection was meant to go. One that was not redirected was meant for
// where it arrived.
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

// serveOutbound is a connection from the application to key. dst is its original address, where
// there is one.
func (p *Proxy) serveOutbound(nc net.Conn, key *api.Key, dst netip.AddrPort) *forward.ServerConn {
	t := p.discovery.Target(key)
	a := t.Resolve(p.ctx, p.limits.DiscoveryWait)
	if p.outboundProtocol(a, dst) == api.Protocol_PROTOCOL_OPAQUE {
		p.tunnels.Outbound(nc, t, tunnel.Words{})
		return nil
	}
	if a != nil && a.OnlyTLS() {
		p.serveTLS(nc, t)
		return nil
	}
	httpOnly := a != nil && a.HTTPOnly()
	f, err := p.hear(nc, httpOnly)
	switch {
	case err != nil:
		return nil
	case f.Silent(), f.Unsure:
		f = p.tunnels.OutboundSilent(nc, t, f)
	case httpOnly && f.Protocol == detect.Opaque: // the application's own TLS has no headers for us
		p.refuseOutbound(nc, t, errNotHTTP)
		return nil
	case !f.Protocol.IsHTTP():
		p.tunnels.Outbound(nc, t, tunnel.Heard(f))
	}
	return p.speaks(p.forward.Outbound(t), nc, f)
}

// serveTLS is a connection from the application to a target whose rules are for TLS. Nobody speaks
// before the caller there.
func (p *Proxy) serveTLS(nc net.Conn, t *discover.Target) {
	l := p.detectLimits()
	l.TLSOnly = true
	f, err := p.hearWithin(nc, detect.First{}, l)
	switch {
	case err != nil:
	case f.Protocol != detect.TLS:
		p.refuseOutbound(nc, t, errNotTLS)
	default:
		p.tunnels.Outbound(nc, t, tunnel.Heard(f))
	}
}

// refuseOutbound cuts what its target does not take.
func (p *Proxy) refuseOutbound(nc net.Conn, t *discover.Target, reason error) {
	p.sampled.Info("refused an outbound connection", "to", t.Name(), "reason", reason)
	p.refused.policy.Inc()
	p.tunnels.Refuse(nc, tunnel.Unserved(t.Name()), outcome.BadRequest, reason.Error())
}

// speaks gives an HTTP connection what detection has read of it; nil: it is not HTTP, and is over.
func (p *Proxy) speaks(c *forward.ServerConn, nc net.Conn, f detect.First) *forward.ServerConn {
	if !f.Protocol.IsHTTP() {
		return nil
	}
	nc, state := tunnel.Served(nc)
	c.Speak(wire.New(nc, f.Bytes), state, f.Protocol == detect.HTTP1)
	return c
}

// hear finds out what a caller speaks. Where only HTTP is taken nobody speaks before the caller, so
// one that is silent is waited for as long as between two requests; else silence is an answer, and
// so is a pause that leaves it open.
func (p *Proxy) hear(nc net.Conn, httpOnly bool) (detect.First, error) {
	f, err := hearFirst(nc, p.hearLimits())
	if err != nil || !httpOnly || !f.Silent() && !f.Unsure {
		return f, err
	}
	return p.hearLater(nc, f)
}

// hearFirst is what a caller says first. One that ends its half without a word is silent: it may
// want to hear what its server says.
func hearFirst(nc net.Conn, l detect.Limits) (detect.First, error) {
	f, err := detect.NewReader(nc, l).Read()
	if errors.Is(err, io.EOF) {
		return detect.First{}, nc.SetReadDeadline(time.Time{})
	}
	return f, err
}

// hearLater waits for a caller that has said nothing so far that tells what it speaks.
func (p *Proxy) hearLater(nc net.Conn, so detect.First) (detect.First, error) {
	return p.hearWithin(nc, so, p.detectLimits())
}

// hearWithin waits for a caller as long as between two requests. A drain does not wait for it.
func (p *Proxy) hearWithin(
	nc net.Conn, so detect.First, l detect.Limits,
) (detect.First, error) {
	p.quiet.Add(nc)
	defer p.quiet.Remove(nc)
	if p.draining() {
		return detect.First{}, errDraining
	}
	l.Silence = p.limits.IdleHTTP
	f, err := detect.Continue(nc, l, so.Bytes).Read()
	if err == nil && f.Silent() {
		err = os.ErrDeadlineExceeded
	}
	return f, err
}

var errDraining = errors.New("the proxy is draining")

func (p *Proxy) detectLimits() detect.Limits {
	return detect.Limits{
		Silence: p.limits.DetectTimeout,
		Header:  p.limits.HeaderTimeout,
		Bytes:   config.DetectBytes,
	}
}

// hearLimits are for a port that may be anything.
func (p *Proxy) hearLimits() detect.Limits {
	l := p.detectLimits()
	l.Pause = l.Silence
	return l
}

// outboundProtocol is what is known before a byte was read.
func (p *Proxy) outboundProtocol(a *discover.Answer, dst netip.AddrPort) api.Protocol {
	if a != nil && a.Protocol != api.Protocol_PROTOCOL_DETECT {
		return a.Protocol
	}
	if p.cfg.OpaquePorts[dst.Port()] {
		return api.Protocol_PROTOCOL_OPAQUE
	}
	return api.Protocol_PROTOCOL_DETECT
}

// serveInbound is a connection to the application: from a peer's proxy, or from anyone in
// plaintext.
func (p *Proxy) serveInbound(nc net.Conn) *forward.ServerConn {
	dst, err := originalDst(nc)
	if err != nil {
		return nil
	}
	port, served := p.plainPort(dst)
	opaque := served &&
		p.discovery.Port(port).Wait(p.ctx, false).Protocol == api.Protocol_PROTOCOL_OPAQUE
	// No proxy's: it would have dialed the inbound port. Its server may have to speak first.
	if opaque && p.cfg.Apps == nil {
		if a := p.plainArrival(nc, port, dst); a != nil {
			p.tunnels.Inbound(nc, a, tunnel.Words{})
		}
		return nil
	}
	l := p.hearLimits()
	l.TLSOnly = opaque
	f, err := hearFirst(nc, l)
	if err != nil {
		return nil
	}
	if sni, mesh := meshHello(f.Hello); mesh {
		return p.serveMesh(nc, f, sni, dst)
	}
	a := p.plainArrival(nc, port, dst)
	switch {
	case a == nil:
		return nil
	case opaque:
		p.tunnels.Inbound(nc, a, tunnel.Declared(f))
		return nil
	}
	return p.serveApplication(nc, a, f)
}

// plainPort is the target of a caller that is no proxy. It is not served if that is the proxy's own
// port. Without redirection a single application is who was meant.
func (p *Proxy) plainPort(dst netip.AddrPort) (port uint16, served bool) {
	if len(p.cfg.Apps) == 1 {
		for only := range p.cfg.Apps {
			return only, true
		}
	}
	return dst.Port(), p.cfg.Apps == nil && dst.Port() != config.InboundPort
}

// serveApplication serves a connection by what its caller said first. What is HTTP, or may be, is
// never passed on as it came: the application must not see a header that only we may set.
func (p *Proxy) serveApplication(
	nc net.Conn,
	a *discover.Arrival,
	f detect.First,
) *forward.ServerConn {
	httpOnly := a.Port.Now().HTTPOnly()
	if httpOnly && (f.Silent() || f.Unsure) {
		var err error
		if f, err = p.hearLater(nc, f); err != nil {
			return nil
		}
	}
	switch {
	case f.Protocol.IsHTTP():
	case httpOnly:
		p.refuseForeign(nc, a, f)
	case f.Silent(), f.Unsure:
		f = p.tunnels.InboundSilent(nc, a, f)
	default:
		p.tunnels.Inbound(nc, a, tunnel.Heard(f))
	}
	return p.speaks(p.forward.Inbound(a), nc, f)
}

// refuseForeign cuts what is no HTTP on a port that takes nothing else.
func (p *Proxy) refuseForeign(nc net.Conn, a *discover.Arrival, f detect.First) {
	reason := errNotHTTP
	if f.Protocol == detect.TLS {
		reason = errForeignTLS
	}
	p.sampled.Info("refused an inbound connection", "from", a.Caller.Address, "id", a.Caller.ID,
		"port", a.Port.Number, "reason", reason)
	p.refused.policy.Inc()
	p.tunnels.Refuse(nc, p.unserved(a.Caller, a.Port.Number), outcome.BadRequest, reason.Error())
}

// unserved makes the labels of a connection that does not get to the application.
func (p *Proxy) unserved(who authorize.Caller, port uint16) func() metric.Labels {
	return func() metric.Labels {
		l := metric.Labels{Protocol: "tcp", Port: uint32(port)}
		who.Label(&l, p.cfg.Identity, &p.strangers)
		return l
	}
}

var (
	errNotHTTP = errors.New(
		"the port is declared to be HTTP, which this is not;" +
			" if it is something else, list it in opaque-ports",
	)
	errNotTLS = errors.New(
		"the port has TLSRoutes, which take nothing but TLS, and this is none",
	)
	errForeignTLS = errors.New(
		"the port is declared to be HTTP, and this is TLS of the caller's own;" +
			" if it has TLS, declare it as https",
	)
)

// plainArrival describes an unauthenticated caller's; nil: what it dialed is not served.
func (p *Proxy) plainArrival(nc net.Conn, port uint16, dst netip.AddrPort) *discover.Arrival {
	from, _ := netip.ParseAddrPort(nc.RemoteAddr().String())
	who := authorize.Caller{Address: from.Addr().Unmap(), Security: p.plainSecurity(from.Addr())}
	who.Node = p.isNode(who.Address)
	return p.arrive(nc, who, port, dst)
}

// arrive checks that the port may be reached and finds the application behind it. It cuts a
// connection to anything else.
func (p *Proxy) arrive(
	nc net.Conn,
	who authorize.Caller,
	port uint16,
	dst netip.AddrPort,
) *discover.Arrival {
	addr, refusal := authorize.Application(&p.cfg, dst, port)
	if refusal != nil {
		p.sampled.Info("refused an inbound connection", "from", who.Address, "id", who.ID, "to",
			dst, "port", port, "reason", refusal.Reason)
		p.refused.bypass.Inc()
		p.tunnels.Refuse(nc, p.unserved(who, port), outcome.Denied, refusal.Reason)
		return nil
	}
	in := p.discovery.Port(port)
	in.Wait(p.ctx, who.Meshed())
	return &discover.Arrival{Caller: who, Port: in, App: in.Application(addr)}
}

// sleep pauses, or ends with the proxy.
func (p *Proxy) sleep(d time.Duration) {
	select {
	case <-time.After(d):
	case <-p.ctx.Done():
	}
}
