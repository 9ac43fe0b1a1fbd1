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

// ErrWoken is why a turn comes after a Wake.
var ErrWoken = errors.New("wire: woken")

// A Turn is a reader's work between two waits: it takes what is buffered and says what it waits for next. It is told why it
// runs: nil is input that was added to Buffered, ErrWoken a Wake, os.ErrDeadlineExceeded the read deadline, and all else
// why no input will come. The first turn is ErrWoken's. It must not wait, for many readers share a goroutine: no Fill, no
// Read, no Handshake. With Done it says why it ended.
type Turn func(why error) (Wait, error)

// reader runs a Conn's turns.
type reader struct {
	turn Turn
	end  error

	// Of whoever runs the turns.
	waits  Wait
	inTurn bool // on a loop
	onLoop bool

	// Without a loop.
	mu    sync.Mutex // guards everything below
	where place
	woken bool
	until time.Time // the read deadline, while a Wake has moved it
	wake  chan struct{}
}

// place is where a reader without a loop is.
type place uint8

const (
	running place = iota
	inFill
	onChannel
)

// Start makes turn the Conn's reader and does not wait. After its last turn after is called, once, on a goroutine of its
// own on which Fill may be used again. A TCP connection's turns are a loop's, which it shares with others; any other has a
// goroutine.
func (c *Conn) Start(turn Turn, after func(error)) {
	c.reader.turn, c.after = turn, after
	if c.sock == nil {
		go c.takeTurns()
		return
	}
	c.reader.onLoop = true
	c.sock.start(c)
}

// Wake gives the reader a turn soon, wherever it is. It may be called from any goroutine, with the lock held.
func (c *Conn) Wake() {
	if c.sock != nil {
		c.sock.tellWoken()
		return
	}
	c.reader.wakeUp(c)
}

// Flusher sends what readers have left to be sent.
type Flusher interface{ Flush() }

// AfterTurns has f flush once all readers have had their turns that are due now. false: its caller is not in the turn of a
// reader that shares a loop.
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
		if why = c.Fill(); why == error(dry) {
			return false, false
		}
	}
	r.inTurn = true
	r.waits, r.end = r.turn(why)
	r.inTurn = false
	if r.waits == Done {
		r.onLoop = false
		return false, true
	}
	return r.waits == ForInput && (c.unsealed || c.over != nil || c.sock.readable()), false
}

func (c *Conn) ended() { c.after(c.reader.end) }

// takeTurns is a reader without a loop.
func (c *Conn) takeTurns() {
	r := &c.reader
	why := ErrWoken
	for {
		if r.waits, r.end = r.turn(why); r.waits == Done {
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
		r.where, r.woken = running, false
	}
	return ErrWoken
}

// enter is false if there is no need to wait.
func (r *reader) enter(p place) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.woken {
		r.woken = false
		return false
	}
	r.where = p
	return true
}

// leave undoes what a Wake did to the deadline.
func (r *reader) leave(c *Conn, err error) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.where = running
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

// past is a deadline that ends a wait.
var past = time.Unix(1, 0)

func (r *reader) wakeUp(c *Conn) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.woken {
		return
	}
	r.woken = true
	switch r.where {
	case inFill:
		c.nc.SetReadDeadline(past) // fails only on a closed connection, whose Fill ends by itself
	case onChannel:
		r.wake <- struct{}{} // has room: it is filled once for each time that somebody waits
	}
}

// setDeadline is SetReadDeadline without a loop.
func (r *reader) setDeadline(c *Conn, t time.Time) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.until = t
	if r.woken && r.where == inFill {
		return nil
	}
	return c.nc.SetReadDeadline(t)
}
