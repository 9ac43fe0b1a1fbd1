package h2

import (
	"slices"

	"golang.org/x/net/http2/hpack"
)

// leastRoom is the least free output, bytes, into which a part of some data is written. Tiny frames
// would cost more than they carry.
const leastRoom = 4096

// OpenStream begins a request at a client. The request is sent with the next flush.
func (c *Conn) OpenStream(fields []hpack.HeaderField, end bool, sink Sink) (*Stream, error) {
	s := new(Stream)
	if err := c.OpenStreamIn(s, fields, end, sink); err != nil {
		return nil, err
	}
	return s, nil
}

// OpenStreamIn is OpenStream in memory that the caller gives. s must be zeroed, and may not be used
// for anything else until nobody refers to it any more.
func (c *Conn) OpenStreamIn(s *Stream, fields []hpack.HeaderField, end bool, sink Sink) error {
	c.w.Lock()
	defer c.w.Unlock()
	if c.life >= lifeDraining || c.w.FailedLocked() != nil || c.nextID > maxStreamID {
		return ErrGoingAway
	}
	if !c.roomLocked() {
		c.wantRoom = true
		return ErrNoCapacity
	}
	if c.tooLongLocked(fields) {
		return ErrTooLong
	}
	s.c, s.id, s.sink, s.born = c, c.nextID, sink, c.now
	s.sentHead, s.length, s.head = true, -1, isHead(fields)
	s.sendWindow, s.recvWindow, s.window = c.peerInitial, c.localInitial, c.o.FirstWindow
	s.early = c.start < startStarted
	if end {
		s.enterLocked(streamLocalClosed)
	} else {
		s.enterLocked(streamOpen)
	}
	c.nextID += 2
	c.overhead.earn(overheadPerStream)
	c.streams[s.id] = s
	c.encodeLocked(s.id, fields, end)
	return nil
}

func isHead(fields []hpack.HeaderField) bool {
	for i := range fields {
		if !fields[i].IsPseudo() {
			return false
		}
		if fields[i].Name == ":method" {
			return fields[i].Value == "HEAD"
		}
	}
	return false
}

// tooLongLocked says whether fields exceed the peer's MAX_HEADER_LIST_SIZE: it would refuse them,
// and perhaps the connection. A peer that takes no less than we do takes whatever we forward.
func (c *Conn) tooLongLocked(fields []hpack.HeaderField) bool {
	if c.peerMaxHeaders >= c.o.MaxHeaderBytes {
		return false
	}
	n := 0
	for i := range fields {
		n += fieldCost(&fields[i])
	}
	return n > c.peerMaxHeaders
}

// roomLocked says whether another stream fits.
func (c *Conn) roomLocked() bool {
	if c.fullLocked() {
		return false
	}
	if c.w.QueuedLocked() >= c.o.MaxOutput {
		c.w.WantDrainLocked()
		return false
	}
	return !c.cloggedLocked()
}

// PeerStreams is how many streams the peer takes at a time, or is presumed to.
func (c *Conn) PeerStreams() int {
	c.w.Lock()
	defer c.w.Unlock()
	return c.peerMaxStreams
}

// Full says whether as many streams are open as the peer, or this client, takes at a time.
func (c *Conn) Full() bool {
	c.w.Lock()
	defer c.w.Unlock()
	return c.fullLocked()
}

func (c *Conn) fullLocked() bool {
	return len(c.streams) >= min(c.peerMaxStreams, c.o.MaxStreams)
}

// Clogged says whether streams whose data nobody takes hold half of the connection's window. A new
// stream would wait behind them for the rest, so OpenStream returns ErrNoCapacity.
func (c *Conn) Clogged() bool {
	c.w.Lock()
	defer c.w.Unlock()
	return c.cloggedLocked()
}

func (c *Conn) cloggedLocked() bool {
	return c.o.ConnWindow-c.recvWindow-c.credit > c.o.ConnWindow/2
}

// encodeLocked encodes a header block and appends it. Both happen in one critical section, for the
// blocks must be in the output in the order in which the encoder's table saw them.
func (c *Conn) encodeLocked(id uint32, fields []hpack.HeaderField, end bool) {
	flags := flagEndHeaders
	if end {
		flags |= flagEndStream
	}
	c.w.AppendToLocked(func(b []byte) []byte {
		start := len(b)
		head := frameHeader{typ: typeHeaders, flags: flags, id: id}.encode()
		b = append(b, head[:]...)
		b = c.enc.appendBlock(b, fields)
		if n := len(b) - start - frameHeaderLen; n > maxFrame {
			return splitBlock(b, start)
		} else {
			b[start], b[start+1], b[start+2] = byte(n>>16), byte(n>>8), byte(n)
		}
		return b
	})
	if c.w.QueuedLocked() > c.o.MaxOutput+headerOverrun {
		c.failLocked(connError(CodeEnhanceYourCalm, "peer does not read the responses it asks for"))
	}
}

