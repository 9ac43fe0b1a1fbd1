package viz

import "time"

// A proxy forgets series that nothing happens in, such as those of a peer's pods that have gone.
// What they have counted is part of the totals for as long as that of a proxy that has ended: it is
// kept under their whole, one past for each, so that a proxy which lives for long does not fill its
// share with what is over.

// gone are the series that a proxy has forgotten: those it says, and all that are not in the first
// report of a stream, which has everything.
func (p *process) gone(into []uint32, from *stream, r *report) []uint32 {
	if p.stream == from {
		for _, id := range r.ended {
			if p.series[id] != nil {
				into = append(into, id)
			}
		}
		return into
	}
	if len(p.series) == 0 {
		return into
	}
	there := make(map[uint32]bool, len(r.series))
	for i := range r.series {
		there[r.series[i].id] = true
	}
	for id := range p.series {
		if !there[id] {
			into = append(into, id)
		}
	}
	return into
}

// endLocked keeps what a series has counted, and forgets the rest of it.
func (s *store) endLocked(now time.Time, p *process, id uint32) {
	one := p.series[id]
	if one == nil {
		return // it is said to have ended twice
	}
	past := p.past[one.whole]
	if past == nil {
		if past = s.pastLocked(p, one); past == nil {
			return // it stays: there is no room for anything
		}
	}
	var counted sample
	counted.parse(one.total)
	if !s.totalLocked(past, &counted) {
		return
	}
	s.wholeTotal(past.whole, &counted) // what removing takes out
	s.history.inherit(past, one)
	past.changed = later(past.changed, one.changed)
	s.removeLocked(one)
	delete(p.series, id)
	s.growLocked(p, -seriesSize-cap(one.total))
}

// pastLocked begins the past of a series' whole; nil: beyond a budget.
func (s *store) pastLocked(p *process, one *series) *series {
	past := s.makeLocked(p, one.whole.labels)
	if past == nil {
		return nil
	}
	if p.past == nil {
		p.past = make(map[*series]*series)
	}
	p.past[past.whole] = past
	past.changed = one.changed
	return past
}

// outliveLocked forgets what is over for longer than the history is.
func (s *store) outliveLocked(now time.Time, p *process) {
	for whole, past := range p.past {
		if now.Sub(past.changed) > historyLength {
			s.removeLocked(past)
			delete(p.past, whole)
			s.growLocked(p, -seriesSize-cap(past.total))
		}
	}
}
