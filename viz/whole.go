package viz

import (
	"maps"
	"slices"
	"time"
)

// A whole is what the pods of a workload have in common: a series that is the sum of theirs, under
// labels that name no pod. Most questions are about wholes, so that what they cost does not grow
// with the pods. A whole has no process, but one that stands for all of its workload's.

// wholeSize is what a whole costs beside its labels and totals, with its places in maps.
const wholeSize = 336

// wholeKey is what a series is a part of.
type wholeKey struct {
	process *process // that stands for the workload's
	labels  *labels  // the store's
}

// table gives numbers to series, so that whoever adds something up for each of them needs no map. A
// number is given again only when the history does not speak of its last holder any more.
type table struct {
	all     []*series // by number; nil: nobody has it
	briefs  []brief   // of wholes alone, by number
	retired []retired // oldest first
}

// retired is a number that nobody has any more.
type retired struct {
	index uint32
	slot  int64 // when it was given back
}

func (t *table) add(one *series, slot int64) {
	if len(t.retired) > 0 && slot-t.retired[0].slot > 2*int64(historyLength/slotLength) {
		one.index = t.retired[0].index
		t.retired = t.retired[1:]
		t.all[one.index] = one
		return
	}
	one.index = uint32(len(t.all))
	t.all = append(t.all, one)
}

func (t *table) remove(one *series, slot int64) {
	t.all[one.index] = nil
	t.retired = append(t.retired, retired{one.index, slot})
}

// joinLocked makes a process one of its workload's.
func (s *store) joinLocked(p *process) {
	w := p.workload
	w.pod = ""
	crew := s.crews[w]
	if crew == nil {
		crew = &process{workload: w, members: make(map[*process]struct{})}
		s.crews[w] = crew
	}
	crew.members[p] = struct{}{}
	p.crew = crew
}

func (s *store) leaveLocked(p *process) {
	delete(p.crew.members, p)
	if len(p.crew.members) == 0 {
		delete(s.crews, p.crew.workload)
	}
	p.crew = nil
}

// moveLocked counts a proxy's series where they belong now that it has said another workload's
// name: at first it knows only its pod's.
func (s *store) moveLocked(p *process) {
	all := slices.Collect(p.all())
	for _, one := range all {
		s.departLocked(one)
	}
	s.leaveLocked(p)
	s.joinLocked(p)
	pasts := slices.Collect(maps.Values(p.past))
	clear(p.past)
	for _, one := range all {
		s.unite(one)
		before := one.flow
		one.flow = s.flows.hold(one.flowKey())
		s.flows.release(before)
	}
	for _, past := range pasts {
		p.past[past.whole] = past
	}
}

// unite makes a series a part of the one that it belongs to, with all that it has counted.
func (s *store) unite(one *series) {
	l := one.labels.whole()
	key := wholeKey{one.process.crew, s.labels.hold(&l)}
	whole := s.wholes[key]
	if whole == nil {
		whole = &series{process: key.process, labels: key.labels}
		s.wholes[key] = whole
		whole.ledgers = s.ledgersLocked(whole)
		s.level.add(whole, s.history.number())
		s.level.brief(whole, s.labels.seed)
		s.size += wholeSize
		s.made++
	}
	whole.parts++
	one.whole = whole
	whole.changed = later(whole.changed, one.changed)
	s.level.changed(whole)
	s.history.shift(whole, one, (*sample).merge)
	if one.process.counted {
		whole.open += one.open
	}
	var counted sample
	counted.parse(one.total)
	s.wholeTotal(whole, &counted)
}

// departLocked takes a series, and all that it has counted, out of the one that it is a part of.
func (s *store) departLocked(one *series) {
	whole := one.whole
	one.whole = nil
	if one.process.counted {
		whole.open -= one.open
	}
	var gone, left sample
	gone.parse(one.total)
	left.parse(whole.total)
	left.subtract(&gone)
	whole.total = s.another.pack(whole.total, &left)
	s.history.shift(whole, one, (*sample).subtract)
	s.labels.release(whole.labels)
	if whole.parts--; whole.parts > 0 {
		return
	}
	s.made++
	s.size -= wholeSize + cap(whole.total)
	s.history.forget(whole)
	s.level.remove(whole, s.history.number())
	delete(s.wholes, wholeKey{whole.process, whole.labels})
}

// wholeTotal adds what a part has counted.
func (s *store) wholeTotal(whole *series, delta *sample) {
	sum, was := &s.another.sample, cap(whole.total)
	sum.parse(whole.total)
	sum.merge(delta)
	whole.total = s.another.pack(whole.total, sum)
	s.size += cap(whole.total) - was
}

func later(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}
