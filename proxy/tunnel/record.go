package tunnel

import (
	"errors"
	"net"
	"os"
	"time"

	"github.com/tulle-mesh/tulle/proxy/balance"
	"github.com/tulle-mesh/tulle/proxy/metric"
	"github.com/tulle-mesh/tulle/proxy/outcome"
)

// look begins the record of a connection that nc's caller opened; nil: nobody looks.
func (c *Carrier) look(nc net.Conn) *outcome.Record {
	r := c.Seen.Begin(time.Now())
	if r != nil {
		r.ClientAddress = nc.RemoteAddr().String()
	}
	return r
}

// reach notes where a connection goes.
func reach(r *outcome.Record, e *balance.Endpoint, l metric.Labels) {
	if r != nil {
		r.Labels, r.Endpoint, r.Tries = l, e.Address, 1
	}
}

// show counts how a connection that was carried has ended, and gives its record away.
func (t *tunnel) show(cell *metric.Cell, r *outcome.Record) {
	why, words := t.whyBroken()
	t.c.reasons.Count(why)
	why.Count(cell)
	if r == nil {
		return
	}
	r.RequestBytes, r.ResponseBytes = t.said.Load(), t.answered.Load()
	q := outcome.Request{Outcome: outcome.Answered, Latency: time.Since(r.Start)}
	if why != outcome.Plain {
		q.Outcome, q.Failed = outcome.Reset, true
		r.Because(why, words)
	}
	r.End(q)
}

// whyBroken is what cut a connection, if anything has.
func (t *tunnel) whyBroken() (why outcome.Reason, words string) {
	err := t.broke.Load()
	switch {
	case err == nil:
		return outcome.Plain, ""
	case t.c.Ctx.Err() != nil:
		return outcome.Draining, "the proxy has ended, and its grace before"
	}
	return reasonOf(*err), (*err).Error()
}

// Refuse cuts a connection that is not served: it has not ended in order. The labels are made only
// where somebody looks, for those of strangers take room among others'.
func (c *Carrier) Refuse(
	nc net.Conn, labels func() metric.Labels, why outcome.Reason, words string,
) {
	c.unreached(c.look(nc), labels, why, words)
	Abort(nc)
}

// unreached counts a connection that was not carried, and gives its record away.
func (c *Carrier) unreached(
	r *outcome.Record, labels func() metric.Labels, why outcome.Reason, words string,
) {
	c.reasons.Count(why)
	if r == nil {
		return
	}
	r.Labels = labels()
	r.Because(why, words)
	r.End(outcome.Request{Outcome: outcome.Reset, Failed: true, Latency: time.Since(r.Start)})
}

func reasonOf(err error) outcome.Reason {
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return outcome.IdleTimeout
	case errors.Is(err, errForbidden):
		return outcome.Denied
	case errors.Is(err, errLateHTTP):
		return outcome.BadRequest
	case errors.Is(err, errCertificate):
		return outcome.TLSFailed
	}
	return outcome.ResetByPeer
}
