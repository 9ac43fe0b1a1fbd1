package h2

import "time"

// aLongTimeAgo stands for a deadline that has passed, so that the next one is set whatever it is.
var aLongTimeAgo = time.Unix(1, 0)

// timers are the moments since which the reader waits for something, and the read deadline that
// follows from them. The deadline is moved only when it would come too late, so that a busy
// connection does not set one for every read.
type timers struct {
	began    time.Time
	heard    time.Time
	partial  time.Time // an unfinished frame or header block is here since
	idle     time.Time // no streams since
	pinged   time.Time // a keep-alive PING is unanswered since
	deadline time.Time // that is set on the wire
}

func (w *timers) begin(now time.Time) { w.began, w.heard = now, now }
func (w *timers) progress()           { w.partial = time.Time{} }

// setDeadlineLocked prepares the reader's wait.
func (c *Conn) setDeadlineLocked() error {
	w := &c.timers
	c.observeLocked()
	next := c.nextDeadlineLocked()
	if w.deadline.Equal(next) ||
		!w.deadline.IsZero() && w.deadline.After(c.now) && !next.IsZero() &&
			w.deadline.Before(next) {
		return nil
	}
	w.deadline = next
	return c.w.SetReadDeadline(next)
}

func (c *Conn) observeLocked() {
	w := &c.timers
	unfinished := c.block.open || !c.data.open && c.skip == 0 && len(c.w.Buffered()) > 0
	if !unfinished {
		w.partial = time.Time{}
	} else if w.partial.IsZero() {
		w.partial = c.now
	}
	if c.block.open {
		w.partial = c.block.since
	}
	if len(c.streams) > 0 {
		w.idle = time.Time{}
	} else if w.idle.IsZero() {
		w.idle = c.now
	}
}

func (c *Conn) nextDeadlineLocked() time.Time {
	w := &c.timers
	var next time.Time
	earliest := func(since time.Time, d time.Duration) {
		if since.IsZero() || d <= 0 {
			return
		}
		if t := since.Add(d); next.IsZero() || t.Before(next) {
			next = t
		}
	}
	if c.start < startStarted {
		earliest(w.began, c.o.StartTimeout)
	}
	earliest(w.partial, c.o.HeaderTimeout)
	earliest(c.idleSinceLocked(), c.idleTimeoutLocked())
	earliest(c.quietSinceLocked(), c.o.KeepAlive)
	return next
}

// idleSinceLocked is since when there are no streams. While there are some it is now: the reader
// looks again after IdleTimeout, for streams may end without it.
func (c *Conn) idleSinceLocked() time.Time {
	if c.timers.idle.IsZero() {
		return c.now
	}
	return c.timers.idle
}

func (c *Conn) idleTimeoutLocked() time.Duration {
	if c.server && c.lastIn == 0 && c.o.FirstTimeout > 0 {
		return c.o.FirstTimeout
	}
	return c.o.IdleTimeout
}

func (c *Conn) quietSinceLocked() time.Time {
	if c.timers.pinged.After(c.timers.heard) {
		return c.timers.pinged
	}
	return c.timers.heard
}

// tick acts on what is overdue when the reader's deadline passed.
func (c *Conn) tick(now time.Time) error {
	c.w.Lock()
	defer c.w.Unlock()
	if err := c.w.FailedLocked(); err != nil {
		return err // nothing that is said from here on arrives, so the peer's streams are dead
	}
	w := &c.timers
	w.deadline = aLongTimeAgo
	over := func(since time.Time, d time.Duration) bool {
		return !since.IsZero() && d > 0 && now.Sub(since) >= d
	}
	switch {
	case c.start < startStarted && over(w.began, c.o.StartTimeout):
		return connError(CodeSettingsTimeout, "no SETTINGS in time")
	case over(w.partial, c.o.HeaderTimeout):
		return connError(CodeEnhanceYourCalm, "unfinished frame or header block")
	case len(c.streams) == 0 && over(w.idle, c.idleTimeoutLocked()):
		c.drainLocked() // under this lock: no stream is opened on what is already ending
		return errIdle
	case over(c.quietSinceLocked(), c.o.KeepAlive):
		return c.keepAliveLocked(now)
	}
	return nil
}

var keepAlivePing = [8]byte{'k', 'e', 'e', 'p', 'i', 'n', 'g', '!'}

func (c *Conn) keepAliveLocked(now time.Time) error {
	if c.timers.pinged.After(c.timers.heard) {
		return errKeepAlive
	}
	c.timers.pinged = now
	c.appendPingLocked(0, keepAlivePing)
	return nil
}
