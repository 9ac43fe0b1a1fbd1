package memory

import (
	"math"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"sync/atomic"
	"time"
)

// Level is how near a process is to its limit.
type Level uint32

// The levels. From Full on all work is to be refused: the garbage collector would take more and
// more of the CPU. The levels before it are for work that others can do without.
const (
	Ease Level = iota
	Tight
	Short
	Full
)

// startsAt are the shares of the limit at which levels start.
var startsAt = [...]float64{Tight: 0.85, Short: 0.93, Full: 0.95}

const (
	// garbage is by how much less must be in use at each level. The collector lets garbage grow up
	// to the limit where much is in use, and takes it away when that is reached.
	garbage = 0.10
	// poll is how long an answer holds, for the runtime's figures cost more than a request.
	poll = 100 * time.Millisecond
	// collectEvery bounds what it costs to look for garbage before work is refused.
	collectEvery = time.Second
)

// Gauge remembers for a moment whether the process is near its limit. Its zero value is ready. Any
// goroutine may ask.
type Gauge struct {
	next      atomic.Int64 // when to look again, since started
	collected atomic.Int64 // when it last looked for garbage; 0: never
	level     atomic.Uint32
}

// started makes an answer's time monotonic: where the wall clock is set back, a process that was
// full for a moment must not refuse work until the clock is where it was.
var started = time.Now()

// Full reports whether new work must be refused to stay within the limit.
func (g *Gauge) Full(now time.Time) bool { return g.Level(now) == Full }

// Level is how near the process is to its limit.
func (g *Gauge) Level(now time.Time) Level {
	t := int64(now.Sub(started))
	if next := g.next.Load(); t >= next && g.next.CompareAndSwap(next, t+int64(poll)) {
		l := level()
		if l == Full && g.collect(t) {
			l = level()
		}
		g.level.Store(uint32(l))
	}
	return Level(g.level.Load())
}

// collect looks for garbage, and reports whether it was time to. What the last collection found in
// use may be garbage since, and a process that refuses all work allocates nothing that would bring
// the next.
func (g *Gauge) collect(t int64) bool {
	if last := g.collected.Load(); last != 0 && t-last < int64(collectEvery) {
		return false
	}
	g.collected.Store(t)
	runtime.GC()
	return true
}

// Limit is GOMEMLIMIT in bytes; without one it is math.MaxInt64.
func Limit() int64 { return debug.SetMemoryLimit(-1) }

func level() Level {
	limit := Limit()
	if limit == math.MaxInt64 {
		return Ease
	}
	used, live := usage()
	return levelOf(float64(used)/float64(limit), float64(live)/float64(limit))
}

// levelOf takes what counts towards the limit, and what of that is in use, as shares of it.
func levelOf(used, live float64) Level {
	for l := Full; l > Ease; l-- {
		if used > startsAt[l] && live > startsAt[l]-garbage {
			return l
		}
	}
	return Ease
}

// usage is what counts towards the limit, in bytes, without what the collector has freed already;
// and how much of that was in use when it last looked.
func usage() (used, live uint64) {
	s := []metrics.Sample{
		{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"},
		{Name: "/memory/classes/heap/free:bytes"}, {Name: "/memory/classes/heap/objects:bytes"},
		{Name: "/gc/heap/live:bytes"},
	}
	metrics.Read(s)
	used = s[0].Value.Uint64() - s[1].Value.Uint64() - s[2].Value.Uint64()
	return used, used - s[3].Value.Uint64() + min(s[3].Value.Uint64(), s[4].Value.Uint64())
}
