package h2

import "time"

// past is a deadline that was met: the next one has to be set.
var past = time.Unix(1, 0)

// watch holds the reader's clock: what it waits for and since when. The deadline is moved only when it would come too
// late, so a busy connection does not set one for every read.
type watch struct {
	began    time.Time
	heard    time.Time
	partial  time.Time // an unfinished frame or header block is here since
	idle     time.Time // no streams since
	pinged   time.Time // a keep-alive PING is unanswered since
	deadline time.Time // what is set
}

func (w *watch) begin(now time.Time) { w.began, w.heard = now, now }
func (w *watch) progress()           { w.partial = time.Time{} }

// setDeadline prepares the reader's wait; the lock is held.
func (c *Conn) setDeadline() error {
	w := &c.watch
	c.observe()
	next := c.nextDeadline()
	if w.deadline.Equal(next) || !w.deadline.IsZero() && w.deadline.After(c.now) && !next.IsZero() && w.deadline.Before(next) {
		return nil
	}
	w.deadline = next
	return c.w.SetReadDeadline(next)
}

func (c *Conn) observe() {
	w := &c.watch
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

func (c *Conn) nextDeadline() time.Time {
	w := &c.watch
	var next time.Time
	earliest := func(since time.Time, d time.Duration) {
		if since.IsZero() || d <= 0 {
			return
		}
		if t := since.Add(d); next.IsZero() || t.Before(next) {
			next = t
		}
	}
	if !c.started {
		earliest(w.began, c.o.StartTimeout)
	}
	earliest(w.partial, c.o.HeaderTimeout)
	earliest(c.idleSince(), c.o.IdleTimeout)
	earliest(c.quietSince(), c.o.KeepAlive)
	return next
}

// idleSince: while there are streams the reader still looks from time to time, for they may end without it.
func (c *Conn) idleSince() time.Time {
	if c.watch.idle.IsZero() {
		return c.now
	}
	return c.watch.idle
}

func (c *Conn) quietSince() time.Time {
	if c.watch.pinged.After(c.watch.heard) {
		return c.watch.pinged
	}
	return c.watch.heard
}

// tick acts on what is overdue when the reader's deadline passed.
func (c *Conn) tick(now time.Time) error {
	c.w.Lock()
	defer c.w.Unlock()
	if err := c.w.FailedLocked(); err != nil {
		return err // nothing that is said from here on arrives, so the peer's streams are dead
	}
	w := &c.watch
	w.deadline = past
	over := func(since time.Time, d time.Duration) bool {
		return !since.IsZero() && d > 0 && now.Sub(since) >= d
	}
	switch {
	case !c.started && over(w.began, c.o.StartTimeout):
		return connError(CodeSettingsTimeout, "no SETTINGS in time")
	case over(w.partial, c.o.HeaderTimeout):
		return connError(CodeEnhanceYourCalm, "unfinished frame or header block")
	case len(c.streams) == 0 && over(w.idle, c.o.IdleTimeout):
		c.drain.begun = true // under this lock: no stream is opened on what is already ending
		return errIdle
	case over(c.quietSince(), c.o.KeepAlive):
		return c.keepAlive(now)
	}
	return nil
}

var keepAlivePing = [8]byte{'k', 'e', 'e', 'p', 'i', 'n', 'g', '!'}

func (c *Conn) keepAlive(now time.Time) error {
	if c.watch.pinged.After(c.watch.heard) {
		return errKeepAlive
	}
	c.watch.pinged = now
	c.appendPing(0, keepAlivePing)
	return nil
}
