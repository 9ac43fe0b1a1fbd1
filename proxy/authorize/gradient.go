package authorize

import (
	"math"
	"time"

	"github.com/tulle-mesh/tulle/proxy/metric"
)

// gradient finds how many requests an application takes at a time, by what they take: Envoy's
// gradient controller (source/extensions/filters/http/adaptive_concurrency of envoyproxy/envoy),
// which is a variation of Netflix's ("Performance Under Load", 2018). At the end of each window
//
//	gradient = (least + buffer) / sample, between 0.5 and 2
//	limit    = gradient * limit + sqrt(gradient * limit)
//
// where sample is a percentile of what the window's requests took, and least is the same of an
// application that has little to do. The root makes the limit grow as long as that costs nothing.
// Netflix's Gradient2 has a long average instead of least, which an overload that lasts makes its
// own: its limit grows then for as long as the overload lasts.
//
// Three things are not Envoy's.
//
// A limit of which less than half is used is not judged (Gradient2 has that rule): what requests
// take then is not its doing, and it would grow without a bound.
//
// Envoy measures least at every interval, by a limit of min for as long as that takes, so that
// callers are refused whom nothing was in the way of, be it the first of an application that
// started or the first after a quiet hour. Here nobody is held back to measure unless the limit is
// in use, nor where the requests of windows in which it was not have just confirmed what is known
// (BBR has its ProbeRTT for the same case alone: Cardwell et al., 2016). The first least is what
// the first requests take.
//
// A measurement takes a twentieth of the time at most, and ends if there are too few requests.
//
// Time is an argument. Its methods need the lock of whoever has it.
type gradient struct {
	bounds
	limit int64
	least time.Duration // 0: not known
	due   time.Time     // to measure it anew

	recent samples   // of this window, or of the measurement under way
	peak   int64     // requests under way at a time, in this window
	ends   time.Time // this window

	calm  samples // of windows that did not use the limit, since least was last measured
	atMin int     // windows in a row whose limit was min, before and after

	measuring bool
	began     time.Time // the last measurement: what was let in before says nothing of its limit
	deferred  int64     // the limit that holds again after it
	jitter    func() float64
}

// bounds are what is said of a gradient.
type bounds struct {
	percentile float64       // of samples, 0 to 1
	window     time.Duration // at least; with few requests it is longer
	min, max   int64         // of the limit
	buffer     float64       // of least
	every      time.Duration // least is measured
	requests   int           // for that
}

const (
	// firstLimit is before anything is known: enough for an application that starts, and little
	// enough to be reached by an overload. Netflix begins with 20.
	firstLimit = 32
	// fewest requests make a window: Netflix's WindowedLimit.
	fewest = 10
	// stuck windows at min may mean that least is wrong (Envoy's number).
	stuck = 5
	// sooner is how many times sooner than the others the second measurement comes: an
	// application's first answers are often its slowest.
	sooner = 6
	// spread is by how much of it each interval is longer at random, so that an application's pods
	// do not measure together (Envoy's default).
	spread = 0.15
	// rest is how many times as long as a measurement took the next one waits.
	rest = 19
	// patience is how much of the interval a measurement may take.
	patience = 0.5
)

func newGradient(b bounds, jitter func() float64) gradient {
	return gradient{
		bounds: b, limit: min(max(firstLimit, b.min), b.max), jitter: jitter,
	}
}

// follow has new bounds count from now on. What was learned stays.
func (g *gradient) follow(b bounds) {
	g.bounds = b
	g.limit = g.within(g.limit)
	g.deferred = g.within(g.deferred)
}

func (g *gradient) within(limit int64) int64 { return min(max(limit, g.min), g.max) }

// observe takes what a request took that was let in at began and is over now, when so many were
// under way with it.
func (g *gradient) observe(began, now time.Time, underWay int64) {
	if began.Before(g.began) {
		return
	}
	g.recent.add(now.Sub(began))
	g.peak = max(g.peak, underWay)
	switch {
	case g.measuring:
		if g.recent.n >= g.requests {
			g.measured(now)
		}
	case g.recent.n >= fewest && !now.Before(g.ends):
		g.endWindow(now)
	}
}

func (g *gradient) endWindow(now time.Time) {
	used := g.least > 0 && 2*g.peak >= g.limit
	if used {
		g.adjust(g.recent.quantile(g.percentile))
	} else {
		g.calm.take(&g.recent)
	}
	g.nextWindow(now)
	switch due := !now.Before(g.due); {
	case g.least == 0:
		g.learnFirst(now)
	case due && g.confirm():
		g.schedule(now, g.every)
	case used && (due || g.atMin >= stuck):
		g.measure(now)
	}
}

func (g *gradient) nextWindow(now time.Time) {
	g.recent, g.peak, g.ends = samples{}, 0, now.Add(g.window)
}

// adjust is the formula.
func (g *gradient) adjust(sample time.Duration) {
	slope := float64(g.bearable()) / float64(max(sample, 1))
	limit := float64(g.limit) * min(max(slope, 0.5), 2)
	next := g.within(int64(limit + math.Sqrt(limit)))
	if g.limit == g.min && next == g.min {
		g.atMin++
	} else {
		g.atMin = 0
	}
	g.limit = next
}

// bearable is what a request may take.
func (g *gradient) bearable() time.Duration {
	return g.least + time.Duration(float64(g.least)*g.buffer)
}

func (g *gradient) learnFirst(now time.Time) {
	if g.calm.n >= g.requests {
		g.least = g.calm.quantile(g.percentile)
		g.schedule(now, g.every/sooner)
	}
}

// confirm reports whether what requests took while the limit was not used is what is known, or
// less. More may be the application, or too high a limit: only a measurement tells.
func (g *gradient) confirm() bool {
	if g.calm.n < g.requests {
		return false
	}
	took := g.calm.quantile(g.percentile)
	if took > g.bearable() {
		g.calm = samples{} // what follows may be less again
		return false
	}
	g.least = min(g.least, took)
	return true
}

// schedule says when to measure next.
func (g *gradient) schedule(now time.Time, in time.Duration) {
	g.calm, g.atMin = samples{}, 0
	g.due = now.Add(in + time.Duration(g.jitter()*spread*float64(in)))
}

// measure holds requests back to see what they take then.
func (g *gradient) measure(now time.Time) {
	g.measuring, g.began = true, now
	g.deferred, g.limit = g.limit, g.min
}

// measured ends a measurement.
func (g *gradient) measured(now time.Time) {
	if g.recent.n >= fewest {
		g.least = g.recent.quantile(g.percentile)
	}
	g.measuring, g.limit = false, g.deferred
	g.schedule(now, max(g.every, rest*now.Sub(g.began)))
	g.nextWindow(now)
}

// giveUp ends a measurement for which the requests do not come. A burst after an hour of quiet is
// not to be measured by.
func (g *gradient) giveUp(now time.Time) {
	if g.measuring && now.Sub(g.began) > time.Duration(patience*float64(g.every)) {
		g.measured(now)
	}
}

// samples are times, by package metric's buckets, of which none is wider than an eighth of what it
// holds.
type samples struct {
	n     int
	count [metric.Buckets]uint64
}

func (s *samples) add(d time.Duration) {
	s.n++
	s.count[metric.Index(d)]++
}

func (s *samples) take(more *samples) {
	s.n += more.n
	for i, n := range more.count {
		s.count[i] += n
	}
}

func (s *samples) quantile(q float64) time.Duration { return metric.Quantile(s.count[:], q) }
