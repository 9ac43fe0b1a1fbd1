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
