package viz

import (
	"cmp"
	"slices"
	"time"
)

// trendSlots is how many slots a trend shows. They are over: the current one would jump up and
// down.
const trendSlots = 10

// group sums the series of one row.
type group struct {
	total    counters
	open     uint64
	window   counters
	latency  latencies
	elapsed  time.Duration        // the longest that one of its proxies told of
	slots    *[trendSlots]slotSum // nil: nobody asked for the trend
	routes   []string             // that its series name; the graph's alone
	standing standing
	protection
	number int // in the order in which a question met its groups
}

// slotSum is a group's requests in one slot.
type slotSum struct {
	requests uint64
	elapsed  time.Duration
}

// collection is series grouped into rows by a key.
type collection[K comparable] struct {
	groups map[K]*group
	of     []*group // by the series' number
	times  *times
}

// seriesLocked are what a question is about: wholes, or the series of each pod where it tells pods
// apart.
func (s *store) seriesLocked(w span) []*series {
	if w.pods {
		return s.parts.all
	}
	return s.level.all
}

// collectLocked groups every series for which key says true, with its totals. It needs the store's
// lock for reading, as do the methods of the store that it calls.
func collectLocked[K comparable](s *store, w span, key func(*series) (K, bool)) *collection[K] {
	level := s.seriesLocked(w)
	c := &collection[K]{groups: make(map[K]*group), of: make([]*group, len(level)),
		times: s.timesLocked(w)}
	for i, one := range level {
		if one == nil {
			continue
		}
		if k, ok := key(one); ok {
			c.put(w, i, one, k)
		}
	}
	s.standLocked(w, c.of)
	s.fillLocked(w, c.of)
	return c
}

// put counts a series in its group.
func (c *collection[K]) put(w span, i int, one *series, k K) {
	g := c.group(k)
	c.of[i] = g
	// Rates divide by the longest, not by the sum, since proxies run side by side, and not by the
	// window, since they may all be younger, or their reports may lag.
	g.elapsed = max(g.elapsed, c.times.elapsed(one.process))
	g.count(w, one)
}

// count takes what a series has counted in all its time.
func (g *group) count(w span, one *series) {
	g.total.addPacked(one.total)
	g.note(one)
	if one.process.live(w.now) {
		g.open += one.open
	}
}

// addPacked adds what a series did in a part of the window. scratch is memory for it.
func (g *group) addPacked(b packed, scratch *[]bucket) {
	g.latency.addPacked(g.window.addPacked(b), scratch)
}

func (c *collection[K]) group(k K) *group {
	g := c.groups[k]
	if g == nil {
		g = &group{number: len(c.groups)}
		c.groups[k] = g
	}
	return g
}

// busiest are at most n of some groups: those with the most requests a second, and of equals those
// that were there before.
func busiest[K comparable](groups map[K]*group, n int) map[K]*group {
	if len(groups) <= n {
		return groups
	}
	all := make([]*group, 0, len(groups))
	for _, g := range groups {
		all = append(all, g)
	}
	slices.SortFunc(all, func(a, b *group) int {
		return cmp.Or(cmp.Compare(b.rps(), a.rps()), cmp.Compare(a.number, b.number))
	})
	last := all[n-1]
	out := make(map[K]*group, n)
	for k, g := range groups {
		if r := g.rps(); r > last.rps() || r == last.rps() && g.number <= last.number {
			out[k] = g
		}
	}
	return out
}

func (g *group) rps() float64 {
	if g.elapsed <= 0 {
		return 0
	}
	return float64(g.window[requests]) / g.elapsed.Seconds()
}

// groupOf is the group that a part is in; nil: none.
func groupOf(w span, of []*group, part *series) *group {
	if w.pods {
		return of[part.index]
	}
	return of[part.whole.index]
}

// standLocked adds how endpoints stand, as those say who are there.
func (s *store) standLocked(w span, of []*group) {
	for part := range s.noted {
		if g := groupOf(w, of, part); g != nil && part.process.live(w.now) {
			g.standing.note(part)
		}
	}
}

// fillLocked adds what happened in the window to the groups.
func (s *store) fillLocked(w span, of []*group) {
	if s.isRecentLocked(w) {
		s.fillRecentLocked(of)
		return
	}
	s.fillSlotsLocked(w, of)
	s.fillOpenLocked(w, of)
}

func (s *store) fillSlotsLocked(w span, of []*group) {
	var scratch []bucket
	for _, sl := range s.slotsLocked(w) {
		if !w.has(sl.number) {
			continue
		}
		l := sl.log(w)
		for i, index := range l.index {
			if g := of[index]; g != nil {
				g.addPacked(l.sample(i), &scratch)
			}
		}
	}
}

func (s *store) fillOpenLocked(w span, of []*group) {
	o := s.history.open
	if o == nil || !w.has(o.number) {
		return
	}
	var scratch []bucket
	for part, sum := range o.samples {
		if g := groupOf(w, of, part); g != nil {
			g.addPacked(sum, &scratch)
		}
	}
}

// log is what a question is about.
func (s *slot) log(w span) *log {
	if w.pods {
		return &s.parts
	}
	return &s.wholes
}

// trendsLocked adds to some of a collection's groups what they did in each slot of a trend.
func (c *collection[K]) trendsLocked(s *store, w span, groups []*group) {
	for _, g := range groups {
		g.slots = &[trendSlots]slotSum{}
	}
	owners := c.ownersLocked(s, w)
	for _, sl := range s.slotsLocked(w) {
		at, ok := w.trendIndex(sl.number)
		if !ok {
			continue
		}
		l := sl.log(w)
		for i, index := range l.index {
			if g := c.of[index]; g != nil && g.slots != nil {
				did := l.sample(i).counters()
				g.slots[at].requests += did[requests]
			}
		}
		for _, x := range sl.covered {
			for _, g := range slices.Concat(owners[x.process], owners[x.process.crew]) {
				g.slots[at].elapsed = max(g.slots[at].elapsed, x.time)
			}
		}
	}
}

// ownersLocked are the groups with a trend that a process, or a crew, has series in.
func (c *collection[K]) ownersLocked(s *store, w span) map[*process][]*group {
	out := make(map[*process][]*group)
	for i, one := range s.seriesLocked(w) {
		if g := c.of[i]; g != nil && g.slots != nil && !slices.Contains(out[one.process], g) {
			out[one.process] = append(out[one.process], g)
		}
	}
	return out
}

// sum is all groups together.
func (c *collection[K]) sum() *group {
	all := &group{}
	for _, g := range c.groups {
		all.total.add(&g.total)
		all.window.add(&g.window)
		all.open += g.open
		all.standing.add(&g.standing)
		all.elapsed = max(all.elapsed, g.elapsed)
		all.latency.addAll(&g.latency)
	}
	return all
}
