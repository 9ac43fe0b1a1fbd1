package h2

// drain is an orderly end, ours or the peer's (RFC 9113 §6.8).
type drain struct {
	last   uint32 // server: streams above it are not taken
	remote bool   // the peer sent GOAWAY
	blame  error  // the peer's GOAWAY, if its code is an error
}

// blameOr is the error of the peer's GOAWAY, or otherwise.
func (d *drain) blameOr(otherwise error) error {
	if d.blame != nil {
		return d.blame
	}
	return otherwise
}

var drainPing = [8]byte{'g', 'o', 'a', 'w', 'a', 'y', '.', '.'}

// GoAway begins an orderly end. A server first says only that it is going, and the number of the
// last stream it takes after a PING has come back: requests on their way meanwhile are still
// answered. A client opens no more streams.
func (c *Conn) GoAway() {
	c.w.Lock()
	switch {
	case c.server && c.life == lifeServing:
		c.enterLifeLocked(lifeAnnounced)
		c.appendGoAwayLocked(maxStreamID, CodeNone, "")
		c.appendPingLocked(0, drainPing)
	case !c.server:
		c.drainLocked()
		if c.drainedLocked() {
			c.wakeReaderLocked()
		}
	}
	c.w.Unlock()
	c.w.Flush()
}

// onDrainPingLocked sends the second GOAWAY: the peer has read the first one, and every request
// that it sent before is here.
func (c *Conn) onDrainPingLocked() {
	if c.life != lifeAnnounced {
		return
	}
	c.drainLocked()
	c.drain.last = c.lastIn
	c.appendGoAwayLocked(c.lastIn, CodeNone, "")
}

// drainedLocked says whether the last stream of a draining connection has ended.
func (c *Conn) drainedLocked() bool { return c.life == lifeDraining && len(c.streams) == 0 }

func (c *Conn) onGoAway(h frameHeader, p []byte) error {
	if h.id != 0 {
		return connError(CodeProtocol, "GOAWAY on a stream")
	}
	if len(p) < 8 {
		return connError(CodeFrameSize, "short GOAWAY")
	}
	last, code := u32(p)&maxStreamID, u32(p[4:])
	if c.server {
		return nil // it is about pushes, and we make none; the client closes when it is done
	}
	c.w.Lock()
	if code != CodeNone {
		c.drain.blame = &ConnError{
			Code:   code,
			Reason: string(p[8:min(len(p), 8+maxReason)]),
			Remote: true,
		}
	}
	first := !c.drain.remote
	c.drain.remote = true
	c.drainLocked()
	var refused []*Stream
	for id, s := range c.streams {
		if id > last {
			refused = append(refused, s)
			c.removeLocked(s)
			s.dropLocked()
		}
	}
	c.w.Unlock()
	for _, s := range refused {
		s.tellReset(CodeRefusedStream, ErrRefused)
	}
	if first {
		c.o.goAway()
	}
	if c.Active() == 0 {
		return c.drain.blameOr(nil)
	}
	return nil
}

// maxReason is how much of a peer's debug text is worth keeping.
const maxReason = 128
