package record

import (
	"fmt"
	"sync/atomic"
	"time"

	destination "github.com/tulle-mesh/tulle/destination/api"
	"github.com/tulle-mesh/tulle/proxy/outcome"
)

// defaultLines is how many lines a second an access log may have that nobody has set a bound for,
// and as many of what does not go plainly well. A proxy that carries more is one whose log fills a
// disk, and costs more than the requests.
const defaultLines = 1000

// rule is which records get a line, and in which form.
type rule struct {
	text     bool
	failures bool // only what does not go plainly well
	// Of the others so many of so many; 0 of 0: all.
	numerator, denominator uint32
	lines                  uint32 // a second
}

// parseRule reads what destination says; nil is as if it said that there is no log.
func parseRule(m *destination.AccessLog) (r rule, on bool, err error) {
	r = rule{failures: m.GetFailuresOnly(), numerator: m.GetSampleNumerator(),
		denominator: m.GetSampleDenominator(), lines: m.GetLinesPerSecond()}
	if r.lines == 0 {
		r.lines = defaultLines
	}
	switch f := m.GetFormat(); {
	case m == nil, f == destination.Format_FORMAT_NONE:
		return r, false, nil
	case f == destination.Format_FORMAT_TEXT:
		r.text = true
	case f != destination.Format_FORMAT_JSON:
		return r, false, fmt.Errorf("an access log's format (%d) that this proxy does not know", f)
	}
	return r, true, r.check()
}

func (r *rule) check() error {
	switch {
	case r.denominator > destination.MaxLogSample, r.numerator > r.denominator:
		return fmt.Errorf("an access log's sample of %d in %d", r.numerator, r.denominator)
	case r.lines > destination.MaxLogLines:
		return fmt.Errorf("an access log of %d lines per second, which is more than %d", r.lines,
			destination.MaxLogLines)
	}
	return nil
}

// selection is a rule at work. Readers of many connections ask it.
type selection struct {
	rule
	began        time.Time
	seen         atomic.Uint64 // what went well
	well, unwell bucket
}

func newSelection(r rule) *selection {
	s := &selection{rule: r, began: time.Now()}
	s.well.every = time.Second / time.Duration(r.lines)
	s.unwell.every = s.well.every
	return s
}

// unwell reports whether something did not go plainly well.
func unwell(r *outcome.Record) bool { return r.Failed || r.Reason != outcome.Plain }

// take says whether a record is to have a line, and whether there is room for it in this second.
// What does not go well has room of its own: in a flood it is what somebody will look for.
func (s *selection) take(bad bool) (wanted, room bool) {
	switch {
	case bad:
		return true, s.unwell.take(time.Since(s.began))
	case s.failures, !s.sampled():
		return false, false
	}
	return true, s.well.take(time.Since(s.began))
}

// sampled chooses so many of so many, spread evenly. Multiples of the golden ratio, of which the
// whole part is left out, fill an interval more evenly than chance does (Knuth, The Art of Computer
// Programming 3, 6.4), and do not beat with requests that come in turns, as each tenth would.
func (s *selection) sampled() bool {
	if s.denominator == 0 {
		return true
	}
	const golden = 0x9e3779b9 // of 2^32
	at := uint64(uint32(s.seen.Add(1) * golden))
	return at*uint64(s.denominator) < uint64(s.numerator)<<32
}

// bucket lets so many through a second, and as many at once after a second without any: a token
// bucket, kept as the time at which it is full again, which is one word to change (the generic cell
// rate algorithm, ITU-T I.371).
type bucket struct {
	every time.Duration // between two
	full  atomic.Int64  // nanoseconds
}

func (b *bucket) take(now time.Duration) bool { return b.spend(now, 1) }

// spend is take for n at once. None that has no rate lets anything through.
func (b *bucket) spend(now time.Duration, n int) bool {
	if b.every <= 0 {
		return false
	}
	for {
		was := b.full.Load()
		next := max(was, int64(now)) + int64(n)*int64(b.every)
		if next > int64(now+time.Second) {
			return false
		}
		if b.full.CompareAndSwap(was, next) {
			return true
		}
	}
}
