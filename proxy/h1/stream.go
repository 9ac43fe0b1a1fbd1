package h1

import (
	"golang.org/x/net/http2/hpack"

	"github.com/tulle-mesh/tulle/proxy/wire"
)

// DeclinedField marks a 2xx response to an upgrade as an ordinary one, from a client codec to a
// server codec, perhaps over HTTP/2 in between. It is never read from a peer's HTTP/1, nor written
// to one.
const DeclinedField = "upgrade-declined"

// AbsoluteField marks a request whose target had a scheme and an authority, which only proxies are
// sent, as DeclinedField marks a response: the client codec writes such a target again.
const AbsoluteField = "absolute-target"

// UpgradeLengthField says how many bytes of body come before the tunnel that a request asks for:
// in HTTP/2 both are one stream. The client codec writes it as a content-length. It comes from
// whoever sends those bytes, and says nothing of anybody else's.
const UpgradeLengthField = "upgrade-length"

// framing is how the end of what we send is told.
type framing uint8

const (
	framedNone    framing = iota // there is no body, whatever the sink writes
	framedLength                 // content-length
	framedChunked                // chunked
	framedClose                  // HTTP/1.0: by closing
	framedRaw                    // upgraded: by closing our half
	framedLater                  // an upgrade or a CONNECT that is not answered yet
)

// Stream is one exchange. Its methods may be called from any goroutine and never block. They do
// nothing once the exchange is over (see the package's comment).
type Stream struct {
	c         *Conn
	method    string
	http10    bool
	tunnel    bool   // an upgrade, or CONNECT
	upgradeTo string // server: the protocol of an upgrade; empty: CONNECT
	reused    bool   // client: the connection served before

	// The wire's lock guards everything from here on.
	sink      Sink
	window    int
	state     streamState
	headSent  bool
	continued bool // 100 was sent
	answered  bool // client: some of a response arrived
	unwanted  bool // server: what still comes of the request, once the response has ended

	out        framing
	outLeft    int64               // framedLength: what is still to come; framedLater: of the body
	pending    []byte              // what WriteData did not accept
	pendingEnd bool                // the end of the body follows pending
	trailers   []hpack.HeaderField // they follow pending, with pendingEnd

	size  int  // client: bytes of the request that were written, up to somewhat beyond maxWhole
	whole bool // client: the request is complete and small, and leaves in one write
}

// WriteHeaders sends a head, an informational head or, after a head, trailers. The error is always
// nil: HTTP/1 has no way to ask for shorter heads.
func (s *Stream) WriteHeaders(fields []hpack.HeaderField, end bool) error {
	s.c.w.Lock()
	err := s.writeHeadersLocked(fields, end)
	s.doneUnlocks(err)
	return nil
}

