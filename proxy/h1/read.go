package h1

type body uint8

const (
	bodyLength body = iota
	bodyChunked
	bodyToEnd
)

// parse consumes input as far as it can and says what it needs to go on.
func (c *Conn) parse() (need, error) {
	for {
		n, more, err := c.step()
		if err != nil || !more {
			return n, err
		}
	}
}

// step makes progress and says more, or says what is missing.
func (c *Conn) step() (n need, more bool, err error) {
	switch c.phase {
	case phaseHead:
		return c.readHead()
	case phaseBody, phaseRaw:
		return c.readBody()
	case phaseTrailers:
		return c.readTrailers()
	case phaseTurn:
		return c.readTurn()
	}
	return c.readHalfClosed()
}

// current is the exchange under way, and whether the connection is to end without one.
func (c *Conn) current() (s *Stream, last bool, err error) {
	c.w.Lock()
	defer c.w.Unlock()
	return c.stream, c.drainingLocked(), c.failure
}

// readHead reads a head, as far as it is here, and begins its message.
func (c *Conn) readHead() (need, bool, error) {
	b := c.w.Buffered()
	s, last, err := c.current()
	if err != nil {
		return needEnd, false, err
	}
	if c.client && s == nil || last && !c.client && len(b) == 0 && !c.head.partial() {
		return c.idle(len(b), last)
	}
	if c.client && len(b) > 0 && c.hasAnswered(s) {
		return needEnd, false, errUnsolicited
	}
	if len(b) == 0 {
		return needInput, false, nil
	}
	n, done, err := c.head.feed(b)
	c.w.Discard(n)
	if err != nil || !done {
		return needInput, false, err
	}
	if c.timer.kind == forHead {
		c.timer.kind = unset
	}
	if c.client {
		return needInput, true, c.startResponse(s)
	}
	return needInput, true, c.startRequest()
}

// hasAnswered says whether the response has ended, of a request that has not.
func (c *Conn) hasAnswered(s *Stream) bool {
	c.w.Lock()
	defer c.w.Unlock()
	return s.state == streamRemoteClosed
}

// idle decides what is needed while there is no exchange, nor a head that has begun.
func (c *Conn) idle(unread int, last bool) (need, bool, error) {
	if c.client && unread > 0 && !last {
		return needEnd, false, errUnsolicited
	}
	if last {
		return needEnd, false, nil
	}
	return needInput, false, nil
}

// startRequest begins the exchange of a request whose head was read.
func (c *Conn) startRequest() error {
	h := &c.head
	s := c.o.newStream()
	*s = Stream{c: c, method: h.method, http10: h.http10, tunnel: h.tunnels(),
		window: c.o.StreamWindow}
	if h.upgrades {
		s.upgradeTo = h.upgrade
	}
	c.connecting = h.connect
	whole := !h.body()
	end := whole && !s.tunnel
	c.begin(s, whole)
	if whole {
		c.enter(phaseTurn)
	} else {
		c.expect(h.codings > 0, h.length)
	}
	var sink Sink
	if c.o.OnStream != nil {
		sink = c.o.OnStream(s)
	}
	if sink == nil {
		return errRefused
	}
	c.w.Lock()
	s.sink = sink
	live := s.state != streamOver
	c.w.Unlock()
	if live {
		sink.OnHeaders(h.request(), end)
	}
	if whole {
		h.begin(requestHead)
	}
	return nil
}

// begin makes s the exchange under way. Its request is whole if no body follows the head.
func (c *Conn) begin(s *Stream, whole bool) {
	c.w.Lock()
	defer c.w.Unlock()
	c.stream = s
	if whole {
		s.enterLocked(streamRemoteClosed)
	}
	if c.head.close {
		c.drainLocked()
	}
	c.exchanges++
}

// expect prepares for a body that is chunked or has this length.
func (c *Conn) expect(chunked bool, length int64) {
	c.enter(phaseBody)
	c.body, c.left = bodyLength, length
	if chunked {
		c.body, c.chunks = bodyChunked, chunks{}
	}
}

