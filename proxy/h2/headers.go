package h2

import (
	"time"

	"golang.org/x/net/http2/hpack"
)

// maxContinuations is how many pieces a header block may come in beyond the first. Compressed it
// has at most twice MaxHeaderBytes, which is eight full frames. The rest leaves room for senders
// that split early.
const maxContinuations = 32

// maxBlock times the allowed size, compressed, ends the connection, and so does a single string of
// that size.
const maxBlock = 2

// bombFactor times the allowed size, decoded, ends the connection. A header block so large is an
// attack: one byte may stand for a field of 4 KiB in the table (CVE-2016-6581). A smaller one that
// is too large is answered with 431.
const bombFactor = 4

// block is a header block under assembly: HEADERS and its CONTINUATIONs are one unit (RFC 9113
// §4.3).
type block struct {
	open bool
	end  bool // END_STREAM
	bomb bool // beyond bombFactor: decoding on would be work for nothing
	// tooLarge says that the block is beyond MaxHeaderBytes or MaxHeaderFields. The rest is decoded
	// all the same, for the table must stay in step with the peer's, but is not kept.
	tooLarge bool
	loop     bool // its priority makes the stream depend on itself
	id       uint32
	bytes    int // compressed
	pieces   int
	size     int // decoded, as §6.5.2 counts
	count    int
	grpc     bool // said of a request that is too large
	since    time.Time
}

func (c *Conn) onHeaders(h frameHeader, p []byte) error {
	if h.id == 0 {
		return connError(CodeProtocol, "HEADERS on stream 0")
	}
	p, err := unpad(h, p)
	if err != nil {
		return err
	}
	loop := false
	if h.has(flagPriority) {
		if len(p) < 5 {
			return connError(CodeFrameSize, "HEADERS too short for its priority")
		}
		loop = dependsOnItself(h.id, p)
		p = p[5:]
	}
	c.block = block{open: true, end: h.has(flagEndStream), loop: loop, id: h.id, since: c.now}
	c.fields = c.fields[:0]
	c.dec.muted = false
	return c.decode(h, p)
}

func (c *Conn) onContinuation(h frameHeader, p []byte) error {
	c.block.pieces++
	if c.block.pieces > maxContinuations {
		return connError(CodeEnhanceYourCalm, "header block in too many frames")
	}
	return c.decode(h, p)
}

func unpad(h frameHeader, p []byte) ([]byte, error) {
	if !h.has(flagPadded) {
		return p, nil
	}
	if len(p) == 0 {
		return nil, connError(CodeFrameSize, "padded frame without a padding length")
	}
	pad := int(p[0])
	if pad >= len(p) {
		return nil, connError(CodeProtocol, "padding exceeds the frame")
	}
	return p[1 : len(p)-pad], nil
}

func (c *Conn) decode(h frameHeader, p []byte) error {
	c.block.bytes += len(p)
	if c.block.bytes > maxBlock*c.o.MaxHeaderBytes {
		return connError(CodeEnhanceYourCalm, "header block too large")
	}
	if err := c.dec.write(p); err != nil {
		return c.undecodable(err)
	}
	if c.block.bomb {
		return connError(CodeEnhanceYourCalm, "header list many times larger than announced")
	}
	if !h.has(flagEndHeaders) {
		return nil
	}
	if err := c.dec.end(); err != nil {
		return c.undecodable(err)
	}
	c.block.open = false
	err := c.onBlock()
	clear(c.fields) // an idle connection keeps no strings
	return err
}

func (c *Conn) undecodable(err error) error {
	if err == errStringLength {
		return connError(CodeEnhanceYourCalm, "header field too large")
	}
	return connError(CodeCompression, err.Error())
}

// emit takes one decoded field. Each costs 32 bytes beyond its text, so a block of many tiny fields
// is bounded too.
func (c *Conn) emit(f *hpack.HeaderField) {
	b := &c.block
	if !isCookie(f.Name) {
		b.count++
	}
	b.size += fieldCost(f)
	if b.count > c.o.MaxHeaderFields || b.size > c.o.MaxHeaderBytes {
		b.tooLarge = true
		if b.count > bombFactor*c.o.MaxHeaderFields || b.size > bombFactor*c.o.MaxHeaderBytes {
			b.bomb = true
			c.dec.muted = true
		}
		b.grpc = b.grpc || declaresGRPC(f)
		return
	}
	c.fields = append(c.fields, *f)
	if !f.IsPseudo() {
		last := &c.fields[len(c.fields)-1]
		last.Value = trimBlanks(last.Value)
	}
}

// isCookie tells fields of which a message may have as many as its size allows: a client sends each
// cookie as a field of its own (§8.2.3), and so does a server.
func isCookie(name string) bool { return name == "cookie" || name == "set-cookie" }

func declaresGRPC(f *hpack.HeaderField) bool {
	return f.Name == "content-type" && IsGRPC(f.Value)
}

func (c *Conn) onBlock() error {
	id := c.block.id
	c.w.Lock()
	s := c.streams[id]
	if s != nil {
		return c.onStreamBlockUnlocks(s)
	}
	isNew := c.server && id > c.lastIn
	known := !isNew && c.wasResetLocked(id)
	c.w.Unlock()
	switch {
	case id%2 == 0:
		return connError(CodeProtocol, "HEADERS on a stream of even number")
	case isNew:
		return c.onRequest()
	case c.server && !known:
		return connError(CodeStreamClosed, "HEADERS on a closed stream")
	}
	return c.strayBlock()
}

