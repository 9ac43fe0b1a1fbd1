package h2

import (
	"errors"
	"io"
	"math"
	"os"
	"time"

	"golang.org/x/net/http2/hpack"

	"github.com/tulle-mesh/tulle/proxy/wire"
)

const (
	tableSize = 4096 // HPACK, both ways: more memory a connection buys little
	// presumedStreams is how many streams are opened at most before the peer's SETTINGS are here:
	// what RFC 9113 §6.5.2 recommends as the least.
	presumedStreams = 100
	// lingerTime is how long the last frames, a GOAWAY among them, may take to leave.
	lingerTime = time.Second
	// recentResets is how many streams that were reset here are remembered, unless more may be open
	// at once: the peer may have sent on them before it knew.
	recentResets = 512
)

// Conn is one connection in either role.
type Conn struct {
	w      *wire.Conn
	o      Options
	server bool

	// Used by the reader alone.
	dec    *decoder
	fields []hpack.HeaderField
	block  block
	data   incoming
	skip   int        // bytes of a frame that is of no interest
	start  startState // written under the lock too
	timers timers

	// Guarded by the wire's lock.
	now     time.Time // of the reader's turn
	streams map[uint32]*Stream
	lastIn  uint32   // server: the highest stream the peer opened
	nextID  uint32   // client: the next that we open
	recent  []uint32 // a ring of the last that were reset
	recentN int
	enc     encoder

	sendWindow     int // may not exceed maxWindow; never negative for the connection
	peerInitial    int
	peerMaxStreams int
	peerMaxHeaders int
	peerConnect    bool

	recvWindow   int
	grown        int // what streams' windows have beyond FirstWindow
	credit       int // consumed, not yet given back
	localInitial int // what the peer believes until it has acknowledged ours

	// have data and stream window, wait for the connection's window or output
	readyHead, readyTail *Stream

	resets, overhead budget

	life        life
	drain       drain
	parked      bool // the reader's next turn is not due
	wantRoom    bool // OpenStream said no
	capacityDue bool
	leaving     bool  // client: OnGoAway is due, because of what we did
	fatal       error // why the reader must end
}

// NewServer takes requests from w.
func NewServer(w *wire.Conn, o Options) *Conn {
	c := newConn(w, o, true)
	list := []setting{
		{settingMaxStreams, uint32(c.o.MaxStreams)},
		{settingInitialWindow, uint32(c.o.FirstWindow)},
		{settingMaxHeaderList, uint32(c.o.MaxHeaderBytes)},
	}
	if c.o.EnableConnect {
		list = append(list, setting{settingConnect, 1})
	}
	c.greet("", list)
	return c
}

// NewClient makes requests on w. Streams can be opened at once.
func NewClient(w *wire.Conn, o Options) *Conn {
	c := newConn(w, o, false)
	c.start = startSettings
	c.greet(preface, []setting{
		{settingEnablePush, 0},
		{settingInitialWindow, uint32(c.o.FirstWindow)},
		{settingMaxHeaderList, uint32(c.o.MaxHeaderBytes)},
	})
	return c
}

func newConn(w *wire.Conn, o Options, server bool) *Conn {
	now := time.Now()
	o = o.withDefaults()
	c := &Conn{
		w: w, o: o, server: server, now: now,
		streams: make(map[uint32]*Stream), nextID: 1,
		sendWindow: initialWindow, peerInitial: initialWindow, localInitial: initialWindow,
		peerMaxStreams: o.FirstStreams, peerMaxHeaders: math.MaxInt,
		resets: newBudget(resetBurst, resetPerSecond, now),
	}
	most := max(overheadBurst, overheadAtOnce*o.MaxStreams)
	c.overhead = newBudget(most, overheadPerSecond, now)
	if !server {
		c.resets = newBudget(resetsBeforeLeaving, resetPerSecond/2, now)
	}
	c.recvWindow = c.o.ConnWindow
	c.drain.last = maxStreamID
	c.timers.begin(now)
	c.enc.limit = tableSize
	c.dec = newDecoder(maxBlock*c.o.MaxHeaderBytes, c.emit)
	w.MaxOutput = c.o.MaxOutput
	w.OnDrain, w.Allowance = c.onDrain, c.o.Allowance
	return c
}

