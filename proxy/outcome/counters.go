package outcome

import (
	"sync/atomic"

	"github.com/tulle-mesh/tulle/proxy/metric"
)

// Counters count what did not go plainly well, by reason. A reason has no series before its first.
type Counters struct {
	registry *metric.Registry
	of       [reasons]atomic.Pointer[metric.Counter]
}

// NewCounters are those of a registry.
func NewCounters(r *metric.Registry) *Counters { return &Counters{registry: r} }

// Count counts a reason; Plain is none.
func (c *Counters) Count(why Reason) {
	if why == Plain || why >= reasons {
		return
	}
	n := c.of[why].Load()
	if n == nil { // who else asks now gets the same
		n = c.registry.Counter(metric.OutcomeReason, why.String())
		c.of[why].Store(n)
	}
	n.Inc()
}