// splitBlock makes a HEADERS frame at start that is too long into one that is not, and
// CONTINUATIONs.
func splitBlock(b []byte, start int) []byte {
	head := frameHeader{typ: typeHeaders, flags: b[start+4] &^ flagEndHeaders, id: u32(b[start+5:])}
	rest := slices.Clone(b[start+frameHeaderLen:])
	for b = b[:start]; ; head.typ, head.flags = typeContinuation, 0 {
		n := min(len(rest), maxFrame)
		if n == len(rest) {
			head.flags |= flagEndHeaders
		}
		head.length = n
		h := head.encode()
		b = append(b, h[:]...)
		b = append(b, rest[:n]...)
		if rest = rest[n:]; len(rest) == 0 {
			return b
		}
	}
}

// admitLocked is how many of n bytes of s may go out now: none while other streams wait.
func (c *Conn) admitLocked(s *Stream, n int) int {
	if n == 0 {
		return 0
	}
	if c.readyHead != nil && !s.queued {
		return 0
	}
	n = max(0, min(n, s.sendWindow, c.sendWindow))
	room := c.w.RoomLocked()
	if n <= room+leastRoom && room > 0 {
		return n // beyond MaxOutput by less than a small frame, which would cost more
	}
	c.w.WantDrainLocked()
	if room < leastRoom {
		return 0
	}
	return room
}

// appendDataLocked appends p in frames, and charges the windows.
func (c *Conn) appendDataLocked(s *Stream, p []byte, end bool) {
	if len(p) == 0 && !end {
		return
	}
	s.sendWindow -= len(p)
	c.sendWindow -= len(p)
	for len(p) > maxData {
		c.appendHeaderLocked(maxData, typeData, 0, s.id)
		c.w.AppendLocked(p[:maxData]...)
		p = p[maxData:]
		c.overhead.earn(overheadPerData)
	}
	flags := byte(0)
	if end {
		flags = flagEndStream
	}
	c.appendHeaderLocked(len(p), typeData, flags, s.id)
	c.w.AppendLocked(p...)
	c.overhead.earn(overheadPerData)
	if end {
		c.finishLocalLocked(s)
	}
}

// enqueueLocked puts a stream that has data and stream window at the end of the ready queue.
func (c *Conn) enqueueLocked(s *Stream) {
	if s.queued || s.unsentLocked() == 0 || s.sendWindow <= 0 {
		return
	}
	s.queued = true
	if c.readyTail == nil {
		c.readyHead = s
	} else {
		c.readyTail.next = s
	}
	c.readyTail = s
}

func (c *Conn) dequeueLocked() *Stream {
	s := c.readyHead
	if s == nil {
		return nil
	}
	c.readyHead = s.next
	if c.readyHead == nil {
		c.readyTail = nil
	}
	s.next, s.queued = nil, false
	return s
}

// departure is n kept bytes that have left, of which sink is to be told.
type departure struct {
	sink Sink
	n    int
}

// maxShare is how many frames of one stream may follow each other. A peer reads them at once and
// passes them on in one piece: with one frame at a time bulk over two hops was a tenth slower.
const maxShare = 4

// shareLocked is how much a waiting stream sends before it is another's turn.
func (c *Conn) shareLocked() int {
	frames := maxData * max(1, min(maxShare, c.w.RoomLocked()/maxData))
	return min(frames, c.o.Allowance.Share())
}

// pumpUnlocks lets waiting streams send, a few frames each in turn, so that none starves another.
// It gives the lock back, and tells the streams' owners what has left.
func (c *Conn) pumpUnlocks() {
	if c.readyHead == nil || c.w.FailedLocked() != nil {
		c.w.Unlock()
		return
	}
	var few [16]departure
	gone := few[:0]
	for c.sendWindow > 0 && c.readyHead != nil {
		if c.w.RoomLocked() < leastRoom {
			c.w.WantDrainLocked()
			break
		}
		s := c.dequeueLocked()
		if n := c.sendPendingLocked(s); n > 0 {
			gone = append(gone, departure{s.sink, n})
		}
		c.enqueueLocked(s)
	}
	c.w.Unlock()
	for _, d := range gone {
		if d.sink != nil {
			d.sink.OnSent(d.n)
		}
	}
}

// sendPendingLocked sends a share of what the stream keeps, and its end if that was all.
func (c *Conn) sendPendingLocked(s *Stream) int {
	n := min(s.unsentLocked(), c.shareLocked(), s.sendWindow, c.sendWindow)
	if s.state.in(goneStates) || n <= 0 {
		return 0
	}
	all := n == s.unsentLocked()
	c.appendDataLocked(s, s.pending[s.sent:s.sent+n], all && s.pendingEnd && s.trailers == nil)
	s.leftLocked(n)
	if all && s.trailers != nil {
		c.encodeLocked(s.id, s.trailers, true)
		s.trailers = nil
		c.finishLocalLocked(s)
	}
	return n
}

// onDrain: the output has room again. Whoever flushed calls this.
func (c *Conn) onDrain() {
	c.w.Lock()
	c.freedLocked()
	c.pumpUnlocks()
}
