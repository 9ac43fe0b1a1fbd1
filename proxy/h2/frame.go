package h2

import "encoding/binary"

const preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

const (
	frameHeaderLen = 9
	// a frame of ours fills a TLS record: the receiver need not wait for the next
	maxData = maxFrame - frameHeaderLen
	// the size every peer must take; we never ask for more nor send more, so that streams take
	// turns
	maxFrame      = 16384
	initialWindow = 65535
	maxWindow     = 1<<31 - 1
	maxStreamID   = 1<<31 - 1
)

const (
	typeData byte = iota
	typeHeaders
	typePriority
	typeReset
	typeSettings
	typePush
	typePing
	typeGoAway
	typeWindowUpdate
	typeContinuation
)

const (
	flagEndStream  byte = 0x1
	flagAck        byte = 0x1
	flagEndHeaders byte = 0x4
	flagPadded     byte = 0x8
	flagPriority   byte = 0x20
)

const (
	settingTableSize     uint16 = 0x1
	settingEnablePush    uint16 = 0x2
	settingMaxStreams    uint16 = 0x3
	settingInitialWindow uint16 = 0x4
	settingMaxFrame      uint16 = 0x5
	settingMaxHeaderList uint16 = 0x6
	settingConnect       uint16 = 0x8
)

type frameHeader struct {
	length int
	typ    byte
	flags  byte
	id     uint32
}

func (h frameHeader) has(flag byte) bool { return h.flags&flag != 0 }

func parseHeader(b []byte) frameHeader {
	_ = b[8]
	return frameHeader{
		length: int(b[0])<<16 | int(b[1])<<8 | int(b[2]),
		typ:    b[3],
		flags:  b[4],
		id:     binary.BigEndian.Uint32(b[5:]) & maxStreamID, // the reserved bit is ignored, §4.1
	}
}

func (h frameHeader) encode() [frameHeaderLen]byte {
	return [frameHeaderLen]byte{byte(h.length >> 16), byte(h.length >> 8), byte(h.length),
		h.typ, h.flags,
		byte(h.id >> 24), byte(h.id >> 16), byte(h.id >> 8), byte(h.id)}
}

// The append functions add a frame to the output.

func (c *Conn) appendHeaderLocked(length int, typ, flags byte, id uint32) {
	b := frameHeader{length, typ, flags, id}.encode()
	c.w.AppendLocked(b[:]...)
}

func (c *Conn) appendResetLocked(id, code uint32) {
	c.appendHeaderLocked(4, typeReset, 0, id)
	c.append32Locked(code)
}

func (c *Conn) appendWindowUpdateLocked(id uint32, n int) {
	c.appendHeaderLocked(4, typeWindowUpdate, 0, id)
	c.append32Locked(uint32(n))
}

func (c *Conn) appendGoAwayLocked(last, code uint32, reason string) {
	c.appendHeaderLocked(8+len(reason), typeGoAway, 0, 0)
	c.append32Locked(last)
	c.append32Locked(code)
	c.w.AppendStringLocked(reason)
}

func (c *Conn) appendPingLocked(flags byte, data [8]byte) {
	c.appendHeaderLocked(8, typePing, flags, 0)
	c.w.AppendLocked(data[:]...)
}

func (c *Conn) append32Locked(v uint32) {
	c.w.AppendLocked(byte(v>>24), byte(v>>16), byte(v>>8), byte(v))
}

type setting struct {
	id  uint16
	val uint32
}

func (c *Conn) appendSettingsLocked(list ...setting) {
	c.appendHeaderLocked(6*len(list), typeSettings, 0, 0)
	for _, s := range list {
		c.w.AppendLocked(byte(s.id>>8), byte(s.id))
		c.append32Locked(s.val)
	}
}
