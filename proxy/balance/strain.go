package balance

import (
	"math"
	"sync"
	"time"
)

// strain says of a tier how much of its share it can bear, by how long its answers take: a tier
// that has more than it has room for answers late, whoever else asks it, long before its endpoints
// fail. What it cannot bear the next tier has.
//
// As long as the tier keeps all, the next one is not asked, not even to compare, so that nothing
// crosses while there is room. The tier is compared with itself: at the ends of two windows in a
// row its answers took several times as long as they do when it is quiet. From then on it is
// compared with the next tier, and passes on more while it takes much longer than that, less once
// it hardly does, and as much between the two (the rule is that of Envoy's load_aware_locality,
// with latency for utilization; the band is that of Buoyant's HAZL, which is of requests under
// way). It begins by much and gives back by little, as Chiu and Jain, "Analysis of the Increase and
// Decrease Algorithms for Congestion Avoidance in Computer Networks", 1989, say that many who know
// nothing of each other must. Where the next tier is as slow passing on is no use, and ends.
//
// Latencies are averaged as logarithms, so that a few that are very long do not stand for all.
type strain struct {
	mu     sync.Mutex // guards what follows
	recent float64    // of latencies in ns
	first  int64      // when the first answer was, since epoch
	last   int64      // when the latest was; 0: there was none
	count  int        // of answers in the window
	began  int64      // the window, since epoch

	usual  float64 // recent, over many windows
	quiet  float64 // usual, as it is when the tier is not busy; 0: nobody knows yet
	closed int64   // when quiet was learned last, since epoch
	before float64 // recent, a window ago
	over   int     // windows in a row that took longer
	keeps  float64 // of its share
}

const (
	windowAnswers = 16
	meanAnswers   = 32 // that a mean is of, about
	// A tier that keeps little gets few answers. Windows end early then.
	fewAnswers  = 4
	shortWindow = time.Second

	begins  = 3.0  // times as long as when it is quiet, and it begins to pass on
	more    = 2.0  // times as long as the next, and it passes on more
	less    = 1.25 // less
	inARow  = 2    // windows
	falling = 1.1  // times as long a window before: what it has is being worked off
	// What is left of what it keeps, with each window.
	leastLeft, mostLeft = 0.5, 0.95
	// gained is by how much it keeps more with each window. Of all it keeps at least as much, by
	// which it is seen to have room again.
	gained = 1.0 / 32

	usualWindows = 16 // whose mean is the usual
	// What is quiet is learned: soon where it is less, and so slowly where it is more that a tier
	// that gets busier over an hour is still compared with how it was.
	quieter, busier = 10 * time.Second, 30 * time.Minute
	// known is how long what a tier took says something (Envoy's weight expiration).
	known = 3 * time.Minute
)

func newStrain() *strain { return &strain{keeps: 1} }

// answered takes a latency; of no tier, it does nothing.
func (s *strain) answered(d time.Duration, now time.Time) {
	if s == nil {
		return
	}
	s.mu.Lock()
	s.addLocked(math.Log(float64(max(d, 1))), since(now))
	s.mu.Unlock()
}

// failed takes a failure for an answer that took far longer than others do.
func (s *strain) failed(d time.Duration, now time.Time) {
	if s == nil {
		return
	}
	s.mu.Lock()
	cost := min(s.recent+math.Log(2*begins), math.Log(float64(maxFailureCost)))
	s.addLocked(max(math.Log(float64(max(d, 1))), cost), since(now))
	s.mu.Unlock()
}

func (s *strain) addLocked(latency float64, at int64) {
	w := 1.0 / meanAnswers
	if s.keeps < 1 { // few answers: the last ones count, not those of long ago
		w = max(w, 1-math.Exp(-float64(at-s.last)/float64(2*shortWindow)))
	}
	if s.last == 0 {
		s.first, s.began = at, at
	}
	if s.quiet == 0 { // the first ones count alike
		w = max(w, 1/float64(s.count+1))
	}
	s.recent += w * (latency - s.recent)
	s.last = at
	s.count++
}

// review says what part of its share the tier keeps from now on.
func (s *strain) review(next *strain, at int64) float64 {
	others, fresh := next.latency(at)
	s.mu.Lock()
	defer s.mu.Unlock()
	full := s.count >= windowAnswers
	if !full && (s.keeps == 1 || s.count < fewAnswers || at-s.began < int64(shortWindow)) {
		return s.keeps
	}
	s.count, s.began = 0, at
	fell := s.recent < s.before-math.Log(falling)
	s.before = s.recent
	switch {
	case s.keeps == 1:
		s.watchLocked(at)
	case !fresh: // what was passed on is not answered yet
	case s.recent > others+math.Log(more):
		if !fell {
			s.passOnLocked(s.recent - others)
		}
	case s.recent < others+math.Log(less):
		s.keeps = min(1, s.keeps+gained)
		if s.keeps == 1 {
			// if it is slow, the others are too
			s.usual, s.quiet = max(s.usual, s.recent), max(s.quiet, s.recent)
		}
	}
	return s.keeps
}

// watchLocked looks at a window of a tier that keeps all.
func (s *strain) watchLocked(at int64) {
	if s.quiet != 0 && s.recent > s.quiet+math.Log(begins) {
		if s.over++; s.over == inARow {
			s.over = 0
			s.passOnLocked(s.recent - s.quiet)
		}
		return
	}
	s.over = 0
	if s.quiet == 0 {
		s.usual, s.quiet = s.recent, s.recent
	}
	s.usual += (s.recent - s.usual) / usualWindows
	tau := min(busier, max(quieter, time.Duration(at-s.first))) // at first nothing is known
	if s.usual < s.quiet {
		tau = quieter
	}
	s.quiet += (1 - weight(time.Duration(at-s.closed), tau)) * (s.usual - s.quiet)
	s.closed = at
}

// passOnLocked keeps less, by how much longer answers take than they may.
func (s *strain) passOnLocked(longer float64) {
	left := math.Exp((math.Log(more) - longer) / 2)
	s.keeps = max(gained, s.keeps*max(leastLeft, min(left, mostLeft)))
}

// latency is what answers have taken, and whether that is of late.
func (s *strain) latency(at int64) (recent float64, fresh bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.recent, s.last != 0 && at-s.last < int64(known)
}
