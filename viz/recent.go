package viz

import "hash/maphash"

// What wholes did in the last minute, the open slot included, is summed up as reports come in: most
// questions are about that. And most of them are about all wholes, of which there are tens of
// thousands: what is needed to tell them apart is kept beside each other, so that a question looks
// into few of them.

// change changes what is recent of a whole by what one of its parts did, or did not do after all.
func (h *history) change(whole *series, by *sample, change func(sum, by *sample)) {
	sum, was := &h.scratch.sample, cap(whole.recent)
	sum.parse(whole.recent)
	change(sum, by)
	whole.recent = h.scratch.pack(whole.recent, sum)
	h.sums += cap(whole.recent) - was
	h.level.briefs[whole.index].requests = sum.counters[requests]
}

// shift changes it by what a part did in the open slot: that goes with the part.
func (h *history) shift(whole, part *series, change func(sum, by *sample)) {
	if h.open == nil {
		return
	}
	if did, ok := h.open.samples[part]; ok {
		var by sample
		by.parse(did)
		h.change(whole, &by, change)
	}
}

// age takes the oldest slot out of what is recent.
func (h *history) age() {
	oldest := h.closed[len(h.closed)-h.recent]
	var by sample
	for i, index := range oldest.wholes.index {
		if whole := h.level.all[index]; whole != nil {
			by.parse(oldest.wholes.sample(i))
			h.change(whole, &by, (*sample).subtract)
		}
	}
	for _, x := range oldest.covered {
		x.process.lately -= x.time
	}
	h.recent--
}

// forget is for a whole that is not there any more.
func (h *history) forget(whole *series) { h.sums -= cap(whole.recent) }

// isRecent says whether a window is what the history calls recent.
func (h *history) isRecent(w span) bool {
	return w.last == h.number() && w.first == w.last-recentSlots
}

// isRecentLocked says whether what happened in a window is summed up already.
func (s *store) isRecentLocked(w span) bool { return !w.pods && s.history.isRecent(w) }

func (s *store) fillRecentLocked(of []*group) {
	var scratch []bucket
	for i, g := range of {
		if g == nil {
			continue
		}
		if recent := s.level.all[i].recent; len(recent) > 0 {
			g.addPacked(recent, &scratch)
		}
	}
}

// The levels at which edges are told apart by their marks.
const (
	workloadEdges = iota
	namespaceEdges
	edgeLevels
)

// edgeLevel is the kind of an edge's ends, at each level.
var edgeLevel = [edgeLevels]string{"", "namespace"}

// brief is what is known of a whole without looking at it. A mark is a hash of a key: who has
// another key has another mark, but for once in some billions of meshes.
type brief struct {
	edges    [edgeLevels]edgeMarks
	call     uint64 // of its row in top, by route; 0: it is in none
	requests uint64 // of what is recent
	changed  int64  // when, since 1970
	inbound  bool
	mtls     bool
}

// edgeMarks are those of an edge, and of what the two proxies' accounts of it have in common; 0: it
// is of no edge.
type edgeMarks struct{ edge, join uint64 }

// brief keeps what is known of one of the table's series.
func (t *table) brief(one *series, seed maphash.Seed) {
	for int(one.index) >= len(t.briefs) {
		t.briefs = append(t.briefs, brief{})
	}
	t.briefs[one.index] = briefOf(one, seed)
}

func briefOf(one *series, seed maphash.Seed) brief {
	b := brief{inbound: one.labels.inbound(), mtls: one.encrypted()}
	for level, kind := range edgeLevel {
		if k, ok := one.edge(kind); ok {
			b.edges[level] = edgeMarks{markOf(seed, k), markOf(seed, k.join())}
		}
	}
	if k := one.call(GroupRoute); k.to.name != "" {
		b.call = markOf(seed, k)
	}
	return b
}

// markOf is never 0.
func markOf[K comparable](seed maphash.Seed, key K) uint64 {
	return maphash.Comparable(seed, key) | 1
}

// changed notes when a whole has last changed.
func (t *table) changed(one *series) {
	if !one.changed.IsZero() {
		t.briefs[one.index].changed = one.changed.UnixNano()
	}
}
