package wire

import (
	"errors"
	"net"
	"syscall"
	"time"
)

const (
	// writeChunk is what a writer gives the kernel at a time, bytes, so that QueuedLocked falls and
	// OnDrain comes while a long output leaves.
	writeChunk = 64 << 10
	// flushRounds is how often a flusher looks for new output. Then it leaves the rest to a writer,
	// for it has its own input to read.
	flushRounds = 2
)

var errStalled = errors.New("wire: peer took nothing for too long")

// Lock guards the output. Whoever holds it calls nothing that may take another Conn's lock. In this
// package and in the engines above it a function named …Locked needs its connection's lock held,
// and one named …Unlocks is called with the lock held and gives it back.
func (c *Conn) Lock()   { c.mu.Lock() }
func (c *Conn) Unlock() { c.mu.Unlock() }

// AppendLocked copies p to the output. Nothing is sent before a flush.
func (c *Conn) AppendLocked(p ...byte) {
	if c.failed != nil {
		return
	}
	c.reserveLocked(len(p))
	c.out = append(c.out, p...)
	c.markLocked()
}

// AppendStringLocked is AppendLocked for a string.
func (c *Conn) AppendStringLocked(s string) {
	if c.failed != nil {
		return
	}
	c.reserveLocked(len(s))
	c.out = append(c.out, s...)
	c.markLocked()
}

// AppendToLocked lets f append to the output in place. f must only append.
func (c *Conn) AppendToLocked(f func([]byte) []byte) {
	if c.failed != nil {
		return
	}
	c.reserveLocked(1)
	c.out = f(c.out)
	c.markLocked()
}

// reserveLocked makes room for n more bytes. A batch may touch many connections: small buffers for
// small messages stay in the processor's cache, and what waits for slow peers weighs little more
// than it is long.
func (c *Conn) reserveLocked(n int) {
	if n += len(c.out); n <= cap(c.out) {
		return
	}
	b := newOutput
	if c.backlog && c.Allowance.short() {
		b = fitting
	}
	out := append(b(n), c.out...)
	freeOutput(c.out)
	c.out = out
}

func (c *Conn) markLocked() {
	if c.RoomLocked() <= 0 {
		c.aboveMark = true
	}
	if c.backlog {
		c.chargeLocked()
	}
}

// mark is the output's high-water mark, in bytes.
func (c *Conn) mark() int { return min(c.MaxOutput, c.Allowance.Share()) }

// RoomLocked is how much more output there may be, in bytes. A user with more keeps it, and calls
// WantDrainLocked. With nothing queued there is always some room.
func (c *Conn) RoomLocked() int { return c.mark() - c.QueuedLocked() }

// WantDrainLocked makes OnDrain come once the output is at most half of its high-water mark, though
// it has not reached that. It is for a user that gives nothing more because little room is left.
func (c *Conn) WantDrainLocked() { c.aboveMark = true }

// chargeLocked tells the Allowance what output waits for: a writer, and with it the peer.
func (c *Conn) chargeLocked() {
	n := 0
	if c.backlog {
		n = cap(c.out) + c.writing
	}
	c.HoldLocked(n - c.charged)
	c.charged = n
}

// HoldLocked notes that n bytes more wait for the peer, or less, in memory that a user of the Conn
// has.
func (c *Conn) HoldLocked(n int) {
	if n == 0 {
		return
	}
	if c.held == 0 {
		c.heldSince, c.taken = time.Now(), 0
	}
	c.held += n
	c.Allowance.Add(n)
}

// Slowness says how much waits for the peer, in bytes of memory, since when, and how much the peer
// has taken meanwhile.
func (c *Conn) Slowness() (held int, since time.Time, taken int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.held, c.heldSince, c.taken
}

// QueuedLocked is how many bytes the kernel has not taken yet.
func (c *Conn) QueuedLocked() int { return len(c.out) + c.inflight }

// FailedLocked says why output is dropped, or nil.
func (c *Conn) FailedLocked() error { return c.failed }

// Flush sends the output as far as the kernel takes it without waiting. The lock is not held, nor
// any lock that OnDrain takes.
func (c *Conn) Flush() {
	c.mu.Lock()
	c.claimed = false
	if c.flushing || !c.open.Load() {
		c.mu.Unlock()
		return
	}
	c.flushing = true
	b := c.takeUnlocks()
	for round := 0; b != nil; round++ {
		n, err := c.try(b)
		if err != nil {
			c.fail(err)
			return
		}
		if n < len(b) || round == flushRounds {
			c.leave(b, n)
			return
		}
		freeOutput(b)
		c.advance(n)
		c.mu.Lock()
		b = c.takeUnlocks()
	}
}

// ClaimFlush makes its caller the one who will flush, once others have added to the output; false:
// somebody else will, or is flushing and sees what was added. A connection fed by many goroutines
// sends fewer and fuller packets that way.
func (c *Conn) ClaimFlush() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.claimed || c.flushing {
		return false
	}
	c.claimed = true
	return true
}

