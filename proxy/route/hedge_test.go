package route

import (
	"math"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/tulle-mesh/tulle/destination/api"
)

// What is learned is the quantile, whatever the times are like: of those that follow about q are
// below.
func TestUsualIsTheQuantile(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	ms := func(f float64) time.Duration { return time.Duration(f * float64(time.Millisecond)) }
	for name, draw := range map[string]func() time.Duration{
		"uniform":     func() time.Duration { return ms(1 + 99*r.Float64()) },
		"exponential": func() time.Duration { return ms(20 * r.ExpFloat64()) },
		"log-normal":  func() time.Duration { return ms(10 * math.Exp(r.NormFloat64())) },
		"of two kinds": func() time.Duration {
			if r.IntN(10) == 0 {
				return ms(900 + 200*r.Float64())
			}
			return ms(5 + r.Float64())
		},
	} {
		for _, q := range []float64{0.5, 0.9, 0.95, 0.99} {
			if name == "of two kinds" && q == 0.9 {
				continue // the gap between the two
			}
			u := NewUsual(q)
			for range 5000 {
				u.Observe(draw())
			}
			const then = 20_000
			below := 0
			for range then { // the estimate strays: what counts is how it does all along
				d := draw()
				if d < u.Get() {
					below++
				}
				u.Observe(d)
			}
			if got := float64(below) / then; math.Abs(got-q) > 0.015 {
				t.Errorf("%s: %.3f of the times are below the estimate of %.2f", name, got, q)
			}
		}
	}
}

// A few times say nothing yet; when times change the estimate follows.
func TestUsualFollows(t *testing.T) {
	u := NewUsual(0.95)
	for i := range usualEnough {
		if d := u.Get(); d != 0 {
			t.Fatalf("after %d times the estimate is %v", i, d)
		}
		u.Observe(10 * time.Millisecond)
	}
	near := func(want time.Duration) bool {
		return u.Get() > want*4/5 && u.Get() < want*5/4
	}
	if !near(10 * time.Millisecond) {
		t.Errorf("all times are 10 ms, the estimate is %v", u.Get())
	}
	for range 40 {
		u.Observe(100 * time.Millisecond)
	}
	if !near(100 * time.Millisecond) {
		t.Errorf("times became 100 ms, the estimate is %v", u.Get())
	}
	for range 600 {
		u.Observe(10 * time.Millisecond)
	}
	if !near(10 * time.Millisecond) {
		t.Errorf("times became 10 ms again, the estimate is %v", u.Get())
	}
	u.Observe(0)
	u.Observe(-1)
	(*Usual)(nil).Observe(time.Second)
}

// Many learn at once.
func TestUsualOfMany(t *testing.T) {
	u := NewUsual(0.9)
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 1000 {
				u.Observe(10 * time.Millisecond)
				u.Get()
			}
		})
	}
	all.Wait()
	if d := u.Get(); d < 8*time.Millisecond || d > 12*time.Millisecond {
		t.Errorf("all times are 10 ms, the estimate is %v", d)
	}
}

// A hedge at a percentile is not before what its rule says, and not before the percentile.
func TestAHedgeAtAPercentile(t *testing.T) {
	for p, ok := range map[uint32]bool{0: true, 49: false, 50: true, 99: true, 100: false} {
		m := found(&api.HTTPRule{Retry: &api.Retry{},
			Hedge: &api.Hedge{AfterMs: 20, Percentile: p}})
		r, err := Compile(m, NewBudget(nil))
		if (err == nil) != ok {
			t.Errorf("percentile %d: %v", p, err)
		}
		if err == nil && (r.rules[0].Usual == nil) != (p == 0) {
			t.Errorf("percentile %d: it is learned: %v", p, r.rules[0].Usual != nil)
		}
	}
	u := compile(t, found(&api.HTTPRule{Retry: &api.Retry{},
		Hedge: &api.Hedge{AfterMs: 20, Percentile: 95}})).rules[0]
	for took, want := range map[time.Duration][2]time.Duration{
		time.Millisecond:       {20 * time.Millisecond, 20 * time.Millisecond},
		100 * time.Millisecond: {80 * time.Millisecond, 125 * time.Millisecond},
	} {
		u.Usual = NewUsual(0.95)
		if got := u.HedgeAfter(); got != 20*time.Millisecond {
			t.Errorf("when nothing is learned it is after %v", got)
		}
		for range 200 {
			u.Usual.Observe(took)
		}
		if got := u.HedgeAfter(); got < want[0] || got > want[1] {
			t.Errorf("of tries that take %v it is after %v", took, got)
		}
	}
}
