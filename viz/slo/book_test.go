package slo

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

var noon = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)

func promise(target float64, window time.Duration) Objective {
	return Objective{Namespace: "shop", Name: "checkout", Service: "checkout", Target: target,
		Window: window}
}

// stream is a book with one objective, and everything that was ever counted in it.
type stream struct {
	book   *Book
	ledger *Ledger
	now    time.Time
	events []event
	ran    []time.Time // a time in each slot in which viz ran
}

type event struct {
	at time.Time
	Count
}

func newStream(o Objective) *stream {
	s := &stream{book: NewBook(), now: noon}
	s.ledger = s.book.Set(s.now, []Objective{o})[0]
	s.ran = append(s.ran, s.now)
	return s
}

// pass lets time go on, slot by slot, with so much in each.
func (s *stream) pass(length time.Duration, each func() Count) {
	for end := s.now.Add(length); s.now.Before(end); {
		s.now = s.now.Add(slotLength)
		s.book.Tick(s.now)
		s.ran = append(s.ran, s.now)
		if c := each(); c.Requests > 0 {
			s.book.Add(s.now, s.ledger, c)
			s.events = append(s.events, event{s.now, c})
		}
	}
}

func always(requests, bad uint64) func() Count {
	return func() Count { return Count{requests, bad} }
}

func (s *stream) standing() Standing { return s.book.Standing(s.now, s.ledger) }

// unit is to what a window is known.
func unit(window time.Duration) time.Duration {
	switch {
	case window <= time.Hour:
		return slotLength
	case window <= 3*day:
		return time.Minute
	}
	return time.Hour
}

// first is where the last so much time begins.
func (s *stream) first(window time.Duration) time.Time {
	u := unit(window)
	return s.now.Truncate(u).Add(u - window)
}

// brute is a window's counts, and the known part of it, out of everything that ever happened.
func (s *stream) brute(window time.Duration) (c Count, known float64) {
	from := s.first(window)
	for _, e := range s.events {
		if !e.at.Before(from) {
			c.add(e.Count)
		}
	}
	slots := 0
	for _, at := range s.ran {
		if !at.Before(from) {
			slots++
		}
	}
	return c, min(1, float64(slots)*float64(slotLength)/float64(window))
}

func alike(a, b float64) bool { return math.Abs(a-b) <= 1e-9*max(1, math.Abs(a), math.Abs(b)) }

// check holds a standing to what can be worked out by hand.
func (s *stream) check(t *testing.T) {
	t.Helper()
	got, o := s.standing(), s.ledger.objective
	c, known := s.brute(o.Window)
	if got.Count != c {
		t.Fatalf("at %s %+v was counted, want %+v", s.now, got.Count, c)
	}
	left := 1.0
	if c.Requests > 0 {
		left = 1 - float64(c.Bad)/float64(c.Requests)/o.allowed()*known
	}
	if !alike(got.Left, left) {
		t.Fatalf("at %s %v is left, want %v", s.now, got.Left, left)
	}
	if got.Exhausted != nil && (*got.Exhausted < 0 || *got.Exhausted > o.Window) {
		t.Fatalf("exhausted in %s", *got.Exhausted)
	}
	if (got.Left <= 0) != (got.Exhausted != nil && *got.Exhausted == 0) {
		t.Fatalf("%v is left, and it is exhausted in %v", got.Left, got.Exhausted)
	}
	for _, b := range got.Burns {
		c, known := s.brute(b.Window)
		if b.Requests != c.Requests || !alike(b.Known, known) {
			t.Fatalf("at %s, %s: %+v, want %+v of %v", s.now, b.Window, b, c, known)
		}
		if rate := float64(c.Bad) / float64(c.Requests) / o.allowed(); c.Requests > 0 &&
			(b.Rate == nil || !alike(*b.Rate, rate)) {
			t.Fatalf("at %s, %s: %v, want %v", s.now, b.Window, b.Rate, rate)
		}
	}
}

