package detect

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"sync/atomic"
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
	// Pause, if it is not 0, is how long those bytes are waited for before the ones that are here
	// are given as they are (First.Unsure). It is once waited for: what follows is given as it
	// comes.
	Pause time.Duration
	// Bytes that do not tell are a long line of HTTP.
	Bytes int
	// TLSOnly is for a port that is declared opaque, or has rules for TLS alone: whatever does not
	// begin a ClientHello is Opaque at once.
	TLSOnly bool
}

// First is the beginning of a connection.
type First struct {
	Protocol Protocol
	Hello    Hello // of TLS
	// Bytes are what was read, to be replayed; nil: nothing was said in time, which makes the
	// connection Opaque.
	Bytes []byte
	// Unsure: Bytes may still become HTTP, and are Opaque until then. They are no more than the
	// beginning of a request line, so whoever gets them has been given no header field; what the
	// Reader returns next tells more.
	Unsure bool
}

// Silent reports whether not one byte was said.
func (f First) Silent() bool { return len(f.Bytes) == 0 }

// ErrSlow is why a connection is ended that began with TLS and went on too slowly to tell whose it
// is.
var ErrSlow = errors.New("the rest of a ClientHello did not come in time")

// ErrInterrupted is what Read returns after Interrupt, if the bytes so far do not tell.
var ErrInterrupted = errors.New("interrupted before the protocol was known")

// Reader reads a connection's beginning, on its caller's goroutine.
type Reader struct {
	c           Conn
	l           Limits
	buf         []byte
	given       int       // of buf: what Read has returned as unsure
	untaken     int       // of buf: what Untaken has not returned begins here
	since       time.Time // when the first byte came of those that are not given
	interrupted atomic.Bool
}

// NewReader reads nothing yet.
func NewReader(c Conn, l Limits) *Reader { return &Reader{c: c, l: l} }

// Continue is a Reader of a connection of which another has read the beginning, and was not sure.
// It takes said over.
func Continue(c Conn, l Limits, said []byte) *Reader {
	return &Reader{c: c, l: l, buf: said, given: len(said), since: time.Now()}
}

// Read reads until it can tell the protocol, or may return what cannot be told yet. What may become
// HTTP when Limits.Header has passed, or Limits.Bytes are full, is HTTP1: that engine answers 408,
// 414 or 431. What may have become HTTP when the connection ends did not. After silence, an unsure
// answer or an interruption Read may be called again. The read deadline is removed at the end. An
// error means that the caller is gone, or not worth waiting for.
func (r *Reader) Read() (First, error) {
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

// Untaken returns what has been read and was not returned by Untaken before.
func (r *Reader) Untaken() []byte {
	b := r.buf[r.untaken:]
	r.untaken = len(r.buf)
	return b
}

// Said reports whether the caller has said anything.
func (r *Reader) Said() bool { return len(r.buf) > 0 }

// Interrupt ends the Read under way, or the next one, unless that can tell already. Any goroutine
// may call it.
func (r *Reader) Interrupt() {
	r.interrupted.Store(true)
	r.c.SetReadDeadline(past) // fails only on a closed connection, whose next read says so
}

// past is a deadline that wakes a reader.
var past = time.Unix(1, 0)

// firstRead holds nearly every first flight.
const firstRead = 2 << 10

func (r *Reader) read() (First, error) {
	for silence := time.Now().Add(r.l.Silence); ; {
		err := r.more(silence)
		p, sure := r.classify()
		switch {
		case sure:
			return First{Protocol: p, Bytes: r.buf}, nil
		case errors.Is(err, os.ErrDeadlineExceeded) && r.interrupted.Swap(false):
			return First{}, ErrInterrupted
		case errors.Is(err, os.ErrDeadlineExceeded):
			return r.late(p)
		case err == nil && len(r.buf) >= r.l.Bytes && p == TLS:
			// Records of a byte each: no client's, and no HTTP.
			return First{Protocol: Opaque, Bytes: r.buf}, nil
		case err == nil && len(r.buf) >= r.l.Bytes:
			return First{Protocol: HTTP1, Bytes: r.buf}, nil
		case errors.Is(err, io.EOF) && len(r.buf) > 0:
			return First{Protocol: r.atEnd(p), Bytes: r.buf}, nil
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
	case r.idle():
		return First{}, nil
	case r.mayGive(p):
		r.given, r.l.Pause = len(r.buf), atOnce
		return First{Bytes: r.buf, Unsure: true}, nil
	case p == TLS:
		return First{}, fmt.Errorf("%w: %d bytes in %v", ErrSlow, len(r.buf), r.l.Header)
	}
	return First{Protocol: HTTP1, Bytes: r.buf}, nil
}

// idle reports whether the caller has said nothing that is not given.
func (r *Reader) idle() bool { return len(r.buf) == 0 || r.l.Pause > 0 && len(r.buf) == r.given }

// atOnce is a Pause that has passed when it begins.
const atOnce = time.Nanosecond

// mayGive reports whether what does not tell may be given away.
func (r *Reader) mayGive(p Protocol) bool { return r.l.Pause > 0 && p != TLS && MayPass(r.buf) }

// atEnd is what a connection was that ended as the beginning of p.
func (r *Reader) atEnd(p Protocol) Protocol {
	if p != TLS && !MayPass(r.buf) {
		return HTTP1
	}
	return Opaque
}

// more reads once.
func (r *Reader) more(silence time.Time) error {
	if len(r.buf) == cap(r.buf) {
		r.buf = slices.Grow(r.buf, max(cap(r.buf), firstRead))
	}
	if err := r.await(silence); err != nil {
		return err
	}
	n, err := r.c.Read(r.buf[len(r.buf):min(cap(r.buf), r.l.Bytes)])
	if r.idle() {
		r.since = time.Now()
	}
	r.buf = r.buf[:len(r.buf)+n]
	return err
}

// await sets the deadline of the next read. An interruption that came first must not be undone by
// it.
func (r *Reader) await(silence time.Time) error {
	until := r.since.Add(r.l.Header)
	switch p, _ := Classify(r.buf); {
	case r.idle():
		until = silence
	case r.mayGive(p):
		until = r.since.Add(r.l.Pause)
	}
	if err := r.c.SetReadDeadline(until); err != nil {
		return err
	}
	if r.interrupted.Load() {
		return os.ErrDeadlineExceeded
	}
	return nil
}
