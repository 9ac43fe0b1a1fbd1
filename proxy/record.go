package proxy

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/tulle-mesh/tulle/proxy/metric"
)

// outcome is how an exchange ended.
type outcome uint8

const (
	outcomeNone outcome = iota
	outcomeAnswered
	outcomeCancelled // by the caller
	outcomeReset     // the backend broke off a response
	outcomeRefused   // passed back as not delivered
	outcomeTimeout
)

// recordOutcome counts a finished request in its cell, whatever way it ended; record.go is the only place that does.
func (x *exchange) recordOutcome(now time.Time) {
	if x.outcome == outcomeRefused {
		// The caller's proxy tries elsewhere and counts the request there; here nobody was asked.
		return
	}
	c := x.record()
	c.Requests.Add(1)
	if x.failed {
		c.Failures.Add(1)
	}
	if x.outcome == outcomeTimeout {
		c.Timeouts.Add(1)
	}
	c.ObserveLatency(now.Sub(x.start))
	c.ReadBytes.Add(x.peerRead())
	c.WrittenBytes.Add(x.peerWritten())
}

// peerRead is what came from the other end of the mesh: the caller's proxy for inbound, the backend for outbound.
func (x *exchange) peerRead() uint64 {
	if x.c.inbound {
		return x.reqBytes
	}
	return x.respBytes
}

func (x *exchange) peerWritten() uint64 {
	if x.c.inbound {
		return x.respBytes
	}
	return x.reqBytes
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
func (x *exchange) cell(e *endpoint) *metric.Cell {
	k := cellKey{rule: x.rule, protocol: x.protocol()}
	if x.c.inbound || e == nil {
		return x.c.cells.get(k, func() *metric.Cell { return x.c.newCell(x, nil) })
	}
	return e.cells.get(k, func() *metric.Cell { return x.c.newCell(x, e) })
}

func (x *exchange) protocol() string {
	switch {
	case x.grpc:
		return "grpc"
	case x.c.http1:
		return "http/1"
	}
	return "http/2"
}

// cellKey tells cells of one endpoint, or of one connection, apart.
type cellKey struct {
	rule     *rule
	protocol string
}

// maxCachedCells bounds a cellCache: rules are new after each change of a route, and the cells of old ones are dropped.
const maxCachedCells = 64

// cellCache remembers resolved cells: read without a lock, copied to be changed.
type cellCache struct {
	mu sync.Mutex // serialises writers
	m  atomic.Pointer[map[cellKey]*metric.Cell]
}

func (c *cellCache) get(k cellKey, resolve func() *metric.Cell) *metric.Cell {
	if m := c.m.Load(); m != nil {
		if cell := (*m)[k]; cell != nil {
			return cell
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	next := map[cellKey]*metric.Cell{}
	if m := c.m.Load(); m != nil && len(*m) < maxCachedCells {
		for k, v := range *m {
			next[k] = v
		}
	}
	cell := resolve()
	next[k] = cell
	c.m.Store(&next)
	return cell
}
