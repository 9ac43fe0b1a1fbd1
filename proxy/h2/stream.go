package h2

import (
	"slices"
	"time"

	"golang.org/x/net/http2/hpack"

	"github.com/tulle-mesh/tulle/proxy/wire"
)

// Stream is one request and its response. Its methods may be called from any goroutine; once it is
// over they do nothing. Everything is under the connection's lock, except c, id and what the reader
// alone uses.
type Stream struct {
	c    *Conn
	sink Sink
	id   uint32
	born time.Time

	state    streamState
	sentHead bool
	gotHead  bool
	early    bool  // client: it was opened before the peer's first SETTINGS
	head     bool  // a HEAD request: its response has no content
	length   int64 // content-length of what is received; -1: unknown
	received int64

	sendWindow int // may be negative
	recvWindow int
	window     int // what recvWindow is made up to
	unconsumed int // received, not consumed
	credit     int // consumed, not yet given back to the stream

	pending    []byte // what WriteData did not accept; from sent on
	sent       int
	pendingEnd bool
	continued  bool // 100 was sent
	trailers   []hpack.HeaderField
	queued     bool // among the ready
	next       *Stream
}

// Flush is the connection's.
func (s *Stream) Flush() { s.c.w.Flush() }

// Wire is the connection's.
func (s *Stream) Wire() *wire.Conn { return s.c.w }

// Over says whether both halves have ended in order, so that the connection has forgotten the
// stream. Its reader may still be in a call of the sink: until the connection is Resting or, if the
// end was the last event, until that call returns.
func (s *Stream) Over() bool {
	s.c.w.Lock()
	defer s.c.w.Unlock()
	return s.state == streamClosed
}

// WriteHeaders writes a head, an informational response, or trailers (after a head; they end the
// stream). Trailers wait for the data before them. The only error is ErrTooLong, of a head.
func (s *Stream) WriteHeaders(fields []hpack.HeaderField, end bool) error {
	c := s.c
	c.w.Lock()
	defer c.w.Unlock()
	switch {
	case s.state.in(goneStates|1<<streamLocalClosed) || s.pendingEnd:
	case s.sentHead:
		s.writeTrailersLocked(fields)
	case informational(fields):
		// A proxy forwards them all (RFC 9110 §15.2), into a full output too. But what a backend
		// says to a peer that does not read must end somewhere; the 100 that the peer may be
		// waiting for has a place of its own.
		expected := !s.continued && fields[0].Value == "100"
		if expected || c.w.QueuedLocked() < 2*c.o.MaxOutput {
			s.continued = s.continued || expected
			c.encodeLocked(s.id, fields, false)
		}
	case c.tooLongLocked(fields):
		return ErrTooLong
	default:
		s.sentHead = true
		c.encodeLocked(s.id, fields, end)
		if end {
			c.finishLocalLocked(s)
		}
	}
	return nil
}

func informational(fields []hpack.HeaderField) bool {
	return len(fields) > 0 && fields[0].Name == ":status" && len(fields[0].Value) == 3 &&
		fields[0].Value[0] == '1'
}

func (s *Stream) writeTrailersLocked(fields []hpack.HeaderField) {
	if s.unsentLocked() > 0 {
		s.trailers = slices.Clone(fields)
		s.pendingEnd = true
		return
	}
	s.c.encodeLocked(s.id, fields, true)
	s.c.finishLocalLocked(s)
}

// WriteData copies p. What is accepted is in the connection's output; the rest is kept by the
// stream and reported through OnSent as it leaves. A stream that was reset accepts nothing, nor
// does one whose connection can send no more: its owner, who may not have heard yet, must not take
// what it gives for sent.
func (s *Stream) WriteData(p []byte, end bool) (accepted int) {
	c := s.c
	c.w.Lock()
	defer c.w.Unlock()
	if s.state == streamReset || c.w.FailedLocked() != nil {
		return 0
	}
	if s.state.in(1<<streamClosed|1<<streamLocalClosed) || s.pendingEnd || !s.sentHead {
		return len(p)
	}
	n := 0
	if s.unsentLocked() == 0 {
		n = c.admitLocked(s, len(p))
		c.appendDataLocked(s, p[:n], end && n == len(p))
	}
	if n == len(p) && s.unsentLocked() == 0 {
		return n
	}
	s.keepLocked(p[n:])
	s.pendingEnd = end
	c.enqueueLocked(s)
	return n
}

// Reset ends the stream; its sink gets nothing more. A server that has given its whole answer says
// Reset(CodeNone): what is kept of the answer still leaves, and OnSent goes on until then.
func (s *Stream) Reset(code uint32) {
	c := s.c
	c.w.Lock()
	defer c.w.Unlock()
	switch {
	case s.state.in(goneStates):
		s.refundLocked()
	case code == CodeNone && c.server && s.pendingEnd && s.state != streamLocalClosed:
		s.abandonLocked()
		s.refundLocked()
	default:
		if code == CodeNone && !c.server {
			code = CodeCancel // only a server's NO_ERROR means something (RFC 9113 §8.1)
		}
		c.countCancelLocked(s)
		c.resetLocked(s, code)
	}
}

