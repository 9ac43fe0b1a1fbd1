package proxy

import (
	"time"

	"github.com/tulle-mesh/tulle/proxy/config"
	"github.com/tulle-mesh/tulle/proxy/h2"
)

// hold notes n bytes that a peer has not taken. A peer that takes nothing for config.BodyStall is given up: what is held
// for it is memory that it decides about.
func (x *exchange) hold(held *int, n int) {
	if n <= 0 {
		return
	}
	if x.heldUp+x.heldDown == 0 {
		x.movedAt = time.Now()
		x.c.p.wheel.arm(&x.stall, config.BodyStall, x)
	}
	*held += n
}

// moved notes that a peer took n of the bytes held for it.
func (x *exchange) moved(held *int, n int) {
	*held = max(0, *held-n)
	x.movedAt = time.Now()
	if x.heldUp+x.heldDown == 0 {
		x.c.p.wheel.disarm(&x.stall)
	}
}

// stalled ends an exchange whose peer took nothing for too long.
func (x *exchange) stalled(b *batch) {
	if x.heldUp+x.heldDown == 0 {
		return
	}
	if left := config.BodyStall - time.Since(x.movedAt); left > 0 {
		x.c.p.wheel.arm(&x.stall, left, x)
		return
	}
	if x.done {
		x.down.Reset(h2.CodeCancel)
		b.touch(x.down)
		x.cutTail(b)
		return
	}
	x.timeout("the body did not move for too long", b)
}

// cutTail gives up the rest of a response that has ended: the backend's window is given back, nobody takes the bytes.
func (x *exchange) cutTail(b *batch) {
	if x.tail == nil {
		return
	}
	x.tail.Consumed(x.heldDown)
	b.touch(x.tail)
	x.tail, x.heldDown = nil, 0
	x.c.p.wheel.disarm(&x.stall)
}
