package forward

import (
	"time"

	"golang.org/x/net/http2/hpack"

	"github.com/tulle-mesh/tulle/proxy/metric"
	"github.com/tulle-mesh/tulle/proxy/outcome"
)

// beginTry numbers a try, and begins what is kept of it if the request is traced. Of the way in
// nothing is: the application's proxy has one span, and what never reached the application is no
// part of that.
func (x *exchange) beginTry(a *attempt, b *batch) {
	a.number = x.tries
	if x.seen != nil {
		x.seen.BeginTry(b.time(), x.port == nil).Beside(a.extra)
	}
}

// kept is what is kept of a for its span; nil: nothing is.
func (a *attempt) kept() *outcome.Try { return a.x.seen.Try(a.number) }

// called keeps a gRPC answer's status for a's span.
func (a *attempt) called(fields []hpack.HeaderField) {
	if t := a.kept(); t != nil {
		t.Called(grpcCode(fields))
	}
}

// tellTrace makes a head that goes out with a say which span sends it. Where none will be exported
// it stays as it is.
func (x *exchange) tellTrace(fields []hpack.HeaderField, a *attempt) []hpack.HeaderField {
	if t := a.kept(); t != nil {
		return x.seen.Trace.Context.Write(fields, t.Span)
	}
	return fields
}

// traceCopy begins the span of a copy of the request, if that is traced, and makes the copy's head
// say so.
func (x *exchange) traceCopy(m *mirror, b *batch) {
	if x.seen == nil {
		return
	}
	m.seen = x.seen.Copy(b.time())
	if m.seen == nil {
		return
	}
	m.seen.Labels = metric.Labels{Direction: metric.Outbound, Protocol: x.protocol(),
		Authority: x.rule.Route.AuthorityLabel(), Backend: m.cluster.Name}
	x.rule.Label(&m.seen.Labels)
	m.endpoint.Label(&m.seen.Labels, x.c.f.Identity)
	m.seen.Endpoint = m.endpoint.Address
	m.seen.Try(1).Leaves(b.time(), m.endpoint.Address)
	m.fields = m.seen.Trace.Context.Write(m.fields, m.seen.Try(1).Span)
}

// showLocked ends the copy's span, if it has one.
func (m *mirror) showLocked(why *metric.Counter) {
	if m.seen == nil {
		return
	}
	r := outcome.Request{Outcome: outcome.Answered, Failed: m.failed,
		Latency: time.Since(m.seen.Start)}
	switch l := &m.f.mirrors; why {
	case l.timeout:
		m.seen.Because(outcome.RequestTimeout, "")
	case l.slow, l.crowded:
		m.seen.Because(outcome.Overload, "")
	case l.nowhere:
		m.seen.Because(outcome.NoEndpoints, "")
	case l.cancelled:
		r.Outcome = outcome.Cancelled
	case l.failed:
		r.Failed = true
		if m.seen.Status == 0 {
			m.seen.Because(outcome.ResetByPeer, "")
		}
	}
	m.seen.End(r)
	m.seen = nil
}
