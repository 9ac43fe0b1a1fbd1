package balance

import (
	"math"
	"testing"
	"time"
)

func TestEWMARisesAtOnceAndFallsWithTime(t *testing.T) {
	p := Params{Initial: 30 * time.Millisecond, Decay: 10 * time.Second}
	now := time.Unix(0, 0)
	var e ewma
	e.reset(p, now)
	e.observe(time.Second, p, now)
	if got := e.load(p, now); got != float64(time.Second) {
		t.Errorf("a peak counts at once: load %v", time.Duration(got))
	}
	now = now.Add(10 * time.Second)
	if got := e.load(p, now); math.Abs(got-float64(time.Second)/math.E) > 1e6 {
		t.Errorf("after one decay: %v", time.Duration(got))
	}
	e.pending.Add(3)
	if one := e.load(p, now); one < 1.4e9 {
		t.Errorf("pending requests multiply the load: %v", time.Duration(one))
	}
}

// What nobody waited for was slower than that: it raises the estimate, and never lowers it.
func TestWhatIsOutlastedOnlyRaises(t *testing.T) {
	p := Params{Initial: 30 * time.Millisecond, Decay: 10 * time.Second}
	now := time.Unix(0, 0)
	var e ewma
	e.reset(p, now)
	for _, tt := range []struct{ outlasted, want time.Duration }{
		{time.Millisecond, 30 * time.Millisecond},
		{50 * time.Millisecond, 50 * time.Millisecond},
		{-time.Millisecond, 50 * time.Millisecond}, // clocks of two readers
	} {
		e.outlast(tt.outlasted, p, now)
		if got := e.load(p, now); got != float64(tt.want) {
			t.Errorf("after %v: %v, want %v", tt.outlasted, time.Duration(got), tt.want)
		}
	}
}

func TestPickAvoidsTheEndpointThatFailed(t *testing.T) {
	now := time.Now()
	a, b, c := &Endpoint{id: "a"}, &Endpoint{id: "b"}, &Endpoint{id: "c"}
	s := &EndpointSet{Params: Params{Initial: 1, Decay: 1}, All: []*Endpoint{a, b, c}}
	for range 100 {
		if s.Pick(Key{Avoid: a, Now: now}) == a {
			t.Fatal("picked the endpoint that just failed")
		}
	}
	b.health.rest(now, time.Second)
	for range 100 {
		if s.Pick(Key{Avoid: a, Now: now}) != c {
			t.Fatal("picked an endpoint that cannot be dialed while another is there")
		}
	}
	alone := &EndpointSet{All: []*Endpoint{a}}
	if alone.Pick(Key{Avoid: a, Now: now}) != a {
		t.Error("the only endpoint is better than none")
	}
}

// A wall clock that is set back, or forward, does not change how long an endpoint rests.
func TestARestEnds(t *testing.T) {
	now := time.Now()
	a, b := &Endpoint{id: "a"}, &Endpoint{id: "b"}
	s := &EndpointSet{Params: Params{Initial: 1, Decay: 1}, All: []*Endpoint{a, b}}
	a.health.rest(now, time.Second)
	if s.Pick(Key{Now: now.Add(time.Second - 1)}) != b {
		t.Error("an endpoint was picked before its rest was over")
	}
	picked := false
	for range 100 {
		picked = picked || s.Pick(Key{Avoid: b, Now: now.Add(time.Second)}) == a
	}
	if !picked {
		t.Error("an endpoint was not picked after its rest")
	}
}

// Each failure in a row doubles the rest, up to a bound, and an answer ends it.
func TestRestsGrow(t *testing.T) {
	now := time.Now()
	p := Params{Limits: Limits{Rest: time.Second, RestMax: time.Minute}}
	c := NewCluster("web", func() any { return nil }).Lone("a", p)
	e := c.First()
	most := time.Second
	for range 10 {
		if d := e.Rest(now); d < most/2 || d > most+1 {
			t.Errorf("a rest of %v, want %v or up to half less", d, most)
		}
		most = min(2*most, time.Minute)
	}
	if e.Reached(); !e.health.ready(now) {
		t.Error("an endpoint that answers still rests")
	}
	if d := e.Rest(now); d > time.Second+1 {
		t.Errorf("a rest of %v after an answer", d)
	}
}
