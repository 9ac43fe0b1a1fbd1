package wire

import "time"

// A sched_yield returns when the process that got the processor gives it back. A peer that waits
// for us does so soon. A process that only computes keeps it for its whole time slice, which is
// milliseconds.
const (
	// yieldLong is a yield that a computing process took.
	yieldLong = time.Millisecond
	// yieldLimit is what long yields may take together before the loop stops to yield.
	yieldLimit = 8 * time.Millisecond
	// yieldRest times the time lost is how long it stops, so that a computing neighbour costs about
	// 1 % of a processor and no more.
	yieldRest = 100
	// yieldBack is what each short yield takes off the time lost.
	yieldBack = 50 * time.Microsecond
)

// yieldBudget says whether a loop may yield its processor.
type yieldBudget struct {
	lost      time.Duration // in long yields
	notBefore time.Time     // no yield
}

func (g *yieldBudget) allows(now time.Time) bool { return !now.Before(g.notBefore) }

// charge notes a yield that took d and ended at the time back.
func (g *yieldBudget) charge(d time.Duration, back time.Time) {
	if d < yieldLong {
		g.lost = max(0, g.lost-yieldBack)
		return
	}
	if g.lost += d; g.lost > yieldLimit {
		g.notBefore = back.Add(yieldRest * g.lost)
		g.lost = 0
	}
}

// MoreLater is More after a sched_yield, in a turn on a loop. A peer on this machine has said more
// by then, and that is read, passed on and acknowledged in fewer pieces.
func (c *Conn) MoreLater() bool {
	if !c.reader.inTurn {
		return c.More()
	}
	if gone := time.Now(); c.yields.allows(gone) {
		c.sock.yield()
		back := time.Now()
		c.yields.charge(back.Sub(gone), back)
	}
	return c.More()
}
