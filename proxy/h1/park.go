package h1

import (
	"errors"
	"io"
	"os"
	"time"
)

// need is what the parser cannot go on without.
type need uint8

const (
	needInput  need = iota
	needWindow      // the sink has to consume
	needTurn        // the response has to end
	needEnd         // nothing: the connection is over
)

type parking uint8

const (
	awake parking = iota
	inFill
	onChannel
	woken
)

// timer remembers the read deadline, so that a steady connection sets it once per idle timeout and not once per request.
type timer struct {
	kind  timerKind
	until time.Time
}

type timerKind uint8

const (
	unset timerKind = iota
	forHead
	forIdle
)

// aLongTimeAgo is a deadline that has passed.
var aLongTimeAgo = time.Unix(1, 0)

// wait blocks until the need may be met; parse finds out. It is told by the kernel (input, the end of the connection) or by
// wakeLocked. Whether to sleep is decided under the lock that wakers hold, so no wake-up is lost.
func (c *Conn) wait(n need) error {
	unparsed := len(c.w.Buffered())
	if n == needWindow || n == needTurn && (unparsed >= maxPipelined || c.phase == phaseHalfClosed) {
		return c.park(n)
	}
	return c.fill(n, unparsed > 0)
}

// park sleeps without watching the connection; deadLocked tells when that dies.
func (c *Conn) park(n need) error {
	c.w.Lock()
	if err := c.w.Failed(); err != nil || c.metLocked(n) {
		c.w.Unlock()
		return err
	}
	if c.wake == nil {
		c.wake = make(chan struct{}, 1)
	}
	wake := c.wake
	c.parked, c.wakeNeed, c.leftover = onChannel, n, true
	c.w.Unlock()
	<-wake
	return nil
}

// deadLocked is whether nothing can be sent any more. A reader in Fill hears of it by itself.
func (c *Conn) deadLocked() bool {
	err := c.w.Failed()
	if err != nil && c.parked == onChannel {
		c.failLocked(0, err)
	}
	return err != nil
}

func (c *Conn) fill(n need, leftover bool) error {
	c.w.Lock()
	if c.metLocked(n) && (leftover || c.last) {
		c.w.Unlock()
		return nil
	}
	c.arm()
	c.parked, c.wakeNeed, c.leftover = inFill, n, leftover
	c.w.Unlock()
	err := c.w.Fill()
	if c.unpark() && isTimeout(err) {
		return nil
	}
	if err == nil {
		return nil
	}
	return c.filled(err)
}

// unpark says whether somebody woke us.
func (c *Conn) unpark() bool {
	c.w.Lock()
	defer c.w.Unlock()
	was := c.parked
	c.parked = awake
	if was != woken {
		return false
	}
	c.timer.kind = unset
	c.w.SetReadDeadline(time.Time{})
	return true
}

// metLocked is whether the parser can go on.
func (c *Conn) metLocked(n need) bool {
	if c.failure != nil {
		return true
	}
	s := c.stream
	switch n {
	case needTurn:
		return s == nil || s.switched && c.phase == phaseTurn
	case needWindow:
		return s == nil || s.window >= c.o.StreamWindow/2
	}
	return s == nil && c.last && !c.leftoverHead()
}

func (c *Conn) leftoverHead() bool { return c.phase == phaseHead && c.head.partial() }

// wakeLocked gets the goroutine in Serve out of its wait, whatever it waits for.
func (c *Conn) wakeLocked() {
	switch c.parked {
	case inFill:
		c.parked = woken
		c.w.SetReadDeadline(aLongTimeAgo) // fails only on a closed connection, whose Fill ends by itself
	case onChannel:
		c.parked = awake
		c.wake <- struct{}{} // has room: it is filled once for each time it is parked
	}
}

// wakeForLocked wakes it if its need is met, and if without that it would not be seen: unparsed input waits, or the end.
func (c *Conn) wakeForLocked(n need) {
	if (c.parked == inFill || c.parked == onChannel) && c.wakeNeed == n && (c.leftover || c.last) && c.metLocked(n) {
		c.wakeLocked()
	}
}

