package balance

import (
	"sync/atomic"

	"github.com/tulle-mesh/tulle/proxy/metric"
)

// Bounds limit what this proxy has of a cluster at a time, whatever its endpoints (Envoy's circuit
// breakers). 0: no limit but those of each endpoint.
type Bounds [metric.Limits]int64

// occupied is what it has.
type occupied [metric.Limits]atomic.Int64

// Occupy takes a place within a limit. taken: it is to be given back by Vacate. Neither taken nor
// full: there is no limit, so nobody counts.
func (c *Cluster) Occupy(b metric.Limit) (taken, full bool) {
	p := c.params()
	if p == nil || p.Bounds == nil || p.Bounds[b] == 0 {
		return false, false
	}
	if c.occupied[b].Add(1) > p.Bounds[b] {
		c.occupied[b].Add(-1)
		p.Counts.Overflow(b)
		return false, true
	}
	return true, false
}

// Vacate gives back what Occupy took.
func (c *Cluster) Vacate(b metric.Limit) { c.occupied[b].Add(-1) }

// params are nil before destination has said them.
func (c *Cluster) params() *Params {
	if s := c.set.Load(); s != nil {
		return &s.Params
	}
	return nil
}

// Connect counts one more connection to the endpoint, or says that its cluster has as many as it
// may. The first one to an endpoint is free (as it is with Envoy): without it nobody could be
// asked. Unlike other places connections are counted without a limit too, for they outlive it.
func (e *Endpoint) Connect(first bool) bool {
	n := e.cluster.occupied[metric.Connections].Add(1)
	p := e.cluster.params()
	if first || p == nil || p.Bounds == nil {
		return true
	}
	if most := p.Bounds[metric.Connections]; most > 0 && n > most {
		e.Disconnect()
		p.Counts.Overflow(metric.Connections)
		return false
	}
	return true
}

// Disconnect ends what Connect began.
func (e *Endpoint) Disconnect() { e.cluster.Vacate(metric.Connections) }
