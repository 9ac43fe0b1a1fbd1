package metric

import (
	"math/bits"
	"time"
)

// The bucket scheme is fixed and is the same on the wire, in viz and here. Durations are counted in
// microseconds. The first 8 buckets are one unit wide; after that each power of two is cut into 8
// equal parts, so that a bucket is never wider than an eighth of its lower bound: a quantile is off
// by at most 12.5 %.
const (
	subBits = 3
	sub     = 1 << subBits
	// octaves reach up to 2^32 µs, 71 minutes: longer than any idle connection is kept.
	octaves = 29
	unit    = time.Microsecond

	// Buckets is how many there are. The last one also counts everything longer.
	Buckets = sub + octaves*sub
)

// Index is the bucket that counts d. A negative duration (a clock that was set back) counts as
// none.
func Index(d time.Duration) int {
	if d < 0 {
		return 0
	}
	v := uint64(d / unit)
	if v < sub {
		return int(v)
	}
	shift := bits.Len64(v) - 1 - subBits
	return min(shift*sub+int(v>>shift), Buckets-1)
}

// Bound is the upper bound of bucket i, exclusive: the lower bound of the next one.
func Bound(i int) time.Duration {
	i++
	if i < sub {
		return time.Duration(i) * unit
	}
	shift := i/sub - 1
	return time.Duration(uint64(i%sub+sub)<<shift) * unit
}

// Snap is the bound that is nearest to d: at most a sixteenth of it away, from 8 µs on.
func Snap(d time.Duration) time.Duration {
	i := Index(d)
	if lower := Bound(i - 1); i > 0 && d-lower <= Bound(i)-d {
		return lower
	}
	return Bound(i)
}

// Quantile estimates the q-quantile (0 to 1) of counts, indexed by bucket: linear inside the bucket
// that holds it. It is 0 when nothing was counted. Indexes beyond the scheme are ignored, so that a
// forged report cannot stretch it.
func Quantile(counts []uint64, q float64) time.Duration {
	counts = counts[:min(len(counts), Buckets)]
	var total uint64
	for _, n := range counts {
		total += n
	}
	rank := min(max(q, 0), 1) * float64(total)
	var below float64
	for i, n := range counts {
		if n > 0 && below+float64(n) >= rank {
			lower := Bound(i - 1)
			return lower + time.Duration((rank-below)/float64(n)*float64(Bound(i)-lower))
		}
		below += float64(n)
	}
	return 0
}
