package record

import (
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/tulle-mesh/tulle/proxy/metric"
	"github.com/tulle-mesh/tulle/proxy/outcome"
	"github.com/tulle-mesh/tulle/viz/api"
)

const (
	// maxTaps is how many taps there may be at a time.
	maxTaps = 32
	// maxShown bounds what a tap may ask for: records a second, and their bytes.
	maxShown, maxShownBytes = 10_000, 16 << 20
)

// tap is a wish to see requests, at work. Readers of many connections ask it.
//
// Its budget is spent where both proxies of a request can come to the same answer: on a request
// that goes out it is spent before, and the request takes a hop along, by which the other proxy
// knows that it is to be shown. Where that cannot be, it is spent at the end.
type tap struct {
	id     uint32
	mark   uint32 // in a record's Picked
	filter matcher
	late   bool // filter's
	hops   bool // nothing is wanted but what carries a hop
	// The callers' proxies have the tap, too: of their requests only those that carry a hop are
	// wanted, and it is they who count.
	callers bool

	picks, room, bytes bucket
	matched, shown     atomic.Uint64
	told               [2]uint64 // matched and shown as viz knows them; the stream's
}

// asked is in a record's Picked once taps were asked about it; the other bits are theirs.
const asked = 1 << 31

func newTap(m *api.Tap) *tap {
	t := &tap{id: m.Id, mark: 1 << (m.Id % 31), filter: compile(m.Filter), hops: m.HopsOnly,
		callers: m.CallersToo}
	t.late = t.filter.late()
	t.picks.every = interval(m.RecordsPerSecond, maxShown)
	t.room.every = t.picks.every
	t.bytes.every = interval(m.BytesPerSecond, maxShownBytes)
	return t
}

// interval is the time between two of so many a second; 0: there are none.
func interval(perSecond, most uint32) time.Duration {
	if perSecond == 0 {
		return 0
	}
	return time.Second / time.Duration(min(perSecond, most))
}

// pick reports whether a request that goes out is to be shown, as far as it can be known.
func (t *tap) pick(r *outcome.Record, now time.Duration) bool {
	return !t.hops && t.filter.goesOut(r) && t.picks.take(now)
}

// takes reports whether the tap shows a complete record.
func (t *tap) takes(r *outcome.Record, now time.Duration) bool {
	if t.hops || !t.filter.matches(r) {
		return false
	}
	others := t.callers && r.Labels.Direction == metric.Inbound &&
		r.Labels.Security == metric.MTLS
	if !others {
		t.matched.Add(1)
	}
	if others && r.Hop == 0 || !t.affords(r, now) || !t.bytes.spend(now, sizeOf(r)) {
		return false
	}
	t.shown.Add(1)
	return true
}

// affords reports whether there is room for a record that matches. What carries a hop the caller's
// proxy has paid for.
func (t *tap) affords(r *outcome.Record, now time.Duration) bool {
	switch {
	case r.Picked&t.mark != 0, r.Hop != 0 && r.Labels.Direction == metric.Inbound:
		return true
	case r.Picked&asked != 0 && !t.late: // there was no room
		return false
	}
	return t.room.take(now)
}

// count is what the tap has counted, if that is news.
func (t *tap) count() *api.TapCount {
	now := [2]uint64{t.matched.Load(), t.shown.Load()}
	if now == t.told {
		return nil
	}
	t.told = now
	return &api.TapCount{Id: t.id, Matched: now[0], Shown: now[1]}
}

// taps are those that there are at a time. They are swapped whole.
type taps []*tap

// follow is what taps become when viz says which there are: those that were there go on.
func (all taps) follow(told []*api.Tap) (next taps) {
	known := map[uint32]*tap{}
	for _, t := range all {
		known[t.id] = t
	}
	for _, m := range told[:min(len(told), maxTaps)] {
		t := known[m.GetId()]
		if t == nil && m != nil {
			t = newTap(m)
		}
		if t != nil {
			next = append(next, t)
		}
		delete(known, m.GetId())
	}
	return next
}

// looking reports whether any wants to see more than what another proxy shows.
func (all taps) looking() bool {
	for _, t := range all {
		if !t.hops {
			return true
		}
	}
	return false
}

// pick gives a request that goes out a hop, if a tap is to show it. It notes for which, and that it
// was asked about at all.
func (all taps) pick(r *outcome.Record, now time.Duration) {
	r.Picked |= asked
	for _, t := range all {
		if t.pick(r, now) {
			r.Picked |= t.mark
		}
	}
	if r.Picked != asked && r.Hop == 0 {
		r.Hop = rand.Uint64() | 1
	}
}
