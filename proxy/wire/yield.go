package wire

import "time"

// A processor that is given away comes back when whoever wanted it has had enough of it: a peer that waits for us soon has, but
// one that only computes uses up its time slice each time, of milliseconds. Once such have kept it for longer than yieldLimit,
// it is not given away for yieldRest times as long, so that a neighbour like that costs about 1 % and no more. All that others
// make of it pays some back.
const (
	yieldLong  = time.Millisecond
	yieldLimit = 8 * time.Millisecond
	yieldRest  = 100
	yieldBack  = 50 * time.Microsecond
)

// generosity says whether the processor may be given away.
type generosity struct {
	lost time.Duration
	from time.Time
}

func (g *generosity) allows(now time.Time) bool { return !now.Before(g.from) }

// took notes that the processor came back at a time, after d.
func (g *generosity) took(d time.Duration, back time.Time) {
	if d < yieldLong {
		g.lost = max(0, g.lost-yieldBack)
		return
	}
	if g.lost += d; g.lost > yieldLimit {
		g.from = back.Add(yieldRest * g.lost)
		g.lost = 0
	}
}

// MoreLater is More after others have been let run on this processor, in a turn on a loop: a peer on this machine has said
// more by then, which is read, passed on and acknowledged in fewer pieces.
func (c *Conn) MoreLater() bool {
	if !c.reader.inTurn {
		return c.More()
	}
	if gone := time.Now(); c.generosity.allows(gone) {
		c.sock.yield()
		back := time.Now()
		c.generosity.took(back.Sub(gone), back)
	}
	return c.More()
}
