package h2

import (
	"encoding/binary"
	"slices"
)

func u32(p []byte) uint32 { return binary.BigEndian.Uint32(p) }

// step handles what it can of b and returns how much that was; 0: more is needed.
func (c *Conn) step(b []byte) (int, error) {
	switch {
	case c.start == startPreface:
		return c.readPreface(b)
	case c.data.open:
		return c.dataPiece(b), nil
	case c.skip > 0:
		n := min(c.skip, len(b))
		c.skip -= n
		return n, nil
	case len(b) < frameHeaderLen:
		return 0, nil
	}
	h := parseHeader(b)
	if c.start == startSettings && string(b[:len(http1)]) == http1 {
		return 0, connError(CodeProtocol, "the peer speaks HTTP/1, and not HTTP/2")
	}
	if err := c.expected(h); err != nil {
		return 0, err
	}
	if h.typ == typeData {
		return c.onData(h, b[frameHeaderLen:])
	}
	if len(b) < frameHeaderLen+h.length {
		return 0, nil
	}
	end := frameHeaderLen + h.length
	return end, c.onFrame(h, b[frameHeaderLen:end])
}

// http1 begins every answer of a server that knows HTTP/1 only, which refuses our preface.
const http1 = "HTTP/1."

func (c *Conn) readPreface(b []byte) (int, error) {
	n := min(len(b), len(preface))
	if string(b[:n]) != preface[:n] {
		return 0, connError(CodeProtocol, "not an HTTP/2 preface")
	}
	if n < len(preface) {
		return 0, nil
	}
	c.w.Lock()
	defer c.w.Unlock()
	c.enterStartLocked(startSettings)
	return n, nil
}

// expected checks what can be said of a frame before its payload.
func (c *Conn) expected(h frameHeader) error {
	if h.length > maxFrame {
		return connError(CodeFrameSize, "frame exceeds MAX_FRAME_SIZE")
	}
	if c.start < startStarted && (h.typ != typeSettings || h.has(flagAck)) {
		return connError(CodeProtocol, "first frame is not SETTINGS")
	}
	if c.block.open != (h.typ == typeContinuation) || c.block.open && h.id != c.block.id {
		const reason = "header block is interrupted, or CONTINUATION continues none"
		return connError(CodeProtocol, reason)
	}
	return nil
}

func (c *Conn) onFrame(h frameHeader, p []byte) error {
	switch h.typ {
	case typeHeaders:
		return c.onHeaders(h, p)
	case typeContinuation:
		return c.onContinuation(h, p)
	case typeReset:
		return c.onReset(h, p)
	case typeSettings:
		return c.onSettings(h, p)
	case typePing:
		return c.onPing(h, p)
	case typeGoAway:
		return c.onGoAway(h, p)
	case typeWindowUpdate:
		return c.onWindowUpdate(h, p)
	case typePriority:
		return c.onPriority(h, p)
	case typePush:
		return connError(CodeProtocol, "PUSH_PROMISE, which was never allowed")
	}
	c.w.Lock()
	defer c.w.Unlock()
	return c.spendOverheadLocked(1) // unknown types are ignored, §4.1
}

// onPriority takes a priority, and does not follow it (RFC 9113 §5.3.2). What RFC 7540 called an
// error still is one (§6.3, and RFC 7540 §5.3.1). A stream that was never opened cannot be reset,
// so there it is the connection's error.
func (c *Conn) onPriority(h frameHeader, p []byte) error {
	if h.id == 0 {
		return connError(CodeProtocol, "PRIORITY on stream 0")
	}
	code, reason := CodeNone, ""
	switch {
	case len(p) != 5:
		code, reason = CodeFrameSize, "PRIORITY of wrong length"
	case dependsOnItself(h.id, p):
		code, reason = CodeProtocol, "stream depends on itself"
	}
	c.w.Lock()
	if s := c.streams[h.id]; s != nil && code != CodeNone {
		return c.streamErrorUnlocks(s, code, reason)
	}
	defer c.w.Unlock()
	if code != CodeNone && c.idleLocked(h.id) {
		return connError(code, reason)
	}
	return c.spendOverheadLocked(1)
}

// dependsOnItself says whether a priority makes its stream depend on itself.
func dependsOnItself(id uint32, priority []byte) bool { return u32(priority)&maxStreamID == id }

