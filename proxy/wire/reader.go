package wire

import (
	"errors"
	"os"
	"sync"
	"time"
)

// Wait is what a reader waits for between two turns.
type Wait uint8

const (
	ForInput Wait = iota // input, its end, the read deadline, or a Wake
	ForWake              // only a Wake
	Done                 // nothing: the reader has ended
)

// ErrWoken is the reason of a turn that a Wake caused.
var ErrWoken = errors.New("wire: woken")

// A Turn is a reader's work between two waits: it takes what is buffered and returns what it waits
// for next; with Done, the error is why the reader ended. The argument is why the turn runs: nil
// for input that was added to Buffered, ErrWoken for a Wake and for the first turn,
// os.ErrDeadlineExceeded for the read deadline, and any other error if no input will come. A turn
// must not wait, for many readers share a goroutine: no Fill, no Read, no Handshake.
type Turn func(why error) (Wait, error)

// reader runs a Conn's turns.
type reader struct {
	turn Turn
	err  error

	// Used by the goroutine that runs the turns.
	waits  Wait
	inTurn bool // on a loop
	onLoop bool

	// Used by a reader that is on no loop.
	mu    sync.Mutex // guards everything below
	state readerState
	woken bool
	until time.Time // the read deadline, while a Wake has moved it
	wake  chan struct{}
}

// readerState is what a reader without a loop is doing.
type readerState uint8

const (
	running readerState = iota
	inFill
	onChannel
)

// Start makes turn the Conn's reader and does not wait. After the last turn it calls after, once,
// on a goroutine of its own, where Fill may be used again. The reader of a TCP connection has its
// turns on a loop that it shares with others; any other reader has a goroutine.
func (c *Conn) Start(turn Turn, after func(error)) {
	c.reader.turn, c.after = turn, after
	if c.sock == nil {
		go c.takeTurns()
		return
	}
	c.reader.onLoop = true
	c.sock.start(c)
}

// Wake gives the reader a turn soon, wherever it is. It may be called from any goroutine, with the
// lock held.
func (c *Conn) Wake() {
	if c.sock != nil {
		c.sock.notifyWoken()
		return
	}
	c.reader.wakeUp(c)
}

// Flusher sends what readers have written.
type Flusher interface{ Flush() }

// AfterTurns has f flush once all readers of this loop whose turn is due have had it. false: its
// caller is not in a turn on a loop, and has to flush itself.
func (c *Conn) AfterTurns(f Flusher) bool {
	if !c.reader.inTurn {
		return false
	}
	c.sock.afterTurns(f)
	return true
}

// step is one turn on the loop, if it is due.
func (c *Conn) step(wasWoken bool) (more, over bool) {
	r := &c.reader
	why := ErrWoken
	if !wasWoken {
		if r.waits == ForWake {
			return false, false
		}
		if why = c.Fill(); why == error(errNothingReceived) {
			return false, false
		}
	}
	r.inTurn = true
	r.waits, r.err = r.turn(why)
	r.inTurn = false
	if r.waits == Done {
		r.onLoop = false
		return false, true
	}
	return r.waits == ForInput && (c.unsealed || c.moreErr != nil || c.sock.readable()), false
}

func (c *Conn) ended() { c.after(c.reader.err) }

// takeTurns is a reader without a loop.
func (c *Conn) takeTurns() {
	r := &c.reader
	why := ErrWoken
	for {
		if r.waits, r.err = r.turn(why); r.waits == Done {
			c.ended()
			return
		}
		why = r.wait(c)
	}
}

func (r *reader) wait(c *Conn) error {
	if r.waits == ForWake {
		return r.waitForWake()
	}
	if !r.enter(inFill) {
		return ErrWoken
	}
	err := c.Fill()
	return r.leave(c, err)
}

func (r *reader) waitForWake() error {
	if r.wake == nil {
		r.wake = make(chan struct{}, 1)
	}
	if r.enter(onChannel) {
		<-r.wake
		r.mu.Lock()
		defer r.mu.Unlock()
		r.state, r.woken = running, false
	}
	return ErrWoken
}

// enter is false if there is no need to wait.
func (r *reader) enter(p readerState) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.woken {
		r.woken = false
		return false
	}
	r.state = p
	return true
}

// leave ends a wait, and undoes what a Wake did to the deadline.
func (r *reader) leave(c *Conn, err error) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.state = running
	if !r.woken {
		return err
	}
	r.woken = false
	c.nc.SetReadDeadline(r.until) // fails only on a closed connection
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return ErrWoken
	}
	r.woken = err == nil // the input comes first
	return err
}

// aLongTimeAgo is a read deadline that ends a wait at once.
var aLongTimeAgo = time.Unix(1, 0)

func (r *reader) wakeUp(c *Conn) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.woken {
		return
	}
	r.woken = true
	switch r.state {
	case inFill:
		// fails only on a closed connection, whose Fill ends by itself
		c.nc.SetReadDeadline(aLongTimeAgo)
	case onChannel:
		r.wake <- struct{}{} // has room: it is filled once for each time that somebody waits
	}
}

// setDeadline is SetReadDeadline without a loop.
func (r *reader) setDeadline(c *Conn, t time.Time) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.until = t
	if r.woken && r.state == inFill {
		return nil
	}
	return c.nc.SetReadDeadline(t)
}
