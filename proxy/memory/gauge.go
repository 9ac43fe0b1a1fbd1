package memory

import (
	"math"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"sync/atomic"
	"time"
)

const (
	// shedAt is the share of the limit from which work is refused. Beyond it the garbage collector
	// would take more and more of the CPU.
	shedAt = 0.95
	// liveAt is the share that must be in use by then. The collector lets garbage grow up to the
	// limit where much is in use, and takes it away when that is reached.
	liveAt = 0.85
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
	full      atomic.Bool
}

// started makes an answer's time monotonic: where the wall clock is set back, a process that was
// full for a moment must not refuse work until the clock is where it was.
var started = time.Now()

// Full reports whether new work must be refused to stay within the limit.
func (g *Gauge) Full(now time.Time) bool {
	t := int64(now.Sub(started))
	if next := g.next.Load(); t >= next && g.next.CompareAndSwap(next, t+int64(poll)) {
		g.full.Store(full() && !g.collect(t))
	}
	return g.full.Load()
}

// collect reports whether a collection makes room. What the last one found in use may be garbage
// since, and a process that refuses all work allocates nothing that would bring the next.
func (g *Gauge) collect(t int64) bool {
	if last := g.collected.Load(); last != 0 && t-last < int64(collectEvery) {
		return false
	}
	g.collected.Store(t)
	runtime.GC()
	return !full()
}

// Limit is GOMEMLIMIT in bytes; without one it is math.MaxInt64.
func Limit() int64 { return debug.SetMemoryLimit(-1) }

func full() bool {
	limit := Limit()
	if limit == math.MaxInt64 {
		return false
	}
	used, live := usage()
	return float64(used) > shedAt*float64(limit) && float64(live) > liveAt*float64(limit)
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
