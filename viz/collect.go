package viz

import (
	"cmp"
	"slices"
	"time"

	"github.com/tulle-mesh/tulle/proxy/metric"
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
	owner    *process              // whose series are in it
	owners   map[*process]struct{} // where there are several
	elapsed  time.Duration
	slots    *[trendSlots]slotSum // nil: nobody asked for the trend
	standing standing
	protection
	number int // in the order in which a question met its groups
}

// slotSum is a group's requests in one slot.
type slotSum struct {
	requests uint64
	elapsed  time.Duration
}

// latencies are a histogram. It is a list as long as few buckets are in it, for a question may have
// a row for each of tens of thousands of edges.
type latencies struct {
	few []bucket
	all []uint64 // by bucket
}

// fewBuckets is for how many a list takes less than all of them.
const fewBuckets = metric.Buckets / 4

func (l *latencies) add(buckets []bucket) {
	switch {
	case len(buckets) == 0:
	case l.all != nil:
		l.count(buckets)
	case l.few == nil:
		l.few = slices.Clone(buckets)
	default:
		l.few = mergeBuckets(l.few, buckets)
		if len(l.few) > fewBuckets {
			l.spread()
		}
	}
}

// spread makes it one of all buckets.
func (l *latencies) spread() {
	l.all = make([]uint64, metric.Buckets)
	l.count(l.few)
	l.few = nil
}

func (l *latencies) count(buckets []bucket) {
	for _, b := range buckets {
		l.all[b.index] += b.count
	}
}

func (l *latencies) addAll(o *latencies) {
	l.add(o.few)
	if o.all == nil {
		return
	}
	if l.all == nil {
		l.spread()
	}
	for i, n := range o.all {
		l.all[i] += n
	}
}

// counts are all buckets; nil: nothing was measured.
func (l *latencies) counts() []uint64 {
	if l.few == nil {
		return l.all
	}
	one := latencies{all: make([]uint64, metric.Buckets)}
	one.count(l.few)
	return one.all
}

// span is the window of a question, in slots.
type span struct {
	now         time.Time
	first, last int64
	length      time.Duration
	live        bool // it ends now
	pods        bool // the question tells pods of a workload apart
}

func spanOf(now time.Time, q Query) span {
	length := q.Window
	if length == 0 {
		length = DefaultWindow
	}
	w := span{now: now, length: length, live: q.Ago < slotLength, last: slotNumber(now),
		pods: q.ofPods()}
	end := now
	if !w.live {
		end = now.Add(-q.Ago)
		w.last = slotNumber(end.Add(-1))
	}
	w.first = slotNumber(end.Add(-length).Add(slotLength - 1))
	return w
}

// ofPods says whether a question tells the pods of a workload apart.
func (q *Query) ofPods() bool {
	for _, text := range []string{q.Resource, q.From, q.To} {
		if kind, _, err := ParseResource(text); err == nil && kind == "pod" {
			return true
		}
	}
	return q.Group == GroupPod
}

func (w span) has(number int64) bool { return number >= w.first && number <= w.last }

// trendIndex places a slot in a trend, or says that it is in none.
func (w span) trendIndex(number int64) (int, bool) {
	i := int(number - (w.last - trendSlots))
	return i, i >= 0 && i < trendSlots
}

func (s *store) windowLocked(w span) Window {
	out := Window{Seconds: w.length.Seconds(),
		End: time.Unix(0, min((w.last+1)*int64(slotLength), w.now.UnixNano())).UTC()}
	first := s.history.number()
	if slots := s.slotsLocked(w); len(slots) > 0 {
		first = slots[0].number
	}
	if first != 0 {
		from := time.Unix(0, first*int64(slotLength)).UTC()
		out.HistoryFrom = &from
	}
	return out
}

// slotsLocked are the closed slots that can answer a question.
func (s *store) slotsLocked(w span) []*slot {
	if w.pods {
		return s.history.closed[s.history.podless:]
	}
	return s.history.closed
}

// collection is series grouped into rows by a key.
type collection[K comparable] struct {
	groups map[K]*group
	of     []*group // by the series' number
}

