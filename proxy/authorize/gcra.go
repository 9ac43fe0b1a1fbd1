package authorize

import (
	"math"
	"time"
)

// gcra is the Generic Cell Rate Algorithm (ITU-T I.371, Annex A; ATM Forum Traffic Management 4.0,
// 4.4.2), as the virtual scheduling that is defined there. A bucket's whole state is the
// theoretical arrival time (TAT) of its next request: that of a request which keeps the rate
// exactly. It admits what a bucket would that leaks one request an increment.
//
// Its times are since some moment that is the same for all of them.
type gcra struct {
	increment time.Duration // T: between two requests that keep the rate
	limit     time.Duration // tau: by how much a request may come before its time
}

// newGCRA admits so many requests in a window, of which burst may come at once: that many are
// floor(1 + tau/T) of the algorithm. requests and burst are at least 1.
func newGCRA(requests, burst uint64, window time.Duration) gcra {
	const most = math.MaxInt64 / 4 // 73 years, so that no sum of three overflows
	g := gcra{increment: max(window/time.Duration(requests), 1)}
	g.limit = time.Duration(min(burst-1, most/uint64(g.increment))) * g.increment
	return g
}

// early is how long a request that comes now would have to wait; 0 or less: it conforms.
func (g gcra) early(tat, now time.Duration) time.Duration { return tat - g.limit - now }

// next is the theoretical arrival time after a request that comes now, and conforms.
func (g gcra) next(tat, now time.Duration) time.Duration {
	return max(tat, now) + g.increment
}

// emptiest is the latest theoretical arrival time that this rate comes to. A bucket that another
// rate has left later is as empty as this one's can be, and no emptier.
func (g gcra) emptiest(now time.Duration) time.Duration { return now + g.limit + g.increment }
