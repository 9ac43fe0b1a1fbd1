package forward

import (
	"context"

	"github.com/tulle-mesh/tulle/destination/api"
	"github.com/tulle-mesh/tulle/proxy/authorize"
	"github.com/tulle-mesh/tulle/proxy/balance"
	"github.com/tulle-mesh/tulle/proxy/discover"
	"github.com/tulle-mesh/tulle/proxy/metric"
	"github.com/tulle-mesh/tulle/proxy/route"
)

// toMesh is the side of the application's connections to others.
type toMesh struct {
	f      *Forwarder
	target *discover.Target
}

// Outbound is a connection of the application's to a target, not served yet: see Speak and Serve.
func (f *Forwarder) Outbound(t *discover.Target) *ServerConn {
	return &ServerConn{f: f, side: &toMesh{f: f, target: t}}
}

// admit finds the target's route of the moment. It does not wait: the connection did, when it was
// accepted.
func (s *toMesh) admit(x *exchange) (*discover.Answer, *authorize.Refusal) {
	a := s.latest()
	switch {
	case a == nil:
		return s.f.unknown, &authorize.Refusal{
			Status: 503,
			Reason: "destination has not answered for " + s.target.Name() +
				", and unknown addresses of the cluster are not guessed at",
		}
	case a.Route.Resolution == api.Resolution_RESOLUTION_NOT_FOUND:
		return a, &authorize.Refusal{
			Status: 503,
			Reason: "nothing in the cluster is known as " + s.target.Name() + because(a.Reason),
		}
	}
	return a, nil
}

func because(reason string) string {
	if reason == "" {
		return ""
	}
	return ": " + reason
}

func (s *toMesh) latest() *discover.Answer {
	if s.target.Gone() {
		// Until destination has answered anew, what this connection knows holds.
		if t := s.target.Again(); t.Now() != nil {
			s.target = t
		}
	}
	return s.target.Resolve(context.Background(), 0)
}

func (s *toMesh) choose(a *discover.Answer, u *route.Rule) (*route.Backend, *balance.Cluster) {
	b := u.Backends.Pick()
	if b == nil {
		return nil, nil
	}
	return b, a.Cluster(b)
}

func (s *toMesh) authority() string { return s.target.Name() }

func (s *toMesh) callerID() string { return "" }
func (s *toMesh) peer() bool       { return false }
func (s *toMesh) address() string  { return "" }
func (s *toMesh) doubted() bool    { return false }
func (s *toMesh) stranger() bool   { return false }
func (s *toMesh) explains() bool   { return true }

func (s *toMesh) declared(_ *exchange, e *balance.Endpoint) api.Protocol { return e.Protocol }
func (s *toMesh) probed(*exchange) bool                                  { return false }
func (s *toMesh) redirected(*exchange, string)                           {}

func (s *toMesh) cells(c *ServerConn, e *balance.Endpoint) *cellCache {
	if e == nil {
		return &c.cells
	}
	return &transportOf(e).cells
}

func (s *toMesh) labels(x *exchange, e *balance.Endpoint) metric.Labels {
	l := metric.Labels{
		Direction: metric.Outbound,
		Authority: x.rule.Route.AuthorityLabel(),
		Protocol:  x.protocol(),
	}
	x.rule.Label(&l)
	if x.backend != nil {
		l.Backend = x.backend.Cluster
	}
	if e != nil {
		e.Label(&l, s.f.Identity)
	}
	return l
}

func (s *toMesh) farBytes(x *exchange) (read, written uint64) { return x.respBytes, x.reqBytes }

func (s *toMesh) count(*ServerConn) (end func()) { return func() {} }
