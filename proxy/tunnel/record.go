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

// show gives away the record of a connection that was carried.
func (t *tunnel) show(r *outcome.Record) {
	if r == nil {
		return
	}
	r.RequestBytes, r.ResponseBytes = t.said.Load(), t.answered.Load()
	q := outcome.Request{Outcome: outcome.Answered, Latency: time.Since(r.Start)}
	if why := t.broke.Load(); why != nil {
		q.Outcome, q.Failed = outcome.Reset, true
		r.Because(reasonOf(*why), (*why).Error())
	}
	r.End(q)
}

// unreached gives away the record of a connection that was not carried.
func unreached(r *outcome.Record, l metric.Labels, why outcome.Reason, words string) {
	if r == nil {
		return
	}
	r.Labels = l
	r.Because(why, words)
	r.End(outcome.Request{Outcome: outcome.Reset, Failed: true, Latency: time.Since(r.Start)})
}

func reasonOf(err error) outcome.Reason {
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return outcome.IdleTimeout
	case errors.Is(err, errForbidden), errors.Is(err, errLateHTTP):
		return outcome.Denied
	}
	return outcome.ResetByPeer
}
