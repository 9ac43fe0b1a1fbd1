package slo

import "time"

// A slot is the shortest time that is told apart: what viz's history has, too. Longer ones are
// multiples of it. All are counted since 1970.
const (
	slotLength = 5 * time.Second
	perMinute  = int64(time.Minute / slotLength)
	perHour    = int64(time.Hour / slotLength)

	fineSlots   = int(perHour)
	minuteSlots = int(3 * day / time.Minute)
	hourSlots   = int(maxWindow / time.Hour)
)

func slotOf(t time.Time) int64 { return t.UnixNano() / int64(slotLength) }

// number is how a ring keeps a count. In 32 bits a minute has 70 million requests a second.
type number interface{ uint32 | uint64 }

// ring has the counts of the last len(requests) parts of time, each of so many slots.
type ring[N number] struct {
	slots    int64 // of each part
	newest   int64 // the number of the newest part
	requests []N
	bad      []N
}

func newRing[N number](slots int64, parts int) ring[N] {
	return ring[N]{slots: slots, requests: make([]N, parts), bad: make([]N, parts)}
}

// at is where a part is kept.
func (r *ring[N]) at(part int64) int { return int(part % int64(len(r.requests))) }

// turn makes the part of a slot the newest, if it is.
func (r *ring[N]) turn(slot int64) {
	part := slot / r.slots
	for n := max(r.newest+1, part-int64(len(r.requests))+1); n <= part; n++ {
		r.requests[r.at(n)], r.bad[r.at(n)] = 0, 0
	}
	r.newest = max(r.newest, part)
}

// add counts at a slot. What is older than the ring is not kept.
func (r *ring[N]) add(slot int64, c Count) {
	r.turn(slot)
	part := slot / r.slots
	if part <= r.newest-int64(len(r.requests)) {
		return
	}
	i := r.at(part)
	r.requests[i], r.bad[i] = plus(r.requests[i], c.Requests), plus(r.bad[i], c.Bad)
}

// plus does not turn around.
func plus[N number](n N, more uint64) N {
	most := uint64(^N(0))
	if more > most-uint64(n) {
		return ^N(0)
	}
	return n + N(more)
}

// part is what one part has.
func (r *ring[N]) part(part int64) Count {
	if part > r.newest || part <= r.newest-int64(len(r.requests)) || part < 0 {
		return Count{}
	}
	i := r.at(part)
	return Count{uint64(r.requests[i]), uint64(r.bad[i])}
}

// sum is what the last parts have, up to the one of a slot.
func (r *ring[N]) sum(slot, parts int64) (sum Count) {
	last := slot / r.slots
	for n := last - parts + 1; n <= last; n++ {
		sum.add(r.part(n))
	}
	return sum
}

// begin is the first slot of the last parts, up to the one of a slot.
func (r *ring[N]) begin(slot, parts int64) int64 {
	return max(0, (slot/r.slots-parts+1)*r.slots)
}

// each calls f for every part in which something was counted, the oldest first.
func (r *ring[N]) each(f func(slot int64, c Count)) {
	for n := max(0, r.newest-int64(len(r.requests))+1); n <= r.newest; n++ {
		if c := r.part(n); c != (Count{}) {
			f(n*r.slots, c)
		}
	}
}