// Consumed gives n received bytes back to the peer's windows.
func (s *Stream) Consumed(n int) {
	s.c.w.Lock()
	defer s.c.w.Unlock()
	s.giveBackLocked(min(n, s.unconsumed))
}

// giveBackLocked returns n bytes that were received to both windows.
func (s *Stream) giveBackLocked(n int) {
	if n <= 0 {
		return
	}
	c := s.c
	s.unconsumed -= n
	c.refundLocked(n)
	if s.state.in(remoteClosedStates | goneStates) {
		return // nothing more comes on this stream
	}
	if s.credit += n; s.credit >= s.window/2 {
		c.growLocked(s)
		c.widenStreamLocked(s)
	}
}

// growLocked doubles a small window of which half was consumed, as far as the windows of all
// streams together stay within the connection's: half of it and what is due back are for others.
func (c *Conn) growLocked(s *Stream) {
	if more := min(s.window, c.o.StreamWindow-s.window, c.o.ConnWindow/4-c.grown); more > 0 {
		s.window += more
		s.credit += more
		c.grown += more
	}
}

// widenStreamLocked says what may come on a stream, in whole frames: a window that is no multiple
// of them makes the peer send small ones. Half a window at a time costs the peer half the wakeups
// that a quarter does, and the other half keeps it sending.
func (c *Conn) widenStreamLocked(s *Stream) {
	n := s.credit
	if n > maxData {
		n -= n % maxData
	}
	s.credit -= n
	s.recvWindow += n
	c.appendWindowUpdateLocked(s.id, n)
}

// refundLocked returns to the connection everything that was received and not consumed.
func (s *Stream) refundLocked() {
	s.c.refundLocked(s.unconsumed)
	s.unconsumed = 0
}

// refundLocked collects what may be given back to the connection's window, and sends a
// WINDOW_UPDATE once it is worth a frame.
func (c *Conn) refundLocked(n int) {
	c.credit += n
	c.freedLocked()
	if c.credit >= c.o.ConnWindow/4 && c.life != lifeOver {
		c.recvWindow += c.credit
		c.appendWindowUpdateLocked(0, c.credit)
		c.credit = 0
	}
}

// dropLocked forgets what the stream holds and makes it dead.
func (s *Stream) dropLocked() {
	s.enterLocked(streamReset)
	s.dropPendingLocked()
	s.trailers = nil
	s.refundLocked()
}

func (s *Stream) tellReset(code uint32, err error) {
	if s.sink != nil {
		s.sink.OnReset(code, err)
	}
}

// removeLocked takes the stream off the connection.
func (c *Conn) removeLocked(s *Stream) {
	delete(c.streams, s.id)
	c.grown -= s.window - c.o.FirstWindow
	c.freedLocked()
	if c.drainedLocked() {
		c.wakeReaderLocked()
	}
}

// freedLocked makes OnCapacity due if a stream may be opened again.
func (c *Conn) freedLocked() {
	if c.wantRoom && c.roomLocked() {
		c.wantRoom, c.capacityDue = false, true
		c.wakeReaderLocked()
	}
}

// resetLocked sends RST_STREAM and forgets the stream.
func (c *Conn) resetLocked(s *Stream, code uint32) {
	c.appendResetLocked(s.id, code)
	c.rememberResetLocked(s.id)
	c.removeLocked(s)
	s.dropLocked()
}

// abandonLocked lets the answer leave without the stream's owner. What still comes of the request
// is thrown away.
func (s *Stream) abandonLocked() {
	switch s.state {
	case streamOpen:
		s.enterLocked(streamDiscarding)
	case streamRemoteClosed:
		s.enterLocked(streamFinishing)
	}
}

// finishRemoteLocked ends the peer's half.
func (c *Conn) finishRemoteLocked(s *Stream) {
	switch s.state {
	case streamLocalClosed:
		c.finishLocked(s)
	case streamDiscarding:
		s.enterLocked(streamFinishing)
	default:
		s.enterLocked(streamRemoteClosed)
	}
}

// finishLocalLocked ends our half.
func (c *Conn) finishLocalLocked(s *Stream) {
	switch s.state {
	case streamRemoteClosed, streamFinishing:
		c.finishLocked(s)
	case streamDiscarding:
		c.resetLocked(s, CodeNone)
	default:
		s.enterLocked(streamLocalClosed)
	}
}

func (c *Conn) finishLocked(s *Stream) {
	s.enterLocked(streamClosed)
	c.resets.earn(1)
	c.removeLocked(s)
}