// strayBlock takes a header block for a stream that is gone. The peer did not know that when it
// sent the block.
func (c *Conn) strayBlock() error {
	c.w.Lock()
	defer c.w.Unlock()
	if c.idleLocked(c.block.id) {
		return connError(CodeProtocol, "HEADERS on an idle stream")
	}
	return c.spendOverheadLocked(1)
}

// onRequest begins a stream at a server.
func (c *Conn) onRequest() error {
	id := c.block.id
	c.w.Lock()
	c.lastIn = id
	c.overhead.earn(overheadPerStream)
	ignore := id > c.drain.last
	full := len(c.streams) >= c.o.MaxStreams
	c.w.Unlock()
	if ignore {
		// §6.8: above the last stream of our GOAWAY; the client knows that it is not processed
		return nil
	}
	if c.block.tooLarge {
		return c.refuseLarge(id)
	}
	m, reason := validRequest(c.fields, c.o.EnableConnect)
	if reason == "" && c.block.end && m.length > 0 {
		reason = "content-length without content"
	}
	if reason != "" || c.block.loop {
		return c.refuseStream(id, CodeProtocol)
	}
	if full {
		return c.refuseStream(id, CodeRefusedStream)
	}
	return c.begin(id, m)
}

func (c *Conn) begin(id uint32, m message) error {
	s := c.o.newStream()
	s.c, s.id, s.gotHead, s.length = c, id, true, m.length
	c.w.Lock()
	if c.block.end {
		s.enterLocked(streamRemoteClosed)
	} else {
		s.enterLocked(streamOpen)
	}
	s.born, s.window = c.now, c.o.FirstWindow
	s.sendWindow, s.recvWindow = c.peerInitial, c.localInitial
	c.streams[id] = s
	c.w.Unlock()
	sink := c.o.OnStream(s)
	c.w.Lock()
	s.sink = sink
	gone := s.state.in(goneStates)
	c.w.Unlock()
	switch {
	case sink == nil:
		s.Reset(CodeRefusedStream)
	case !gone:
		sink.OnHeaders(c.fields, c.block.end)
	}
	return nil
}

// refuseLarge answers a head that is too large to keep: 431 (RFC 6585 §5), or what gRPC calls it,
// and no stream.
func (c *Conn) refuseLarge(id uint32) error {
	answer := tooLarge
	for i := range c.fields {
		c.block.grpc = c.block.grpc || declaresGRPC(&c.fields[i])
	}
	if c.block.grpc {
		answer = tooLargeGRPC
	}
	c.w.Lock()
	defer c.w.Unlock()
	c.encodeLocked(id, answer, true)
	if !c.block.end {
		c.appendResetLocked(id, CodeNone)
		c.rememberResetLocked(id)
	}
	if err := c.countPeerErrorLocked(CodeEnhanceYourCalm); err != nil {
		return err
	}
	return c.boundRepliesLocked()
}

var tooLarge = []hpack.HeaderField{
	{Name: ":status", Value: "431"},
	{Name: "content-length", Value: "0"},
}

var tooLargeGRPC = []hpack.HeaderField{
	{Name: ":status", Value: "200"},
	{Name: "content-type", Value: "application/grpc"},
	{Name: "grpc-status", Value: "8"}, // RESOURCE_EXHAUSTED
	{Name: "grpc-message", Value: "the request's header fields are too large"},
}

// onStreamBlockUnlocks takes a response, an informational one, or trailers.
func (c *Conn) onStreamBlockUnlocks(s *Stream) error {
	end := c.block.end
	switch {
	case s.state.in(remoteClosedStates):
		return c.streamErrorUnlocks(s, CodeStreamClosed, "HEADERS after END_STREAM")
	case c.block.tooLarge:
		return c.streamErrorUnlocks(s, CodeEnhanceYourCalm, "header list too large")
	case c.block.loop:
		return c.streamErrorUnlocks(s, CodeProtocol, "stream depends on itself")
	}
	if reason := s.checkBlockLocked(c.fields, end); reason != "" {
		return c.streamErrorUnlocks(s, CodeProtocol, reason)
	}
	var err error
	if !s.gotHead { // informational responses are not bounded, but each is charged
		err = c.spendOverheadLocked(1)
	}
	ownerless := s.state.in(ownerlessStates)
	if end {
		c.finishRemoteLocked(s)
	}
	c.w.Unlock()
	if !ownerless {
		s.sink.OnHeaders(c.fields, end)
	}
	return err
}

// checkBlockLocked validates a block and notes what it says of the message.
func (s *Stream) checkBlockLocked(fields []hpack.HeaderField, end bool) (reason string) {
	if s.gotHead {
		if !end {
			return "trailers without END_STREAM"
		}
		if s.length >= 0 && s.received != s.length {
			return "content-length differs from content"
		}
		return validTrailers(fields)
	}
	m, reason := validResponse(fields)
	switch {
	case reason != "":
		return reason
	case m.status < 200 && end:
		return "informational response with END_STREAM"
	case m.status < 200:
		return ""
	}
	s.gotHead = true
	if s.head || m.status == 204 || m.status == 304 {
		m.length = 0
	}
	s.length = m.length
	if end && m.length > 0 {
		return "content-length without content"
	}
	return ""
}
