package balance

import (
	"math"
	"slices"
	"testing"
	"time"

	"github.com/tulle-mesh/tulle/destination/api"
)

func warming(m *api.Cluster, window time.Duration, aggression float64) *api.Cluster {
	m.SlowStart = &api.SlowStart{WindowMs: uint64(window.Milliseconds()), Aggression: aggression}
	return m
}

// The curve is that of Envoy's documentation ("Slow start mode").
func TestSlowStartByItsFormula(t *testing.T) {
	for _, tt := range []struct {
		window     time.Duration
		percent    uint32
		aggression float64
		age        time.Duration
		want       float64
	}{
		{60 * time.Second, 0, 0, 0, 0.1},
		{60 * time.Second, 0, 0, 6 * time.Second, 0.1},
		{60 * time.Second, 0, 0, 15 * time.Second, 0.25},
		{60 * time.Second, 0, 1, 30 * time.Second, 0.5},
		{60 * time.Second, 0, 1, 60 * time.Second, 1},
		{60 * time.Second, 0, 1, time.Hour, 1},
		{60 * time.Second, 0, 2, 15 * time.Second, 0.5},
		{60 * time.Second, 0, 0.5, 30 * time.Second, 0.25},
		{60 * time.Second, 40, 1, 15 * time.Second, 0.4},
		{10 * time.Second, 1, 1, 0, 0.1}, // no age is less than a second
		{500 * time.Millisecond, 0, 1, 0, 1},
	} {
		s, err := compileSlowStart(&api.SlowStart{WindowMs: uint64(tt.window.Milliseconds()),
			MinWeightPercent: tt.percent, Aggression: tt.aggression})
		if err != nil {
			t.Fatal(err)
		}
		if got := s.curve(tt.age); math.Abs(got-tt.want) > 1e-9 {
			t.Errorf("%+v: %v", tt, got)
		}
	}
}

// One newcomer beside nine has, of idle endpoints that are as fast as each other, its factor's part
// of a share, and keys of a hash come to it as that grows.
func TestANewcomerIsGivenItsShareLittleByLittle(t *testing.T) {
	const window, picks = time.Minute, 40_000
	for name, m := range all() {
		k := Key{Hashed: name == "ring" || name == "maglev"}
		m = warming(m, window, 1)
		start := time.Now()
		c := made(t, m, weighed(make([]uint32, 9)...), start)
		joined := start.Add(time.Hour)
		for _, e := range c.Current().All {
			e.Observe(latency, c.Current().Params, joined)
		}
		change(c, compiled(t, m), weighed(make([]uint32, 10)...), joined)
		newcomer := c.Current().All[9]
		full := 0.1
		if k.Hashed { // what the table gives it
			k.Now = joined.Add(window)
			full = shares(c, picks, k)[9]
		}
		for _, tt := range []struct {
			age    time.Duration
			factor float64
		}{{0, 0.1}, {15 * time.Second, 0.25}, {30 * time.Second, 0.5}, {window, 1}} {
			k.Now = joined.Add(tt.age)
			want := tt.factor / (9 + tt.factor)
			if k.Hashed {
				want = tt.factor * full
			}
			got := shares(c, picks, k)
			if math.Abs(got[9]-want) > 0.005 {
				t.Errorf("%s: %v after it came a newcomer has %.4f of all, want %.4f",
					name, tt.age, got[9], want)
			}
		}
		if c.Current().All[9] != newcomer {
			t.Fatal("another endpoint was counted")
		}
	}
}

// A key that has come to a newcomer stays there.
func TestAKeyMovesOnceToANewcomer(t *testing.T) {
	start := time.Now()
	m := warming(maglevCluster(0), time.Minute, 1)
	c := made(t, m, weighed(1, 1, 1), start)
	joined := start.Add(time.Hour)
	change(c, compiled(t, m), weighed(1, 1, 1, 1), joined)
	newcomer := c.Current().All[3]
	moved := 0
	for h := range 1000 {
		came := false
		k := keyOf(h, start)
		for age := time.Duration(0); age <= time.Minute; age += time.Second {
			k.Now = joined.Add(age)
			there := c.Current().Pick(k) == newcomer
			if came && !there {
				t.Fatal("a key went away again")
			}
			came = there
		}
		if came {
			moved++
		}
	}
	if moved < 200 || moved > 300 {
		t.Errorf("%d keys of 1000 came to one of four endpoints", moved)
	}
}

// A deployment that restarts changes no shares, be it all at once, or one pod after the other once
// most are new: the last old ones must not have what is meant for all.
func TestARestartOfAllChangesNothing(t *testing.T) {
	const n, picks = 10, 20_000
	want := slices.Repeat([]float64{1.0 / n}, n)
	for name, m := range balancers() {
		m = warming(m, time.Minute, 1)
		now := time.Now()
		c := made(t, m, weighed(make([]uint32, n)...), now)
		now = now.Add(time.Hour)
		p := compiled(t, m)

		another := weighed(make([]uint32, n)...)
		for _, e := range another {
			e.Id += "-2"
		}
		for i := range another { // one a second
			change(c, p, append(weighed(make([]uint32, n)...)[:n-1-i], another[:i+1]...), now)
			now = now.Add(time.Second)
			same(t, c, now)
			if i+1 <= n/2 {
				continue
			}
			if got := shares(c, picks, Key{Now: now}); !near(got, want, 0.007) {
				t.Errorf("%s: with %d new ones of %d, shares %.3f", name, i+1, n, got)
			}
		}
		for _, e := range another {
			e.Id += "-3"
		}
		change(c, p, another, now)
		now = now.Add(time.Second)
		same(t, c, now)
		if got := shares(c, picks, Key{Now: now}); !near(got, want, 0.007) {
			t.Errorf("%s: after a restart, shares %.3f", name, got)
		}
	}
}

// same makes all endpoints as fast as each other.
func same(t *testing.T, c *Cluster, now time.Time) {
	t.Helper()
	for _, e := range c.Current().All {
		e.ewma.mu.Lock()
		e.ewma.rtt, e.ewma.at = float64(latency), now
		e.ewma.mu.Unlock()
	}
}

// A newcomer is taken to be like its peers: neither so slow that nobody asks it for half a minute,
// nor so fast that all do.
func TestANewcomerIsLikeItsPeers(t *testing.T) {
	now := time.Now()
	p := compiled(t, ewmaCluster())
	for _, peers := range []time.Duration{time.Millisecond, time.Second} {
		c := NewCluster("web", func() any { return nil })
		change(c, p, weighed(1, 1, 1), now)
		for i, e := range c.Current().All {
			e.Observe(peers*time.Duration(i+1), p, now.Add(time.Hour))
		}
		change(c, p, weighed(1, 1, 1, 1), now.Add(time.Hour))
		newcomer := c.Current().All[3]
		got := time.Duration(newcomer.ewma.load(p, now.Add(time.Hour)))
		if got < 2*peers*9/10 || got > 2*peers*11/10 {
			t.Errorf("a newcomer beside ones of 1, 2 and 3 times %v is taken to take %v",
				peers, got)
		}
	}
	c := NewCluster("web", func() any { return nil })
	change(c, p, weighed(1, 1), now)
	change(c, p, weighed(1, 1, 1), now)
	if got := time.Duration(c.Current().All[2].ewma.load(p, now)); got != p.Initial {
		t.Errorf("beside ones that nobody has asked it is taken to take %v, want %v",
			got, p.Initial)
	}
}
