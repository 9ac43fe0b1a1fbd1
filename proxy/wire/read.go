package wire

import (
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"time"
)

// Buffered is the unread input, valid until the next Fill.
func (c *Conn) Buffered() []byte { return c.in.unread() }

// Discard marks n bytes of Buffered as read.
func (c *Conn) Discard(n int) { c.in.discard(n) }

// Release gives the read buffer back if nothing in it is unread, before something that may wait:
// the next reader then finds it in the processor's cache.
func (c *Conn) Release() {
	c.in.release()
	if c.tls != nil {
		c.cipher.release()
	}
}

// Hold is for a reader that is to wait for something else than input, perhaps for long: what is
// unread counts as held until Unhold. Where much is held it keeps no more than it needs.
func (c *Conn) Hold() {
	if c.Allowance.short() {
		c.in.fit()
	}
	n := len(c.in.buf) + len(c.cipher.buf)
	c.Allowance.Add(n - c.parked)
	c.parked = n
}

// Unhold ends a Hold.
func (c *Conn) Unhold() {
	c.Allowance.Add(-c.parked)
	c.parked = 0
}

// Fill blocks until at least one more byte is buffered. After a deadline has passed it may be
// called again.
func (c *Conn) Fill() error {
	if c.tls == nil {
		return c.receive(&c.in)
	}
	return c.decrypt()
}

// LastRead is how many bytes the last read brought, of TLS encrypted ones. It is 0 for a Conn that
// is on no loop.
func (c *Conn) LastRead() int { return c.readN }

// lightRead is less, in bytes, than a peer with much to send sends at once.
const lightRead = 4 << 10

// More is Fill without waiting, for what has arrived since the last read. It is false if nothing
// has, or if the last read was no light one. An end of the connection that it meets is returned by
// the next Fill. A peer that sends small messages fast is answered in fewer packets that way.
func (c *Conn) More() bool {
	if c.sock == nil || c.readN >= lightRead || c.moreErr != nil {
		return false
	}
	in := &c.in
	if c.tls != nil {
		in = &c.cipher
	}
	c.sock.assumeReadable()
	n, err := c.readNow(in)
	if err == syscall.EAGAIN || errors.Is(err, os.ErrDeadlineExceeded) ||
		errors.Is(err, net.ErrClosed) {
		return false // nothing is here, or Fill will meet the same error
	}
	if c.moreErr = c.received(in, n, err); c.moreErr != nil || c.tls == nil {
		return c.moreErr == nil
	}
	more, _ := c.unseal() // crypto/tls returns an error again to the next Fill
	return more
}

// SetReadDeadline bounds Fill. It may be called from any goroutine. Once a write has failed it
// changes nothing: a peer that is still talking must not keep a connection on which it can be told
// nothing.
func (c *Conn) SetReadDeadline(t time.Time) error {
	if c.lastReadBy.Load() == nil {
		if err := c.setReadDeadline(t); err != nil {
			return err
		}
	}
	if last := c.lastReadBy.Load(); last != nil {
		return c.setReadDeadline(*last)
	}
	return nil
}

func (c *Conn) setReadDeadline(t time.Time) error {
	if c.sock != nil {
		return c.sock.SetReadDeadline(t)
	}
	return c.reader.setDeadline(c, t)
}

// receive reads from the kernel. While it waits it holds no buffer, unless some input is unread:
// the buffer is taken when there is something to read. In a turn it does not wait, and returns
// errNothingReceived.
func (c *Conn) receive(in *input) error {
	in.release()
	if c.moreErr != nil {
		return c.moreErr
	}
	if c.sock == nil {
		return c.receiveHolding(in)
	}
	for {
		n, err := c.readNow(in)
		if err != syscall.EAGAIN {
			return c.received(in, n, err)
		}
		in.shrink()
		if c.reader.onLoop {
			return errNothingReceived
		}
		c.sock.awaitInput()
	}
}

// readNow reads what is here, or returns EAGAIN.
func (c *Conn) readNow(in *input) (int, error) {
	if !c.sock.readable() {
		return 0, syscall.EAGAIN
	}
	p := in.space()
	if p == nil {
		return 0, ErrInputFull
	}
	n, err := c.sock.readNow(p[:min(len(p), readSize, c.Allowance.Share())])
	c.readN = n
	if err == syscall.EAGAIN {
		in.release()
	}
	return n, err
}

func (c *Conn) receiveHolding(in *input) error {
	p := in.space()
	if p == nil {
		return ErrInputFull
	}
	n, err := c.nc.Read(p)
	if n > 0 {
		err = nil // it comes again with the next read
	}
	return c.received(in, n, err)
}

func (c *Conn) received(in *input, n int, err error) error {
	if n > 0 {
		in.w += n
		return nil
	}
	in.release()
	in.shrink()
	if err == nil {
		return io.EOF
	}
	return err
}

// decrypt waits for at least one record.
func (c *Conn) decrypt() error {
	for {
		got, err := c.unseal()
		if got || err != nil {
			return err
		}
		c.in.shrink() // a message may have begun in the records that are here
		if err := c.receive(&c.cipher); err != nil {
			return truncated(err)
		}
	}
}

// unseal decrypts all records that are here, so that the reader sees one batch and not one record
// at a time. If it got some it returns no error: the next call returns it.
func (c *Conn) unseal() (got bool, err error) {
	for {
		p := c.in.space()
		if p == nil {
			return false, ErrInputFull
		}
		n, err := c.tls.Read(p)
		c.in.w += n
		got = got || n > 0
		if err == nil {
			if c.unsealed = true; got && len(c.in.buf)-c.in.w < compactAt {
				return true, nil
			}
			continue
		}
		c.unsealed = false
		c.flushSealed()
		if got {
			return true, nil
		}
		c.in.release()
		if err == error(errNothingReceived) {
			err = nil
		}
		return false, err
	}
}

// truncated makes an end of TCP an error: TLS ends with an alert, and without one somebody may have
// cut the connection short (RFC 8446 §6.1).
func truncated(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

func (c *Conn) flushSealed() {
	c.sealMu.Lock()
	n := len(c.sealed)
	c.sealMu.Unlock()
	if n > 0 {
		c.Flush()
	}
}

// SocketError takes the kernel's SO_ERROR, which no read or write has returned yet: the peer reset
// the connection after it had ended its half in order.
func (c *Conn) SocketError() error {
	if c.sock == nil {
		return nil
	}
	return c.sock.pending()
}
