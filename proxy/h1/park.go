package h1

import (
	"errors"
	"io"
	"os"
	"time"

	"github.com/tulle-mesh/tulle/proxy/wire"
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
	forInput
	forWake
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

// wait says what the next turn waits for: the kernel (input, the end of the connection) or wakeLocked; or that the need is
// met, and parse can go on. Whether to sleep is decided under the lock that wakers hold, so no wake-up is lost.
func (c *Conn) wait(n need) (w wire.Wait, met bool, err error) {
	unparsed := len(c.w.Buffered())
	c.w.Lock()
	defer c.w.Unlock()
	if n == needWindow || n == needTurn && (unparsed >= maxPipelined || c.phase == phaseHalfClosed) {
		return c.parkLocked(n)
	}
	if c.metLocked(n) && (unparsed > 0 || c.drainingLocked()) {
		return 0, true, nil
	}
	c.arm()
	c.parked, c.wakeNeed, c.leftover = forInput, n, unparsed > 0
	return wire.ForInput, false, nil
}

// parkLocked does not watch the connection; deadLocked tells when that dies.
func (c *Conn) parkLocked(n need) (w wire.Wait, met bool, err error) {
	if err := c.w.FailedLocked(); err != nil || c.metLocked(n) {
		return 0, true, err
	}
	c.parked, c.wakeNeed, c.leftover = forWake, n, true
	return wire.ForWake, false, nil
}

// deadLocked is whether nothing can be sent any more. A reader that waits for input hears of it by itself.
func (c *Conn) deadLocked() bool {
	err := c.w.FailedLocked()
	if err != nil && c.parked == forWake {
		c.failLocked(0, err)
	}
	return err != nil
}

// awaken begins a turn.
func (c *Conn) awaken(why error) error {
	c.w.Lock()
	c.parked = awake
	c.w.Unlock()
	if why == nil || why == wire.ErrWoken {
		return nil
	}
	return c.filled(why)
}

// metLocked is whether the parser can go on.
func (c *Conn) metLocked(n need) bool {
	if c.failure != nil {
		return true
	}
	s := c.stream
	switch n {
	case needTurn:
		return s == nil || s.state.in(rawStates) && c.phase == phaseTurn
	case needWindow:
		return s == nil || s.window >= c.o.StreamWindow/2
	}
	return s == nil && c.drainingLocked() && !c.leftoverHead()
}

func (c *Conn) leftoverHead() bool { return c.phase == phaseHead && c.head.partial() }

// wakeLocked gives the reader a turn, whatever it waits for.
func (c *Conn) wakeLocked() {
	if c.parked != awake {
		c.parked = awake
		c.w.Wake()
	}
}

// wakeForLocked wakes it if its need is met, and if without that it would not be seen: unparsed input waits, or the end.
func (c *Conn) wakeForLocked(n need) {
	if c.parked != awake && c.wakeNeed == n && (c.leftover || c.drainingLocked()) && c.metLocked(n) {
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
	failed, s, since := c.w.FailedLocked(), c.stream, c.idleSince
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
		c.drainLocked()
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
	switched := s != nil && s.state.in(rawStates)
	c.w.Unlock()
	switch {
	case s == nil && len(c.w.Buffered()) > 0:
		return nil // a complete pipelined request may wait; the next read says the same again
	case s == nil:
		c.finishHere()
		return nil
	case switched && len(c.w.Buffered()) > 0:
		return nil
	case switched:
		c.enter(phaseRaw)
		return c.endRaw(s)
	}
	return errGone
}

// finishHere ends Serve without an error, unless an exchange has just begun.
func (c *Conn) finishHere() {
	c.w.Lock()
	defer c.w.Unlock()
	if c.stream == nil {
		c.drainLocked()
		return
	}
	c.failure = c.unansweredLocked(c.stream, ErrClosed)
	if c.life < lifeFailed {
		c.enterLifeLocked(lifeFailed)
	}
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
	case c.unsentLocked(s):
		return ErrUnsent
	case c.untakenLocked(s, err):
		return ErrUndelivered
	case s.reused:
		return ErrStale
	}
	return err
}

func isTimeout(err error) bool { return errors.Is(err, os.ErrDeadlineExceeded) }
