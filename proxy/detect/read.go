package detect

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"
)

// Conn is what Reader reads from: a net.Conn.
type Conn interface {
	io.Reader
	SetReadDeadline(time.Time) error
}

// Limits bound how long and how much is read. There are no defaults here.
type Limits struct {
	// Silence is how long the first byte is waited for.
	Silence time.Duration
	// Header is how long the bytes are waited for that tell what the first one began.
	Header time.Duration
	// Bytes that do not tell are a long line of HTTP.
	Bytes int
	// TLSOnly is for a port that is declared opaque: whatever does not begin a ClientHello is Opaque at once.
	TLSOnly bool
}

// First is the beginning of a connection.
type First struct {
	Protocol Protocol
	Hello    Hello  // of TLS
	Bytes    []byte // what was read, to be replayed; nil: nothing was said in time, which makes the connection Opaque
}

// Silent reports whether not one byte was said.
func (f First) Silent() bool { return len(f.Bytes) == 0 }

// ErrSlow is why a connection is ended that began with TLS and went on too slowly to tell whose it is.
var ErrSlow = errors.New("the rest of a ClientHello did not come in time")

// Reader reads a connection's beginning, on its caller's goroutine.
type Reader struct {
	c     Conn
	l     Limits
	buf   []byte
	until time.Time // when what the first byte began must be known
}

// NewReader reads nothing yet.
func NewReader(c Conn, l Limits) *Reader { return &Reader{c: c, l: l} }

// ErrInterrupted: a read deadline passed that somebody else had set, and the bytes so far do not tell.
var ErrInterrupted = errors.New("interrupted before the protocol was known")

// Read reads until it can tell the protocol. What may become HTTP when Limits.Header has passed, or Limits.Bytes are full,
// is HTTP1: that engine answers 408, 414 or 431. What may have become HTTP when the connection ends did not. After silence,
// or an interruption, Read may be called again. The read deadline is removed at the end. An error means that the caller is
// gone, or not worth waiting for.
func (r *Reader) Read() (First, error) {
	if err := r.Begin(); err != nil {
		return First{}, err
	}
	return r.Resume()
}

// Begin sets the read deadline. Whoever moves it from then on interrupts the waiting.
func (r *Reader) Begin() error {
	if len(r.buf) > 0 {
		return r.c.SetReadDeadline(r.until)
	}
	return r.c.SetReadDeadline(time.Now().Add(r.l.Silence))
}

// Resume is Read without Begin.
func (r *Reader) Resume() (First, error) {
	if r.buf == nil {
		r.buf = make([]byte, 0, min(firstRead, r.l.Bytes))
	}
	f, err := r.read()
	if err != nil {
		return First{}, err
	}
	if f.Protocol == TLS {
		f.Hello, _, _ = ParseHello(f.Bytes)
	}
	r.c.SetReadDeadline(time.Time{}) // fails only on a closed connection, whose next read says so
	return f, nil
}

// firstRead holds nearly every first flight.
const firstRead = 2 << 10

func (r *Reader) read() (First, error) {
	for {
		err := r.more()
		p, sure := r.classify()
		switch {
		case sure:
			return First{Protocol: p, Bytes: r.buf}, nil
		case errors.Is(err, os.ErrDeadlineExceeded):
			return r.late(p)
		case err == nil && len(r.buf) >= r.l.Bytes && p == TLS:
			return First{Protocol: Opaque, Bytes: r.buf}, nil // records of a byte each: no client's, and no HTTP
		case err == nil && len(r.buf) >= r.l.Bytes:
			return First{Protocol: HTTP1, Bytes: r.buf}, nil
		case errors.Is(err, io.EOF) && len(r.buf) > 0:
			return First{Protocol: Opaque, Bytes: r.buf}, nil
		case err != nil:
			return First{}, err
		}
	}
}

func (r *Reader) classify() (p Protocol, sure bool) {
	if p, sure = Classify(r.buf); r.l.TLSOnly && p != TLS && len(r.buf) > 0 {
		return Opaque, true
	}
	return p, sure
}

// late is for when no more bytes came in time that would tell.
func (r *Reader) late(p Protocol) (First, error) {
	switch {
	case len(r.buf) == 0:
		return First{}, nil
	case time.Now().Before(r.until):
		return First{}, ErrInterrupted
	case p == TLS:
		return First{}, fmt.Errorf("%w: %d bytes in %v", ErrSlow, len(r.buf), r.l.Header)
	}
	return First{Protocol: HTTP1, Bytes: r.buf}, nil
}

// more reads once. The first byte sets the deadline for all that follow.
func (r *Reader) more() error {
	if len(r.buf) == cap(r.buf) {
		r.buf = slices.Grow(r.buf, cap(r.buf))
	}
	n, err := r.c.Read(r.buf[len(r.buf):min(cap(r.buf), r.l.Bytes)])
	first := len(r.buf) == 0 && n > 0
	r.buf = r.buf[:len(r.buf)+n]
	if first && err == nil {
		r.until = time.Now().Add(r.l.Header)
		err = r.c.SetReadDeadline(r.until)
	}
	return err
}
