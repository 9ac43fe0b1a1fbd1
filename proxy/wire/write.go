package wire

import (
	"errors"
	"net"
	"syscall"
	"time"
)

const (
	// A writer gives the kernel this much at a time, so that Queued falls and OnDrain comes while a long output leaves.
	writeChunk = 64 << 10
	// A flusher that finds new output each time it looks leaves the rest to a writer: it has its own input to read.
	flushRounds = 2
)

var errStalled = errors.New("wire: peer took nothing for too long")

// Lock guards the output. Whoever holds it calls nothing that may take another Conn's lock.
func (c *Conn) Lock()   { c.mu.Lock() }
func (c *Conn) Unlock() { c.mu.Unlock() }

// Append adds to the output; the lock is held. Nothing is sent before a flush.
func (c *Conn) Append(p ...byte) {
	if c.failed != nil {
		return
	}
	c.need(len(p))
	c.out = append(c.out, p...)
	c.mark()
}

// AppendString is Append for a string.
func (c *Conn) AppendString(s string) {
	if c.failed != nil {
		return
	}
	c.need(len(s))
	c.out = append(c.out, s...)
	c.mark()
}

// AppendTo lets f append to the output in place; the lock is held. f must only append.
func (c *Conn) AppendTo(f func([]byte) []byte) {
	if c.failed != nil {
		return
	}
	c.need(1)
	c.out = f(c.out)
	c.mark()
}

// need makes room for n more bytes. A batch may touch many connections: small buffers for small messages stay in the
// processor's cache, and what waits for slow peers weighs little more than it is long.
func (c *Conn) need(n int) {
	if n += len(c.out); n <= cap(c.out) {
		return
	}
	b := append(newOutput(n), c.out...)
	freeOutput(c.out)
	c.out = b
}

func (c *Conn) mark() {
	if len(c.out)+c.inflight >= c.MaxOutput {
		c.above = true
	}
}

// WantDrain makes OnDrain come once the output has fallen to half of MaxOutput, though it has not reached MaxOutput; the
// lock is held. It is for a user that gives nothing more because little room is left.
func (c *Conn) WantDrain() { c.above = true }

// Queued is how many bytes the kernel has not taken yet; the lock is held.
func (c *Conn) Queued() int { return len(c.out) + c.inflight }

// Failed says why output is dropped, or nil; the lock is held.
func (c *Conn) Failed() error { return c.failed }

// Flush sends the output as far as the kernel takes it without waiting. The lock is not held, nor any lock that OnDrain
// takes.
func (c *Conn) Flush() {
	c.mu.Lock()
	c.claimed = false
	if c.flushing || !c.open.Load() {
		c.mu.Unlock()
		return
	}
	c.flushing = true
	b := c.take()
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
		b = c.take()
	}
}

// ClaimFlush makes its caller the one who will flush, once others have added to the output; false: somebody else will, or
// is flushing and sees what was added. A connection fed by many goroutines sends fewer and fuller packets that way.
func (c *Conn) ClaimFlush() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.claimed || c.flushing {
		return false
	}
	c.claimed = true
	return true
}

// take gives the flusher what to write and unlocks. nil: nothing is left, and the caller flushes no more.
func (c *Conn) take() []byte {
	for {
		b := c.out
		c.out = nil
		c.inflight = len(b)
		if c.tls != nil {
			b = c.seal(b)
		}
		if len(b) > 0 {
			c.inflight = len(b)
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
		c.flushing, c.backlog = false, false
		half := c.finished && c.finish && !c.closed
		c.mu.Unlock()
		if half {
			c.closeHalf()
		}
		return nil
	}
}

// seal encrypts b; the lock is held, which costs its waiters the time of the encryption and keeps records in order.
func (c *Conn) seal(b []byte) []byte {
	if len(b) > 0 {
		if _, err := c.tls.Write(b); err != nil && c.failed == nil {
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
	rest := b[n:]
	if len(rest) <= cap(b)/4 {
		rest = append([]byte(nil), rest...)
		freeOutput(b)
	}
	c.mu.Lock()
	if c.closed {
		c.flushing = false
		c.mu.Unlock()
		return
	}
	c.backlog = true
	c.writers.Add(1)
	c.mu.Unlock()
	c.advance(n)
	go c.write(rest)
}

// write is the writer goroutine: it waits for the kernel, and ends when there is nothing more to write.
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
		c.nc.SetWriteDeadline(time.Time{}) // an old one would fail the next write that does not wait
		c.mu.Lock()
		if b = c.take(); b == nil {
			return
		}
	}
}

func (c *Conn) writeWaiting(p []byte) (int, error) {
	c.nc.SetWriteDeadline(time.Now().Add(c.Stall)) // fails only on a closed connection, and then so does Write
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
	drained := c.above && c.Queued() <= c.MaxOutput/2
	if drained {
		c.above = false
	}
	c.mu.Unlock()
	if drained && c.OnDrain != nil {
		c.OnDrain()
	}
}

// fail drops all output, now and later. The reader is given a moment for what the peer said before it went.
func (c *Conn) fail(err error) {
	c.mu.Lock()
	c.drop(err)
	c.flushing, c.backlog = false, false
	drained := c.above && !c.closed
	c.above = false
	c.mu.Unlock()
	c.ending.Store(true)
	c.setReadDeadline(time.Now().Add(lastRead)) // fails only on a closed connection, whose reader has ended
	if drained && c.OnDrain != nil {
		c.OnDrain()
	}
}

// drop empties the output for good; the lock is held.
func (c *Conn) drop(err error) {
	if c.failed == nil {
		c.failed = err
	}
	freeOutput(c.out)
	c.out, c.inflight = nil, 0
}