// arm sets the read deadline; the lock is held, so that it cannot undo a waker's.
func (c *Conn) arm() {
	switch {
	case !c.client && c.leftoverHead():
		if c.timer.kind != forHead {
			c.setTimer(forHead, time.Now().Add(c.o.HeaderTimeout))
		}
	case c.o.IdleTimeout == 0:
		if c.timer.kind != unset {
			c.setTimer(unset, time.Time{})
		}
	case c.timer.kind != forIdle:
		from := time.Now()
		if c.stream == nil && c.idleSince.Add(c.o.IdleTimeout).After(from) {
			from = c.idleSince
		}
		c.setTimer(forIdle, from.Add(c.o.IdleTimeout))
	}
}

func (c *Conn) setTimer(kind timerKind, until time.Time) {
	c.timer = timer{kind, until}
	c.w.SetReadDeadline(until)
}

// filled decides what the end of the input, or a deadline, means now.
func (c *Conn) filled(err error) error {
	c.w.Lock()
	failed, s, since := c.w.Failed(), c.stream, c.idleSince
	c.w.Unlock()
	switch {
	case isTimeout(err) && failed != nil:
		return c.broken(s, failed)
	case isTimeout(err):
		return c.expired(s, since)
	case errors.Is(err, io.EOF):
		return c.ended(s)
	}
	return c.broken(s, err)
}

func (c *Conn) expired(s *Stream, since time.Time) error {
	kind := c.timer.kind
	c.timer.kind = unset
	if kind == forHead {
		return errHeadTimeout
	}
	if s != nil || c.o.IdleTimeout == 0 || c.leftoverHead() || time.Since(since) < c.o.IdleTimeout {
		return nil
	}
	c.w.Lock()
	defer c.w.Unlock()
	if c.stream == nil { // else OpenStream was faster
		c.last = true
	}
	return nil
}

// ended: the peer will send no more.
func (c *Conn) ended(s *Stream) error {
	switch c.phase {
	case phaseRaw:
		return c.endRaw(s)
	case phaseBody:
		if c.body == bodyToEnd && s != nil {
			return c.endToEnd(s)
		}
	case phaseTurn:
		return c.endedInTurn(s)
	case phaseHead:
		if s == nil && !c.head.partial() {
			c.finishHere()
			return nil
		}
	}
	return c.broken(s, io.ErrUnexpectedEOF)
}

// endedInTurn: the client left, unless its response is complete or the connection belongs to the upgraded protocol by now.
func (c *Conn) endedInTurn(s *Stream) error {
	c.w.Lock()
	switched := s != nil && s.switched
	c.w.Unlock()
	switch {
	case s == nil && len(c.w.Buffered()) > 0:
		return nil // a complete pipelined request may wait; the next Fill says the same again
	case s == nil:
		c.finishHere()
		return nil
	case switched && len(c.w.Buffered()) > 0:
		return nil
	case switched:
		c.phase = phaseRaw
		return c.endRaw(s)
	}
	return errGone
}

// finishHere ends Serve without an error, unless an exchange has just begun.
func (c *Conn) finishHere() {
	c.w.Lock()
	defer c.w.Unlock()
	if c.stream != nil {
		c.failure = c.unansweredLocked(c.stream, ErrClosed)
	}
	c.last = true
}

// broken names what a failed connection means for a request that got nothing back.
func (c *Conn) broken(s *Stream, err error) error {
	if c.client && s != nil && !s.answered && !c.head.partial() {
		c.w.Lock()
		defer c.w.Unlock()
		return c.unansweredLocked(s, err)
	}
	return err
}

func (c *Conn) unansweredLocked(s *Stream, err error) error {
	switch {
	case c.untaken(s, err):
		return ErrUndelivered
	case s.reused:
		return ErrStale
	}
	return err
}

func isTimeout(err error) bool { return errors.Is(err, os.ErrDeadlineExceeded) }