func (c *Conn) greet(preface string, list []setting) {
	c.w.Lock()
	defer c.w.Unlock()
	c.w.AppendStringLocked(preface)
	c.appendSettingsLocked(list...)
	if more := c.o.ConnWindow - initialWindow; more > 0 {
		c.appendWindowUpdateLocked(0, more)
	}
}

// Start reads until the connection ends, in turns for which connections share goroutines where they
// can. Then it calls end, once. The error of an orderly end is nil.
func (c *Conn) Start(end func(error)) {
	c.w.Flush()
	c.w.Start(c.turn, func(err error) {
		err = c.teardown(err)
		c.linger()
		end(err)
	})
}

// Serve is Start, and waits for the end.
func (c *Conn) Serve() error {
	ended := make(chan error, 1)
	c.Start(func(err error) { ended <- err })
	return <-ended
}

// maxMore bounds how often a turn reads again what has arrived meanwhile. What the turn has written
// waits so long, and so do other readers: no longer than they would for one full read.
const maxMore = 24

// turn handles the input that has arrived.
func (c *Conn) turn(why error) (wire.Wait, error) {
	if err := c.awaken(why); err != nil {
		return wire.Done, err
	}
	for again := true; again; {
		err := c.consumeInput()
		for n := 0; err == nil && n < maxMore && c.more(); n++ {
			err = c.consumeInput()
		}
		if err != nil {
			return wire.Done, err
		}
		c.endBatch()
		if again, err = c.arm(); err != nil {
			return wire.Done, err
		}
	}
	return wire.ForInput, nil
}

// A server that sends each answer by itself, as nginx does, trickles: many answers are awaited, and
// a read brings one or two. To read each by itself took half of a request's time over one hop.
const (
	manyAwaited = 8
	trickle     = 1000 // bytes
)

// more reads what has arrived meanwhile. If the input trickles, the peer first gets a chance to say
// more.
func (c *Conn) more() bool {
	if c.o.Near && c.w.LastRead() < trickle && c.Active() >= manyAwaited {
		return c.w.MoreLater()
	}
	return c.w.More()
}

// consumeInput handles all that the read buffer holds, except for a frame that is not complete.
func (c *Conn) consumeInput() error {
	for {
		n, err := c.step(c.w.Buffered())
		if err != nil {
			return err
		}
		if n == 0 {
			return nil
		}
		c.w.Discard(n)
		c.timers.progress()
	}
}

func (c *Conn) endBatch() {
	c.w.Release()
	c.w.Lock()
	due, left := c.capacityDue, c.leaving
	c.capacityDue, c.leaving = false, false
	c.w.Unlock()
	if left {
		c.o.goAway()
	}
	if due {
		c.o.capacity()
	}
	c.o.batch()
	c.w.Flush()
}

// awaken begins a turn.
func (c *Conn) awaken(why error) error {
	now := time.Now()
	c.w.Lock()
	c.parked = false
	c.now = now
	c.w.Unlock()
	switch {
	case why == nil:
		c.timers.heard = now
		return nil
	case why == wire.ErrWoken:
		return nil
	case errors.Is(why, os.ErrDeadlineExceeded):
		return c.tick(now)
	}
	return why
}

// arm decides whether the reader may wait, and until when.
func (c *Conn) arm() (again bool, err error) {
	c.w.Lock()
	defer c.w.Unlock()
	if c.fatal != nil {
		return false, c.fatal
	}
	if c.drainedLocked() {
		return false, errDone
	}
	if c.capacityDue || c.leaving {
		return true, nil
	}
	c.parked = true
	return false, c.setDeadlineLocked()
}

