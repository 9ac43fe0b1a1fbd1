package slo

import "time"

// clock counts slots, and knows of which of them something is known: those in which viz ran.
type clock struct {
	ahead int64 // of the wall: how far that was set back, in all
	now   int64
	known []span // the oldest first; they do not touch
}

// span is slots from first to last, both included.
type span struct{ First, Last int64 }

const (
	// late is how many slots the wall may go back without anybody noticing: it is being steered.
	late = 2
	// gap is after how many slots in which nothing was heard of viz nothing is known of them.
	gap = perMinute
	// maxSpans bounds what is remembered of when viz ran. Beyond it the oldest two become one, as
	// if it had run in between.
	maxSpans = 1024
)

// tick moves to the wall's time, and returns it in slots. When the wall is set back, time stands
// still for a moment and goes on from there: nothing gets younger.
func (c *clock) tick(wall time.Time) int64 {
	slot := slotOf(wall) + c.ahead
	if slot < c.now-late {
		c.ahead += c.now - slot
	}
	before := c.now
	c.now = max(c.now, slot)
	if n := len(c.known); n > 0 && c.now-before <= gap && c.known[n-1].Last == before {
		c.known[n-1].Last = c.now
	} else {
		c.knows(span{c.now, c.now})
	}
	return c.now
}

// knows adds a span that is not older than the others.
func (c *clock) knows(s span) {
	if n := len(c.known); n > 0 && s.First <= c.known[n-1].Last+1 {
		c.known[n-1].Last = max(c.known[n-1].Last, s.Last)
		return
	}
	c.known = append(c.known, s)
	if len(c.known) > maxSpans {
		c.known[1].First = c.known[0].First
		c.known = c.known[1:]
	}
}

// knownSince is how many slots from one to another, both included, are known, and the first.
func (c *clock) knownSince(first, last int64) (slots, since int64) {
	since = last
	for _, s := range c.known {
		from, to := max(first, s.First), min(last, s.Last)
		if from > to {
			continue
		}
		slots += to - from + 1
		since = min(since, from)
	}
	return slots, since
}

// forget drops what is older than any window.
func (c *clock) forget() {
	oldest := c.now - int64(maxWindow/slotLength)
	for len(c.known) > 1 && c.known[0].Last < oldest {
		c.known = c.known[1:]
	}
}

// wall is when a slot begins, by the wall's time of the moment.
func (c *clock) wall(slot int64) time.Time {
	return time.Unix(0, (slot-c.ahead)*int64(slotLength)).UTC()
}
