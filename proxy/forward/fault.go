package forward

import (
	"strconv"

	"github.com/tulle-mesh/tulle/proxy/discover"
	"github.com/tulle-mesh/tulle/proxy/outcome"
)

// noError is the fault that is a delay alone.
const noError = 1

// befallen reports whether a fault of the rule's has taken the request: it is held back, or has its
// answer. The caller's deadline counts the delay, as it would a slow backend's.
func (x *exchange) befallen(a *discover.Answer, b *batch) bool {
	delay, status := x.rule.Befalls(x.req, x.c.f.Identity, x.start)
	x.fault = uint16(status)
	switch {
	case delay > 0:
		x.c.f.delayed.Inc()
		x.seen.HeldBack()
		if x.fault = max(x.fault, noError); x.fault == noError {
			x.mirrorLater(a)
		}
		x.shared = true // the wheel will know it
		x.enter(phaseDelayed)
		x.arm(delay)
	case status > 0:
		x.abort(status, b)
	default:
		return false
	}
	return true
}

// delayOver goes on after a delay.
func (x *exchange) delayOver(b *batch) {
	if x.fault != noError {
		x.abort(int(x.fault), b)
		return
	}
	x.awaitBody(b)
	x.mirrorNow(b)
	x.try(b)
}

// abort answers in place of a backend.
func (x *exchange) abort(status int, b *batch) {
	x.c.f.aborted.Inc()
	words := "a fault is injected: " + strconv.Itoa(status)
	x.because(outcome.FaultInjected, words)
	x.answerByRoute(x.errorReply(status, words), b)
}