// wakeReaderLocked gives the reader a turn, to look at what has changed.
func (c *Conn) wakeReaderLocked() {
	if c.parked {
		c.parked = false
		c.w.Wake()
	}
}

// failLocked ends the connection with err, from any goroutine.
func (c *Conn) failLocked(err error) {
	if c.fatal != nil || c.life == lifeOver {
		return
	}
	c.fatal = err
	c.enterLifeLocked(lifeFailed)
	c.wakeReaderLocked()
}

// teardown tells everybody that the connection is over.
func (c *Conn) teardown(err error) error {
	c.w.Lock()
	c.enterLifeLocked(lifeOver)
	live := make([]*Stream, 0, len(c.streams))
	for _, s := range c.streams {
		if !s.state.in(ownerlessStates) {
			live = append(live, s)
		}
		s.dropLocked()
	}
	clear(c.streams)
	c.readyHead, c.readyTail = nil, nil
	orderly := orderlyEnd(err) || errors.Is(err, io.EOF) && len(live) == 0
	c.appendLastGoAwayLocked(err)
	c.w.Unlock()
	if errors.Is(err, io.EOF) && len(live) > 0 {
		err = c.drain.blameOr(io.ErrUnexpectedEOF)
	}
	code := codeOf(err)
	for _, s := range live {
		s.tellReset(code, err)
	}
	if orderly {
		err = nil
	}
	c.o.closed(err)
	c.o.batch()
	return err
}

func orderlyEnd(err error) bool {
	if errors.Is(err, errDone) || errors.Is(err, errIdle) {
		return true
	}
	var ce *ConnError
	return errors.As(err, &ce) && ce.Code == CodeNone
}

// appendLastGoAwayLocked adds the last GOAWAY.
func (c *Conn) appendLastGoAwayLocked(err error) {
	var ce *ConnError
	switch {
	case errors.As(err, &ce) && !ce.Remote:
		c.appendGoAwayLocked(c.lastIn, ce.Code, ce.Reason)
	case orderlyEnd(err), errors.Is(err, errKeepAlive):
		c.appendGoAwayLocked(c.lastIn, CodeNone, "")
	}
}

// linger lets the last frames leave, and reads on meanwhile. Closing with unread input would reset
// the connection and could take the GOAWAY with it.
func (c *Conn) linger() {
	c.w.SetReadDeadline(time.Time{}) // the Conn closes itself when the time is over
	c.w.CloseWhenFlushed(lingerTime)
	for {
		c.w.Discard(len(c.w.Buffered()))
		if c.w.Fill() != nil {
			break
		}
	}
	c.w.AwaitOutput() // a peer that has said all may still be reading; lingerTime bounds it
	c.w.Close()
	c.w.Wait()
}

// Close ends the connection with a code; streams get OnReset from the reader.
func (c *Conn) Close(code uint32) {
	c.w.Lock()
	defer c.w.Unlock()
	c.failLocked(connError(code, ""))
}

// Active is the number of streams.
func (c *Conn) Active() int {
	c.w.Lock()
	defer c.w.Unlock()
	return len(c.streams)
}

// Resting says whether the reader is between two turns, so that it is not in a call of a sink.
func (c *Conn) Resting() bool {
	c.w.Lock()
	defer c.w.Unlock()
	return c.parked
}

// Rest frees what only makes the next stream faster, if no stream is under way.
func (c *Conn) Rest() {
	c.w.Lock()
	defer c.w.Unlock()
	if len(c.streams) == 0 {
		c.forgetLocked()
	}
}

// Forget is Rest for a connection whose streams are few and long.
func (c *Conn) Forget() {
	c.w.Lock()
	defer c.w.Unlock()
	c.forgetLocked()
}

func (c *Conn) forgetLocked() {
	// the reader takes the lock before its next turn
	if c.parked && !c.block.open {
		c.fields = nil
		c.dec.forget()
	}
}

// Flush sends what was written to the connection's streams.
func (c *Conn) Flush() { c.w.Flush() }