// startResponse takes a response whose head was read.
func (c *Conn) startResponse(s *Stream) error {
	h := &c.head
	if h.code < 200 && h.code != 101 {
		return c.informational(s)
	}
	switch upgrade := s.tunnel && s.method != "CONNECT"; {
	case h.code == 101 && upgrade:
		return c.switchProtocols(s)
	case h.code == 101:
		return errSwitch
	case s.tunnel && !upgrade && h.code < 300:
		return c.openTunnel(s)
	case upgrade && h.code < 300:
		if err := h.push(DeclinedField, "1"); err != nil {
			return err
		}
	}
	c.informationals = 0
	none := bodiless(s.method, h.code)
	end := none || h.codings == 0 && h.lengthSeen && h.length == 0
	if !end {
		c.expect(h.codings > 0, h.length)
	}
	if !none && h.codings == 0 && !h.lengthSeen {
		c.body = bodyToEnd
		h.close = true
	}
	c.decline(s)
	c.noteResponse(s, h.close, end)
	s.sink.OnHeaders(h.response(), end)
	if end {
		c.nextMessage()
	}
	return nil
}

// decline ends a request for a tunnel that was answered in any other way: there is nothing more
// to say in it than what is left of its body.
func (c *Conn) decline(s *Stream) {
	c.w.Lock()
	defer c.w.Unlock()
	if !s.tunnel || s.state != streamOpen {
		return
	}
	s.pendingEnd = false
	if s.outLeft == 0 {
		s.enterLocked(streamLocalClosed)
		s.keepLocked(nil)
		return
	}
	s.out = framedLength
	s.keepLocked(s.pending[:min(int64(len(s.pending)), s.outLeft)])
}

// noteResponse notes that a response has begun, and whether it has ended. It comes before the sink
// hears of the end: what the sink does then cannot touch the exchange, which is over.
func (c *Conn) noteResponse(s *Stream, last, end bool) {
	c.w.Lock()
	defer c.w.Unlock()
	s.answered = true
	if last {
		c.drainLocked()
	}
	if end {
		s.finishRemoteLocked()
	}
}

// nextMessage goes on to the next message, after the last event of this one.
func (c *Conn) nextMessage() {
	if !c.client {
		c.enter(phaseTurn)
		c.head.begin(requestHead)
		return
	}
	if c.phase != phaseHead { // else there was no body
		c.enter(phaseHead)
	}
	c.head.begin(responseHead)
	s, last, _ := c.current()
	if s == nil && !last && c.o.OnCapacity != nil {
		c.o.OnCapacity()
	}
}

// informational passes on a head that is not the response's last.
func (c *Conn) informational(s *Stream) error {
	if c.informationals++; c.informationals > maxInformational {
		return errInformational
	}
	c.noteResponse(s, c.head.close, false)
	s.sink.OnHeaders(c.head.response(), false)
	c.head.begin(responseHead)
	return nil
}

// openTunnel takes a 2xx to CONNECT. A server that is no proxy may answer it as any other method,
// and then reads a next request where the tunnel would begin, in which the caller might say what
// only we may. It is told by what RFC 9110 §9.3.6 forbids such a response: a length, or a coding.
// Responses of other codes than 200 need neither to have an end.
func (c *Conn) openTunnel(s *Stream) error {
	if h := &c.head; h.code != 200 || h.lengthSeen || h.codings > 0 {
		return errTunnelFramed
	}
	return c.switchProtocols(s)
}

// switchProtocols takes a 101, which extended CONNECT calls 200 (RFC 8441 §5).
func (c *Conn) switchProtocols(s *Stream) error {
	c.head.status = "200"
	c.w.Lock()
	s.answered, s.out = true, framedRaw
	if s.state == streamOpen {
		s.enterLocked(streamRaw)
	}
	c.drainLocked()
	c.w.Unlock()
	c.enter(phaseRaw)
	s.sink.OnHeaders(c.head.response(), false)
	c.head.begin(responseHead)
	c.head.forget() // no other follows
	c.drained()     // what the sink wrote before was kept for the other side of the switch
	c.w.Flush()
	return nil
}

