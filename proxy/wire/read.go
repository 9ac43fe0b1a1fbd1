package wire

import (
	"errors"
	"io"
	"syscall"
	"time"
)

// Buffered is the unread input, valid until the next Fill.
func (c *Conn) Buffered() []byte { return c.in.unread() }

// Discard marks n bytes of Buffered as read.
func (c *Conn) Discard(n int) { c.in.discard(n) }

// Release gives the read buffer back if nothing in it is unread, before something that may wait: the next reader then finds it
// in the processor's cache.
func (c *Conn) Release() {
	c.in.release()
	if c.tls != nil {
		c.cipher.release()
	}
}

// Fill blocks until at least one more byte is buffered. After a deadline has passed it may be called again.
func (c *Conn) Fill() error {
	if c.tls == nil {
		return c.receive(&c.in)
	}
	return c.decrypt()
}

// SetReadDeadline bounds Fill. It may be called from any goroutine.
func (c *Conn) SetReadDeadline(t time.Time) error {
	if !c.ending.Load() {
		if err := c.nc.SetReadDeadline(t); err != nil {
			return err
		}
	}
	if c.ending.Load() {
		return c.nc.SetReadDeadline(time.Now().Add(lastRead))
	}
	return nil
}

// receive reads from the kernel. While it waits it holds no buffer, unless some input is unread: the buffer is taken when
// the poller says that there is something to read.
func (c *Conn) receive(in *input) error {
	in.release()
	if c.raw == nil {
		return c.receiveHolding(in)
	}
	c.readInto = in
	if err := c.raw.Read(c.readable); err != nil {
		return err
	}
	return c.received(in, c.readN, c.readErr)
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
	if err == nil {
		return io.EOF
	}
	return err
}

func (c *Conn) tryRead(fd uintptr) bool {
	p := c.readInto.space()
	if p == nil {
		c.readN, c.readErr = 0, ErrInputFull
		return true
	}
	for {
		n, err := readSocket(fd, p[:min(len(p), readSize)])
		if err == syscall.EINTR {
			continue
		}
		if err == syscall.EAGAIN {
			c.readInto.release()
			return false
		}
		c.readN, c.readErr = max(n, 0), err
		return true
	}
}

// decrypt takes all records that are here, so that the reader sees one batch and not one record at a time.
func (c *Conn) decrypt() error {
	got := false
	for {
		p := c.in.space()
		if p == nil {
			return ErrInputFull
		}
		n, err := c.tls.Read(p)
		c.in.w += n
		got = got || n > 0
		if err == nil {
			if got && len(c.in.buf)-c.in.w < compactAt {
				return nil
			}
			continue
		}
		c.flushSealed()
		if got {
			return nil // what err says is said again by the next Fill
		}
		if err != error(dry) {
			c.in.release()
			return err
		}
		c.in.release()
		if err := c.receive(&c.cipher); err != nil {
			return truncated(err)
		}
	}
}

// truncated: TLS ends with an alert; without one, somebody may have cut the connection short.
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

// SocketError is what the kernel has learnt of the connection and told nobody yet: that the peer reset it, after it had
// ended its side in order.
func (c *Conn) SocketError() (err error) {
	if c.raw == nil {
		return nil
	}
	ask := func(fd uintptr) {
		if n, e := syscall.GetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_ERROR); e == nil && n != 0 {
			err = syscall.Errno(n)
		}
	}
	if e := c.raw.Control(ask); e != nil {
		return nil // it is closed already
	}
	return err
}