// collectLocked groups every series for which key says true, with its totals: wholes, or those of
// each pod where the question tells pods apart. It needs the store's lock for reading, as do the
// methods of the store that it calls.
func collectLocked[K comparable](s *store, w span, key func(*series) (K, bool)) *collection[K] {
	level := s.level.all
	if w.pods {
		level = s.parts.all
	}
	c := &collection[K]{groups: make(map[K]*group), of: make([]*group, len(level))}
	for i, one := range level {
		if one == nil {
			continue
		}
		if k, ok := key(one); ok {
			c.of[i] = c.group(k)
			c.of[i].count(w, one)
		}
	}
	s.standLocked(w, c.of)
	s.fillLocked(w, c.of)
	all := s.coveredLocked(w)
	for _, g := range c.groups {
		g.time(w, all)
	}
	return c
}

// count takes what a series has counted in all its time.
func (g *group) count(w span, one *series) {
	if g.owner == nil {
		g.owner = one.process
	} else if g.owner != one.process {
		if g.owners == nil {
			g.owners = map[*process]struct{}{g.owner: {}}
		}
		g.owners[one.process] = struct{}{}
	}
	total := one.total.counters()
	g.total.add(&total)
	g.note(one)
	if one.process.live(w.now) {
		g.open += one.open
	}
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
	} else {
		s.fillSlotsLocked(w, of)
	}
	o := s.history.open
	if o == nil || !w.has(o.number) {
		return
	}
	var scratch sample
	for part, sum := range o.samples {
		if g := groupOf(w, of, part); g != nil {
			scratch.parse(sum)
			g.addSample(&scratch)
		}
	}
}

// isRecentLocked says whether the closed slots of a window are what the history calls recent.
func (s *store) isRecentLocked(w span) bool {
	return !w.pods && w.last == s.history.number() && w.first == w.last-recentSlots
}

func (s *store) fillRecentLocked(of []*group) {
	var scratch sample
	for i, g := range of {
		if g == nil {
			continue
		}
		if recent := s.level.all[i].recent; len(recent) > 0 {
			scratch.parse(recent)
			g.addSample(&scratch)
		}
	}
}

