package forward

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/tulle-mesh/tulle/destination/api"
	"github.com/tulle-mesh/tulle/proxy/authorize"
	"github.com/tulle-mesh/tulle/proxy/balance"
	"github.com/tulle-mesh/tulle/proxy/discover"
	"github.com/tulle-mesh/tulle/proxy/header"
	"github.com/tulle-mesh/tulle/proxy/metric"
	"github.com/tulle-mesh/tulle/proxy/route"
)

// toApplication is the side of connections that come from the mesh or from anyone, for the
// application.
type toApplication struct {
	f      *Forwarder
	caller authorize.Caller
	number uint16         // of the port
	port   *discover.Port // of the reader, who learns it anew
	app    *balance.Cluster
	only   route.Backend // that there is
	from   string        // the address of a caller without an identity
	doubt  bool          // such a caller is no trusted proxy, where some are
}

// Inbound is a connection for the application, not served yet: see Speak and Serve.
func (f *Forwarder) Inbound(a *discover.Arrival) *ServerConn {
	s := &toApplication{f: f, caller: a.Caller, number: a.Port.Number, port: a.Port, app: a.App}
	s.caller.Node = false // what the kubelet asks in plaintext is known by its path
	if !a.Caller.Meshed() {
		s.from = a.Caller.Address.String()
		s.doubt = !f.trusts(a.Caller.Address)
	}
	return &ServerConn{f: f, side: s}
}

// trusts reports whether a caller without an identity is believed what it says of its own callers.
func (f *Forwarder) trusts(caller netip.Addr) bool {
	contains := func(p netip.Prefix) bool { return p.Contains(caller) }
	return len(f.TrustedProxies) == 0 || slices.ContainsFunc(f.TrustedProxies, contains)
}

// admit asks today's policy: a connection may be older than it.
func (s *toApplication) admit(x *exchange) (*discover.Answer, *authorize.Refusal) {
	if s.port.Gone() {
		// Until destination has answered anew, the last policy holds: the environment's may be less
		// strict.
		if in := s.port.Again(); in.Known() {
			s.port = in
		}
	}
	x.port = s.port.Now()
	a := &x.port.Answer
	if s.probed(x) {
		x.seen.Untraced()
		return a, nil
	}
	if refused := s.port.Verdict(s.caller); refused != nil {
		return a, refused
	}
	if !s.enter(x) {
		return a, crowded
	}
	return a, s.limit(x)
}

// limit counts a request that its caller may make; nil: it may make it now.
func (s *toApplication) limit(x *exchange) *authorize.Refusal {
	over := x.port.Limits.Take(&s.caller, x.req, x.start)
	if over.DryRun != nil {
		s.f.Metrics.Cell(s.label(x.port.Fallback, x.protocol())).DryRefused.Add(1)
		s.f.Sampled.Info("a rate limit would refuse a request, were it no dry run", "limit",
			over.DryRun.Name, "from", s.caller.Address, "id", s.caller.ID, "port", s.number)
	}
	return over.Refusal()
}

func (s *toApplication) choose(*discover.Answer, *route.Rule) (*route.Backend, *balance.Cluster) {
	return &s.only, s.app
}

func (s *toApplication) authority() string { return s.app.First().Address }

func (s *toApplication) callerID() string { return s.caller.ID }
func (s *toApplication) peer() bool       { return s.caller.Meshed() }
func (s *toApplication) address() string  { return s.from }
func (s *toApplication) doubted() bool    { return s.doubt }
func (s *toApplication) stranger() bool   { return !s.caller.Meshed() }
func (s *toApplication) explains() bool   { return s.caller.Meshed() }

// declared asks the port's own services: the caller may have come by the pod's address, of which
// nobody declares anything.
func (s *toApplication) declared(x *exchange, _ *balance.Endpoint) api.Protocol {
	return x.port.Answer.Protocol
}

func (s *toApplication) probed(x *exchange) bool {
	if s.caller.Meshed() || x.tunnel {
		return false
	}
	port := x.port
	if port == nil { // it is not admitted yet
		port = s.port.Now()
	}
	method := header.Value(x.req, ":method")
	path, _, _ := strings.Cut(header.Value(x.req, ":path"), "?") // destination names paths only
	return port.Probe(method, path) || method == "GET" && s.port.Follows(path)
}

// redirected lets the kubelet follow where the answer to a probe sends it. With a query of its own
// a stranger could ask to be sent anywhere.
func (s *toApplication) redirected(x *exchange, location string) {
	if path := header.Value(x.req, ":path"); !strings.Contains(path, "?") && s.probed(x) {
		s.port.Follow(path, location)
	}
}

func (s *toApplication) cells(c *ServerConn, _ *balance.Endpoint) *cellCache { return &c.cells }

func (s *toApplication) labels(x *exchange, _ *balance.Endpoint) metric.Labels {
	return s.label(x.rule, x.protocol())
}

func (s *toApplication) label(u *route.Rule, protocol string) metric.Labels {
	l := metric.Labels{Protocol: protocol, Port: uint32(s.number)}
	u.Label(&l)
	s.caller.Label(&l, s.f.Identity, s.f.Strangers)
	return l
}

func (s *toApplication) farBytes(
	x *exchange,
) (read, written uint64) {
	return x.reqBytes, x.respBytes
}

func (s *toApplication) count(c *ServerConn) (end func()) {
	protocol := "http/2"
	if c.http1 {
		protocol = "http/1"
	}
	cell := s.f.Metrics.Cell(s.label(s.port.Now().Fallback, protocol))
	cell.OpenConnection()
	return cell.CloseConnection
}
