package metric

import (
	"sync/atomic"
	"time"
)

// Cell holds the counters of one series. All only go up, but for ConnectionsOpen. A Cell must not
// be copied.
type Cell struct {
	Requests          atomic.Uint64 // ended, as the caller saw them
	Failures          atomic.Uint64 // of Requests: not a success by the route's class of response
	Tries             atomic.Uint64 // outbound: what was really sent, retries and hedges included
	FailedTries       atomic.Uint64
	Retries           atomic.Uint64
	RetriesRefused    atomic.Uint64 // wanted, but beyond the budget; hedges too
	Hedges            atomic.Uint64
	Timeouts          atomic.Uint64
	Faulted           atomic.Uint64 // of Requests: delayed or answered with an error on purpose
	Limited           atomic.Uint64 // of Requests: refused by a rate limit or a cluster's limit
	DryRefused        atomic.Uint64 // requests that a policy would refuse, were it no dry run
	ConnectionsOpened atomic.Uint64
	ConnectionsOpen   atomic.Uint64 // a gauge: use OpenConnection and CloseConnection
	ReadBytes         atomic.Uint64 // from the peer
	WrittenBytes      atomic.Uint64 // to the peer

	near [nearnesses - 1]atomic.Uint64 // of Tries

	// latency is made by the first observation, for it is 2 KB and a series of TCP needs none.
	latency atomic.Pointer[latency]
	// reasons is made by the first request that does not go plainly well.
	reasons atomic.Pointer[[MaxReasons]atomic.Uint64]
	// exemplar is the last request whose spans are exported.
	exemplar atomic.Pointer[Exemplar]
}

// Exemplar is a request that was counted, and whose trace shows what it was.
type Exemplar struct {
	Trace   [16]byte
	Span    [8]byte
	Latency time.Duration
}

// Exemplar is the last that was given; nil: none was.
func (c *Cell) Exemplar() *Exemplar { return c.exemplar.Load() }

type latency struct {
	sum    atomic.Uint64 // nanoseconds
	bucket [Buckets]atomic.Uint64
}

// ObserveLatency records how long one request took.
func (c *Cell) ObserveLatency(d time.Duration) {
	l := c.latency.Load()
	if l == nil {
		l = c.makeLatency()
	}
	l.bucket[Index(d)].Add(1)
	l.sum.Add(uint64(max(d, 0)))
}

func (c *Cell) makeLatency() *latency {
	c.latency.CompareAndSwap(nil, new(latency))
	return c.latency.Load()
}

// CountReason counts a request or an opaque connection that did not go plainly well, by the number
// of its reason, which is less than MaxReasons.
func (c *Cell) CountReason(number uint8) {
	r := c.reasons.Load()
	if r == nil {
		c.reasons.CompareAndSwap(nil, new([MaxReasons]atomic.Uint64))
		r = c.reasons.Load()
	}
	r[min(number, MaxReasons-1)].Add(1)
}

// EachReason calls f for every reason that was counted, by its number.
func (c *Cell) EachReason(f func(number uint8, n uint64)) {
	r := c.reasons.Load()
	if r == nil {
		return
	}
	for i := range r {
		if n := r[i].Load(); n > 0 {
			f(uint8(i), n)
		}
	}
}

// Latency copies the histogram into counts and returns how many observations that is. Concurrent
// recording goes on, so the sum may be ahead of the counts by the observations of a moment.
func (c *Cell) Latency(counts *[Buckets]uint64) (total uint64) {
	l := c.latency.Load()
	if l == nil {
		clear(counts[:])
		return 0
	}
	for i := range counts {
		counts[i] = l.bucket[i].Load()
		total += counts[i]
	}
	return total
}

// LatencySum is all observed latencies added up.
func (c *Cell) LatencySum() time.Duration {
	if l := c.latency.Load(); l != nil {
		return time.Duration(l.sum.Load())
	}
	return 0
}

// OpenConnection counts a connection in; the caller counts it out with CloseConnection.
func (c *Cell) OpenConnection() {
	c.ConnectionsOpened.Add(1)
	c.ConnectionsOpen.Add(1)
}

// CloseConnection ends what OpenConnection began.
func (c *Cell) CloseConnection() { c.ConnectionsOpen.Add(^uint64(0)) }

// activity is a number that changes with each recording. It means nothing: it is only compared with
// what it was before.
func (c *Cell) activity() uint64 {
	return c.Requests.Load() + c.Tries.Load() + c.RetriesRefused.Load() + c.Timeouts.Load() +
		c.ConnectionsOpened.Load() + c.ReadBytes.Load() + c.WrittenBytes.Load() +
		c.DryRefused.Load()
}