// readBody gives the sink as much of a body as the window allows.
func (c *Conn) readBody() (need, bool, error) {
	s, window, err := c.window()
	if err != nil {
		return needEnd, false, err
	}
	if s == nil { // reset, or answered early
		return needEnd, false, nil
	}
	b := c.w.Buffered()
	if len(b) > 0 && window <= 0 {
		return needWindow, false, nil
	}
	if c.phase == phaseBody && c.body == bodyChunked {
		return c.readChunk(s, window)
	}
	if len(b) == 0 {
		return needInput, false, nil
	}
	n := min(len(b), window)
	end := false
	if c.phase == phaseBody && c.body == bodyLength {
		n = int(min(int64(n), c.left))
		c.left -= int64(n)
		end = c.left == 0
	}
	c.giveBody(s, b[:n], end)
	c.w.Discard(n)
	if end {
		c.nextMessage()
	}
	return needInput, true, nil
}

// window is the exchange under way and how many bytes its sink takes.
func (c *Conn) window() (*Stream, int, error) {
	c.w.Lock()
	defer c.w.Unlock()
	if c.failure != nil || c.stream == nil {
		return nil, 0, c.failure
	}
	return c.stream, max(0, c.stream.window-c.o.StreamWindow+c.openWindow()), nil
}

// giveBody hands a piece of a body to the sink and takes it off the window. The end of a body that
// came with an upgrade is not the end of what the client says.
func (c *Conn) giveBody(s *Stream, p []byte, end bool) {
	goesOn := !c.client && s.tunnel && c.phase == phaseBody
	c.w.Lock()
	s.window -= len(p)
	if end && !(goesOn && s.state.in(rawStates)) {
		s.finishRemoteLocked()
	}
	c.w.Unlock()
	s.sink.OnData(p, end && !goesOn)
}

func (c *Conn) readChunk(s *Stream, window int) (need, bool, error) {
	b := c.w.Buffered()
	skip, n, err := c.chunks.next(b, window)
	if err != nil {
		return needEnd, false, err
	}
	if n > 0 {
		c.giveBody(s, b[skip:skip+n], false)
	}
	c.w.Discard(skip + n)
	if c.chunks.state == chunkLast {
		c.startTrailers()
		return needInput, true, nil
	}
	return needInput, n > 0, nil
}

func (c *Conn) startTrailers() {
	if c.trail == nil {
		c.trail = &head{maxBytes: c.o.MaxHeaderBytes, maxFields: c.o.MaxHeaderFields}
	}
	c.trail.begin(trailerSection)
	c.enter(phaseTrailers)
}

func (c *Conn) readTrailers() (need, bool, error) {
	s, _, err := c.current()
	if err != nil || s == nil {
		return needEnd, false, err
	}
	n, done, err := c.trail.feed(c.w.Buffered())
	c.w.Discard(n)
	if err != nil || !done {
		return needInput, false, err
	}
	fields := c.trail.fields[pseudoSlots:]
	if len(fields) == 0 {
		c.giveBody(s, nil, true)
	} else {
		c.noteResponse(s, false, true)
		s.sink.OnHeaders(fields, true)
	}
	c.nextMessage()
	return needInput, true, nil
}

// readTurn goes on when the response has ended, or has switched protocols.
func (c *Conn) readTurn() (need, bool, error) {
	c.w.Lock()
	s, last, err := c.stream, c.drainingLocked(), c.failure
	switched := s != nil && s.state.in(rawStates)
	c.w.Unlock()
	switch {
	case err != nil:
		return needEnd, false, err
	case switched:
		c.enter(phaseRaw)
		c.head.forget() // no other follows
		return needInput, true, nil
	case s != nil:
		return needTurn, false, nil
	case last, c.connecting && len(c.w.Buffered()) > 0:
		return needEnd, false, nil
	}
	c.saidAll = false // the next read says it again, if another request has come before
	c.enter(phaseHead)
	return needInput, true, nil
}

// endBodyToEnd ends a body that lasts until the connection's end.
func (c *Conn) endBodyToEnd(s *Stream) error {
	c.giveBody(s, nil, true)
	c.nextMessage()
	return nil
}

// endRaw passes on the end of what the peer says in an upgraded connection.
func (c *Conn) endRaw(s *Stream) error {
	c.enter(phaseHalfClosed)
	if s != nil {
		c.giveBody(s, nil, true)
	}
	return nil
}

// readHalfClosed awaits the end of what we say in an upgraded connection.
func (c *Conn) readHalfClosed() (need, bool, error) {
	s, _, err := c.current()
	if err != nil || s == nil {
		return needEnd, false, err
	}
	return needTurn, false, nil
}
