package h2

import (
	"slices"

	"golang.org/x/net/http2/hpack"
)

// leastRoom: into less output than this only what fits whole is written. Tiny frames would cost more than they carry.
const leastRoom = 4096

// OpenStream begins a request at a client. The request is sent with the next flush.
func (c *Conn) OpenStream(fields []hpack.HeaderField, end bool, sink Sink) (*Stream, error) {
	s := new(Stream)
	if err := c.OpenStreamIn(s, fields, end, sink); err != nil {
		return nil, err
	}
	return s, nil
}

// OpenStreamIn is OpenStream in memory of the caller's: s is zeroed, and is nobody else's until it is garbage.
func (c *Conn) OpenStreamIn(s *Stream, fields []hpack.HeaderField, end bool, sink Sink) error {
	c.w.Lock()
	defer c.w.Unlock()
	if c.dead || c.doomed != nil || c.w.FailedLocked() != nil || c.drain.begun || c.nextID > maxStreamID {
		return ErrGoingAway
	}
	if !c.room() {
		c.wantRoom = true
		return ErrNoCapacity
	}
	if c.tooLong(fields) {
		return ErrTooLong
	}
	s.c, s.id, s.sink, s.born, s.sentHead, s.localClosed, s.length = c, c.nextID, sink, c.now, true, end, -1
	s.sendWindow, s.recvWindow, s.window, s.head = c.peerInitial, c.localInitial, c.o.FirstWindow, isHead(fields)
	c.nextID += 2
	c.chatting.earn(chatterPerStream)
	c.streams[s.id] = s
	c.encode(s.id, fields, end)
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

// tooLong: the peer would refuse such a header list, and perhaps the connection with it. Only one that takes less than we do
// is asked: what we forward, we took.
func (c *Conn) tooLong(fields []hpack.HeaderField) bool {
	if c.peerMaxHeaders >= c.o.MaxHeaderBytes {
		return false
	}
	n := 0
	for i := range fields {
		n += fieldCost(&fields[i])
	}
	return n > c.peerMaxHeaders
}

// room says whether another stream fits; the lock is held.
func (c *Conn) room() bool {
	if len(c.streams) >= min(c.peerMaxStreams, c.o.MaxStreams) {
		return false
	}
	if c.w.QueuedLocked() >= c.o.MaxOutput {
		c.w.WantDrainLocked()
		return false
	}
	return !c.clogged()
}

// Clogged: half of the connection's window is held by streams whose data nobody takes. A new stream would wait behind them
// for the rest, so OpenStream has no room for it.
func (c *Conn) Clogged() bool {
	c.w.Lock()
	defer c.w.Unlock()
	return c.clogged()
}

func (c *Conn) clogged() bool { return c.o.ConnWindow-c.recvWindow-c.credit > c.o.ConnWindow/2 }

// encode appends a header block; the lock is held, since the order of blocks in the output is the order of the encoder's
// table.
func (c *Conn) encode(id uint32, fields []hpack.HeaderField, end bool) {
	flags := flagEndHeaders
	if end {
		flags |= flagEndStream
	}
	c.w.AppendToLocked(func(b []byte) []byte {
		start := len(b)
		b = append(b, 0, 0, 0, typeHeaders, flags, byte(id>>24), byte(id>>16), byte(id>>8), byte(id))
		b = c.enc.appendBlock(b, fields)
		if n := len(b) - start - frameHeaderLen; n > maxFrame {
			return splitBlock(b, start)
		} else {
			b[start], b[start+1], b[start+2] = byte(n>>16), byte(n>>8), byte(n)
		}
		return b
	})
	if c.w.QueuedLocked() > c.o.MaxOutput+headerOverrun {
		c.doom(connError(CodeEnhanceYourCalm, "peer does not read the responses it asks for"))
	}
}

// splitBlock makes a HEADERS frame at start that is too long into one that is not, and CONTINUATIONs.
func splitBlock(b []byte, start int) []byte {
	head := frameHeader{typ: typeHeaders, flags: b[start+4] &^ flagEndHeaders, id: u32(b[start+5:])}
	rest := slices.Clone(b[start+frameHeaderLen:])
	for b = b[:start]; ; head.typ, head.flags = typeContinuation, 0 {
		n := min(len(rest), maxFrame)
		if n == len(rest) {
			head.flags |= flagEndHeaders
		}
		b = append(b, byte(n>>16), byte(n>>8), byte(n), head.typ, head.flags, byte(head.id>>24), byte(head.id>>16), byte(head.id>>8), byte(head.id))
		b = append(b, rest[:n]...)
		if rest = rest[n:]; len(rest) == 0 {
			return b
		}
	}
}

// admit is how much of n bytes may go out now; the lock is held. Streams that wait go first.
func (c *Conn) admit(s *Stream, n int) int {
	if n == 0 {
		return 0
	}
	if c.readyHead != nil && !s.queued {
		return 0
	}
	n = max(0, min(n, s.sendWindow, c.sendWindow))
	room := c.o.MaxOutput - c.w.QueuedLocked()
	if n <= room+leastRoom && room > 0 {
		return n // a little over is better than a little left over
	}
	c.w.WantDrainLocked()
	if room < leastRoom {
		return 0
	}
	return room
}

// appendData appends p in frames, and charges the windows; the lock is held.
func (c *Conn) appendData(s *Stream, p []byte, end bool) {
	if len(p) == 0 && !end {
		return
	}
	s.sendWindow -= len(p)
	c.sendWindow -= len(p)
	for len(p) > maxData {
		c.appendHeader(maxData, typeData, 0, s.id)
		c.w.AppendLocked(p[:maxData]...)
		p = p[maxData:]
		c.chatting.earn(chatterPerData)
	}
	flags := byte(0)
	if end {
		flags = flagEndStream
	}
	c.appendHeader(len(p), typeData, flags, s.id)
	c.w.AppendLocked(p...)
	c.chatting.earn(chatterPerData)
	if end {
		c.finishLocal(s)
	}
}

// wake puts a stream that has something to send, and may, behind the others; the lock is held.
func (c *Conn) wake(s *Stream) {
	if s.queued || s.unsent() == 0 || s.sendWindow <= 0 {
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

func (c *Conn) nextReady() *Stream {
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

type departure struct {
	sink Sink
	n    int
}

// maxShare frames of one stream may follow each other. Whoever splits the connection up again reads them at once and passes
// them on in one piece: one frame at a time cost a tenth of two hops' bulk.
const maxShare = 4

// share is how much a waiting stream sends before it is another's turn; the lock is held.
func (c *Conn) share() int {
	return maxData * max(1, min(maxShare, (c.o.MaxOutput-c.w.QueuedLocked())/maxData))
}

// pumpAndUnlock lets waiting streams send, a few frames each in turn, so that none starves another; then it unlocks and
// tells their owners.
func (c *Conn) pumpAndUnlock() {
	if c.readyHead == nil || c.w.FailedLocked() != nil {
		c.w.Unlock()
		return
	}
	var few [16]departure
	gone := few[:0]
	for c.sendWindow > 0 && c.readyHead != nil {
		if c.o.MaxOutput-c.w.QueuedLocked() < leastRoom {
			c.w.WantDrainLocked()
			break
		}
		s := c.nextReady()
		if n := c.sendKept(s); n > 0 {
			gone = append(gone, departure{s.sink, n})
		}
		c.wake(s)
	}
	c.w.Unlock()
	for _, d := range gone {
		if d.sink != nil {
			d.sink.OnSent(d.n)
		}
	}
}

// sendKept sends a share of what the stream keeps, and its end if that was all; the lock is held.
func (c *Conn) sendKept(s *Stream) int {
	n := min(s.unsent(), c.share(), s.sendWindow, c.sendWindow)
	if s.gone() || n <= 0 {
		return 0
	}
	all := n == s.unsent()
	c.appendData(s, s.pending[s.sent:s.sent+n], all && s.pendingEnd && s.trailers == nil)
	s.left(n)
	if all && s.trailers != nil {
		c.encode(s.id, s.trailers, true)
		s.trailers = nil
		c.finishLocal(s)
	}
	return n
}

// onDrain: the output has room again. Whoever flushed calls this.
func (c *Conn) onDrain() {
	c.w.Lock()
	c.freed()
	c.pumpAndUnlock()
}
