package h1

import (
	"golang.org/x/net/http2/hpack"

	"github.com/tulle-mesh/tulle/proxy/wire"
)

// DeclinedField marks a 2xx response to an upgrade as an ordinary one, from a client codec to a server codec, perhaps over
// HTTP/2 in between. It is never read from a peer's HTTP/1, nor written to one.
const DeclinedField = "upgrade-declined"

// framing is how the end of what we send is told.
type framing uint8

const (
	framedNone    framing = iota // there is no body, whatever the sink writes
	framedLength                 // content-length
	framedChunked                // chunked
	framedClose                  // HTTP/1.0: by closing
	framedRaw                    // upgraded: by closing our half
	framedLater                  // an upgrade not answered yet
)

// Stream is one exchange. Its methods may be called from any goroutine, never block, and do nothing once it is over: when
// it was reset, when both sides have ended or, on a server, when the response has ended.
type Stream struct {
	c         *Conn
	method    string
	http10    bool
	upgrade   bool
	upgradeTo string // server: the protocol of the request
	reused    bool   // client: the connection served before

	// Guarded by the wire's lock.
	sink      Sink
	window    int
	state     streamState
	headSent  bool
	continued bool // 100 was sent
	answered  bool // client: some of a response arrived

	out      framing
	outLeft  int64 // framedLength: what is still to come
	kept     []byte
	keptEnd  bool
	trailers []hpack.HeaderField // kept with keptEnd

	size  int  // client: bytes of the request, as far as measured
	whole bool // client: it is complete and small, and left at once
}

// WriteHeaders sends a head, an informational head or, after a head, trailers. The error is always nil: HTTP/1 has no way to
// ask for shorter heads.
func (s *Stream) WriteHeaders(fields []hpack.HeaderField, end bool) error {
	s.c.w.Lock()
	err := s.writeHeaders(fields, end)
	s.unlock(err)
	return nil
}

// unlock ends the connection if what we were given cannot be sent. The reader then tells the sink.
func (s *Stream) unlock(err error) {
	if err != nil {
		s.c.failLocked(codeInternal, err)
	}
	half := s.c.halfClose
	s.c.halfClose = false
	s.c.w.Unlock()
	switch {
	case err == errBadResponse: // the reader sends our answer and closes
	case err != nil:
		s.c.w.Close()
	case half:
		s.c.w.CloseWrite()
	}
}

func (s *Stream) writeHeaders(fields []hpack.HeaderField, end bool) error {
	if s.state.in(localClosedStates) || s.keptEnd || s.c.deadLocked() {
		return nil
	}
	if s.headSent {
		return s.writeTrailers(fields)
	}
	var r response
	if err := r.read(fields); err != nil {
		s.headSent = true
		s.c.w.AppendToLocked(func(b []byte) []byte { return appendRefusal(b, errBadResponse, s.method != "HEAD") })
		return errBadResponse
	}
	if r.code < 200 {
		// A proxy forwards them all (RFC 9110 §15.2), into a full output too. But what a backend says to a peer that does not
		// read must end somewhere; the 100 that the peer may be waiting for has a place of its own.
		expected := r.code == 100 && !s.continued
		if !s.http10 && r.code != 101 && (expected || s.c.w.QueuedLocked() < 2*s.c.o.MaxOutput) {
			s.continued = s.continued || expected
			s.c.w.AppendToLocked(func(b []byte) []byte { return r.append(b, fields) })
		}
		return nil
	}
	s.respond(&r, fields, end)
	return nil
}

func (s *Stream) respond(r *response, fields []hpack.HeaderField, end bool) {
	if s.state == streamOpen && (end || r.outruns(s.method)) {
		s.c.drainLocked()
	}
	r.close = s.c.drainingLocked()
	s.headSent, r.as = true, s.upgradeTo
	s.out, s.outLeft = r.plan(s, end)
	if s.out == framedRaw {
		s.enterLocked(streamRaw)
		s.c.drainLocked()
	}
	s.c.w.AppendToLocked(func(b []byte) []byte { return r.append(b, fields) })
	if s.out == framedNone || end || s.out == framedLength && s.outLeft == 0 {
		s.finishLocalLocked()
		return
	}
	s.c.wakeForLocked(needTurn)
}

// writeTrailers: only the chunked coding carries them.
func (s *Stream) writeTrailers(fields []hpack.HeaderField) error {
	for _, f := range fields {
		if !isLowerToken(f.Name) || !isText(f.Value) {
			return ErrMalformed
		}
	}
	if len(s.kept) > 0 || s.out == framedLater {
		s.keptEnd, s.trailers = true, append([]hpack.HeaderField(nil), fields...)
		return nil
	}
	return s.end(fields)
}

