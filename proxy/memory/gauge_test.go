package memory

import (
	"math"
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
