package memory

import (
	"runtime"
	"runtime/debug"
	"runtime/metrics"
)

// Collector says how much garbage may lie beside a live heap.
type Collector struct {
	MaxGarbage  uint64 // bytes, where GOGC stays between the two
	Least, Most int    // GOGC
}

// stepGOGC is what GOGC is a multiple of: each change stops the world for a moment.
const stepGOGC = 10

// Follow sets GOGC by what each collection has left, for the rest of the process's life.
func (c Collector) Follow() { (&follower{Collector: c}).adapt() }

// follower is garbage itself, so that each collection finds it.
type follower struct {
	Collector
	percent int
}

// adapt runs after each collection, as f's finalizer: nothing else refers to f.
func (f *follower) adapt() {
	live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(live)
	percent := f.percentFor(live[0].Value.Uint64())
	if percent != f.percent {
		f.percent = percent
		debug.SetGCPercent(percent)
	}
	runtime.SetFinalizer(f, (*follower).adapt)
}

func (c Collector) percentFor(live uint64) int {
	percent := 100 * c.MaxGarbage / max(live, 1)
	return int(min(max(percent, uint64(c.Least)), uint64(c.Most))) / stepGOGC * stepGOGC
}
