package forward

import (
	"strconv"
	"time"

	"golang.org/x/net/http2/hpack"

	"github.com/tulle-mesh/tulle/proxy/balance"
	"github.com/tulle-mesh/tulle/proxy/header"
	"github.com/tulle-mesh/tulle/proxy/metric"
	"github.com/tulle-mesh/tulle/proxy/outcome"
	"github.com/tulle-mesh/tulle/proxy/route"
)

// recordOutcome counts a finished request in its cell, whatever way it ended; it is the only place
// that does.
func (x *exchange) recordOutcome(now time.Time) {
	r := outcome.Request{Outcome: x.outcome, Failed: x.failed, Faulted: x.fault != 0,
		Limited: x.why == outcome.RateLimited || x.why == outcome.ClusterLimit,
		Latency: now.Sub(x.start)}
	r.Read, r.Written = x.c.side.farBytes(x)
	x.because(x.outcome.Reason(), "")
	x.c.f.reasons.Count(x.why)
	x.show(r)
	if x.outcome == outcome.Refused {
		// The caller's proxy tries elsewhere and counts the request there; here nobody was asked.
		return
	}
	c := x.record()
	r.Count(c)
	x.why.Count(c)
}

// because says why the request does not go well, in one word and in many. The first word counts:
// the others follow from it.
func (x *exchange) because(why outcome.Reason, words string) {
	if x.why == outcome.Plain {
		x.why = why
		x.seen.Because(why, words)
	}
}

// becausePeer takes the reason from a verified peer's proxy, whose answer this is.
func (x *exchange) becausePeer(said string) { x.because(outcome.Said(said)) }

// look begins the request's record, if somebody looks. The head is as it came.
func (x *exchange) look(head []hpack.HeaderField) {
	if !x.c.f.Seen.Looks() {
		return
	}
	x.seen = x.c.f.Seen.BeginRequest(x.start, x.req, x.hop(head))
	if x.seen == nil {
		return
	}
	x.seen.Asked(&x.c.texts, header.Value(x.req, ":method"), header.Value(x.req, ":path"),
		header.Value(x.req, ":authority"))
	x.seen.Named(&x.c.texts, header.Value(x.req, "user-agent"),
		header.Value(x.req, "x-request-id"))
	x.seen.HTTP1, x.seen.ClientAddress = x.http1, x.c.from()
}

// hop is what the caller's proxy's record of the request is known by; 0: there is none.
func (x *exchange) hop(head []hpack.HeaderField) uint64 {
	if !x.c.refuses() { // nobody else is believed
		return 0
	}
	said := header.Value(head, header.Hop)
	if said == "" { // an error would be an allocation
		return 0
	}
	n, err := strconv.ParseUint(said, 16, 64)
	if err != nil {
		return 0
	}
	return n
}

// setOut lets whoever looks know where the request goes, before it does.
func (x *exchange) setOut() {
	if x.c.own() && x.seen.Pickable() {
		x.seen.Labels = x.c.side.labels(x, nil)
		x.seen.SetsOut()
	}
}

// tellHop has the record of the proxy at e known by the same as this one's.
func (x *exchange) tellHop(fields []hpack.HeaderField, e *balance.Endpoint) []hpack.HeaderField {
	if x.seen == nil || x.seen.Hop == 0 || !e.Meshed() {
		return fields
	}
	return append(fields,
		hpack.HeaderField{Name: header.Hop, Value: strconv.FormatUint(x.seen.Hop, 16)})
}

// show gives the request's record away: nobody else has seen how it ended.
func (x *exchange) show(r outcome.Request) {
	if x.seen == nil {
		return
	}
	x.seen.Labels = x.c.side.labels(x, x.reached)
	if x.reached != nil {
		x.seen.Endpoint = x.reached.Address
	}
	x.seen.Tries, x.seen.Upgraded, x.seen.Limit = int(x.tries), x.tunnel, x.limit
	x.seen.RequestBytes, x.seen.ResponseBytes = x.reqBytes, x.respBytes
	x.seen.End(r)
	x.seen = nil
}

// refusedFor is why a request is not admitted, in one word.
func (x *exchange) refusedFor() outcome.Reason {
	if x.port == nil { // outbound
		return outcome.NoRoute
	}
	return outcome.Denied
}

// count records one try, once.
func (a *attempt) count(failed bool) {
	if a.counted {
		return
	}
	a.counted = true
	if failed {
		a.sampleFailure()
	}
	x := a.x
	c := x.cell(a.endpoint)
	c.Tries.Add(1)
	c.CountNear(a.endpoint.Nearness())
	if failed {
		c.FailedTries.Add(1)
	}
}

// record is the cell of the exchange as a whole: of the endpoint that it ended at.
func (x *exchange) record() *metric.Cell { return x.cell(x.reached) }

// cell finds the cell for the exchange's rule and protocol at e.
func (x *exchange) cell(e *balance.Endpoint) *metric.Cell {
	k := cellKey{rule: x.rule, protocol: x.protocol()}
	if e == nil { // else it has one
		k.backend = x.backend
	}
	return x.c.side.cells(x.c, e).Get(k, func() *metric.Cell {
		return x.c.f.Metrics.Cell(x.c.side.labels(x, e))
	})
}

// cellKey tells cells of one endpoint, or of one connection, apart.
type cellKey struct {
	rule     *route.Rule
	protocol string
	backend  *route.Backend
}

type cellCache = metric.Cells[cellKey]

func (x *exchange) protocol() string {
	switch {
	case x.grpc:
		return "grpc"
	case x.c.http1:
		return "http/1"
	}
	return "http/2"
}
