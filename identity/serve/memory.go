package serve

import (
	"math"
	"runtime/metrics"
	"sync/atomic"
	"time"
)

const (
	shedAt     = 0.95 // of GOMEMLIMIT: beyond it the collector would take more and more of the CPU
	memoryPoll = 100 * time.Millisecond
)

// memory remembers for a moment whether the process is near GOMEMLIMIT.
type memory struct {
	next atomic.Int64 // when to look again, unix nanoseconds
	full atomic.Bool
}

func (m *memory) isFull() bool {
	now := time.Now().UnixNano()
	if next := m.next.Load(); now >= next && m.next.CompareAndSwap(next, now+int64(memoryPoll)) {
		m.full.Store(used() > shedAt*float64(memoryLimit()))
	}
	return m.full.Load()
}

// used is what counts towards GOMEMLIMIT, in bytes, without what the collector has freed already.
func used() float64 {
	s := []metrics.Sample{
		{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"},
		{Name: "/memory/classes/heap/free:bytes"},
	}
	metrics.Read(s)
	sum := s[0].Value.Uint64() - s[1].Value.Uint64() - s[2].Value.Uint64()
	return math.Max(0, float64(sum))
}
