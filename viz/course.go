package viz

import (
	"time"
)

// maxSteps is how many steps a course has at most: more than a chart has room for.
const maxSteps = 240

// step is what happened in one step of a course.
type step struct {
	counters counters
	latency  latencies
	covered  map[*process]time.Duration
}

// course answers /api/series, of what a question for stat would sum in rows, and one route of it
// where one is named.
func (s *store) course(now time.Time, q Query) (*Course, error) {
	question, err := parseStat(q)
	if err != nil {
		return nil, err
	}
	defer s.read(now)()
	question.measured = make(map[key]bool)
	for k := range s.proxies(now, question.what) {
		question.measured[k] = true
	}
	w := spanOf(now, q)
	if w.live {
		w.last-- // it is not over, and would look like a fall
	}
	size := stepSlots(w, q.Step)
	w.first -= w.first % size // so that steps stay where they are as time goes on
	of, who := s.wantedLocked(w, func(one *series) bool {
		_, ok := question.row(one)
		return ok && (q.Route == "" || routeName(one.labels) == q.Route)
	})
	steps := make([]step, max(0, (w.last-w.first)/size+1))
	for _, sl := range s.slotsLocked(w) {
		if w.has(sl.number) {
			steps[(sl.number-w.first)/size].add(sl, w, of, who)
		}
	}
	out := &Course{Window: s.windowLocked(spanOf(now, q)), StepSeconds: float64(size) *
		slotLength.Seconds(), Begin: time.Unix(0, w.first*int64(slotLength)).UTC()}
	for i := range steps {
		out.add(&steps[i])
	}
	return out, nil
}

// stepSlots is how many slots make a step: as many as are asked for, or as few as there may be.
func stepSlots(w span, wanted time.Duration) int64 {
	least := (w.last - w.first + maxSteps) / maxSteps
	for _, nice := range []int64{1, 2, 3, 6, 12} {
		if nice >= least {
			least = nice
			break
		}
	}
	return max(least, int64(wanted/slotLength), 1)
}

// wantedLocked are the series that a course is of, by their numbers, and whose they are. It needs
// the store's lock for reading.
func (s *store) wantedLocked(w span, want func(*series) bool) ([]bool, map[*process]bool) {
	level := s.level.all
	if w.pods {
		level = s.parts.all
	}
	of, who := make([]bool, len(level)), make(map[*process]bool)
	for i, one := range level {
		if one != nil && want(one) {
			of[i], who[one.process] = true, true
		}
	}
	return of, who
}

func (t *step) add(sl *slot, w span, of []bool, who map[*process]bool) {
	var scratch sample
	l := sl.log(w)
	for i, index := range l.index {
		if !of[index] {
			continue
		}
		scratch.parse(l.sample(i))
		t.counters.add(&scratch.counters)
		t.latency.add(scratch.buckets)
	}
	for _, c := range sl.covered {
		if !who[c.process] && !who[c.process.crew] {
			continue
		}
		if t.covered == nil {
			t.covered = make(map[*process]time.Duration)
		}
		t.covered[c.process] += c.time
	}
}

func (c *Course) add(t *step) {
	counts := t.latency.counts()
	n := &t.counters
	var elapsed time.Duration
	for _, d := range t.covered {
		elapsed = max(elapsed, d)
	}
	var rps *float64
	if elapsed > 0 {
		rate := float64(n[requests]) / elapsed.Seconds()
		rps = &rate
	}
	c.RPS = append(c.RPS, rps)
	c.SuccessRate = append(c.SuccessRate, success(n[failures], n[requests]))
	c.P50Ms = append(c.P50Ms, quantile(counts, 0.50))
	c.P95Ms = append(c.P95Ms, quantile(counts, 0.95))
	c.P99Ms = append(c.P99Ms, quantile(counts, 0.99))
	for _, sum := range []struct {
		of    *[]uint64
		which int
	}{
		{&c.Requests, requests}, {&c.Failures, failures}, {&c.Retries, retries},
		{&c.Timeouts, timeouts}, {&c.Faulted, faultedRequests}, {&c.Limited, limitedRequests},
	} {
		*sum.of = append(*sum.of, n[sum.which])
	}
}
