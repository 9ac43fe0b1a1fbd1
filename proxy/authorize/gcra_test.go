package authorize

import (
	"math/rand/v2"
	"testing"
	"time"
)

func (g gcra) admits(tat *time.Duration, now time.Duration) bool {
	if g.early(*tat, now) > 0 {
		return false
	}
	*tat = g.next(*tat, now)
	return true
}

func TestGCRA(t *testing.T) {
	const ms = time.Millisecond
	for _, tt := range []struct {
		name            string
		requests, burst uint64
		window          time.Duration
		at              []time.Duration
		conforms        []bool
	}{
		{"a full bucket has its burst", 10, 3, time.Second,
			[]time.Duration{0, 0, 0, 0}, []bool{true, true, true, false}},
		{"then the rate", 10, 3, time.Second,
			[]time.Duration{0, 0, 0, 99 * ms, 100 * ms, 199 * ms, 200 * ms},
			[]bool{true, true, true, false, true, false, true}},
		{"a refused one costs nothing", 10, 1, time.Second,
			[]time.Duration{0, 50 * ms, 99 * ms, 100 * ms}, []bool{true, false, false, true}},
		{"an idle bucket is no fuller than full", 10, 2, time.Second,
			[]time.Duration{0, 0, time.Hour, time.Hour, time.Hour},
			[]bool{true, true, true, true, false}},
		{"early by no more than tau", 1, 2, time.Minute,
			[]time.Duration{0, 1, time.Minute - 1, time.Minute},
			[]bool{true, true, false, true}},
		{"seldom", 1, 1, time.Hour, []time.Duration{0, time.Hour - 1, time.Hour},
			[]bool{true, false, true}},
		{"a rate of which the clock knows no fraction", 3, 1, time.Second,
			[]time.Duration{0, 333 * ms, 334 * ms, 667 * ms, 1000 * ms},
			[]bool{true, false, true, false, true}},
		{"all that can be said", 1, 1e9, time.Hour,
			[]time.Duration{0, 0, 0}, []bool{true, true, true}},
	} {
		g, tat := newGCRA(tt.requests, tt.burst, tt.window), time.Duration(0)
		for i, now := range tt.at {
			if got := g.admits(&tat, now); got != tt.conforms[i] {
				t.Errorf("%s: request %d, at %s: %v", tt.name, i, now, got)
			}
		}
	}
}

// leakyBucket is the other form of the algorithm, which I.371 says is equal to the first: a bucket
// that leaks all the time, with what is in it and when that was so.
type leakyBucket struct{ content, at time.Duration }

func (b *leakyBucket) admits(g gcra, now time.Duration) bool {
	left := max(b.content-(now-b.at), 0)
	if left > g.limit {
		return false
	}
	b.content, b.at = left+g.increment, now
	return true
}

func TestGCRAIsALeakyBucket(t *testing.T) {
	for range 100 {
		requests, burst := 1+rand.Uint64N(50), 1+rand.Uint64N(20)
		g, tat, bucket := newGCRA(requests, burst, time.Second), time.Duration(0), leakyBucket{}
		admitted, now := 0, time.Duration(0)
		for range 500 {
			now += rand.N(40 * time.Millisecond)
			want := bucket.admits(g, now)
			if got := g.admits(&tat, now); got != want {
				t.Fatalf("%+v at %s: %v, want %v", g, now, got, want)
			}
			if want {
				admitted++
			}
		}
		if most := 1 + int((now+g.limit)/g.increment); admitted > most {
			t.Errorf("%+v admits %d in %s, more than %d", g, admitted, now, most)
		}
	}
}
