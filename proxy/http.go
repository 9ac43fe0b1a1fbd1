package proxy

import (
	"context"
	"crypto/tls"
	"net/netip"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/tulle-mesh/tulle/destination/api"
	"github.com/tulle-mesh/tulle/proxy/h2"
	"github.com/tulle-mesh/tulle/proxy/metric"
	"github.com/tulle-mesh/tulle/proxy/wire"
	"golang.org/x/net/http2/hpack"
)

// serverConn is an HTTP connection that the proxy serves: from the application (outbound), or to it (inbound). What it
// knows about the caller holds for every request on it; what may change meanwhile is looked up at each.
type serverConn struct {
	p       *Proxy
	wire    *wire.Conn
	tls     *tls.ConnectionState // inbound: of a verified peer; nil: plaintext
	inbound bool
	http1   bool
	engine  server
	batch   batch // of its reader
	cells   cellCache
	heads   atomic.Int64 // what the heads of requests that wait for an answer take, bytes

	target *target // outbound
	dst    string  // outbound: the original destination, or the authority it was configured for

	port   *inboundPort // inbound
	app    backend      // inbound
	number uint16       // inbound: target port
	caller caller
}

// caller is who is at the other end of an inbound connection.
type caller struct {
	id       string // SPIFFE ID; empty: unauthenticated
	address  netip.Addr
	security metric.Security
}

func (c caller) meshed() bool { return c.id != "" }

// admit finds the route for a request, and says why it is not served. With a refusal the route still names the metrics.
func (c *serverConn) admit(x *exchange) (*route, *refusal) {
	if c.p.memory.Full(x.start) {
		c.p.shed.Inc()
		return c.p.unknown, &refusal{503, "the proxy is out of memory"}
	}
	if c.inbound {
		return c.admitInbound(x)
	}
	r := c.outboundRoute()
	switch {
	case r == nil:
		return c.p.unknown, &refusal{503, "destination has not answered for " + c.dst + ", and unknown addresses of the cluster are not guessed at"}
	case r.resolution == api.Resolution_RESOLUTION_NOT_FOUND:
		return r, &refusal{503, "nothing in the cluster is known as " + c.dst +
			"; if it is outside, narrow the mesh's cluster networks (meshctl install --cluster-networks)"}
	}
	return r, nil
}

// admitInbound asks today's policy: a connection may be older than it.
func (c *serverConn) admitInbound(x *exchange) (*route, *refusal) {
	if c.port.evicted.Load() {
		// Until destination has answered anew, the last policy holds: the environment's may be less strict.
		if in := c.p.discovery.inbound(c.number); in.known() {
			c.port = in
		}
	}
	pol := c.port.policy.Load()
	x.policy = pol
	if c.caller.id == "" && pol.probe(x.req) {
		return pol.route, nil
	}
	return pol.route, c.port.verdict(c.caller)
}

// outboundRoute is the target's route of the moment. It does not wait: the connection did, when it was accepted.
func (c *serverConn) outboundRoute() *route {
	if c.target.evicted.Load() {
		// Until destination has answered anew, what this connection knows holds.
		if t := c.p.discovery.target(c.target.key); t.route.Load() != nil {
			c.target = t
		}
	}
	return c.p.resolve(context.Background(), c.target, 0)
}

// choose picks the backend: inbound there is one.
func (c *serverConn) choose(u *rule) *backend {
	if c.inbound {
		return &c.app
	}
	if len(u.backends.backends) == 0 {
		return nil
	}
	return u.backends.pick()
}

// takeRequest keeps the head that the exchange will send, with only the headers that its sender may set.
func (x *exchange) takeRequest(fields []hpack.HeaderField) {
	c := x.c
	x.http1 = c.http1
	if c.refuses() { // a proxy's, which says what it translated
		x.http1 = value(fields, headerProto) == protoHTTP1
	}
	x.req = keepFields(newHead(len(fields)), fields)
	if c.inbound && c.caller.meshed() {
		x.req = append(x.req, hpack.HeaderField{Name: headerClientID, Value: c.caller.id})
	}
	x.grpc = isGRPC(value(fields, "content-type"))
	x.tunnel = value(fields, ":method") == "CONNECT"
	x.shared = x.tunnel
}

