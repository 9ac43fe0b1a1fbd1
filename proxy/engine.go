package proxy

import (
	"net"

	"github.com/tulle-mesh/tulle/proxy/detect"
	"github.com/tulle-mesh/tulle/proxy/h1"
	"github.com/tulle-mesh/tulle/proxy/h2"
	"github.com/tulle-mesh/tulle/proxy/wire"
	"golang.org/x/net/http2/hpack"
)

// server and client are what the engines of both protocols have in common, but for the types of their streams.
type server interface {
	Start(end func(error))
	Active() int   // streams
	Rest()         // gives back what only speed keeps
	Resting() bool // it is not telling an exchange anything
	GoAway()       // takes no new requests, and ends when those it has are done
}

type client interface {
	server
	open(fields []hpack.HeaderField, end bool, a *attempt) (stream, error)
	Clogged() bool // slow takers of its data leave no window for others
}

type http1Client struct{ *h1.Conn }

func (http1Client) Clogged() bool { return false } // each exchange has a connection

func (c http1Client) open(fields []hpack.HeaderField, end bool, a *attempt) (stream, error) {
	s, err := c.OpenStream(fields, end, a)
	if err != nil {
		return nil, err
	}
	return s, nil
}

type http2Client struct{ *h2.Conn }

func (c http2Client) open(fields []hpack.HeaderField, end bool, a *attempt) (stream, error) {
	if err := c.OpenStreamIn(&a.http2, fields, end, a); err != nil {
		return nil, err
	}
	return &a.http2, nil
}

func (p *pool) newClient(c *clientConn, spare bool) client {
	c.batch.queue, c.batch.reader = &p.p.flushes, c.wire
	if p.kind == plainHTTP1 {
		o := p.p.http1Options(&c.batch)
		o.OnCapacity, o.Direct = c.capacity, p.e.local
		return http1Client{h1.NewClient(c.wire, o)}
	}
	o := p.p.http2Options(&c.batch)
	o.OnCapacity, o.OnGoAway = c.capacity, c.goingAway
	o.OnBreach = p.p.breached.backend
	if p.kind == meshHTTP2 {
		o.KeepAlive = p.p.limits.MeshKeepAlive
	}
	o.Near = p.kind == plainHTTP2 // it may be in this pod
	if spare {
		o.ConnWindow, o.FirstWindow = p.p.limits.SpareWindow, p.p.limits.SpareStreamWindow
	}
	return http2Client{h2.NewClient(c.wire, o)}
}

// speaks notes that an HTTP connection is one, with what detection has read of it.
func (c *serverConn) speaks(nc net.Conn, f detect.First) *serverConn {
	if tl, ok := nc.(*tlsLeg); ok {
		nc = servedTLS{tl}
	}
	c.http1, c.wire = f.Protocol == detect.HTTP1, wire.New(nc, f.Bytes)
	return c
}

// serveEngine hands a connection to its engine, until it ends.
func (p *Proxy) serveEngine(c *serverConn, nc net.Conn) {
	stop := p.startEngine(c)
	c.engine.Start(func(err error) {
		stop()
		p.engineEnded(c, err)
		p.ended(nc)
	})
}

// startEngine makes the engine and registers the connection; stop is for its end.
func (p *Proxy) startEngine(c *serverConn) (stop func()) {
	c.batch.queue, c.batch.reader = &p.flushes, c.wire
	if c.http1 {
		o := p.http1Options(&c.batch)
		o.StreamWindow = p.limits.CallerWindow
		c.engine = newHTTP1Server(c, o)
	} else {
		c.engine = p.newHTTP2Server(c)
	}
	untrack, uncount := p.trackServer(c), c.countConnection()
	return func() {
		uncount()
		untrack()
	}
}

func newHTTP1Server(c *serverConn, o h1.Options) *h1.Conn {
	var next *http1Exchange // of the reader
	o.NewStream = func() *h1.Stream {
		next = newHTTP1Exchange(c)
		return &next.stream
	}
	o.OnStream = func(*h1.Stream) h1.Sink { return &next.exchange }
	return h1.NewServer(c.wire, o)
}

func (p *Proxy) newHTTP2Server(c *serverConn) *h2.Conn {
	o := p.http2Options(&c.batch)
	var next *http2Exchange // of the reader
	o.NewStream = func() *h2.Stream {
		next = newHTTP2Exchange(c)
		return &next.stream
	}
	o.OnStream = func(*h2.Stream) h2.Sink { return &next.exchange }
	o.EnableConnect, o.OnBreach = true, p.breached.caller
	if !c.caller.meshed() {
		o.MaxStreams = p.limits.MaxCallerStreams
	}
	return h2.NewServer(c.wire, o)
}

func (p *Proxy) engineEnded(c *serverConn, err error) {
	p.broken(roleCaller, err)
	p.log.Debug("a connection ended", "from", c.wire.RemoteAddr(), "inbound", c.inbound, "err", err)
	c.wire.Close()
}

// countConnection counts a caller's connection to the application for as long as it lives; the returned function ends it.
func (c *serverConn) countConnection() (end func()) {
	if !c.inbound {
		return func() {}
	}
	protocol := "http/2"
	if c.http1 {
		protocol = "http/1"
	}
	cell := c.p.metrics.Cell(c.inboundLabels(c.port.policy.Load().route.fallback, protocol))
	cell.OpenConnection()
	return cell.CloseConnection
}

func (p *Proxy) http1Options(b *batch) h1.Options {
	return h1.Options{OnBatch: b.flush, MaxHeaderBytes: p.limits.MaxHeaderBytes, MaxHeaderFields: p.limits.MaxHeaderFields,
		StreamWindow: p.limits.StreamWindow, MaxOutput: p.limits.MaxOutput, HeaderTimeout: p.limits.HeaderTimeout,
		IdleTimeout: p.limits.IdleHTTP}
}

func (p *Proxy) http2Options(b *batch) h2.Options {
	return h2.Options{OnBatch: b.flush, MaxStreams: p.limits.MaxConcurrentStreams, MaxHeaderBytes: p.limits.MaxHeaderBytes,
		MaxHeaderFields: p.limits.MaxHeaderFields, StreamWindow: p.limits.StreamWindow, ConnWindow: p.limits.ConnWindow,
		MaxOutput: p.limits.MaxOutput, HeaderTimeout: p.limits.HeaderTimeout, IdleTimeout: p.limits.IdleHTTP}
}

func (c *serverConn) goAway() { c.engine.GoAway() }

// endEarly tells a caller that is still sending that it has its whole answer (RFC 9113 §8.1); nothing of what it sent is
// lost to it. HTTP/1 has no such signal: its engine closes the connection.
func (x *exchange) endEarly(b *batch) {
	if !x.reqEnd && !x.c.http1 {
		x.down.Reset(h2.CodeNone)
		b.touch(x.down)
	}
}
