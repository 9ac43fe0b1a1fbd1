package proxy

import (
	"math"
	"runtime/debug"
	"runtime/metrics"
	"sync/atomic"
	"time"
)

const (
	shedAt     = 0.95 // of GOMEMLIMIT: beyond it the collector would take more and more of the CPU
	memoryPoll = 100 * time.Millisecond
)

// memory remembers for a moment how full the process is.
type memory struct {
	next atomic.Int64 // when to look again, unix nanoseconds
	full atomic.Bool
}

// shedding reports whether new work must be refused to stay within GOMEMLIMIT.
func (p *Proxy) shedding(now time.Time) bool {
	m := &p.memory
	t := now.UnixNano()
	if next := m.next.Load(); t >= next && m.next.CompareAndSwap(next, t+int64(memoryPoll)) {
		m.full.Store(memoryFull())
	}
	return m.full.Load()
}

func memoryFull() bool {
	limit := debug.SetMemoryLimit(-1)
	if limit == math.MaxInt64 {
		return false
	}
	s := []metrics.Sample{{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"},
		{Name: "/memory/classes/heap/free:bytes"}}
	metrics.Read(s)
	used := s[0].Value.Uint64() - s[1].Value.Uint64() - s[2].Value.Uint64()
	return float64(used) > shedAt*float64(limit)
}
