package forward

import (
	"time"

	"github.com/tulle-mesh/tulle/proxy/h2"
	"github.com/tulle-mesh/tulle/proxy/outcome"
)

// hold notes n bytes that a peer has not taken. A peer that takes nothing for Limits.BodyStall is
// given up, unless it may pause: what is held for it is memory that it decides about.
func (x *exchange) hold(held *int32, n int) {
	if n <= 0 {
		return
	}
	x.shared = true
	if !x.holds() && !x.mayPause() {
		x.progressedAt = time.Now()
		x.c.f.Wheel.Arm(&x.stall, x.c.f.Limits.BodyStall, x)
	}
	*held += int32(n) // no stream keeps more than a window, which is less (RFC 9113 §6.9.1)
}

// mayPause reports whether either side may say and take nothing for as long as it likes. Before a
// tunnel there may be a request with a body.
func (x *exchange) mayPause() bool {
	return x.grpc || x.tunnel && (x.phase == phaseAnswering || x.reqBytes >= x.upload)
}

// holds reports whether anything is held for a peer.
func (x *exchange) holds() bool {
	held := x.heldDown
	for _, a := range x.live.all() {
		held += a.held
	}
	return held > 0
}

// progressed notes that a peer took n of the bytes held for it.
func (x *exchange) progressed(held *int32, n int) {
	*held = max(0, *held-int32(n))
	x.progressedAt = time.Now()
	if x.holds() {
		return
	}
	if x.awaitsBody() {
		x.c.f.Wheel.Arm(&x.stall, x.c.f.Limits.BodyIdle, x)
		return
	}
	x.stop(&x.stall)
}

// awaitsBody: the caller has more to say before it gets an answer, or after it has got all of it. A
// gRPC stream or an upgraded connection may be silent for as long as it likes, and so may a caller
// that is being answered.
func (x *exchange) awaitsBody() bool {
	return !x.reqEnd && (x.phase < phaseAnswering || x.outlived()) && !x.mayPause()
}

// awaitBody bounds how long a request's body may pause: a caller that stops in the middle holds a
// connection and a worker of the backend's for nothing. Whether it is over is looked at when the
// timer fires, so a body costs one timer.
func (x *exchange) awaitBody(b *batch) {
	if x.awaitsBody() && !x.holds() {
		x.progressedAt = b.time()
		x.c.f.Wheel.Arm(&x.stall, x.c.f.Limits.BodyIdle, x)
	}
}

// bodyPaused ends a request whose body stopped arriving.
func (x *exchange) bodyPaused(b *batch) {
	if !x.awaitsBody() {
		return
	}
	if left := x.c.f.Limits.BodyIdle - time.Since(x.progressedAt); left > 0 {
		x.c.f.Wheel.Arm(&x.stall, left, x)
		return
	}
	x.fail(408, outcome.IdleTimeout, "the request's body stopped arriving", b)
}

// stalled ends an exchange whose peer took nothing for too long.
func (x *exchange) stalled(b *batch) {
	if !x.holds() {
		x.bodyPaused(b)
		return
	}
	if left := x.c.f.Limits.BodyStall - time.Since(x.progressedAt); left > 0 {
		x.c.f.Wheel.Arm(&x.stall, left, x)
		return
	}
	if x.outlived() {
		x.complete(b)
	}
	if x.phase == phaseEnded {
		x.down.Reset(h2.CodeCancel)
		b.touch(x.down)
		x.cutTail(b)
		return
	}
	x.timeout(outcome.IdleTimeout, "the body did not move for too long", b)
}

// cutTail gives up the rest of a response that has ended: the backend's window is given back,
// nobody takes the bytes.
func (x *exchange) cutTail(b *batch) {
	if x.tail == nil {
		return
	}
	x.tail.Consumed(int(x.heldDown))
	b.touch(x.tail)
	x.tail, x.heldDown = nil, 0
	x.stop(&x.stall)
}
