package serve

import (
	"context"
	"errors"
)

// Rest is what a stream's handler returns to go on later: until there is something to receive, or
// the call has ended, or Wake is called, it needs no goroutine. Then Next is called, on one, and
// what it returns is what the handler returns, so it may be another Rest.
type Rest struct{ Next func() error }

func (*Rest) Error() string { return "the call goes on" }

// Received says whether the handler of this call would wait in Recv: false, it would.
func Received(ctx context.Context) bool {
	c, ok := ctx.Value(callKey{}).(*call)
	if !ok {
		return true
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.receivableLocked()
}

// Wake gives a handler that rests, or will, another turn.
func Wake(ctx context.Context) {
	if c, ok := ctx.Value(callKey{}).(*call); ok {
		c.mu.Lock()
		c.woken = true
		c.mu.Unlock()
		c.wake()
	}
}

// End ends a handler's call from elsewhere: what its context is done with, and what it receives, is
// why from then on. The handler returns that.
func End(ctx context.Context, why error) {
	if c, ok := ctx.Value(callKey{}).(*call); ok {
		c.cancel(why)
	}
}

// run is the goroutine of a call's handler, which begins or goes on with next.
func (c *call) run(next func() error) {
	defer c.session.server.running.Done()
	for {
		err := next()
		var rest *Rest
		if !errors.As(err, &rest) {
			c.end(err)
			return
		}
		if c.rest(rest.Next) {
			c.session.h2.Forget()
			return
		}
		next = rest.Next
	}
}

// rest leaves the call until wake; false: there is something to do.
func (c *call) rest(next func() error) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.dueLocked() {
		c.woken = false
		return false
	}
	c.resting = next
	return true
}

// wake lets the handler look at what has changed, be it at rest or not.
func (c *call) wake() {
	signal(c.arrived)
	c.mu.Lock()
	next := c.resting
	if next == nil || !c.dueLocked() {
		c.mu.Unlock()
		return
	}
	c.resting, c.woken = nil, false
	c.mu.Unlock()
	c.session.server.running.Add(1) // the session is counted, so nobody has waited in vain
	go c.run(next)
}

// dueLocked says whether a handler at rest has something to do.
func (c *call) dueLocked() bool {
	return c.woken || c.ctx.Err() != nil || c.method.said && c.receivableLocked()
}

// receivableLocked says whether RecvMsg would not wait.
func (c *call) receivableLocked() bool {
	n, _ := c.firstLocked()
	return n > 0 || c.broken != nil || c.complete || c.ctx.Err() != nil
}
