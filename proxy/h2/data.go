package h2

// incoming is a DATA frame of which a part is still to come. Pieces are passed on as they arrive:
// nothing is copied together.
type incoming struct {
	open bool
	end  bool
	s    *Stream
	left int // payload
	pad  int
}

// onData begins a DATA frame; b is what is buffered after its header.
func (c *Conn) onData(h frameHeader, b []byte) (int, error) {
	if h.id == 0 {
		return 0, connError(CodeProtocol, "DATA on stream 0")
	}
	used, pad := frameHeaderLen, 0
	payload := h.length
	if h.has(flagPadded) {
		if h.length == 0 {
			return 0, connError(CodeFrameSize, "padded frame without a padding length")
		}
		if len(b) == 0 {
			return 0, nil
		}
		pad = int(b[0])
		if pad >= h.length {
			return 0, connError(CodeProtocol, "padding exceeds the frame")
		}
		payload -= 1 + pad
		used++
		b = b[1:]
	}
	s, err := c.charge(h, payload)
	if s == nil || err != nil {
		c.skip = payload + pad
		return used, err
	}
	c.data = incoming{open: true, end: h.has(flagEndStream), s: s, left: payload, pad: pad}
	return used + c.dataPiece(b), nil
}

// charge takes a DATA frame off the windows and finds its stream. nil means that nobody wants the
// data, and that all of it was given back to the connection's window.
func (c *Conn) charge(h frameHeader, payload int) (*Stream, error) {
	c.w.Lock()
	if c.recvWindow -= h.length; c.recvWindow < 0 {
		c.w.Unlock()
		return nil, connError(CodeFlowControl, "DATA exceeds the connection's window")
	}
	s := c.streams[h.id]
	if s == nil {
		return nil, c.strayDataUnlocks(h)
	}
	s.recvWindow -= h.length
	s.received += int64(payload)
	s.unconsumed += h.length
	end := h.has(flagEndStream)
	switch {
	case s.state.in(remoteClosedStates):
		return nil, c.streamErrorUnlocks(s, CodeStreamClosed, "DATA after END_STREAM")
	case !s.gotHead:
		return nil, c.streamErrorUnlocks(s, CodeProtocol, "DATA before HEADERS")
	case s.recvWindow < 0:
		return nil, c.streamErrorUnlocks(s, CodeFlowControl, "DATA exceeds the stream's window")
	case s.length >= 0 && (s.received > s.length || end && s.received != s.length):
		return nil, c.streamErrorUnlocks(s, CodeProtocol, "content-length differs from content")
	}
	s.giveBackLocked(h.length - payload) // padding is consumed by being here
	var err error
	if payload == 0 && !end {
		err = c.spendOverheadLocked(1)
	}
	if s.state == streamDiscarding {
		s.refundLocked()
		if end {
			c.finishRemoteLocked(s)
		}
		s = nil
	}
	c.w.Unlock()
	return s, err
}

// strayDataUnlocks takes DATA for a stream that is gone.
func (c *Conn) strayDataUnlocks(h frameHeader) error {
	defer c.w.Unlock()
	if c.idleLocked(h.id) {
		return connError(CodeProtocol, "DATA on an idle stream")
	}
	c.refundLocked(h.length)
	if c.wasResetLocked(h.id) || !c.server {
		if h.length == 0 {
			return c.spendOverheadLocked(1)
		}
		return nil
	}
	c.appendResetLocked(h.id, CodeStreamClosed)
	c.rememberResetLocked(h.id)
	if err := c.countPeerErrorLocked(CodeStreamClosed); err != nil {
		return err
	}
	return c.boundRepliesLocked()
}

// dataPiece passes on what is here of the current DATA frame.
func (c *Conn) dataPiece(b []byte) int {
	d := &c.data
	n := min(d.left, len(b))
	last := n == d.left
	if n == 0 && !last {
		return 0
	}
	d.left -= n
	end := last && d.end
	c.w.Lock()
	heard := !d.s.state.in(goneStates | ownerlessStates)
	if end && !d.s.state.in(goneStates) {
		c.finishRemoteLocked(d.s)
	}
	c.w.Unlock()
	s := d.s
	if last {
		c.skip = d.pad
		*d = incoming{}
	}
	if heard && (n > 0 || end) {
		s.sink.OnData(b[:n], end)
	}
	return n
}
