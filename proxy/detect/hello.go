package detect

import "encoding/binary"

// TLS, as far as a ClientHello needs (RFC 8446 §4.1.2, §5.1).
const (
	recordHandshake      = 22
	handshakeClientHello = 1
	extensionServerName  = 0
	extensionALPN        = 16
	maxRecord            = 1<<14 + 256
	maxHello             = 16 << 10 // one with post-quantum keys and many extensions fits
)

// Hello is what a TLS client asks for in its first flight.
type Hello struct {
	ServerName string
	ALPN       []string
}

// ParseHello reads a ClientHello, which may span several records. more: it is right as far as it
// goes.
func ParseHello(b []byte) (h Hello, ok, more bool) {
	var msg []byte
	for {
		if len(b) < 5 {
			return h, false, len(b) == 0 || b[0] == recordHandshake
		}
		n := int(binary.BigEndian.Uint16(b[3:]))
		if b[0] != recordHandshake || b[1] != 3 || n == 0 || n > maxRecord {
			return h, false, false
		}
		part := b[5:min(len(b), 5+n)]
		msg = append(msg, part...)
		if len(msg) >= 1 && msg[0] != handshakeClientHello {
			return h, false, false
		}
		if len(msg) >= 4 {
			size := int(msg[1])<<16 | int(msg[2])<<8 | int(msg[3])
			if size > maxHello {
				return h, false, false
			}
			if len(msg) >= 4+size {
				return parseHelloBody(msg[4 : 4+size])
			}
		}
		if len(part) < n {
			return h, false, true
		}
		b = b[5+n:]
	}
}

// cursor takes length-prefixed fields off a message; it is empty for good after the first that does
// not fit.
type cursor struct {
	b   []byte
	bad bool
}

func (r *cursor) take(n int) []byte {
	if n > len(r.b) || r.bad {
		r.bad, r.b = true, nil
		return nil
	}
	p := r.b[:n]
	r.b = r.b[n:]
	return p
}

// vector takes a field whose length is in its first size bytes.
func (r *cursor) vector(size int) *cursor {
	n := 0
	for _, c := range r.take(size) {
		n = n<<8 | int(c)
	}
	return &cursor{b: r.take(n), bad: r.bad}
}

func parseHelloBody(b []byte) (h Hello, ok, more bool) {
	r := &cursor{b: b}
	r.take(2 + 32) // version, random
	r.vector(1)    // session ID
	r.vector(2)    // cipher suites
	r.vector(1)    // compression
	if r.bad {
		return h, false, false
	}
	if len(r.b) == 0 {
		return h, true, false // no extensions: older than TLS 1.2, still TLS
	}
	for ext := r.vector(2); len(ext.b) > 0; {
		kind := ext.take(2)
		body := ext.vector(2)
		if ext.bad || len(kind) < 2 {
			return h, false, false
		}
		switch int(kind[0])<<8 | int(kind[1]) {
		case extensionServerName:
			h.ServerName = parseServerName(body)
		case extensionALPN:
			h.ALPN = parseALPN(body)
		}
	}
	return h, !r.bad, false
}

func parseServerName(r *cursor) string {
	for list := r.vector(2); len(list.b) > 0; {
		kind := list.take(1)
		name := list.vector(2)
		if !list.bad && kind[0] == 0 {
			return string(name.b)
		}
	}
	return ""
}

func parseALPN(r *cursor) (names []string) {
	for list := r.vector(2); len(list.b) > 0; {
		if p := list.vector(1); !p.bad {
			names = append(names, string(p.b))
		}
	}
	return names
}
