package tunnel

import (
	"net"

	"github.com/tulle-mesh/tulle/proxy/authorize"
	"github.com/tulle-mesh/tulle/proxy/detect"
	"github.com/tulle-mesh/tulle/proxy/discover"
	"github.com/tulle-mesh/tulle/proxy/metric"
	"github.com/tulle-mesh/tulle/proxy/outcome"
)

// Inbound carries an opaque connection to the application.
func (c *Carrier) Inbound(nc net.Conn, a *discover.Arrival, w Words) {
	if up := c.dialApplication(nc, a); up != nil {
		defer up.Close()
		c.carryInbound(nc, up, a, w)
	}
}

// dialApplication connects to the application for an opaque connection that its caller may have;
// nil: there is none to be had, and the caller has been told as far as it can be.
func (c *Carrier) dialApplication(nc net.Conn, a *discover.Arrival) leg {
	if c.shed(nc, c.labelsOf(a)) {
		return nil
	}
	if refused := a.Port.Verdict(a.Caller); refused != nil {
		c.refuse(nc, a, refused)
		return nil
	}
	e := a.App.First()
	up, err := c.dialOpaque(e)
	if err != nil {
		c.Log.Debug("the application does not answer", "port", a.Port.Number, "err", err)
		c.refused.undialable.Inc()
		c.Refuse(nc, c.labelsOf(a), outcome.Unreached(err, outcome.ConnectFailed), err.Error())
		return nil
	}
	e.MarkAnswered()
	return up
}

// carryInbound joins a caller with the application until the policy forbids it, or they are done.
func (c *Carrier) carryInbound(nc net.Conn, up leg, a *discover.Arrival, w Words) {
	who := a.Caller
	if w.first.Protocol == detect.TLS && !who.Meshed() {
		who.Security = metric.TLSPassthrough
	}
	t := c.newTunnel(nc, up)
	leave, refused := a.Port.Admit(a.Caller, func() { t.cut(errForbidden) })
	if refused != nil {
		t.Close()
		c.refuse(nc, a, refused)
		return
	}
	defer leave()
	r, l := c.look(nc), c.inboundLabels(a, who)
	reach(r, a.App.First(), l)
	t.carry(w, c.Metrics.Cell(l), r)
}

// labelsOf makes the labels of a connection that does not get to the application.
func (c *Carrier) labelsOf(a *discover.Arrival) func() metric.Labels {
	return func() metric.Labels { return c.inboundLabels(a, a.Caller) }
}

func (c *Carrier) inboundLabels(a *discover.Arrival, who authorize.Caller) metric.Labels {
	l := metric.Labels{Protocol: "tcp", Port: uint32(a.Port.Number)}
	a.Port.Now().Fallback.Label(&l)
	who.Label(&l, c.Identity, c.Strangers)
	return l
}

// refuse cuts a connection that its caller may not have: it has not ended in order.
func (c *Carrier) refuse(nc net.Conn, a *discover.Arrival, why *authorize.Refusal) {
	c.Sampled.Info("refused an inbound connection", "from", a.Caller.Address, "id", a.Caller.ID,
		"port", a.Port.Number, "reason", why.Reason)
	c.refused.policy.Inc()
	c.Refuse(nc, c.labelsOf(a), outcome.Denied, why.Reason)
}
