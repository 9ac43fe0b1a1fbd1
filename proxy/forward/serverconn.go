package forward

import (
	"crypto/tls"
	"sync/atomic"

	"github.com/tulle-mesh/tulle/proxy/outcome"
	"github.com/tulle-mesh/tulle/proxy/wire"
)

// ServerConn is an HTTP connection that the proxy serves. What its side knows about the caller
// holds for every request on it; what may change meanwhile is looked up at each.
type ServerConn struct {
	f       *Forwarder
	side    side
	wire    *wire.Conn
	tls     *tls.ConnectionState // of a verified peer; nil: plaintext
	http1   bool
	engine  server
	batch   batch // of its reader
	cells   cellCache
	texts   outcome.Texts
	address string       // who connected, once a record asks
	waiting atomic.Int64 // requests, for their answers
	Heads   atomic.Int64 // what the heads of requests that wait for an answer take, bytes
	shed    atomic.Bool  // it was cut, for memory was short and its peer slow
}

// Speak says what the connection is, before it is served; state is of a verified peer, nil in
// plaintext.
func (c *ServerConn) Speak(w *wire.Conn, state *tls.ConnectionState, http1 bool) {
	c.wire, c.tls, c.http1 = w, state, http1
	w.Stall = c.f.Limits.BodyStall
}

// from is the address of who connected. Its reader asks.
func (c *ServerConn) from() string {
	if c.address == "" {
		c.address = c.wire.RemoteAddr().String()
	}
	return c.address
}

// own reports whether the caller is the pod's own application.
func (c *ServerConn) own() bool { return !c.side.stranger() && !c.side.peer() }

// refuses reports whether "not delivered" may be passed back as such: the caller is a proxy, and
// will try elsewhere.
func (c *ServerConn) refuses() bool { return c.side.peer() && !c.http1 }