// doneUnlocks gives the lock back after a write. If err says that what was given cannot be sent it
// ends the connection, and the reader tells the sink.
func (s *Stream) doneUnlocks(err error) {
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

func (s *Stream) writeHeadersLocked(fields []hpack.HeaderField, end bool) error {
	if s.state.in(localClosedStates) || s.pendingEnd || s.c.deadLocked() {
		return nil
	}
	if s.headSent {
		return s.writeTrailersLocked(fields)
	}
	var r response
	if err := r.read(fields); err != nil {
		s.headSent = true
		s.c.appendRefusalLocked(errBadResponse, s.method != "HEAD")
		return errBadResponse
	}
	if r.code < 200 {
		// A proxy forwards them all (RFC 9110 §15.2), into a full output too. But what a backend
		// says to a peer that does not read must end somewhere; the 100 that the peer may be
		// waiting for has a place of its own.
		expected := r.code == 100 && !s.continued
		if !s.http10 && r.code != 101 && (expected || s.c.w.QueuedLocked() < 2*s.c.o.MaxOutput) {
			s.continued = s.continued || expected
			s.c.w.AppendToLocked(func(b []byte) []byte { return r.append(b, fields) })
		}
		return nil
	}
	s.writeResponseLocked(&r, fields, end)
	return nil
}

func (s *Stream) writeResponseLocked(r *response, fields []hpack.HeaderField, end bool) {
	early := s.state == streamOpen && (end || r.mayOutrun(s.method))
	if early || s.method == "CONNECT" && r.code >= 300 && r.code != 407 {
		// Who wanted a tunnel may have said something in it. A proxy that wants a password is asked
		// again.
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

// writeTrailersLocked ends the body with trailers, which only the chunked coding carries.
func (s *Stream) writeTrailersLocked(fields []hpack.HeaderField) error {
	for _, f := range fields {
		if !isLowerToken(f.Name) || !isText(f.Value) {
			return ErrMalformed
		}
	}
	if len(s.pending) > 0 || s.out == framedLater {
		s.pendingEnd, s.trailers = true, append([]hpack.HeaderField(nil), fields...)
		return nil
	}
	return s.endLocked(fields)
}

// WriteData sends a part of the body, as much of it as the connection's output has room for. The
// rest is kept, and reported by OnSent when it has left. If the connection can send no more nothing
// is accepted: the owner, who may not have heard of that yet, must not take it for sent.
func (s *Stream) WriteData(p []byte, end bool) (accepted int) {
	s.c.w.Lock()
	before := s.c.w.QueuedLocked()
	accepted, err := s.writeDataLocked(p, end)
	s.measureLocked(before)
	s.doneUnlocks(err)
	return accepted
}

func (s *Stream) writeDataLocked(p []byte, end bool) (int, error) {
	if s.state.in(localClosedStates) || s.pendingEnd || !s.headSent {
		return len(p), nil
	}
	if s.c.deadLocked() {
		return 0, nil
	}
	surplus := s.surplusLocked(len(p))
	p = p[:len(p)-surplus]
	n := 0
	if len(s.pending) == 0 {
		n = s.roomLocked(len(p))
		if err := s.emitLocked(p[:n]); err != nil {
			return n, err
		}
	}
	if n < len(p) {
		s.keepLocked(append(s.pending, p[n:]...))
		s.c.w.WantDrainLocked()
	}
	if !end {
		return n + surplus, nil
	}
	return n + surplus, s.endBodyLocked()
}

// endBodyLocked notes that nothing more comes.
func (s *Stream) endBodyLocked() error {
	switch {
	case s.out == framedLater && int64(len(s.pending)) < s.outLeft:
		return errLength
	case len(s.pending) > 0 || s.out == framedLater:
		s.pendingEnd = true
		return nil
	}
	return s.endLocked(nil)
}

// surplusLocked is how many of n bytes are for a tunnel that the server has declined: nobody gets
// them, for behind a body they would be taken for a request.
func (s *Stream) surplusLocked(n int) int {
	if !s.tunnel || s.out != framedLength {
		return 0
	}
	return n - int(min(int64(n), s.outLeft-int64(len(s.pending))))
}

// roomLocked is how many of n bytes can leave now. What is for a tunnel waits until it is open.
func (s *Stream) roomLocked(n int) int {
	if s.out == framedLater {
		n = int(min(int64(n), s.outLeft))
	}
	return min(n, max(0, s.c.w.RoomLocked()))
}

// emitLocked writes a piece of the body, in its framing.
func (s *Stream) emitLocked(p []byte) error {
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
	case framedLater:
		s.outLeft -= int64(len(p))
		s.c.w.AppendLocked(p...)
	default:
		s.c.w.AppendLocked(p...)
	}
	return nil
}

// endLocked writes the end of the body.
func (s *Stream) endLocked(trailers []hpack.HeaderField) error {
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

// keepLocked keeps p, which is what was kept before and more, or less; nothing once the exchange is
// over.
func (s *Stream) keepLocked(p []byte) {
	if s.state == streamOver {
		p = nil
	}
	s.c.w.HoldLocked(cap(p) - cap(s.pending))
	s.pending = p
}

// drained moves what was kept into the output, which has room again.
func (c *Conn) drained() {
	c.w.Lock()
	s := c.stream
	if c.deadLocked() || s == nil || len(s.pending) == 0 && !s.pendingEnd ||
		s.out == framedLater && s.outLeft == 0 {
		c.w.Unlock()
		return
	}
	n := s.roomLocked(len(s.pending))
	err := s.emitPendingLocked(n)
	sink := s.sink
	s.doneUnlocks(err)
	c.w.Flush()
	if n > 0 && sink != nil {
		sink.OnSent(n)
	}
}

// emitPendingLocked writes n bytes of what was kept, and the end of the body if it follows.
func (s *Stream) emitPendingLocked(n int) error {
	b := s.pending
	err := s.emitLocked(b[:n]) // may end the exchange
	if n == len(b) {
		s.keepLocked(nil)
		if s.pendingEnd && err == nil && s.out != framedLater {
			err = s.endLocked(s.trailers)
		}
		return err
	}
	s.keepLocked(b[:copy(b, b[n:])])
	s.c.w.WantDrainLocked()
	return err
}

// Reset gives the exchange up. HTTP/1 can only say so by closing the connection, or by resetting it
// where closing is how a body ends. A server that has given its whole answer says Reset(0): what is
// kept of the answer still leaves, and no more of the request is read.
func (s *Stream) Reset(code uint32) {
	s.c.w.Lock()
	if s.stopLocked(code) {
		s.c.w.Unlock()
		return
	}
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

// Consumed says that n bytes of body have left downstream, so that as many more may be read.
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

// Over says whether the connection has forgotten the exchange. Its reader may still be in a call of
// the sink: until the connection is Resting or, if that call is of the last event, until it
// returns.
func (s *Stream) Over() bool {
	s.c.w.Lock()
	defer s.c.w.Unlock()
	return s.state == streamOver
}