func (c *Conn) onPing(h frameHeader, p []byte) error {
	if h.id != 0 {
		return connError(CodeProtocol, "PING on a stream")
	}
	if len(p) != 8 {
		return connError(CodeFrameSize, "PING of wrong length")
	}
	c.w.Lock()
	defer c.w.Unlock()
	data := [8]byte(p)
	if h.has(flagAck) {
		if data == drainPing {
			c.onDrainPingLocked()
		}
		return c.spendOverheadLocked(1)
	}
	if err := c.spendOverheadLocked(1); err != nil {
		return err
	}
	c.appendPingLocked(flagAck, data)
	return c.boundRepliesLocked()
}

func (c *Conn) onReset(h frameHeader, p []byte) error {
	if h.id == 0 {
		return connError(CodeProtocol, "RST_STREAM on stream 0")
	}
	if len(p) != 4 {
		return connError(CodeFrameSize, "RST_STREAM of wrong length")
	}
	code := u32(p)
	c.w.Lock()
	s := c.streams[h.id]
	if s == nil {
		defer c.w.Unlock()
		if c.idleLocked(h.id) {
			return connError(CodeProtocol, "RST_STREAM on an idle stream")
		}
		return c.spendOverheadLocked(1)
	}
	if code == CodeNone && !c.server && !s.state.in(remoteClosedStates) {
		code = CodeInternal // NO_ERROR is for what comes after a whole answer (§8.1)
	}
	c.removeLocked(s)
	ownerless := s.state.in(ownerlessStates)
	s.dropLocked()
	err := c.spendCancelLocked(s)
	c.w.Unlock()
	if !ownerless {
		s.tellReset(code, &StreamError{Code: code, Remote: true, early: s.early})
	}
	return err
}

// idleLocked says whether a stream is idle (§5.1): neither side has opened it yet.
func (c *Conn) idleLocked(id uint32) bool {
	if c.server {
		return id%2 == 0 || id > c.lastIn
	}
	return id%2 == 0 || id >= c.nextID
}

func (c *Conn) onWindowUpdate(h frameHeader, p []byte) error {
	if len(p) != 4 {
		return connError(CodeFrameSize, "WINDOW_UPDATE of wrong length")
	}
	n := int(u32(p) & maxWindow)
	c.w.Lock()
	if err := c.spendOverheadLocked(1); err != nil {
		c.w.Unlock()
		return err
	}
	if h.id == 0 {
		return c.widenConnUnlocks(n)
	}
	s := c.streams[h.id]
	switch {
	case s == nil:
		defer c.w.Unlock()
		if c.idleLocked(h.id) {
			return connError(CodeProtocol, "WINDOW_UPDATE on an idle stream")
		}
		return nil
	case n == 0:
		return c.streamErrorUnlocks(s, CodeProtocol, "WINDOW_UPDATE of 0")
	case s.sendWindow+n > maxWindow:
		return c.streamErrorUnlocks(s, CodeFlowControl, "send window exceeds 2^31-1")
	}
	s.sendWindow += n
	c.enqueueLocked(s)
	c.pumpUnlocks()
	return nil
}

// widenConnUnlocks adds n to the connection's send window, and sends what waited for it.
func (c *Conn) widenConnUnlocks(n int) error {
	if n == 0 || c.sendWindow+n > maxWindow {
		defer c.w.Unlock()
		if n == 0 {
			return connError(CodeProtocol, "WINDOW_UPDATE of 0")
		}
		return connError(CodeFlowControl, "send window exceeds 2^31-1")
	}
	c.sendWindow += n
	c.pumpUnlocks()
	return nil
}

// streamErrorUnlocks resets a stream on which the peer broke the protocol (§5.4.2).
func (c *Conn) streamErrorUnlocks(s *Stream, code uint32, reason string) error {
	ownerless := s.state.in(ownerlessStates)
	c.resetLocked(s, code)
	err := c.countPeerErrorLocked(code)
	c.w.Unlock()
	if !ownerless {
		s.tellReset(code, &StreamError{Code: code, Reason: reason})
	}
	return err
}

// refuseStream resets a stream that has no Stream: its first header block is bad, or one too many.
func (c *Conn) refuseStream(id, code uint32) error {
	c.w.Lock()
	defer c.w.Unlock()
	c.appendResetLocked(id, code)
	c.rememberResetLocked(id)
	if err := c.countPeerErrorLocked(code); err != nil {
		return err
	}
	return c.boundRepliesLocked()
}

// rememberResetLocked notes that we reset a stream. Frames which the peer sent before it knew are
// no error.
func (c *Conn) rememberResetLocked(id uint32) {
	if len(c.recent) < max(recentResets, c.o.MaxStreams) {
		c.recent = append(c.recent, id)
		return
	}
	c.recent[c.recentN%len(c.recent)] = id
	c.recentN++
}

func (c *Conn) wasResetLocked(id uint32) bool {
	return slices.Contains(c.recent, id)
}
