package forward

import (
	"math"
	"testing"
	"unsafe"
)

// A connection whose requests are never answered leaves room for others', and others' for it.
func TestACrowdLeavesRoom(t *testing.T) {
	p := newHarness(t)
	p.maxCrowd = 1700
	stranger := func() *ServerConn {
		return &ServerConn{f: p.Forwarder, side: &toApplication{f: p.Forwarder}}
	}
	flood := func() (n int) {
		for c := stranger(); (&exchange{c: c}).takesPlace(); {
			n++
		}
		return n
	}
	taken := flood()
	if taken != 101 {
		t.Errorf("the first has %d of 1,700, want 101: a sixteenth of what it left", taken)
	}
	for range 200 {
		taken += flood()
	}
	last := &exchange{c: stranger()}
	if !last.takesPlace() {
		t.Errorf("there is no room for another caller's only request beside %d", taken)
	}
	if x := (&exchange{c: p.web()}); !x.takesPlace() {
		t.Error("the pod's own application was refused")
	}
	last.givesPlace()
	last.givesPlace()
	if got := last.c.waiting.Load(); got != 0 {
		t.Errorf("%d requests wait on a connection whose only one has ended", got)
	}
}

func TestWithoutALimitAnyCrowdMayWait(t *testing.T) {
	if n := maxCrowd(math.MaxInt64); n < math.MaxInt32 {
		t.Errorf("%d requests may wait", n)
	}
	if unsafe.Sizeof(http2Exchange{}) > requestMemory/2 {
		t.Errorf("an exchange takes %d bytes by itself", unsafe.Sizeof(http2Exchange{}))
	}
}
