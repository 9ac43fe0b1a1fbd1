package memory

import (
	"math"
	"runtime"
	"runtime/debug"
	"testing"
	"time"
)

func TestFull(t *testing.T) {
	defer debug.SetMemoryLimit(debug.SetMemoryLimit(math.MaxInt64))
	var g Gauge
	now := time.Now()
	if g.Full(now) {
		t.Error("a process without a limit is full")
	}
	debug.SetMemoryLimit(1)
	if g.Full(now.Add(poll - 1)) {
		t.Error("an answer did not hold for its time")
	}
	if !g.Full(now.Add(poll)) {
		t.Error("a process over its limit is not full")
	}
	debug.SetMemoryLimit(math.MaxInt64)
	if g.Full(now.Add(2 * poll)) {
		t.Error("a process without a limit is still full")
	}
}

// A process that is near its limit for its garbage alone is not full: the next collection helps.
func TestGarbageIsNoReasonToRefuse(t *testing.T) {
	defer debug.SetMemoryLimit(debug.SetMemoryLimit(math.MaxInt64))
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	runtime.GC()
	before, _ := usage()
	for range 4 * before >> 20 {
		rubbish = make([]byte, 1<<20)
	}
	rubbish = nil
	used, live := usage()
	if live > used/2 {
		t.Fatalf("%d of %d bytes are live", live, used)
	}
	debug.SetMemoryLimit(int64(used))
	if level() == Full {
		t.Errorf("full with %d bytes of %d live", live, used)
	}
}

func TestLevels(t *testing.T) {
	for _, tt := range []struct {
		used, live float64
		want       Level
	}{
		{0, 0, Ease}, {0.85, 0.85, Ease}, {0.86, 0.75, Ease}, {0.86, 0.76, Tight},
		{0.93, 0.93, Tight}, {0.94, 0.84, Short}, {0.95, 0.95, Short}, {0.96, 0.86, Full},
		{0.96, 0.85, Short}, {0.99, 0.8, Tight}, {0.99, 0.5, Ease}, {1.1, 1.1, Full},
	} {
		if got := levelOf(tt.used, tt.live); got != tt.want {
			t.Errorf("%v used and %v live are level %d, want %d", tt.used, tt.live, got, tt.want)
		}
	}
}

// What the last collection found in use, and is garbage since, is no reason to refuse either: the
// process that refuses would not collect it.
func TestWhatIsGarbageByNowIsNoReasonToRefuse(t *testing.T) {
	defer debug.SetMemoryLimit(debug.SetMemoryLimit(math.MaxInt64))
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	before, _ := usage()
	rubbish = make([]byte, 20*before)
	runtime.GC()
	rubbish = nil
	used, live := usage()
	if live < used*9/10 {
		t.Fatalf("%d of %d bytes are live", live, used)
	}
	debug.SetMemoryLimit(int64(used))
	var g Gauge
	if g.Full(time.Now()) {
		t.Errorf("full with %d bytes of %d live", live, used)
	}
}

var rubbish []byte
