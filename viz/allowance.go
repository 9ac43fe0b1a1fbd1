package viz

import (
	"math"
	"slices"
	"time"
)

// What a proxy is believed to do at all. A pod may say anything of its own calls, and what it says
// is part of its callees' figures; it must not drown what all others say.
const (
	// mostPerSecond bounds requests, and all that is counted with them: several times what a proxy
	// does on the fastest machine.
	mostPerSecond = 1_000_000
	// mostBytesPerSecond bounds either way: a network of 400 Gb/s.
	mostBytesPerSecond = 50_000_000_000
	// mostOpen bounds a series' open connections: what Linux lets a process have (fs.nr_open).
	mostOpen = 1 << 20
	// mostEndpoints bounds a backend's endpoints, of which no Service has nearly as many.
	mostEndpoints = 1 << 20
)

// believe is how much of the time that the proxy says has passed since its last report is believed:
// its clock may be before ours by maxGap, as that of one whose reports were late is.
func (p *process) believe(now time.Time, gap time.Duration) time.Duration {
	if p.until.IsZero() { // nobody knows for how long its pod has been there
		p.until = now
		return max(gap, time.Second)
	}
	ahead := p.until.Sub(now)
	if ahead > maxGap || now.Before(p.seen) {
		ahead = 0 // our clock was set back
	}
	believed := min(gap, maxGap-ahead)
	p.until = now.Add(max(0, ahead+believed))
	return believed
}

// mostIn is the most by which a proxy's counters grow in a time, all series together.
func mostIn(d time.Duration) (most counters) {
	for i := range most {
		perSecond := float64(mostPerSecond)
		if i == readBytes || i == writtenBytes {
			perSecond = mostBytesPerSecond
		}
		most[i] = uint64(min(d.Seconds()*perSecond, maxCounter))
	}
	most[latencySum] = math.MaxUint64 // a request that ends may have lasted for days
	return most
}

// trim takes from the growth of a proxy's series what is more than it can do in a time, and reports
// whether that was any. What is taken is still to come: with the next report it is new again.
func trim(changes []change, d time.Duration) (trimmed bool) {
	most := mostIn(d)
	latencies := most[requests]
	for i := range changes {
		delta := &changes[i].delta
		for j := range delta.counters {
			trimmed = spend(&most[j], &delta.counters[j]) || trimmed
		}
		for j := range delta.buckets {
			trimmed = spend(&latencies, &delta.buckets[j].count) || trimmed
		}
		delta.buckets = slices.DeleteFunc(delta.buckets,
			func(b bucket) bool { return b.count == 0 })
	}
	return trimmed
}

// spend lowers a number to what is left, and takes it from there. It reports whether that was less.
func spend(left, n *uint64) bool {
	had := *n
	*n = min(*n, *left)
	*left -= *n
	return *n < had
}
