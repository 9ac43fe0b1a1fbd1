package slo

import "time"

// Ledger has the counts of one objective.
type Ledger struct {
	objective Objective
	since     int64 // its first slot: before it nothing was counted
	fine      ring[uint32]
	minutes   ring[uint32]
	hours     ring[uint64]
	total     Count // since viz counts it, of what it heard itself
}

func newLedger(o Objective, since int64) *Ledger {
	return &Ledger{
		objective: o, since: since,
		fine:    newRing[uint32](1, fineSlots),
		minutes: newRing[uint32](perMinute, minuteSlots),
		hours:   newRing[uint64](perHour, hourSlots),
	}
}

// Objective is what it is about.
func (l *Ledger) Objective() *Objective { return &l.objective }

// Total is what was counted with Add: it never falls.
func (l *Ledger) Total() Count { return l.total }

func (l *Ledger) add(slot int64, c Count) {
	l.fine.add(slot, c)
	l.minutes.add(slot, c)
	l.hours.add(slot, c)
}

// stretch is a part of the past that ends now.
type stretch struct {
	Count
	known float64 // the part of it of which anything is known
	since int64   // its first slot of which anything is
}

// window is the last so much time: to 5 s up to an hour, to a minute up to three days, and to an
// hour beyond.
func (l *Ledger) window(c *clock, length time.Duration) stretch {
	slots := int64(length / slotLength)
	switch {
	case slots <= int64(fineSlots):
		return stretchOf(&l.fine, c, l.since, slots)
	case slots <= int64(minuteSlots)*perMinute:
		return stretchOf(&l.minutes, c, l.since, slots)
	}
	return stretchOf(&l.hours, c, l.since, slots)
}

func stretchOf[N number](r *ring[N], c *clock, since, slots int64) stretch {
	parts := slots / r.slots
	known, first := c.knownSince(max(since, r.begin(c.now, parts)), c.now)
	return stretch{Count: r.sum(c.now, parts), since: first,
		known: min(1, float64(known)/float64(slots))}
}