// Whatever comes, every figure is what everything that ever happened comes to.
func TestFiguresAreWhatBruteForceFinds(t *testing.T) {
	for seed := range uint64(12) {
		r := rand.New(rand.NewPCG(seed, 1))
		days := time.Duration(1 + r.IntN(4))
		s := newStream(promise(0.5+r.Float64()*0.4999, days*day))
		for range 12 {
			most, share := uint64(1+r.IntN(50)), r.Float64()*r.Float64()
			s.pass(time.Duration(r.IntN(int(9*time.Hour))), func() Count {
				var c Count
				for range r.Uint64N(most) {
					c.Requests++
					if r.Float64() < share {
						c.Bad++
					}
				}
				return c
			})
			s.check(t)
			if r.IntN(3) == 0 { // nobody looks: viz stands still
				s.now = s.now.Add(time.Duration(r.IntN(int(5 * time.Hour))).Truncate(slotLength))
				s.now = s.now.Add(2 * time.Minute)
				s.book.Tick(s.now)
				s.ran = append(s.ran, s.now)
				s.check(t)
			}
		}
	}
}

// A budget of 30 days at 99.9 %: one request in a thousand uses it up in just that time.
func TestABurnOfOneUsesTheBudgetUpInItsWindow(t *testing.T) {
	s := newStream(promise(0.999, 30*day))
	s.pass(3*day, always(1000, 1))
	got := s.standing()
	if rate := got.Burn(6 * time.Hour).Rate; rate == nil || !alike(*rate, 1) {
		t.Errorf("it burns at %v", rate)
	}
	if math.Abs(got.Left-0.9) > 1e-3 || math.Abs(*got.OK-0.999) > 1e-9 {
		t.Errorf("%v is left, and %v went well", got.Left, *got.OK)
	}
	if got.Exhausted == nil || math.Abs(got.Exhausted.Hours()-27*24) > 1 {
		t.Errorf("it is exhausted in %v, want 27 days", got.Exhausted)
	}
	if got.Alert != nil {
		t.Errorf("it alerts: %+v", got.Alert)
	}
}

func TestAnHourAtTwiceTheBudgetHasUsedLittleOfIt(t *testing.T) {
	s := newStream(promise(0.999, 30*day))
	s.pass(time.Hour, always(1000, 2))
	if got := s.standing(); math.Abs(got.Left-(1-2.0/720)) > 1e-5 {
		t.Errorf("%v is left", got.Left)
	}
}

