package main

import (
	"testing"
	"time"
)

func TestARunIsTheSameEachTime(t *testing.T) {
	for _, b := range balancers()[:6] { // a hundred tables take a while with the race detector
		var got [2]result
		for i := range got {
			var err error
			if got[i], err = simulate(b, 200*time.Millisecond); err != nil {
				t.Fatal(err)
			}
		}
		if got[0] != got[1] || got[0].p99 == 0 {
			t.Errorf("two runs: %+v and %+v", got[0], got[1])
		}
	}
}

// Of many callers in a zone with one endpoint what it cannot take leaves the zone, and what it can
// does not; nothing leaves one with enough.
func TestWhatAZoneCannotTakeLeavesIt(t *testing.T) {
	ewma := zoned()[1]
	for _, z := range zonings {
		r, err := z.simulate(ewma, 20*time.Second)
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%+v: p50 %v, p99 %v, %.2f %% cross", z, r.p50, r.p99, r.crossed)
		// 16 workers take 3,200 of the 4,000 requests a second that are half of all
		if z.suffice && r.crossed > 0 || !z.suffice && (r.crossed < 10 || r.crossed > 20) {
			t.Errorf("with %d and %d endpoints %.2f %% of all cross", z.a, z.b, r.crossed)
		}
	}
}

func TestWhatMissesABar(t *testing.T) {
	robin := result{name: "round robin", p99: 20 * time.Millisecond, peak: 1}
	for _, tt := range []struct {
		p99    time.Duration
		peak   float64
		missed int
	}{{10 * time.Millisecond, 3, 0}, {11 * time.Millisecond, 3, 1}, {20 * time.Millisecond, 4, 2}} {
		missed := judge([]result{{name: "EWMA", p99: tt.p99, peak: tt.peak}, robin})
		if len(missed) != tt.missed {
			t.Errorf("%+v: missed %q", tt, missed)
		}
	}
}