// takeUnlocks gives the flusher what to write. nil means that nothing is left, and that its caller
// is the flusher no more.
func (c *Conn) takeUnlocks() []byte {
	for {
		b := c.out
		c.out = nil
		c.inflight = len(b)
		if c.tls != nil {
			b = c.sealLocked(b)
		}
		if len(b) > 0 {
			c.inflight = len(b)
			if c.backlog {
				c.writing = cap(b)
				c.chargeLocked()
			}
			c.mu.Unlock()
			return b
		}
		freeOutput(b)
		if c.finish && !c.finished && c.failed == nil {
			c.finished = true
			if c.tls != nil {
				c.tls.CloseWrite() // adds the alert to what is sealed; its error is the write's
				continue
			}
		}
		c.restLocked()
		half := c.finished && c.finish && !c.closed
		c.mu.Unlock()
		if half {
			c.closeHalf()
		}
		return nil
	}
}

// restLocked notes that nobody writes.
func (c *Conn) restLocked() {
	c.flushing, c.backlog, c.writing = false, false, 0
	c.chargeLocked()
	c.settledLocked()
}

// sealLocked encrypts b. Under the lock records stay in the order of the output; whoever waits for
// the lock waits for the encryption too.
func (c *Conn) sealLocked(b []byte) []byte {
	if len(b) > 0 {
		if err := c.encrypt(b); err != nil && c.failed == nil {
			c.failed = err
		}
		freeOutput(b)
	}
	c.sealMu.Lock()
	defer c.sealMu.Unlock()
	sealed := c.sealed
	c.sealed = nil
	return sealed
}

// encrypt adds b to what is sealed, in records of at most MaxRecord.
func (c *Conn) encrypt(b []byte) error {
	most := c.MaxRecord
	if most == 0 {
		most = len(b)
	}
	for len(b) > 0 {
		n := min(len(b), most)
		if _, err := c.tls.Write(b[:n]); err != nil {
			return err
		}
		b = b[n:]
	}
	return nil
}

func (c *Conn) closeHalf() {
	half, ok := c.nc.(interface{ CloseWrite() error })
	if !ok {
		c.Close()
		return
	}
	half.CloseWrite() // fails only on a connection that is gone, and then the reader knows
}

// try writes once and never waits.
func (c *Conn) try(b []byte) (int, error) {
	if c.sock == nil {
		return 0, nil
	}
	n, err := c.sock.writeNow(b)
	if err == syscall.EAGAIN {
		err = nil
	}
	return n, err
}

// leave hands the rest of b to a writer.
func (c *Conn) leave(b []byte, n int) {
	rest, size := b[n:], cap(b)
	fits := size > mediumBuffer && len(rest) <= mediumBuffer
	if len(rest) <= size/4 || fits && c.Allowance.short() {
		rest = append(fitting(len(rest)), rest...)
		size = cap(rest)
		freeOutput(b)
	}
	c.mu.Lock()
	if c.closed {
		c.flushing = false
		c.mu.Unlock()
		return
	}
	c.backlog, c.writing = true, size
	c.chargeLocked()
	c.writers.Add(1)
	c.mu.Unlock()
	c.advance(n)
	go c.write(rest)
}

// write is the writer goroutine: it waits for the kernel, and ends when there is nothing more to
// write.
func (c *Conn) write(b []byte) {
	defer c.writers.Done()
	for {
		for p := b; len(p) > 0; {
			n, err := c.writeWaiting(p[:min(len(p), writeChunk)])
			if err != nil {
				c.fail(err)
				return
			}
			p = p[n:]
			c.advance(n)
		}
		freeOutput(b)
		// an old one would fail the next write that does not wait
		c.nc.SetWriteDeadline(time.Time{})
		c.mu.Lock()
		if b = c.takeUnlocks(); b == nil {
			return
		}
	}
}

func (c *Conn) writeWaiting(p []byte) (int, error) {
	var until time.Time
	if !c.waits.Load() {
		until = time.Now().Add(c.Stall)
	}
	c.nc.SetWriteDeadline(until) // fails only on a closed connection, and then so does Write
	n, err := c.nc.Write(p)
	var ne net.Error
	if errors.As(err, &ne) && ne.Timeout() {
		err = errStalled
	}
	return n, err
}

// advance accounts for n bytes that the kernel took.
func (c *Conn) advance(n int) {
	c.mu.Lock()
	c.inflight = max(0, c.inflight-n)
	c.taken += n
	drained := c.aboveMark && c.QueuedLocked() <= c.mark()/2
	if drained {
		c.aboveMark = false
	}
	c.mu.Unlock()
	if drained && c.OnDrain != nil {
		c.OnDrain()
	}
}

// fail drops all output, now and later. The reader is given a moment for what the peer said before
// it went. One that waits for a Wake is woken, for nothing else would tell it.
func (c *Conn) fail(err error) {
	c.mu.Lock()
	c.dropLocked(err)
	c.restLocked()
	drained := c.aboveMark && !c.closed
	c.aboveMark = false
	c.mu.Unlock()
	last := time.Now().Add(lastRead)
	c.lastReadBy.CompareAndSwap(nil, &last)
	// fails only on a closed connection, whose reader has ended
	c.setReadDeadline(*c.lastReadBy.Load())
	c.Wake()
	if drained && c.OnDrain != nil {
		c.OnDrain()
	}
}

// dropLocked empties the output for good.
func (c *Conn) dropLocked(err error) {
	if c.failed == nil {
		c.failed = err
	}
	freeOutput(c.out)
	c.out, c.inflight = nil, 0
	c.settledLocked()
}
