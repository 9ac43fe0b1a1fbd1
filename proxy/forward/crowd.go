package forward

import (
	"github.com/tulle-mesh/tulle/proxy/memory"
	"github.com/tulle-mesh/tulle/proxy/outcome"
)

const (
	// requestMemory is what a request takes, in bytes, while it waits for its answer: its exchange,
	// its head, and a stream on both sides.
	requestMemory = 2560
	// crowdMemory of GOMEMLIMIT, in percent, may be requests that wait.
	crowdMemory = 70
	// crowdLeft: a connection may have a sixteenth of the requests that it leaves to others. Two
	// hundred that open all they can leave a thirteenth.
	crowdLeft = 16
)

// maxCrowd is how many requests may wait for their answers where memory has a limit, in bytes.
func maxCrowd(memoryLimit int64) int {
	return int(memoryLimit / 100 * crowdMemory / requestMemory)
}

// takesPlace counts an admitted request, unless its connection has as many as it may have. Memory
// alone would say no to everybody once a few hundred peers wait for thousands of answers. One
// request of each connection is always let in: MaxConnections bounds those. So is any of the pod's
// own application, for nobody else shares its proxy.
func (x *exchange) takesPlace() bool {
	c, most := x.c, x.c.f.maxCrowd
	mine, taken := int(c.waiting.Load()), int(c.f.waiting.Load())
	bounded := mine > 0 && (c.side.peer() || c.side.stranger())
	if bounded && !memory.LeavesEnough(mine, taken, most, crowdLeft) {
		return false
	}
	x.placed = true
	c.waiting.Add(1)
	c.f.waiting.Add(1)
	return true
}

// givesPlace ends what takesPlace began.
func (x *exchange) givesPlace() {
	if !x.placed {
		return
	}
	x.placed = false
	x.c.waiting.Add(-1)
	x.c.f.waiting.Add(-1)
}

// noRoom counts the request among those that wait, or says why it may not be one of them.
func (x *exchange) noRoom() (why string) {
	switch {
	case !x.takesPlace():
		return "too many requests of this connection wait for their answers"
	case !x.weighHead():
		return "too many long requests wait for their answers"
	}
	return ""
}

// refuseForNow tells the caller that the request may be sent again later: nothing of it was
// processed.
func (x *exchange) refuseForNow(why string) {
	x.c.f.shedWork.Inc()
	if x.c.http1 {
		x.overloaded(why, &x.c.batch)
		return
	}
	x.because(outcome.Overload, why)
	x.refuse(&x.c.batch)
}