// upstreamFields is the head as it goes out with a, appended to dst.
func (x *exchange) upstreamFields(dst []hpack.HeaderField, a *attempt) []hpack.HeaderField {
	dst = append(dst, x.req...)
	dst = applyFilters(x.rule.filters, false, dst)
	dst = applyFilters(x.backend.filters, false, dst)
	if a.endpoint.meshed() && x.inHTTP1(a.endpoint) {
		dst = append(dst, hpack.HeaderField{Name: headerProto, Value: protoHTTP1})
	}
	if x.grpc && x.limit > 0 {
		dst = x.tellDeadline(dst)
	}
	return dst
}

// responseFields is the head as it goes to the caller, appended to dst.
func (x *exchange) responseFields(dst []hpack.HeaderField, a *attempt, fields []hpack.HeaderField) []hpack.HeaderField {
	dst = keepFields(dst, fields)
	if a.endpoint.meshed() {
		if why := value(fields, headerError); why != "" {
			dst = append(dst, hpack.HeaderField{Name: headerError, Value: why})
		}
	}
	dst = applyFilters(x.rule.filters, true, dst)
	return applyFilters(x.backend.filters, true, dst)
}

// refuses reports whether "not delivered" may be passed back as such: the caller is a proxy, and will try elsewhere.
func (c *serverConn) refuses() bool { return c.inbound && c.caller.meshed() && !c.http1 }

// writeError answers with an error of ours. The reason goes no further than the mesh.
func (x *exchange) writeError(status int, reason string) {
	x.c.p.errorAnswered(status)
	c := x.c
	ours := !c.inbound || c.caller.meshed()
	if x.grpc {
		x.writeHead(grpcError(status, reason, ours), true)
		return
	}
	fields := []hpack.HeaderField{
		{Name: ":status", Value: strconv.Itoa(status)},
		{Name: "content-type", Value: "text/plain; charset=utf-8"},
		{Name: "content-length", Value: strconv.Itoa(len(reason) + 1)},
	}
	if ours {
		fields = append(fields, hpack.HeaderField{Name: headerError, Value: fieldValue(reason)})
	}
	head := value(x.req, ":method") == "HEAD"
	x.writeHead(fields, head)
	if !head {
		x.down.WriteData([]byte(reason+"\n"), true)
	}
}

// writeHead is for heads of ours: a caller that does not take even those gets a reset.
func (x *exchange) writeHead(fields []hpack.HeaderField, end bool) {
	if x.down.WriteHeaders(fields, end) != nil {
		x.down.Reset(h2.CodeInternal)
	}
}

// fieldValue makes a reason fit for a header: it may quote what a peer said.
func fieldValue(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return ' '
		}
		return r
	}, s)
}

// newCell resolves the cell of x's rule at e; e is nil for inbound, and where no endpoint was reached.
func (c *serverConn) newCell(x *exchange, e *endpoint) *metric.Cell {
	if c.inbound {
		return c.p.metrics.Cell(c.inboundLabels(x.rule, x.protocol()))
	}
	return c.p.metrics.Cell(c.outboundLabels(x, e))
}

func (c *serverConn) inboundLabels(u *rule, protocol string) metric.Labels {
	l := metric.Labels{Direction: metric.Inbound, Namespace: u.route.namespace, Service: u.route.service, Route: u.name,
		PeerID: c.caller.id, Security: c.caller.security, Protocol: protocol, Port: uint32(c.number)}
	if c.caller.meshed() {
		l.OwnID = c.p.cfg.Identity
	} else {
		l.PeerAddress = c.p.callers.label(c.caller.address, now())
	}
	return l
}

func (c *serverConn) outboundLabels(x *exchange, e *endpoint) metric.Labels {
	r := x.rule.route
	l := metric.Labels{Direction: metric.Outbound, Authority: r.authority, Namespace: r.namespace, Service: r.service,
		Route: x.rule.name, Protocol: x.protocol()}
	if l.Authority == "" {
		l.Authority = outsideAuthority
	}
	if x.backend != nil {
		l.Backend = x.backend.cluster.name
	}
	if e != nil {
		c.p.peerLabels(&l, e)
	}
	return l
}

// outsideAuthority stands for every destination outside the cluster: their addresses are not bounded.
const outsideAuthority = "outside"

func (p *Proxy) peerLabels(l *metric.Labels, e *endpoint) {
	l.Peer, l.Security = e.workload, metric.PlaintextUnmeshed
	if e.meshed() {
		l.Security, l.PeerID, l.OwnID = metric.MTLS, e.identity.String(), p.cfg.Identity
	}
}
