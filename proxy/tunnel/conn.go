package tunnel

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"sync"
	"syscall"
	"time"
)

// leg is one side of an opaque connection: TCP, or TLS over it.
type leg interface {
	net.Conn
	CloseWrite() error
}

// Abort ends a connection with a reset. Whoever is at the other end must not take for the end of a
// stream what was its cutting: TLS's alert, or a FIN, would say so. What was not sent is lost.
func Abort(nc net.Conn) error {
	if tl, ok := nc.(*TLSConn); ok {
		nc = tl.under.TCPConn
	}
	if tc, ok := nc.(*net.TCPConn); ok {
		tc.SetLinger(0) // fails only on a closed connection
	}
	return nc.Close()
}

// cut ends both legs of a connection with a reset, for one of them was cut or must be.
func cut(down net.Conn, up leg) error { return errors.Join(Abort(down), Abort(up)) }

// rawOf is what can be waited for without a buffer; nil: not a socket.
func rawOf(l leg) syscall.RawConn {
	if tl, ok := l.(*TLSConn); ok {
		l = tl.under.TCPConn
	}
	sc, ok := l.(syscall.Conn)
	if !ok {
		return nil
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return nil
	}
	return raw
}

// TLSConn is TLS over TCP. Unlike crypto/tls it takes a connection that ends without the alert for
// cut.
type TLSConn struct {
	*tls.Conn
	under *underTLS
}

// Server answers a caller's handshake, of which first was read already.
func Server(tc *net.TCPConn, first []byte, cfg *tls.Config) *TLSConn {
	return newTLSLeg(tc, first, tls.Server, cfg)
}

func newTLSLeg(
	tc *net.TCPConn,
	first []byte,
	over func(net.Conn, *tls.Config) *tls.Conn,
	cfg *tls.Config,
) *TLSConn {
	u := &underTLS{TCPConn: tc, first: first}
	return &TLSConn{over(u, cfg), u}
}

// Write seals p and sends all of its records at once: a system call and a wake-up of the peer for
// each would cost more than the copy.
func (l *TLSConn) Write(p []byte) (int, error) {
	if len(p) <= maxPlaintext || len(p) > largeCopy {
		return l.Conn.Write(p)
	}
	l.under.gather()
	n, err := l.Conn.Write(p)
	if serr := l.under.scatter(); err == nil {
		err = serr
	}
	return n, err
}

// errTruncated: somebody may have cut the connection short (RFC 8446 §6.1).
var errTruncated = errors.New("TLS connection ended without its alert")

// underTLS is the TCP that crypto/tls sees. One goroutine reads, one writes; what TLS itself says,
// the reader may write.
type underTLS struct {
	*net.TCPConn
	first []byte // read already
	raw   syscall.RawConn
	// Once a flow reads, Read does not wait: it says dry instead, so that the flow can wait without
	// a buffer.
	short bool // the kernel gave less than it was asked for, so it has no more

	mu     sync.Mutex        // guards everything below
	sealed *[sealedSize]byte // nil: what is written leaves at once
	n      int
}

const (
	maxPlaintext = 16 << 10 // of a record (RFC 8446 §5.1)
	// a record's header, type and tag take 22 bytes
	sealedSize = largeCopy + largeCopy/maxPlaintext*64
)

var sealedBuffers = sync.Pool{New: func() any { return new([sealedSize]byte) }}

func (u *underTLS) gather() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.sealed, u.n = sealedBuffers.Get().(*[sealedSize]byte), 0
}

func (u *underTLS) scatter() error {
	u.mu.Lock()
	defer u.mu.Unlock()
	_, err := u.TCPConn.Write(u.sealed[:u.n])
	sealedBuffers.Put(u.sealed)
	u.sealed = nil
	return err
}

func (u *underTLS) Write(p []byte) (int, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.sealed == nil {
		return u.TCPConn.Write(p)
	}
	if u.n+len(p) > sealedSize {
		return 0, io.ErrShortWrite // only a flow writes much at once, and no more than largeCopy
	}
	u.n += copy(u.sealed[u.n:], p)
	return len(p), nil
}

func (u *underTLS) Read(p []byte) (n int, err error) {
	if len(u.first) > 0 {
		n = copy(p, u.first)
		u.first = u.first[n:]
		return n, nil
	}
	if u.raw != nil {
		return u.readNow(p)
	}
	if n, err = u.TCPConn.Read(p); err == io.EOF {
		err = errTruncated
	}
	return n, err
}

func (u *underTLS) readNow(p []byte) (n int, err error) {
	if u.short {
		u.short = false
		return 0, dry
	}
	rerr := u.raw.Read(func(fd uintptr) bool {
		n, err = readFD(fd, p)
		return true
	})
	switch {
	case rerr != nil:
		return 0, rerr
	case err == syscall.EAGAIN:
		return 0, dry
	case err != nil:
		return 0, err
	case n == 0:
		return 0, errTruncated
	}
	u.short = n < len(p)
	return n, nil
}

// SetWriteDeadline is for crypto/tls, which gives its last alert five seconds: a slow reader may
// take longer for what is before it, and a tunnel has bounds of its own.
func (u *underTLS) SetWriteDeadline(time.Time) error { return nil }

// Served is a caller's connection on which HTTP turned out to be spoken, as package wire wants it,
// and what is known of its TLS if that was ours.
func Served(nc net.Conn) (net.Conn, *tls.ConnectionState) {
	tl, ok := nc.(*TLSConn)
	if !ok {
		return nc, nil
	}
	state := tl.ConnectionState()
	return servedTLS{tl}, &state
}

// servedTLS is a tlsLeg on which HTTP turned out to be spoken, as package wire wants it: with a
// bound for writes.
type servedTLS struct{ *TLSConn }

func (l servedTLS) SetWriteDeadline(
	t time.Time,
) error {
	return l.under.TCPConn.SetWriteDeadline(t)
}
func (l servedTLS) SetLinger(sec int) error { return l.under.TCPConn.SetLinger(sec) }

// Close gives TLS's alert no time: it fits into the kernel's buffer, or nobody reads it.
func (l servedTLS) Close() error {
	l.under.TCPConn.SetWriteDeadline(time.Now().Add(alertTime)) // fails only on a closed connection
	return l.Conn.Close()
}

const alertTime = time.Second

// dryError is temporary in the sense of net.Error, which is how crypto/tls knows that it may be
// asked again.
type dryError struct{}

func (*dryError) Error() string   { return "nothing received" }
func (*dryError) Timeout() bool   { return false }
func (*dryError) Temporary() bool { return true }

var dry = new(dryError)

// readFD reads once and never waits; zero bytes without an error are the end.
func readFD(fd uintptr, p []byte) (int, error) {
	for {
		n, err := syscall.Read(int(fd), p)
		if err != syscall.EINTR {
			return max(n, 0), err
		}
	}
}
