package tunnel

import (
	"errors"
	"fmt"
	"net"

	"github.com/tulle-mesh/tulle/destination/api"
	"github.com/tulle-mesh/tulle/proxy/balance"
	"github.com/tulle-mesh/tulle/proxy/detect"
	"github.com/tulle-mesh/tulle/proxy/discover"
	"github.com/tulle-mesh/tulle/proxy/metric"
	"github.com/tulle-mesh/tulle/proxy/outcome"
	"github.com/tulle-mesh/tulle/proxy/route"
)

// opaque is a connection to an endpoint that will be carried without being understood.
type opaque struct {
	up       leg
	endpoint *balance.Endpoint
	rule     *route.Rule
	backend  *route.Backend
	answer   *discover.Answer
}

// Outbound carries an opaque connection of the application's to an endpoint of its target.
func (c *Carrier) Outbound(nc net.Conn, t *discover.Target, w Words) {
	if c.shed(nc, Unserved(t.Name())) {
		return
	}
	r := c.look(nc)
	o, err := c.openOpaque(t, caller{from: nc.RemoteAddr(), first: w.first})
	if err != nil {
		c.unreached(r, unserved(t.Name(), o.rule), whyUnreached(err), err.Error())
		c.Sampled.Info("cannot forward a connection", "to", t.Name(), "err", err)
		Abort(nc) // what could not be reached has not ended in order
		return
	}
	defer o.endpoint.Disconnect()
	defer o.up.Close()
	c.carryOutbound(nc, o, w, r)
}

// Unserved are the labels of the application's connection to somewhere that it does not get to.
func Unserved(to string) func() metric.Labels {
	return func() metric.Labels {
		return metric.Labels{Direction: metric.Outbound, Authority: to, Protocol: "tcp"}
	}
}

// unserved is Unserved of a connection that a rule was found for, or none.
func unserved(to string, rule *route.Rule) func() metric.Labels {
	return func() metric.Labels {
		l := Unserved(to)()
		if rule != nil {
			rule.Label(&l)
		}
		return l
	}
}

func (c *Carrier) carryOutbound(nc net.Conn, o opaque, w Words, r *outcome.Record) {
	l := c.opaqueLabels(o, w.first)
	reach(r, o.endpoint, l)
	c.newTunnel(nc, o.up).carry(w, c.Metrics.Cell(l), r)
}

// openOpaque finds the rule for a caller's connection, picks an endpoint and connects to it.
func (c *Carrier) openOpaque(t *discover.Target, by caller) (o opaque, err error) {
	o.answer = t.Resolve(c.Ctx, 0) // it was waited for before the protocol was looked at
	if o.answer == nil || o.answer.Resolution == api.Resolution_RESOLUTION_NOT_FOUND {
		c.refused.unknown.Inc()
		if o.answer != nil && o.answer.Reason != "" {
			return o, fmt.Errorf("%w: %s", errUnknown, o.answer.Reason)
		}
		return o, errUnknown
	}
	hello := by.first.Hello
	o.rule = o.answer.Connection(by.first.Protocol == detect.TLS, hello.ServerName)
	if o.backend = o.rule.Backends.Pick(); o.backend == nil {
		c.refused.unknown.Inc()
		return o, errUnknown
	}
	switch {
	case o.backend.Answer == 0:
	case o.answer.OnlyTLS() && o.rule == o.answer.Fallback:
		c.refused.unmatched.Inc()
		return o, fmt.Errorf("%w: %q", errUnmatched, hello.ServerName)
	default:
		c.refused.answered.Inc()
		return o, errAnswers
	}
	if o.endpoint, o.up, err = c.dialEndpoint(o.answer.Cluster(o.backend), by); err != nil {
		c.refused.undialable.Inc()
	}
	return o, err
}

var (
	errUnknown   = errors.New("destination knows nothing by this address")
	errUnmatched = errors.New("no rule of the route is for this server name")
	errAnswers   = errors.New("the route has an error in place of a backend")
)

func whyUnreached(err error) outcome.Reason {
	switch {
	case errors.Is(err, errUnknown), errors.Is(err, errUnmatched):
		return outcome.NoRoute
	case errors.Is(err, errAnswers):
		return outcome.RouteAnswer
	case errors.Is(err, errLimit):
		return outcome.ClusterLimit
	case errors.Is(err, errNoEndpoint):
		return outcome.NoEndpoints
	}
	return outcome.Unreached(err, outcome.ConnectFailed)
}

func (c *Carrier) opaqueLabels(o opaque, f detect.First) metric.Labels {
	l := metric.Labels{
		Direction: metric.Outbound,
		Authority: o.answer.AuthorityLabel(),
		Backend:   o.backend.Cluster,
		Protocol:  "tcp",
	}
	o.rule.Label(&l)
	o.endpoint.Label(&l, c.Identity)
	if !o.endpoint.Meshed() && f.Protocol == detect.TLS {
		l.Security = metric.TLSPassthrough
	}
	return l
}
