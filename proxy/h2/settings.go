package h2

import (
	"encoding/binary"
	"math"
)

func (c *Conn) onSettings(h frameHeader, p []byte) error {
	if h.id != 0 {
		return connError(CodeProtocol, "SETTINGS on a stream")
	}
	if h.has(flagAck) {
		return c.onSettingsAck(p)
	}
	if len(p)%6 != 0 {
		return connError(CodeFrameSize, "SETTINGS of wrong length")
	}
	c.w.Lock()
	if err := c.spendOverheadLocked(settingsCost); err != nil {
		c.w.Unlock()
		return err
	}
	if c.start == startSettings {
		c.peerMaxStreams = math.MaxInt // unless it says how many (§6.5.2)
	}
	for ; len(p) > 0; p = p[6:] {
		if err := c.applyLocked(setting{binary.BigEndian.Uint16(p), u32(p[2:])}); err != nil {
			c.w.Unlock()
			return err
		}
	}
	c.appendHeaderLocked(0, typeSettings, flagAck, 0)
	err := c.boundRepliesLocked()
	if c.start == startSettings {
		c.enterStartLocked(startStarted)
	}
	c.freedLocked()
	c.pumpUnlocks()
	return err
}

// applyLocked takes one of the peer's settings.
func (c *Conn) applyLocked(s setting) error {
	switch s.id {
	case settingTableSize:
		c.enc.resize(int(min(s.val, tableSize)))
	case settingEnablePush:
		if s.val > 1 || s.val == 1 && !c.server {
			return connError(CodeProtocol, "bad ENABLE_PUSH")
		}
	case settingMaxStreams:
		c.peerMaxStreams = int(s.val)
	case settingMaxHeaderList:
		c.peerMaxHeaders = int(s.val)
	case settingInitialWindow:
		// a frame has room for 2,730 of them, and each walks all streams
		if err := c.spendOverheadLocked(settingsCost); err != nil {
			return err
		}
		return c.applyInitialWindowLocked(s.val)
	case settingMaxFrame:
		if s.val < maxFrame || s.val > 1<<24-1 {
			return connError(CodeProtocol, "bad MAX_FRAME_SIZE")
		}
	case settingConnect:
		if s.val > 1 || s.val == 0 && c.peerConnect {
			return connError(CodeProtocol, "bad ENABLE_CONNECT_PROTOCOL")
		}
		c.peerConnect = s.val == 1
	}
	return nil
}

// applyInitialWindowLocked moves every stream's send window by the difference; that may make it
// negative (§6.9.2).
func (c *Conn) applyInitialWindowLocked(v uint32) error {
	if v > maxWindow {
		return connError(CodeFlowControl, "INITIAL_WINDOW_SIZE exceeds 2^31-1")
	}
	delta := int(v) - c.peerInitial
	c.peerInitial = int(v)
	for _, s := range c.streams {
		if s.sendWindow += delta; s.sendWindow > maxWindow {
			return connError(CodeFlowControl, "send window exceeds 2^31-1")
		}
		c.enqueueLocked(s)
	}
	return nil
}

// onSettingsAck: from here on the peer counts with our settings, and not with the defaults.
func (c *Conn) onSettingsAck(p []byte) error {
	if len(p) != 0 {
		return connError(CodeFrameSize, "SETTINGS acknowledgement with a payload")
	}
	c.w.Lock()
	defer c.w.Unlock()
	if c.start == startAgreed {
		return c.spendOverheadLocked(1)
	}
	c.enterStartLocked(startAgreed)
	delta := c.o.FirstWindow - c.localInitial
	c.localInitial = c.o.FirstWindow
	for _, s := range c.streams {
		s.recvWindow += delta
	}
	return nil
}
