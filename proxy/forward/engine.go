package forward

import (
	"github.com/tulle-mesh/tulle/proxy/h1"
	"github.com/tulle-mesh/tulle/proxy/h2"
	"golang.org/x/net/http2/hpack"
)

// server and client are what the engines of both protocols have in common, but for the types of
// their streams.
type server interface {
	Start(end func(error))
	Active() int   // streams
	Rest()         // gives back what only speed keeps
	Resting() bool // it is not telling an exchange anything
	GoAway()       // takes no new requests, and ends when those it has are done
}

type client interface {
	server
	open(fields []hpack.HeaderField, end bool, w waiter) (stream, error)
	Clogged() bool // slow takers of its data leave no window for others
	// PeerStreams is how many requests the peer takes at a time.
	PeerStreams() int
	Full() bool // as many requests as it takes at a time are under way
}

type http1Client struct{ *h1.Conn }

// Each exchange has a connection.
func (http1Client) Clogged() bool    { return false }
func (http1Client) PeerStreams() int { return 1 }
func (c http1Client) Full() bool     { return c.Active() > 0 }

func (c http1Client) open(fields []hpack.HeaderField, end bool, w waiter) (stream, error) {
	s, err := c.OpenStream(fields, end, w)
	if err != nil {
		return nil, err
	}
	return s, nil
}

type http2Client struct{ *h2.Conn }

func (c http2Client) open(fields []hpack.HeaderField, end bool, w waiter) (stream, error) {
	s := w.memory()
	if err := c.OpenStreamIn(s, fields, end, w); err != nil {
		return nil, err
	}
	return s, nil
}

// newClient makes a connection's engine. streams are what the endpoint is known to take on one, for
// those beyond it would be refused; 0: it has said nothing yet.
func (p *pool) newClient(c *clientConn, spare bool, streams int) client {
	c.batch.queue, c.batch.reader = &p.f.flushes, c.wire
	if p.kind == plainHTTP1 {
		o := p.f.http1Options(&c.batch)
		o.OnCapacity, o.Direct = c.capacity, p.e.Local
		return http1Client{h1.NewClient(c.wire, o)}
	}
	o := p.f.http2Options(&c.batch)
	o.OnCapacity, o.OnGoAway = c.capacity, c.goingAway
	o.OnBreach, o.FirstStreams = p.f.breached.backend, streams
	if p.kind == meshHTTP2 {
		o.KeepAlive = p.f.Limits.MeshKeepAlive
	}
	o.Near = p.kind == plainHTTP2 // it may be in this pod
	if spare {
		o.ConnWindow, o.FirstWindow = p.f.Limits.SpareWindow, p.f.Limits.SpareStreamWindow
	}
	return http2Client{h2.NewClient(c.wire, o)}
}

// Serve hands a connection to its engine, until it ends.
func (f *Forwarder) Serve(c *ServerConn, ended func()) {
	stop := f.startEngine(c)
	c.engine.Start(func(err error) {
		stop()
		f.engineEnded(c, err)
		ended()
	})
}

// startEngine makes the engine and registers the connection; stop is for its end.
func (f *Forwarder) startEngine(c *ServerConn) (stop func()) {
	c.batch.queue, c.batch.reader = &f.flushes, c.wire
	if c.http1 {
		o := f.http1Options(&c.batch)
		o.StreamWindow, o.IdleTimeout = f.Limits.CallerWindow, f.Limits.IdleCaller
		c.engine = newHTTP1Server(c, o)
	} else {
		c.engine = f.newHTTP2Server(c)
	}
	untrack, uncount := f.trackServer(c), c.side.count(c)
	return func() {
		uncount()
		untrack()
	}
}

func newHTTP1Server(c *ServerConn, o h1.Options) *h1.Conn {
	var next *http1Exchange // of the reader
	o.NewStream = func() *h1.Stream {
		next = newHTTP1Exchange(c)
		return &next.stream
	}
	o.OnStream = func(*h1.Stream) h1.Sink { return &next.exchange }
	return h1.NewServer(c.wire, o)
}

func (f *Forwarder) newHTTP2Server(c *ServerConn) *h2.Conn {
	o := f.http2Options(&c.batch)
	var next *http2Exchange // of the reader
	o.NewStream = func() *h2.Stream {
		next = newHTTP2Exchange(c)
		return &next.stream
	}
	o.OnStream = func(*h2.Stream) h2.Sink { return &next.exchange }
	o.EnableConnect, o.OnBreach = true, f.breached.caller
	o.IdleTimeout, o.FirstTimeout = f.Limits.IdleCaller, f.Limits.IdleHTTP
	switch {
	case c.side.stranger():
		o.MaxStreams = f.Limits.MaxCallerStreams
	case c.own():
		o.Trusted, o.MaxStreams = true, f.Limits.MaxOwnStreams
	} // a peer leaves a connection before it has cancelled more than a server takes
	return h2.NewServer(c.wire, o)
}

func (f *Forwarder) engineEnded(c *ServerConn, err error) {
	f.broken(roleCaller, err)
	f.Log.Debug("a connection ended", "from", c.wire.RemoteAddr(), "err", err)
	c.wire.Close()
}

func (f *Forwarder) http1Options(b *batch) h1.Options {
	return h1.Options{
		OnBatch:         b.flush,
		Outlive:         true,
		MaxHeaderBytes:  f.Limits.MaxHeaderBytes,
		MaxHeaderFields: f.Limits.MaxHeaderFields,
		StreamWindow:    f.Limits.StreamWindow,
		MaxOutput:       f.Limits.MaxOutput,
		Allowance:       f.Held,
		HeaderTimeout:   f.Limits.HeaderTimeout,
		IdleTimeout:     f.Limits.IdleHTTP,
		HalfClosed:      f.Limits.HalfClosed,
	}
}

func (f *Forwarder) http2Options(b *batch) h2.Options {
	return h2.Options{
		OnBatch:         b.flush,
		MaxStreams:      f.Limits.MaxConcurrentStreams,
		MaxHeaderBytes:  f.Limits.MaxHeaderBytes,
		MaxHeaderFields: f.Limits.MaxHeaderFields,
		StreamWindow:    f.Limits.StreamWindow,
		ConnWindow:      f.Limits.ConnWindow,
		MaxOutput:       f.Limits.MaxOutput,
		Allowance:       f.Held,
		HeaderTimeout:   f.Limits.HeaderTimeout,
		IdleTimeout:     f.Limits.IdleHTTP,
	}
}

// endEarly tells a caller that is still sending that it has its whole answer (RFC 9113 §8.1);
// nothing of what it sent is lost to it. HTTP/1 has no such signal: its engine closes the
// connection once the answer has left.
func (x *exchange) endEarly(b *batch) {
	if !x.reqEnd {
		x.down.Reset(h2.CodeNone)
		b.touch(x.down)
	}
}
