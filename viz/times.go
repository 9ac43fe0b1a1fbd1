package viz

import "time"

// times are how much of their time processes told of in a question's window. Of a crew it is the
// most that one of its members did.
type times struct {
	w     span
	of    map[*process]time.Duration // nil: the window is what is recent, of which each knows
	crews map[*process]time.Duration // that were asked for
	last  *process                   // that was asked for, as often as not again
	its   time.Duration
}

func (s *store) timesLocked(w span) *times {
	t := &times{w: w, crews: make(map[*process]time.Duration)}
	if s.history.isRecent(w) {
		return t
	}
	t.of = make(map[*process]time.Duration, len(s.processes))
	for _, sl := range s.slotsLocked(w) {
		if w.has(sl.number) {
			for _, x := range sl.covered {
				t.of[x.process] += x.time
			}
		}
	}
	if o := s.history.open; o != nil && w.has(o.number) {
		for p, d := range o.covered {
			t.of[p] += d
		}
	}
	return t
}

// elapsed is what rates in the window divide by.
func (t *times) elapsed(p *process) time.Duration {
	if p != t.last {
		t.last, t.its = p, t.find(p)
	}
	return t.its
}

func (t *times) find(p *process) (d time.Duration) {
	if p.members == nil {
		return t.own(p)
	}
	d, known := t.crews[p]
	if known {
		return d
	}
	for one := range p.members {
		d = max(d, t.own(one))
	}
	t.crews[p] = d
	return d
}

func (t *times) own(p *process) time.Duration {
	told := p.lately
	if t.of != nil {
		told = t.of[p]
	}
	whole := max(told, t.w.length) // a report after a gap may tell of more than the window
	return min(told+p.silence(t.w), whole)
}

// silence is how long ago a process that ended did: time in which its requests were none.
func (p *process) silence(w span) time.Duration {
	if !w.live || p.live(w.now) {
		return 0
	}
	return w.now.Sub(p.seen)
}
