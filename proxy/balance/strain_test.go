package balance

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

// pair is a tier and the one after it, a tenth of a second at a time.
type pair struct {
	own, next *strain
	now       time.Time
	keeps     float64
}

func newPair() *pair {
	return &pair{own: newStrain(), next: newStrain(), now: time.Unix(1_000_000, 0), keeps: 1}
}

// step lets both answer: the first one what it keeps of so many requests, the other one the rest.
func (p *pair) step(requests int, own, next func() time.Duration) {
	p.now = p.now.Add(reckonEach)
	kept := int(math.Round(p.keeps * float64(requests)))
	for range kept {
		p.own.answered(own(), p.now)
	}
	for range requests - kept {
		p.next.answered(next(), p.now)
	}
	p.keeps = p.own.review(p.next, since(p.now))
}

func always(d time.Duration) func() time.Duration { return func() time.Duration { return d } }

// Of a tier that has room nothing crosses, however its answers are spread: not in an hour, or of
// 400,000.
func TestNoiseIsNoStrain(t *testing.T) {
	r := rand.New(rand.NewPCG(14, 1))
	exponential := func() time.Duration {
		return time.Duration(r.ExpFloat64() * float64(5*time.Millisecond))
	}
	for name, took := range map[string]func() time.Duration{
		"the same each time": always(5 * time.Millisecond),
		"exponential":        exponential,
		"one in ten takes a hundred times as long": func() time.Duration {
			if r.IntN(10) == 0 {
				return 100 * exponential()
			}
			return exponential()
		},
		"log-normal": func() time.Duration {
			return time.Duration(math.Exp(r.NormFloat64()) * float64(5*time.Millisecond))
		},
	} {
		for _, rate := range []int{1, 8, 100} {
			p := newPair()
			for range min(36_000, 400_000/rate) {
				if p.step(rate, took, nil); p.keeps < 1 {
					t.Errorf("%s, %d each tenth of a second: it passes on at %v", name, rate,
						p.now)
					break
				}
			}
		}
	}
}

// A tier with room for 100 requests a second is sent 150. It passes on a third and little more,
// from soon after the load came until soon after it has gone, and does not waver between.
func TestWhatATierCannotBearIsPassedOn(t *testing.T) {
	const room, busy, quiet = 1000.0, 1500, 500
	p, queue := newPair(), 0.0
	run := func(load int, d time.Duration) (mean, least, most float64, turns int) {
		least = 1
		n := int(d / reckonEach)
		rises, last := true, p.keeps
		for range n {
			each := float64(reckonEach) / float64(time.Second)
			queue = max(0, queue+(p.keeps*float64(load)-room)*each)
			own := 10*time.Millisecond + time.Duration(queue/room*float64(time.Second))
			p.step(int(float64(load)*each), always(own), always(10*time.Millisecond))
			mean += p.keeps / float64(n)
			least, most = min(least, p.keeps), max(most, p.keeps)
			if p.keeps != last && rises != (p.keeps > last) {
				rises = !rises
				turns++
			}
			last = p.keeps
		}
		return mean, least, most, turns
	}
	if _, least, _, _ := run(quiet, time.Minute); least < 1 {
		t.Errorf("it keeps %.3f while it has room", least)
	}
	if _, least, _, _ := run(busy, 10*time.Second); least < 0.2 {
		t.Errorf("it keeps %.3f at first", least)
	}
	mean, least, most, turns := run(busy, 10*time.Minute)
	t.Logf("it keeps %.3f (%.3f to %.3f), turns %d times", mean, least, most, turns)
	if need := room / busy; mean > need || mean < need-0.1 || most-least > 0.3 {
		t.Errorf("it keeps %.3f, from %.3f to %.3f, and has room for %.3f", mean, least, most, need)
	}
	run(quiet, 10*time.Second)
	if _, least, _, turns := run(quiet, time.Minute); least < 1 || turns > 0 {
		t.Errorf("it keeps %.3f once it has room again, and turns %d times", least, turns)
	}
}

// Where the next tier is as slow nothing is passed on for long, and nothing at all once that is
// known.
func TestPassingOnToWhoIsAsSlowEnds(t *testing.T) {
	p := newPair()
	for range 600 {
		p.step(50, always(5*time.Millisecond), nil)
	}
	passed, last := 0, 0
	for i := range 3000 {
		if p.step(50, always(100*time.Millisecond), always(100*time.Millisecond)); p.keeps < 1 {
			passed, last = passed+1, i
		}
	}
	if passed == 0 || passed > 30 || last > 60 {
		t.Errorf("it passes on for %d tenths of a second, and still after %d", passed, last)
	}
}

// A tier that got slow gives away nearly all, and what little it keeps shows when it is as before.
func TestASlowTierComesBack(t *testing.T) {
	p := newPair()
	slow, usual := always(300*time.Millisecond), always(10*time.Millisecond)
	for range 100 {
		p.step(20, usual, usual)
	}
	for range 300 {
		p.step(20, slow, usual)
	}
	if p.keeps > 0.1 {
		t.Errorf("it keeps %.3f while it is thirty times as slow as the next", p.keeps)
	}
	for range 900 {
		p.step(20, usual, usual)
	}
	if p.keeps < 1 {
		t.Errorf("it keeps %.3f long after it is as before", p.keeps)
	}
}

// Failures count as slow answers, even if they come fast.
func TestFailuresAreStrain(t *testing.T) {
	p := newPair()
	usual := always(10 * time.Millisecond)
	for range 100 {
		p.step(40, usual, usual)
	}
	for range 40 {
		p.now = p.now.Add(reckonEach)
		for range 40 {
			p.own.failed(time.Millisecond, p.now)
			p.next.answered(usual(), p.now)
		}
		p.keeps = p.own.review(p.next, since(p.now))
	}
	if p.keeps > 0.1 {
		t.Errorf("it keeps %.3f, all of which fail", p.keeps)
	}
}