func TestAlertsFireByBothWindows(t *testing.T) {
	for name, c := range map[string]struct {
		live func(*stream)
		want string
	}{
		"all goes well":        {func(s *stream) { s.pass(day, always(10, 0)) }, ""},
		"as the budget allows": {func(s *stream) { s.pass(4*day, always(1000, 1)) }, ""},
		"an outage": {func(s *stream) {
			s.pass(day, always(10, 0))
			s.pass(3*time.Minute, always(10, 5))
		}, "page 1h"},
		"an outage that is over": {func(s *stream) {
			s.pass(day, always(10, 0))
			s.pass(3*time.Minute, always(10, 5))
			s.pass(7*time.Minute, always(10, 0))
		}, ""},
		"half an hour at 100": {func(s *stream) {
			s.pass(day, always(10, 0))
			s.pass(40*time.Minute, always(100, 1)) // 6.7 of the hour
		}, ""},
		"six hours at 7": {func(s *stream) {
			s.pass(day, always(1000, 0))
			s.pass(6*time.Hour, always(1000, 7))
		}, "page 6h"},
		"a day at 4": {func(s *stream) {
			s.pass(day, always(1000, 0))
			s.pass(day, always(1000, 4))
		}, "ticket 1d"},
		"three days at 1.5": {func(s *stream) {
			s.pass(3*day, always(1000, 0))
			s.pass(3*day, always(2000, 3))
		}, "ticket 3d"},
		"an outage in the first minutes": {func(s *stream) {
			s.pass(5*time.Minute, always(10, 5))
		}, "page 1h"},
		"20 for a few minutes, all that is known": {func(s *stream) {
			s.pass(5*time.Minute, always(100, 2))
		}, ""},
		"a handful of requests": {func(s *stream) { s.pass(2*time.Minute, always(1, 1)) }, ""},
	} {
		s := newStream(promise(0.999, 30*day))
		c.live(s)
		got := ""
		if a := s.standing().Alert; a != nil {
			got = a.Severity + " " + Short(a.Long)
		}
		if got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

func TestPairsOfOtherWindows(t *testing.T) {
	for days, want := range map[int][]float64{
		1: {1, 1, 1}, 7: {3.36, 1.4, 1, 1}, 30: {14.4, 6, 3, 1}, 90: {43.2, 18, 9, 3},
	} {
		o := promise(0.99, time.Duration(days)*day)
		pairs := o.Pairs()
		if len(pairs) != len(want) {
			t.Fatalf("%d days: %+v", days, pairs)
		}
		for i, p := range pairs {
			if !alike(p.Burn, want[i]) || p.Long > o.Window {
				t.Errorf("%d days: %+v, want %v", days, p, want[i])
			}
		}
	}
}

// The wall's clock is set an hour back or forth: nothing is lost that is younger than its window,
// nothing counts twice, and nothing is left less than before.
func TestTheClockIsSet(t *testing.T) {
	for _, by := range []time.Duration{-time.Hour, time.Hour} {
		s := newStream(promise(0.99, 30*day))
		s.pass(2*time.Hour, always(100, 1))
		before := s.standing()
		s.now = s.now.Add(by)
		s.book.Tick(s.now)
		after := s.standing()
		if after.Count != before.Count || math.Abs(after.Left-before.Left) > 1e-3 {
			t.Errorf("%s: %+v with %v left became %+v with %v", by, before.Count, before.Left,
				after.Count, after.Left)
		}
		s.pass(time.Hour, always(100, 1))
		later := s.standing()
		if want := before.Requests + 72000; later.Requests != want {
			t.Errorf("%s: %d requests, want %d", by, later.Requests, want)
		}
		if b := later.Burn(time.Hour); b.Requests != 72000 || !alike(*b.Rate, 1) {
			t.Errorf("%s: the last hour is %+v", by, b)
		}
		if since := s.now.Sub(later.Since); by < 0 && since != 3*time.Hour {
			t.Errorf("%s: known for %s, want 3h", by, since)
		}
	}
}

func TestObjectivesChange(t *testing.T) {
	s := newStream(promise(0.99, 30*day))
	s.pass(time.Hour, always(10, 1))
	stricter, slower := promise(0.999, 7*day), promise(0.99, 30*day)
	slower.Latency = time.Second
	if added := s.book.Set(s.now, []Objective{stricter}); len(added) != 0 {
		t.Fatal("what is counted is the same, and begins anew")
	}
	if got := s.standing(); got.Requests != 7200 || got.Window != 7*day {
		t.Errorf("%+v", got)
	}
	added := s.book.Set(s.now, []Objective{slower})
	if len(added) != 1 || s.book.Standing(s.now, added[0]).Requests != 0 {
		t.Errorf("other requests are counted: %+v", added)
	}
	if s.book.Set(s.now, nil); len(s.book.Ledgers()) != 0 {
		t.Error("one that is gone is still counted")
	}
}

func TestObjectivesAreBounded(t *testing.T) {
	b, all := NewBook(), make([]Objective, MaxObjectives+3)
	for i := range all {
		all[i] = promise(0.9, day)
		all[i].Name = string(rune('a'+i%26)) + string(rune('a'+i/26))
	}
	added := b.Set(noon, all)
	if len(added) != MaxObjectives || b.Refused() != 3 {
		t.Errorf("%d are kept, and %d are not", len(added), b.Refused())
	}
	l := added[0]
	each := 8*(len(l.fine.requests)+len(l.minutes.requests)) + 16*len(l.hours.requests)
	if each*MaxObjectives > MaxBytes {
		t.Errorf("each has %d bytes", each)
	}
}
