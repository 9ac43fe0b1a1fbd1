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

// timer remembers the read deadline, so that a steady connection sets one once per idle timeout and
// not once per request.
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

// wait says what the next turn waits for: the kernel (for input, or the end of the connection) or
// wakeLocked. If met is true the need is met, and parse can go on. Whether to sleep is decided
// under the lock that wakers hold, so no wake-up is lost.
func (c *Conn) wait(n need) (w wire.Wait, met bool, err error) {
	unparsed := len(c.w.Buffered())
	c.w.Lock()
	defer c.w.Unlock()
	full := unparsed >= maxPipelined || c.phase == phaseHalfClosed || c.saidAll
	if n == needWindow || n == needTurn && full {
		return c.parkLocked(n)
	}
	if c.metLocked(n) && (unparsed > 0 || c.drainingLocked()) {
		return 0, true, nil
	}
	c.armLocked()
	c.parked, c.wakeNeed, c.leftover = forInput, n, unparsed > 0
	return wire.ForInput, false, nil
}

// parkLocked makes the reader wait for wakeLocked alone. It does not watch the connection
// meanwhile: deadLocked wakes it if the connection can send no more.
func (c *Conn) parkLocked(n need) (w wire.Wait, met bool, err error) {
	if err := c.w.FailedLocked(); err != nil || c.metLocked(n) {
		return 0, true, err
	}
	c.w.Hold()
	c.parked, c.wakeNeed, c.leftover = forWake, n, true
	return wire.ForWake, false, nil
}

// deadLocked says whether nothing can be sent any more. A reader that waits for input learns this
// by itself; one that waits for something else is told here.
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
	c.w.Unhold()
	if why == nil || why == wire.ErrWoken {
		return nil
	}
	return c.readFailed(why)
}

// metLocked says whether what the parser needs is there.
func (c *Conn) metLocked(n need) bool {
	if c.failure != nil {
		return true
	}
	s := c.stream
	switch n {
	case needTurn:
		return s == nil || s.state.in(rawStates) && c.phase == phaseTurn
	case needWindow:
		most := c.openWindow()
		return s == nil || s.window >= c.o.StreamWindow-most+most/2
	}
	return s == nil && c.drainingLocked() && !c.leftoverHead()
}

// openWindow is how much of StreamWindow a sink is given at most, in bytes: less where much is held
// for peers that are slow to take it.
func (c *Conn) openWindow() int { return min(c.o.StreamWindow, c.o.Allowance.Share()) }

func (c *Conn) leftoverHead() bool { return c.phase == phaseHead && c.head.partial() }

// wakeLocked gives the reader a turn, whatever it waits for.
func (c *Conn) wakeLocked() {
	if c.parked != awake {
		c.parked = awake
		c.w.Wake()
	}
}

// wakeForLocked wakes the reader if it waits for n and has got it, and if it would not see that
// otherwise: unparsed input waits, or the connection's end.
func (c *Conn) wakeForLocked(n need) {
	unseen := c.leftover || c.drainingLocked()
	if c.parked != awake && c.wakeNeed == n && unseen && c.metLocked(n) {
		c.wakeLocked()
	}
}

// armLocked sets the read deadline. It needs the lock, or it could undo a deadline that a waker has
// set.
func (c *Conn) armLocked() {
	switch {
	case !c.client && c.leftoverHead():
		if c.timer.kind != forHead {
			c.setTimerLocked(forHead, time.Now().Add(c.o.HeaderTimeout))
		}
	case c.o.IdleTimeout == 0:
		if c.timer.kind != unset {
			c.setTimerLocked(unset, time.Time{})
		}
	case c.timer.kind != forIdle:
		from := time.Now()
		if c.stream == nil && c.idleSince.Add(c.o.IdleTimeout).After(from) {
			from = c.idleSince
		}
		c.setTimerLocked(forIdle, from.Add(c.o.IdleTimeout))
	}
}

func (c *Conn) setTimerLocked(kind timerKind, until time.Time) {
	c.timer = timer{kind, until}
	c.w.SetReadDeadline(until)
}

// readFailed decides what the end of the input, or a deadline, means now.
func (c *Conn) readFailed(err error) error {
	c.w.Lock()
	failed, s, since := c.w.FailedLocked(), c.stream, c.idleSince
	c.w.Unlock()
	switch {
	case isTimeout(err) && failed != nil:
		return c.broken(s, failed)
	case isTimeout(err):
		return c.timedOut(s, since)
	case errors.Is(err, io.EOF):
		return c.inputEnded(s)
	}
	return c.broken(s, err)
}

func (c *Conn) timedOut(s *Stream, since time.Time) error {
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

// inputEnded decides what it means that the peer will send no more.
func (c *Conn) inputEnded(s *Stream) error {
	switch c.phase {
	case phaseRaw:
		return c.endRaw(s)
	case phaseBody:
		if c.body == bodyToEnd && s != nil {
			return c.endBodyToEnd(s)
		}
	case phaseTurn:
		return c.inputEndedInTurn(s)
	case phaseHead:
		if s == nil && !c.head.partial() {
			c.endInOrder()
			return nil
		}
	}
	return c.broken(s, io.ErrUnexpectedEOF)
}

// inputEndedInTurn is inputEnded while a response is awaited, unless the response is complete, or
// the connection belongs to the upgraded protocol by now. The client has said all and may still be
// reading: it gets its response.
func (c *Conn) inputEndedInTurn(s *Stream) error {
	c.w.Lock()
	switched := s != nil && s.state.in(rawStates)
	c.w.Unlock()
	switch {
	case s == nil && len(c.w.Buffered()) > 0:
		return nil // a complete pipelined request may wait; the next read says the same again
	case s == nil:
		c.endInOrder()
		return nil
	case switched && len(c.w.Buffered()) > 0:
		return nil
	case switched:
		c.enter(phaseRaw)
		return c.endRaw(s)
	}
	c.saidAll = true
	c.watchHalfClosed()
	return nil
}

// watchHalfClosed looks after a client that has ended its half while it awaits a response.
func (c *Conn) watchHalfClosed() {
	c.w.Lock()
	defer c.w.Unlock()
	if c.watch == nil {
		c.watch = time.AfterFunc(c.o.HalfClosed, c.lookAfter)
		return
	}
	c.watch.Reset(c.o.HalfClosed)
}

// lookAfter ends the exchange of a client that has left. One that announced its last request is
// believed to be reading, until its kernel answers a keep-alive probe with a reset. Of any other an
// end of its half is how it cancels a request.
func (c *Conn) lookAfter() {
	c.w.Lock()
	waits := c.life < lifeFailed && c.stream != nil && c.stream.state == streamRemoteClosed
	gone := waits && (!c.drainingLocked() || c.w.SocketError() != nil)
	switch {
	case gone:
		c.failLocked(0, errGone)
	case waits:
		c.watch.Reset(c.o.HalfClosed)
	}
	c.w.Unlock()
	if gone {
		c.w.Close()
	}
}

// endInOrder ends the connection without an error, unless an exchange has just begun.
func (c *Conn) endInOrder() {
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

// broken is the error of a connection that failed, for a request that got nothing back.
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
	case c.unreadLocked(s, err):
		return ErrUndelivered
	case s.reused:
		return ErrStale
	}
	return err
}

func isTimeout(err error) bool { return errors.Is(err, os.ErrDeadlineExceeded) }
