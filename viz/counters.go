package viz

import (
	"fmt"
	"math"

	"github.com/tulle-mesh/tulle/proxy/outcome"
	"github.com/tulle-mesh/tulle/viz/api"
)

// The cumulative counters of a series, as indexes of counters.
const (
	requests = iota
	failures
	tries
	failedTries
	retries
	retriesRefused
	timeouts
	connectionsOpened
	readBytes
	writtenBytes
	latencySum
	faultedRequests
	limitedRequests
	dryRefusedRequests
	triesInZone
	triesInRegion
	triesFarther
	// from here on what did not go plainly well, by reason; in the place of Plain are words that
	// this viz does not know
	reasonCounts
	counterCount = reasonCounts + outcome.Reasons
)

type counters [counterCount]uint64

func countersOf(s *api.Series) counters {
	c := counters{
		requests: s.Requests, failures: s.Failures, tries: s.Tries, failedTries: s.FailedTries,
		retries:        s.Retries,
		retriesRefused: s.RetriesRefused, timeouts: s.Timeouts,
		connectionsOpened: s.ConnectionsOpened,
		readBytes:         s.ReadBytes, writtenBytes: s.WrittenBytes, latencySum: s.LatencySumUs,
		faultedRequests: s.Faulted, limitedRequests: s.Limited, dryRefusedRequests: s.DryRefused,
		triesInZone: s.TriesInZone, triesInRegion: s.TriesInRegion, triesFarther: s.TriesFarther,
	}
	for _, r := range s.Reasons {
		i := reasonCounts + reasonNumbers[r.GetReason()]
		c[i] = addUp(c[i], r.GetCount())
	}
	return c
}

// reasonNumbers are the reasons that this viz knows, by their words.
var reasonNumbers = numberReasons()

func numberReasons() map[string]int {
	out := make(map[string]int, outcome.Reasons)
	for i := 1; i < outcome.Reasons; i++ {
		out[outcome.Reason(i).String()] = i
	}
	return out
}

// reasonWord is the word of one of the reasonCounts.
func reasonWord(number int) string {
	if number == 0 {
		return otherName
	}
	return outcome.Reason(number).String()
}

// addUp does not overflow.
func addUp(a, b uint64) uint64 {
	if a+b < a {
		return math.MaxUint64
	}
	return a + b
}

// add does not overflow: a few proxies that lie must not turn a sum of all around.
func (c *counters) add(d *counters) {
	for i, v := range d {
		c[i] = addUp(c[i], v)
	}
}

// bucket is one occupied bucket of a latency histogram, in the scheme of proxy/metric.
type bucket struct {
	index uint16
	count uint64
}

// sample is a series' counters and histogram, either cumulative or as a difference. Buckets ascend.
type sample struct {
	counters counters
	buckets  []bucket
}

func sampleOf(s *api.Series) sample {
	out := sample{counters: countersOf(s), buckets: make([]bucket, len(s.Bucket))}
	for i, index := range s.Bucket {
		out.buckets[i] = bucket{uint16(index), s.BucketCount[i]}
	}
	return out
}

// reset makes it zero, and keeps its memory.
func (s *sample) reset() { s.counters, s.buckets = counters{}, s.buckets[:0] }

func (s *sample) zero() bool { return len(s.buckets) == 0 && s.counters == counters{} }

// since is what was added to before to give s. A counter that fell was forged or is broken: within
// one process it cannot.
func (s *sample) since(before *sample) (sample, error) {
	var d sample
	for i, now := range s.counters {
		if now < before.counters[i] {
			return d, fmt.Errorf("counter %d fell from %d to %d", i, before.counters[i], now)
		}
		d.counters[i] = now - before.counters[i]
	}
	old := before.buckets
	for _, b := range s.buckets {
		for len(old) > 0 && old[0].index < b.index {
			old = old[1:]
		}
		var was uint64
		if len(old) > 0 && old[0].index == b.index {
			was = old[0].count
		}
		if b.count < was {
			return d, fmt.Errorf("latency bucket %d fell from %d to %d", b.index, was, b.count)
		}
		if b.count > was {
			d.buckets = append(d.buckets, bucket{b.index, b.count - was})
		}
	}
	return d, nil
}

// add merges a difference in.
func (s *sample) add(d *sample) {
	s.counters.add(&d.counters)
	if len(d.buckets) > 0 {
		s.buckets = mergeBuckets(s.buckets, d.buckets)
	}
}

// merge adds a difference that subtract is to take out again: it turns around at the same number.
func (s *sample) merge(d *sample) {
	for i, v := range d.counters {
		s.counters[i] += v
	}
	if len(d.buckets) > 0 {
		s.buckets = mergeBuckets(s.buckets, d.buckets)
	}
}

// subtract takes out what merge has added.
func (s *sample) subtract(d *sample) {
	for i, v := range d.counters {
		s.counters[i] -= v
	}
	left, out := d.buckets, s.buckets[:0]
	for _, b := range s.buckets {
		for len(left) > 0 && left[0].index < b.index {
			left = left[1:]
		}
		if len(left) > 0 && left[0].index == b.index {
			b.count -= left[0].count
		}
		if b.count > 0 {
			out = append(out, b)
		}
	}
	s.buckets = out
}

func mergeBuckets(a, b []bucket) []bucket {
	if bucketsWithin(b, a) {
		return a
	}
	out := make([]bucket, 0, len(a)+len(b))
	for len(a) > 0 && len(b) > 0 {
		switch {
		case a[0].index < b[0].index:
			out, a = append(out, a[0]), a[1:]
		case a[0].index > b[0].index:
			out, b = append(out, b[0]), b[1:]
		default:
			out = append(out, bucket{a[0].index, a[0].count + b[0].count})
			a, b = a[1:], b[1:]
		}
	}
	return append(append(out, a...), b...)
}

// bucketsWithin adds b into a in place when a has every bucket of b already, which is the steady
// state; otherwise it changes nothing.
func bucketsWithin(b, a []bucket) bool {
	i := 0
	for _, x := range b {
		for i < len(a) && a[i].index < x.index {
			i++
		}
		if i == len(a) || a[i].index != x.index {
			return false
		}
	}
	i = 0
	for _, x := range b {
		for a[i].index < x.index {
			i++
		}
		a[i].count += x.count
	}
	return true
}
