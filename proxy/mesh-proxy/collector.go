package main

import (
	"runtime"
	"runtime/debug"
	"runtime/metrics"
)

// GOGC trades memory for CPU. The live heap of a busy proxy is a few MB, and to let the heap grow
// to three times that costs twice those MB. GOGC=300 was measured when a request left 1 KB: the p99
// over two hops of HTTP/1 was some 3 % lower, but HTTP/2 over one hop lost 5 % of its requests,
// because a larger heap leaves the processor's cache. A live heap is large when many callers wait.
// With GOGC=200 most of the memory would be garbage then, and an attack by a hundred connections
// would cost three times what it holds.
//
// GOGC and GOMEMLIMIT in the environment win.
const (
	maxGarbage = 12 << 20 // of a heap between 6 and 24 MiB
	mostGOGC   = 200
	leastGOGC  = 50
	stepGOGC   = 10 // each change stops the world for a moment
)

// collector sets GOGC by what the last collection left.
type collector struct{ percent int }

// adapt runs after each collection, as c's finalizer: nothing else refers to c.
func (c *collector) adapt() {
	live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(live)
	percent := gogc(live[0].Value.Uint64())
	if percent != c.percent {
		c.percent = percent
		debug.SetGCPercent(percent)
	}
	runtime.SetFinalizer(c, (*collector).adapt)
}

func gogc(live uint64) int {
	percent := 100 * maxGarbage / max(live, 1)
	return int(min(max(percent, leastGOGC), mostGOGC)) / stepGOGC * stepGOGC
}
