package wire

import (
	"testing"
	"time"
)

// The processor is given to all who give it back soon, and seldom to those who only compute.
func TestTheProcessorIsGivenToThoseWhoGiveItBack(t *testing.T) {
	const yields = 1000
	for _, tt := range []struct {
		name  string
		took  []time.Duration // in turn
		share float64         // of the time, at most
	}{
		{"nobody wants it", []time.Duration{time.Microsecond}, 1},
		{"a peer",
			[]time.Duration{time.Microsecond, 100 * time.Microsecond, 900 * time.Microsecond}, 1},
		{"a peer, and now and then a slow moment",
			append(make([]time.Duration, 99), 3*time.Millisecond), 1},
		{"one who computes", []time.Duration{1500 * time.Microsecond}, 0.012},
		{"one who computes, and a peer",
			[]time.Duration{4 * time.Millisecond, 300 * time.Microsecond}, 0.012},
	} {
		began := time.Now()
		now, spent := began, time.Duration(0)
		var g yieldBudget
		for i := range yields {
			if !g.allows(now) {
				now = g.notBefore
			}
			d := tt.took[i%len(tt.took)]
			now, spent = now.Add(d), spent+d
			g.charge(d, now)
		}
		switch share := float64(spent) / float64(now.Sub(began)); {
		case tt.share == 1 && share < 1:
			t.Errorf("%s: given %.1f %% of the time", tt.name, 100*share)
		case share > tt.share:
			t.Errorf("%s: given %.1f %% of the time", tt.name, 100*share)
		}
	}
}
