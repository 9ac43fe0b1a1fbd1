package forward

import (
	"github.com/tulle-mesh/tulle/proxy/metric"
	"github.com/tulle-mesh/tulle/proxy/outcome"
)

// occupy takes a place within a limit of the request's cluster, which it has until it ends. It is
// false if there is none.
func (x *exchange) occupy(b metric.Limit) bool {
	if x.occupies&(1<<b) != 0 {
		return true
	}
	taken, full := x.cluster.Occupy(b)
	if taken {
		x.occupies |= 1 << b
	}
	return !full
}

// vacate gives back what occupy took.
func (x *exchange) vacate(b metric.Limit) {
	if x.occupies&(1<<b) != 0 {
		x.occupies &^= 1 << b
		x.cluster.Vacate(b)
	}
}

// mayWait takes a place among those that wait for the cluster, if there is one.
func (a *attempt) mayWait() bool {
	if a.pending {
		return true
	}
	taken, full := a.x.cluster.Occupy(metric.Pending)
	a.pending = taken
	return !full
}

// waitsNoMore gives back what mayWait took.
func (a *attempt) waitsNoMore() {
	if a.pending {
		a.pending = false
		a.x.cluster.Vacate(metric.Pending)
	}
}

// overLimit refuses a request at once. It is not for us to send again: another endpoint is of the
// same cluster.
func (x *exchange) overLimit(b metric.Limit, batch *batch) {
	words := "too many requests are under way to " + x.cluster.Name
	if b == metric.Pending {
		words = "too many requests wait for " + x.cluster.Name
	}
	x.fail(503, outcome.ClusterLimit, words, batch)
}