// WriteData sends body, as much as the connection's output has room for; the rest is kept and reported by OnSent. Where the
// connection can send no more nothing is accepted: its owner, who may not have heard yet, must not take it for sent.
func (s *Stream) WriteData(p []byte, end bool) (accepted int) {
	s.c.w.Lock()
	before := s.c.w.QueuedLocked()
	accepted, err := s.writeData(p, end)
	s.measure(before)
	s.unlock(err)
	return accepted
}

func (s *Stream) writeData(p []byte, end bool) (int, error) {
	if s.state.in(localClosedStates) || s.keptEnd || !s.headSent {
		return len(p), nil
	}
	if s.c.deadLocked() {
		return 0, nil
	}
	n := 0
	if len(s.kept) == 0 && s.out != framedLater {
		n = min(len(p), max(0, s.c.o.MaxOutput-s.c.w.QueuedLocked()))
		if err := s.emit(p[:n]); err != nil {
			return n, err
		}
	}
	if n < len(p) {
		s.kept = append(s.kept, p[n:]...)
	}
	if !end {
		return n, nil
	}
	if len(s.kept) > 0 || s.out == framedLater {
		s.keptEnd = true
		return n, nil
	}
	return n, s.end(nil)
}

// emit frames a piece of body.
func (s *Stream) emit(p []byte) error {
	if len(p) == 0 || s.state.in(localClosedStates) {
		return nil
	}
	switch s.out {
	case framedNone:
	case framedLength:
		if s.outLeft -= int64(len(p)); s.outLeft < 0 {
			return errLength
		}
		s.c.w.AppendLocked(p...)
		if s.outLeft == 0 {
			s.finishLocalLocked()
		}
	case framedChunked:
		s.c.w.AppendToLocked(func(b []byte) []byte { return appendChunk(b, p) })
	default:
		s.c.w.AppendLocked(p...)
	}
	return nil
}

// end writes the end of the body.
func (s *Stream) end(trailers []hpack.HeaderField) error {
	if s.state.in(localClosedStates) {
		return nil
	}
	if s.out == framedLength && s.outLeft > 0 {
		return errLength
	}
	if s.out == framedChunked {
		s.c.w.AppendToLocked(func(b []byte) []byte { return appendLastChunk(b, trailers) })
	}
	s.finishLocalLocked()
	return nil
}

// drained moves what was kept into the output that has room again.
func (c *Conn) drained() {
	c.w.Lock()
	s := c.stream
	if c.deadLocked() || s == nil || len(s.kept) == 0 && !s.keptEnd || s.out == framedLater {
		c.w.Unlock()
		return
	}
	n := min(len(s.kept), max(0, c.o.MaxOutput-c.w.QueuedLocked()))
	b := s.kept
	err := s.emit(b[:n]) // may end the exchange
	s.kept = b[:copy(b, b[n:])]
	if len(s.kept) == 0 {
		s.kept = nil
		if s.keptEnd && err == nil {
			err = s.end(s.trailers)
		}
	}
	sink := s.sink
	s.unlock(err)
	c.w.Flush()
	if n > 0 && sink != nil {
		sink.OnSent(n)
	}
}

// Reset gives the exchange up. HTTP/1 can only say so by closing the connection; where a close is how a body ends, by
// resetting it.
func (s *Stream) Reset(code uint32) {
	s.c.w.Lock()
	live := s.state != streamOver
	endsByClose := s.out == framedClose || s.out == framedRaw
	if live {
		s.forgetLocked()
		if endsByClose {
			s.c.w.CutAtClose() // before the reader hears of it, which closes too
		}
		s.c.failLocked(code, ErrClosed)
	}
	s.c.w.Unlock()
	switch {
	case live && endsByClose:
		s.c.w.Close()
	case live:
		s.c.w.Flush() // what came before: its framing tells that it is not all
		s.c.w.Close()
	}
}

// Consumed: n bytes of body have left downstream, as many more may be read.
func (s *Stream) Consumed(n int) {
	s.c.w.Lock()
	defer s.c.w.Unlock()
	s.window += n
	if s.state != streamOver {
		s.c.wakeForLocked(needWindow)
	}
}

// Flush sends what was written.
func (s *Stream) Flush() { s.c.w.Flush() }

// Wire is the connection's.
func (s *Stream) Wire() *wire.Conn { return s.c.w }

// Over: the connection has forgotten the exchange. Its reader may still be telling the sink of it, until it is Resting or,
// when it was the last event, that returns.
func (s *Stream) Over() bool {
	s.c.w.Lock()
	defer s.c.w.Unlock()
	return s.state == streamOver
}
