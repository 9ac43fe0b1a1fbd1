package authorize

import (
	"container/heap"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/tulle-mesh/tulle/destination/api"
	"github.com/tulle-mesh/tulle/proxy/metric"
)

// usual is what a gradient goes by if nothing is said.
func usual(t testing.TB) bounds {
	t.Helper()
	b, err := compileBounds(&api.Concurrency{})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func never() float64 { return 0 }

// The formula of the doc comment, at a least of 100 ms, which with its buffer is 125 ms.
func TestGradientFollowsItsFormula(t *testing.T) {
	const ms = time.Millisecond
	for _, tt := range []struct {
		limit  int64
		sample time.Duration
		want   int64
	}{
		{100, 125 * ms, 110},   // 1: the root of 100 more
		{100, 100 * ms, 136},   // 1.25: 125, and 11.2
		{100, 250 * ms, 57},    // 0.5: 50, and 7.1
		{100, 200 * ms, 70},    // 0.625: 62.5, and 7.9
		{100, 10 * ms, 214},    // no more than 2: 200, and 14.1
		{100, 0, 214},          // what takes no time is not divided by
		{100, time.Minute, 57}, // no less than 0.5
		{900, 100 * ms, 1000},  // max
		{3, time.Minute, 3},    // min
		{4, time.Minute, 3},    // 2, and 1.4
		{4, 125 * ms, 6},
	} {
		g := newGradient(usual(t), never)
		g.least, g.limit = 100*ms, tt.limit
		g.adjust(tt.sample)
		exact := float64(tt.limit) * min(max(125/max(float64(tt.sample)/float64(ms), 1e-6), .5), 2)
		formula := min(max(int64(exact+math.Sqrt(exact)), 3), 1000)
		if g.limit != tt.want || tt.want != formula {
			t.Errorf("%d at %v: %d, want %d; the formula says %d", tt.limit, tt.sample, g.limit,
				tt.want, formula)
		}
	}
}

// simulation is an application that serves a number of requests at a time, first come first served,
// and callers who do not wait for each other. Its time is nobody's.
type simulation struct {
	c       *Concurrency
	now     time.Time
	cores   []time.Time // when each is free, the first one first
	serve   time.Duration
	stalled time.Time // nothing ends before
	pending ends

	refused int
	took    []time.Duration // of those that were served
}

// ends are requests that are under way, the one that ends first being first.
type ends []struct{ began, at time.Time }

func (e ends) Len() int           { return len(e) }
func (e ends) Less(i, j int) bool { return e[i].at.Before(e[j].at) }
func (e ends) Swap(i, j int)      { e[i], e[j] = e[j], e[i] }
func (e *ends) Push(x any)        { *e = append(*e, x.(struct{ began, at time.Time })) }
func (e *ends) Pop() any {
	last := (*e)[len(*e)-1]
	*e = (*e)[:len(*e)-1]
	return last
}

func newSimulation(t *testing.T, cores int, serve time.Duration) *simulation {
	t.Helper()
	c, err := CompileConcurrency(&api.Concurrency{},
		func() *metric.Concurrency { return &metric.Concurrency{} })
	if err != nil {
		t.Fatal(err)
	}
	c = c.After(nil)
	c.gradient.jitter = never
	s := &simulation{c: c, now: time.Now(), cores: make([]time.Time, cores), serve: serve}
	for i := range s.cores {
		s.cores[i] = s.now
	}
	return s
}

// runs has a request come every so often, for some time.
func (s *simulation) runs(every, length time.Duration) *simulation {
	s.refused, s.took = 0, nil
	for until := s.now.Add(length); s.now.Before(until); s.now = s.now.Add(every) {
		s.arrives()
	}
	s.settle()
	return s
}

// arrives is one request, after what has ended before it.
func (s *simulation) arrives() {
	s.settle()
	if !s.c.Enter(s.now) {
		s.refused++
		return
	}
	free := 0
	for i := range s.cores {
		if s.cores[i].Before(s.cores[free]) {
			free = i
		}
	}
	starts := latest(s.cores[free], s.now)
	s.cores[free] = latest(starts.Add(s.serve), s.stalled)
	heap.Push(&s.pending, struct{ began, at time.Time }{s.now, s.cores[free]})
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func (s *simulation) settle() {
	for len(s.pending) > 0 && !s.pending[0].at.After(s.now) {
		r := heap.Pop(&s.pending).(struct{ began, at time.Time })
		s.c.Answered(r.began, r.at)
		s.took = append(s.took, r.at.Sub(r.began))
	}
}

func (s *simulation) quantile(q float64) time.Duration {
	slices.Sort(s.took)
	return s.took[int(q*float64(len(s.took)-1))]
}

// The application does a thousand requests a second, ten at a time.
const (
	cores    = 10
	service  = 10 * time.Millisecond
	capacity = float64(cores) / (float64(service) / float64(time.Second)) // requests a second
)

// asked is a time between requests at which so much of the capacity is asked for.
func asked(share float64) time.Duration {
	return time.Duration(float64(time.Second) / (capacity * share))
}

// Of three times what it can do an application is given what it can do, and answers in bounded
// time, minute after minute: measurements are in it. Only within the first, which begins with an
// overload, is not yet known what a request takes.
func TestAnOverloadIsKeptOut(t *testing.T) {
	s := newSimulation(t, cores, service)
	for minute := range 5 {
		s.runs(asked(3), time.Minute)
		good := float64(len(s.took)) / time.Minute.Seconds()
		if good < 0.9*capacity {
			t.Errorf("minute %d: %.0f requests a second are answered, of %.0f", minute, good,
				capacity)
		}
		most := 3 * service
		if minute == 0 {
			most = 6 * service
		}
		if p99 := s.quantile(.99); p99 > most {
			t.Errorf("minute %d: p99 is %v, and a request takes %v", minute, p99, service)
		}
		if limit := s.c.limit.Load(); limit < cores || limit > 2*cores {
			t.Errorf("minute %d: the limit is %d, and there are %d cores", minute, limit, cores)
		}
	}
}

// An application that takes a second for each request is measured as well, and not all the time.
func TestASlowApplicationIsMeasuredSeldom(t *testing.T) {
	const slow = time.Second
	s := newSimulation(t, cores, slow)
	s.runs(slow/cores/3, 30*time.Minute)
	good := float64(len(s.took)) / (30 * time.Minute).Seconds()
	if all := cores / slow.Seconds(); good < .9*all {
		t.Errorf("%.2f requests a second are answered, of %.0f", good, all)
	}
	if p99 := s.quantile(.99); p99 > 5*slow {
		t.Errorf("p99 is %v", p99)
	}
}

// What an application can do easily is never refused, for hours, and moves no limit.
func TestWithoutAnOverloadNothingIsRefused(t *testing.T) {
	s := newSimulation(t, cores, service)
	limit := s.c.limit.Load()
	for hour := range 3 {
		s.runs(asked(.05), time.Hour)
		if s.refused > 0 || s.c.limit.Load() != limit {
			t.Fatalf("hour %d: %d requests are refused, and the limit is %d instead of %d", hour,
				s.refused, s.c.limit.Load(), limit)
		}
	}
}

// After an hour in which nobody calls, a burst that fits is let in, though a measurement is due, or
// was under way when the callers left.
func TestAnHourOfQuiet(t *testing.T) {
	for _, name := range []string{"due", "under way"} {
		s := newSimulation(t, cores, service)
		s.runs(asked(3), 5*time.Second)
		for range 1000 {
			if name == "due" || s.c.gradient.measuring {
				break
			}
			s.runs(asked(3), service)
		}
		if s.c.gradient.measuring != (name == "under way") {
			t.Fatalf("%s: measuring is %v", name, s.c.gradient.measuring)
		}
		s.now = s.now.Add(time.Hour)
		s.refused = 0
		for range cores {
			s.arrives()
		}
		if s.refused > 0 {
			t.Errorf("%s: %d of %d are refused after an hour of quiet", name, s.refused, cores)
		}
	}
}

// While an application answers nobody for a minute, no more are let in than it had taken. A moment
// later it has what it can do again.
func TestAStall(t *testing.T) {
	s := newSimulation(t, cores, service)
	s.runs(asked(3), 30*time.Second)
	s.stalled = s.now.Add(time.Minute)
	s.runs(asked(3), time.Minute-service)
	if n := len(s.pending); n < cores || n > 2*cores {
		t.Errorf("%d requests wait for an application that answers nobody", n)
	}
	s.runs(asked(3), time.Second)
	s.runs(asked(3), 10*time.Second)
	if good := float64(len(s.took)) / 10; good < .9*capacity {
		t.Errorf("%.0f requests a second are answered after it, of %.0f", good, capacity)
	}
	if p99 := s.quantile(.99); p99 > 3*service {
		t.Errorf("p99 after it is %v", p99)
	}
}

// An application that takes five times as long from now on is found out, and so is one that is fast
// again.
func TestAnApplicationThatChanges(t *testing.T) {
	s := newSimulation(t, cores, service)
	s.runs(asked(3), 30*time.Second)
	for _, serve := range []time.Duration{5 * service, service} {
		s.serve = serve
		s.runs(asked(3), 2*time.Minute)
		s.runs(asked(3), time.Minute)
		all := capacity * float64(service) / float64(serve)
		if good := float64(len(s.took)) / 60; good < .9*all {
			t.Errorf("%.0f requests of %v are answered a second, of %.0f", good, serve, all)
		}
		if p99 := s.quantile(.99); p99 > 3*serve {
			t.Errorf("p99 of requests of %v is %v", serve, p99)
		}
	}
}
