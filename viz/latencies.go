package viz

import (
	"slices"

	"github.com/tulle-mesh/tulle/proxy/metric"
)

// latencies are a histogram. It is a list as long as few buckets are in it, for a question may have
// a row for each of tens of thousands of edges.
type latencies struct {
	few []bucket
	all []uint64 // by bucket
}

// fewBuckets is for how many a list takes less than all of them.
const fewBuckets = metric.Buckets / 4

func (l *latencies) add(buckets []bucket) {
	switch {
	case len(buckets) == 0:
	case l.all != nil:
		l.count(buckets)
	case l.few == nil:
		l.few = slices.Clone(buckets)
	default:
		l.few = mergeBuckets(l.few, buckets)
		if len(l.few) > fewBuckets {
			l.spread()
		}
	}
}

// spread makes it one of all buckets.
func (l *latencies) spread() {
	l.all = make([]uint64, metric.Buckets)
	l.count(l.few)
	l.few = nil
}

func (l *latencies) count(buckets []bucket) {
	for _, b := range buckets {
		l.all[b.index] += b.count
	}
}

func (l *latencies) addAll(o *latencies) {
	l.add(o.few)
	if o.all == nil {
		return
	}
	if l.all == nil {
		l.spread()
	}
	for i, n := range o.all {
		l.all[i] += n
	}
}

// counts are all buckets; nil: nothing was measured.
func (l *latencies) counts() []uint64 {
	if l.few == nil {
		return l.all
	}
	one := latencies{all: make([]uint64, metric.Buckets)}
	one.count(l.few)
	return one.all
}

// addPacked adds the buckets of a packed sample: what is behind its counters. scratch is memory for
// it.
func (l *latencies) addPacked(b packed, scratch *[]bucket) {
	if len(b) == 0 {
		return
	}
	if l.all == nil {
		*scratch = b.buckets((*scratch)[:0])
		l.add(*scratch)
		return
	}
	last := uint64(0)
	for len(b) > 0 {
		last += b.next()
		l.all[last] += b.next()
	}
}