func (s *store) fillSlotsLocked(w span, of []*group) {
	var scratch sample
	for _, sl := range s.slotsLocked(w) {
		if !w.has(sl.number) {
			continue
		}
		l := sl.log(w)
		for i, index := range l.index {
			if g := of[index]; g != nil {
				scratch.parse(l.sample(i))
				g.addSample(&scratch)
			}
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

func (g *group) addSample(d *sample) {
	g.window.add(&d.counters)
	g.latency.add(d.buckets)
}

// trendsLocked adds to some of a collection's groups what they did in each slot of a trend. The
// rest of the collection is no good after that.
func (c *collection[K]) trendsLocked(s *store, w span, groups []*group) {
	for _, g := range groups {
		g.slots = &[trendSlots]slotSum{}
	}
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
	}
	all := s.coveredLocked(w)
	for _, g := range groups {
		g.time(w, all)
	}
}

// covered is how much of its time a process told of, in the window and in each slot of the trend.
// Of a crew it is the most that one of its members did.
type covered struct {
	window  time.Duration
	slots   [trendSlots]time.Duration
	elapsed time.Duration // what rates in the window divide by
}

func (s *store) coveredLocked(w span) map[*process]*covered {
	out := make(map[*process]*covered, len(s.processes)+len(s.crews))
	each := make([]covered, len(s.processes))
	for _, p := range s.processes {
		out[p], each = &each[0], each[1:]
	}
	for _, sl := range s.slotsLocked(w) {
		if w.has(sl.number) {
			for _, x := range sl.covered {
				out[x.process].add(w, sl.number, x.time)
			}
		}
	}
	if o := s.history.open; o != nil && w.has(o.number) {
		for p, d := range o.covered {
			out[p].add(w, o.number, d)
		}
	}
	for p, c := range out {
		whole := max(c.window, w.length) // a report after a gap may tell of more than the window
		c.elapsed = min(c.window+p.silence(w), whole)
	}
	for _, crew := range s.crews {
		out[crew] = crew.most(out)
	}
	return out
}

// add is for a process that is remembered; of another one nothing is asked.
func (c *covered) add(w span, number int64, d time.Duration) {
	if c == nil {
		return
	}
	c.window += d
	if i, ok := w.trendIndex(number); ok {
		c.slots[i] += d
	}
}

// most is a crew's.
func (p *process) most(all map[*process]*covered) *covered {
	if len(p.members) == 1 {
		for one := range p.members {
			return all[one]
		}
	}
	out := &covered{}
	for one := range p.members {
		c := all[one]
		out.elapsed = max(out.elapsed, c.elapsed)
		for i, d := range c.slots {
			out.slots[i] = max(out.slots[i], d)
		}
	}
	return out
}

// time sets the group's elapsed time: the longest that one of its proxies told of. Not the sum,
// since they run side by side, and not the window, since they may all be younger, or their reports
// may lag.
func (g *group) time(w span, all map[*process]*covered) {
	if g.owners == nil {
		g.timeOf(w, all, g.owner)
	}
	for p := range g.owners {
		g.timeOf(w, all, p)
	}
}

func (g *group) timeOf(w span, all map[*process]*covered, p *process) {
	c := all[p]
	if c == nil {
		return
	}
	g.elapsed = max(g.elapsed, c.elapsed)
	if g.slots == nil {
		return
	}
	for i, d := range c.slots {
		g.slots[i].elapsed = max(g.slots[i].elapsed, d)
	}
}

// silence is how long ago a process that ended did: time in which its requests were none.
func (p *process) silence(w span) time.Duration {
	if !w.live || p.live(w.now) {
		return 0
	}
	return w.now.Sub(p.seen)
}

// figures are the group's numbers.
func (g *group) figures() Figures {
	t, w := &g.total, &g.window
	f := Figures{
		Requests: t[requests], Failures: t[failures], Tries: t[tries], FailedTries: t[failedTries],
		Retries:        t[retries],
		RetriesRefused: t[retriesRefused], Timeouts: t[timeouts],
		Faulted: t[faultedRequests], Limited: t[limitedRequests],
		ConnectionsOpened: t[connectionsOpened], Connections: g.open,
		ReadBytes: t[readBytes], WrittenBytes: t[writtenBytes],
		WindowRequests: w[requests], WindowFailures: w[failures], WindowTries: w[tries],
		WindowRetries:     w[retries],
		WindowTimeouts:    w[timeouts],
		WindowFaulted:     w[faultedRequests],
		WindowLimited:     w[limitedRequests],
		WindowTriesInZone: w[triesInZone], WindowTriesInRegion: w[triesInRegion],
		WindowTriesFarther: w[triesFarther],
		InZone:             ratio(w[triesInZone], w[triesInZone]+w[triesInRegion]+w[triesFarther]),
		SuccessRate:        success(w[failures], w[requests]),
		ActualSuccessRate:  success(w[failedTries], w[tries]),
		RetryRate:          ratio(w[retries], w[requests]),
	}
	if seconds := g.elapsed.Seconds(); seconds > 0 {
		f.RPS, f.ActualRPS = float64(w[requests])/seconds, float64(w[tries])/seconds
		f.ReadBytesPerSecond, f.WrittenBytesPerSecond = float64(w[readBytes])/seconds,
			float64(w[writtenBytes])/seconds
	}
	f.Ejected, f.Endpoints = g.standing.sums()
	counts := g.latency.counts()
	f.P50Ms, f.P95Ms, f.P99Ms = quantile(counts, 0.50), quantile(counts, 0.95),
		quantile(counts, 0.99)
	return f
}

func quantile(counts []uint64, q float64) *float64 {
	if counts == nil {
		return nil
	}
	ms := float64(metric.Quantile(counts, q)) / float64(time.Millisecond)
	return &ms
}

// trend is the requests per second of the slots before the current one, oldest first.
func (g *group) trend() []float64 {
	out := make([]float64, trendSlots)
	if g.slots == nil {
		return out
	}
	for i, sum := range g.slots {
		if sum.elapsed > 0 {
			out[i] = float64(sum.requests) / sum.elapsed.Seconds()
		}
	}
	return out
}

// success is nil where there was nothing to succeed.
func success(failed, all uint64) *float64 {
	if all == 0 {
		return nil
	}
	rate := max(0, 1-float64(failed)/float64(all))
	return &rate
}

func ratio(part, all uint64) *float64 {
	if all == 0 {
		return nil
	}
	r := float64(part) / float64(all)
	return &r
}
