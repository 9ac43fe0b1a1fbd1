package forward

import (
	"time"

	"github.com/tulle-mesh/tulle/proxy/timer"
)

// phase is how far an exchange has come. doc.go draws which one may follow which.
type phase uint8

const (
	phaseNew       phase = iota // its head is not here yet, or it is being admitted
	phaseDelayed                // a fault holds it back
	phaseWaiting                // a try waits for an endpoint, a connection or a stream
	phaseTrying                 // a try is with a backend, which has not answered
	phaseHedging                // it is slow, and there is another one beside it
	phaseBackoff                // the next try is not due
	phaseAnswering              // a final head went to the caller
	phaseEnded                  // recorded; some of the response may still be held for the caller
)

var phaseNames = [...]string{
	"new", "delayed", "waiting", "trying", "hedging", "backoff", "answering", "ended",
}

func (p phase) String() string { return phaseNames[p] }

// drawn are the phases that may follow each one.
var drawn = [...][]phase{
	phaseNew:       {phaseDelayed, phaseWaiting, phaseEnded},
	phaseDelayed:   {phaseWaiting, phaseEnded},
	phaseWaiting:   {phaseWaiting, phaseTrying, phaseBackoff, phaseEnded},
	phaseTrying:    {phaseWaiting, phaseHedging, phaseBackoff, phaseAnswering, phaseEnded},
	phaseHedging:   {phaseWaiting, phaseTrying, phaseAnswering, phaseEnded},
	phaseBackoff:   {phaseWaiting, phaseEnded},
	phaseAnswering: {phaseEnded},
	phaseEnded:     {},
}

func (p phase) mayBecome(next phase) bool {
	for _, n := range drawn[p] {
		if n == next {
			return true
		}
	}
	return false
}

// Undrawn is what the log says of a transition that nobody has drawn: a mistake of ours.
const Undrawn = "an exchange went on in a way that is not drawn"

// enter is the only place that changes an exchange's phase. The timer of the one before is stopped
// with it.
func (x *exchange) enter(next phase) {
	if !x.phase.mayBecome(next) {
		x.c.f.Log.Error(Undrawn, "from", x.phase, "to", next)
	}
	x.phase = next
	x.disarm()
}

// proceed enters the phase that the tries under way make, and arms its timer for what is due first.
func (x *exchange) proceed() {
	if next := x.live.phase(); next != x.phase {
		x.enter(next)
	}
	due := x.live.due()
	if at := x.hedgeDue(); at > 0 && (due == 0 || at < due) {
		due = at
	}
	if due == 0 {
		x.disarm()
		return
	}
	x.arm(due)
}

// age is how long ago the request came.
func (x *exchange) age() time.Duration { return time.Since(x.start) }

// arm sets the present phase's timer, for when the exchange is so old.
func (x *exchange) arm(at time.Duration) {
	x.stepOf, x.stepAt = x.phase, at
	x.c.f.Wheel.Arm(&x.step, at-x.age(), x)
}

// disarm stops the present phase's timer. One that has fired may be waiting for mu: it finds
// another phase, or no time.
func (x *exchange) disarm() {
	x.stepAt = 0
	x.stop(&x.step)
}

// stop disarms a timer. One that has fired may be about to tell the exchange.
func (x *exchange) stop(t *timer.Timer) {
	if x.c.f.Wheel.Disarm(t) {
		x.shared = true
	}
}

// Expired is one of the exchange's timers.
func (x *exchange) Expired(t *timer.Timer) {
	var b batch
	x.mu.Lock()
	switch {
	case t == &x.stall:
		x.stalled(&b)
	case x.phase == phaseEnded:
	case t == &x.deadline:
		x.deadlineExpired(&b)
	default:
		x.stepExpired(&b)
	}
	x.mu.Unlock()
	b.flush()
}

// stepExpired: the present phase took its time, unless the timer was disarmed or armed anew since
// it fired.
func (x *exchange) stepExpired(b *batch) {
	age := x.age()
	if x.stepOf != x.phase || x.stepAt == 0 || age < x.stepAt {
		return
	}
	switch x.phase {
	case phaseDelayed:
		x.delayOver(b)
		return
	case phaseBackoff:
		x.try(b)
		return
	}
	for _, a := range x.live {
		if a != nil && x.live.has(a) && a.due > 0 && age >= a.due {
			x.overdue(a, b)
		}
	}
	switch due := x.hedgeDue(); {
	case due == 0:
	case age >= due:
		x.hedge(b)
	default: // it was due sooner when the timer was set
		x.proceed()
	}
}
