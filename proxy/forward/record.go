package forward

import (
	"time"

	"github.com/tulle-mesh/tulle/proxy/balance"
	"github.com/tulle-mesh/tulle/proxy/metric"
	"github.com/tulle-mesh/tulle/proxy/outcome"
	"github.com/tulle-mesh/tulle/proxy/route"
)

// recordOutcome counts a finished request in its cell, whatever way it ended; it is the only place
// that does.
func (x *exchange) recordOutcome(now time.Time) {
	if x.outcome == outcome.Refused {
		// The caller's proxy tries elsewhere and counts the request there; here nobody was asked.
		return
	}
	r := outcome.Request{Outcome: x.outcome, Failed: x.failed, Latency: now.Sub(x.start)}
	r.Read, r.Written = x.c.side.farBytes(x)
	r.Count(x.record())
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
	if failed {
		c.FailedTries.Add(1)
	}
}

// record is the cell of the exchange as a whole: of the endpoint that it ended at.
func (x *exchange) record() *metric.Cell { return x.cell(x.reached) }

// cell finds the cell for the exchange's rule and protocol at e.
func (x *exchange) cell(e *balance.Endpoint) *metric.Cell {
	return x.c.side.cells(x.c, e).Get(cellKey{x.rule, x.protocol()}, func() *metric.Cell {
		return x.c.f.Metrics.Cell(x.c.side.labels(x, e))
	})
}

// cellKey tells cells of one endpoint, or of one connection, apart.
type cellKey struct {
	rule     *route.Rule
	protocol string
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
