package viz

import (
	"time"

	"github.com/tulle-mesh/tulle/proxy/metric"
)

// trendSlots is how many slots a trend shows. They are over: the current one would jump up and
// down.
const trendSlots = 10

// group sums the series of one row.
type group struct {
	total     counters
	open      uint64
	window    counters
	latency   []uint64 // by bucket
	processes map[*process]struct{}
	elapsed   time.Duration
	slots     [trendSlots]slotSum
	standing  standing
	protection
}

// slotSum is a group's requests in one slot.
type slotSum struct {
	requests uint64
	elapsed  time.Duration
}

// span is the window of a question, in slots.
type span struct {
	now         time.Time
	first, last int64
	length      time.Duration
	live        bool // it ends now
}

func spanOf(now time.Time, q Query) span {
	length := q.Window
	if length == 0 {
		length = DefaultWindow
	}
	w := span{now: now, length: length, live: q.Ago < slotLength, last: slotNumber(now)}
	end := now
	if !w.live {
		end = now.Add(-q.Ago)
		w.last = slotNumber(end.Add(-1))
	}
	w.first = slotNumber(end.Add(-length).Add(slotLength - 1))
	return w
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
	first := int64(0)
	if len(s.history.closed) > 0 {
		first = s.history.closed[0].number
	} else if s.history.open != nil {
		first = s.history.open.number
	}
	if first != 0 {
		from := time.Unix(0, first*int64(slotLength)).UTC()
		out.HistoryFrom = &from
	}
	return out
}

// collection is series grouped into rows by a key.
type collection[K comparable] struct {
	groups map[K]*group
	of     map[*series]*group
}

// collectLocked groups every series for which key says true, with its totals. It needs
// the store's lock for reading, as do the methods of the store that it calls.
func collectLocked[K comparable](s *store, w span, key func(*series) (K, bool)) *collection[K] {
	c := &collection[K]{groups: make(map[K]*group), of: make(map[*series]*group)}
	for _, p := range s.processes {
		for _, one := range p.series {
			if k, ok := key(one); ok {
				c.add(w, k, one)
			}
		}
	}
	s.fillLocked(w, c.of)
	all := s.coveredLocked(w)
	for _, g := range c.groups {
		g.time(w, all)
	}
	return c
}

func (c *collection[K]) add(w span, k K, one *series) {
	g := c.group(k)
	c.of[one] = g
	g.processes[one.process] = struct{}{}
	total := one.total.counters()
	g.total.add(&total)
	g.note(one)
	if one.process.live(w.now) {
		g.open += one.open
		g.standing.note(one)
	}
}

func (c *collection[K]) group(k K) *group {
	g := c.groups[k]
	if g == nil {
		g = &group{processes: make(map[*process]struct{})}
		c.groups[k] = g
	}
	return g
}

// fillLocked adds what happened in the window to the groups.
func (s *store) fillLocked(w span, of map[*series]*group) {
	var scratch sample
	for _, sl := range s.history.closed {
		if !w.has(sl.number) {
			continue
		}
		for i, one := range sl.series {
			if g := of[one]; g != nil {
				sl.sample(i, &scratch)
				g.addSample(w, sl.number, &scratch)
			}
		}
	}
	if o := s.history.open; o != nil && w.has(o.number) {
		for one, sum := range o.samples {
			if g := of[one]; g != nil {
				scratch.parse(sum)
				g.addSample(w, o.number, &scratch)
			}
		}
	}
}

func (g *group) addSample(w span, number int64, d *sample) {
	g.window.add(&d.counters)
	if g.latency == nil {
		g.latency = make([]uint64, metric.Buckets)
	}
	for _, b := range d.buckets {
		g.latency[b.index] += b.count
	}
	if i, ok := w.trendIndex(number); ok {
		g.slots[i].requests += d.counters[requests]
	}
}

// covered is how much of its time a process told of, in the window and in each slot of the trend.
type covered struct {
	window time.Duration
	slots  [trendSlots]time.Duration
}

func (s *store) coveredLocked(w span) map[*process]*covered {
	out := make(map[*process]*covered, len(s.processes))
	add := func(number int64, p *process, d time.Duration) {
		c := out[p]
		if c == nil {
			c = &covered{}
			out[p] = c
		}
		c.window += d
		if i, ok := w.trendIndex(number); ok {
			c.slots[i] += d
		}
	}
	for _, sl := range s.history.closed {
		if w.has(sl.number) {
			for _, x := range sl.covered {
				add(sl.number, x.process, x.time)
			}
		}
	}
	if o := s.history.open; o != nil && w.has(o.number) {
		for p, d := range o.covered {
			add(o.number, p, d)
		}
	}
	return out
}

// time sets the group's elapsed time: the longest that one of its proxies told of. Not the sum,
// since they run side by side, and not the window, since they may all be younger, or their reports
// may lag.
func (g *group) time(w span, all map[*process]*covered) {
	for p := range g.processes {
		c := all[p]
		if c == nil {
			c = &covered{}
		}
		whole := max(c.window, w.length) // a report after a gap may tell of more than the window
		g.elapsed = max(g.elapsed, min(c.window+p.silence(w), whole))
		for i, d := range c.slots {
			g.slots[i].elapsed = max(g.slots[i].elapsed, d)
		}
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
		SuccessRate:       success(w[failures], w[requests]),
		ActualSuccessRate: success(w[failedTries], w[tries]),
		RetryRate:         ratio(w[retries], w[requests]),
	}
	if seconds := g.elapsed.Seconds(); seconds > 0 {
		f.RPS, f.ActualRPS = float64(w[requests])/seconds, float64(w[tries])/seconds
		f.ReadBytesPerSecond, f.WrittenBytesPerSecond = float64(w[readBytes])/seconds,
			float64(w[writtenBytes])/seconds
	}
	f.Ejected, f.Endpoints = g.standing.sums()
	f.P50Ms, f.P95Ms, f.P99Ms = g.quantile(0.50), g.quantile(0.95), g.quantile(0.99)
	return f
}

func (g *group) quantile(q float64) *float64 {
	for _, n := range g.latency {
		if n > 0 {
			ms := float64(metric.Quantile(g.latency, q)) / float64(time.Millisecond)
			return &ms
		}
	}
	return nil
}

// trend is the requests per second of the slots before the current one, oldest first.
func (g *group) trend() []float64 {
	out := make([]float64, trendSlots)
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
