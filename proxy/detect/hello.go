package proxy

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/tulle-mesh/tulle/destination/api"
	"github.com/tulle-mesh/tulle/proxy/config"
)

// http2Preface begins every HTTP/2 connection (RFC 9113 §3.4).
const http2Preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

// longestMethod bounds the first token of what may be HTTP/1: the longest registered method has 17 letters.
const longestMethod = 20

// detected is what a connection's first bytes say.
type detected struct {
	protocol api.Protocol
	hello    clientHello // for TLS
	peeked   []byte      // to be replayed
	silent   bool        // opaque for want of a single byte
}

// detect reads until it can tell the protocol, and no longer than config.DetectTimeout: then it is opaque, which also
// serves a server that speaks first. An error means that the caller is gone.
func detect(nc net.Conn) (detected, error) {
	if err := nc.SetReadDeadline(time.Now().Add(config.DetectTimeout)); err != nil {
		return detected{}, err
	}
	return detectUntil(nc, false)
}

// detectUntil leaves the deadline of the first byte to its caller; late: the rest has config.DetectTimeout from then on.
func detectUntil(nc net.Conn, late bool) (detected, error) {
	buf := make([]byte, 0, 2048)
	for {
		if len(buf) > 0 && late {
			late = false
			if err := nc.SetReadDeadline(time.Now().Add(config.DetectTimeout)); err != nil {
				return detected{}, err
			}
		}
		if len(buf) == cap(buf) {
			buf = slices.Grow(buf, cap(buf))
		}
		n, err := nc.Read(buf[len(buf):min(cap(buf), config.DetectBytes)])
		buf = buf[:len(buf)+n]
		if p, sure := classify(buf); sure {
			d := detected{protocol: p, peeked: buf}
			if p == api.Protocol_PROTOCOL_TLS {
				d.hello, _, _ = parseClientHello(buf)
			}
			return d, nc.SetReadDeadline(time.Time{})
		}
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			return detected{protocol: api.Protocol_PROTOCOL_OPAQUE, peeked: buf, silent: len(buf) == 0}, nc.SetReadDeadline(time.Time{})
		case err != nil && (len(buf) == 0 || !errors.Is(err, io.EOF)):
			return detected{}, err
		case err != nil || len(buf) >= config.DetectBytes:
			return detected{protocol: api.Protocol_PROTOCOL_OPAQUE, peeked: buf}, nc.SetReadDeadline(time.Time{})
		}
	}
}

// classify tells the protocol from what came so far; sure is false while more could change the answer.
func classify(b []byte) (p api.Protocol, sure bool) {
	if len(b) == 0 {
		return api.Protocol_PROTOCOL_OPAQUE, false
	}
	if b[0] == recordHandshake {
		_, ok, more := parseClientHello(b)
		switch {
		case ok:
			return api.Protocol_PROTOCOL_TLS, true
		case more:
			return api.Protocol_PROTOCOL_TLS, false
		}
		return api.Protocol_PROTOCOL_OPAQUE, true
	}
	if n := min(len(b), len(http2Preface)); string(b[:n]) == http2Preface[:n] {
		return api.Protocol_PROTOCOL_HTTP2, n == len(http2Preface)
	}
	return classifyHTTP1(b)
}

// classifyHTTP1 looks for "METHOD SP target SP HTTP/1." in a first line.
func classifyHTTP1(b []byte) (api.Protocol, bool) {
	sp := bytes.IndexByte(b[:min(len(b), longestMethod+1)], ' ')
	method := b[:min(len(b), longestMethod)]
	if sp >= 0 {
		method = b[:sp]
	}
	for _, c := range method {
		if (c < 'A' || c > 'Z') && c != '-' && c != '_' {
			return api.Protocol_PROTOCOL_OPAQUE, true
		}
	}
	if sp == 0 || (sp < 0 && len(b) > longestMethod) {
		return api.Protocol_PROTOCOL_OPAQUE, true
	}
	line, _, whole := bytes.Cut(b, []byte("\n"))
	if !whole {
		return api.Protocol_PROTOCOL_HTTP1, false
	}
	version := bytes.LastIndexByte(line, ' ')
	if version > sp && bytes.HasPrefix(line[version+1:], []byte("HTTP/1.")) {
		return api.Protocol_PROTOCOL_HTTP1, true
	}
	return api.Protocol_PROTOCOL_OPAQUE, true
}

// TLS, as far as a ClientHello needs (RFC 8446 §4.1.2, §5.1).
const (
	recordHandshake      = 22
	handshakeClientHello = 1
	extensionServerName  = 0
	extensionALPN        = 16
	maxRecord            = 1<<14 + 256
)

// clientHello is what a TLS client asks for.
type clientHello struct {
	serverName string
	alpn       []string
}

// mesh returns the target port when the hello is one of ours: our ALPN and our SNI.
func (h clientHello) mesh() (port string, ok bool) {
	ours := slices.Contains(h.alpn, config.ALPNHTTP) || slices.Contains(h.alpn, config.ALPNTCP)
	port, suffixed := strings.CutSuffix(h.serverName, config.SNISuffix)
	return port, ours && suffixed
}

// parseClientHello reads a ClientHello, which may span several records. more: it is whole as far as it goes.
func parseClientHello(b []byte) (h clientHello, ok, more bool) {
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
			if size > config.DetectBytes {
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

// reader takes length-prefixed fields off a message; it is empty for good after the first that does not fit.
type reader struct {
	b   []byte
	bad bool
}

func (r *reader) take(n int) []byte {
	if n > len(r.b) || r.bad {
		r.bad, r.b = true, nil
		return nil
	}
	p := r.b[:n]
	r.b = r.b[n:]
	return p
}

// vector takes a field whose length is in its first size bytes.
func (r *reader) vector(size int) *reader {
	n := 0
	for _, c := range r.take(size) {
		n = n<<8 | int(c)
	}
	return &reader{b: r.take(n), bad: r.bad}
}

func parseHelloBody(b []byte) (h clientHello, ok, more bool) {
	r := &reader{b: b}
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
			h.serverName = parseServerName(body)
		case extensionALPN:
			h.alpn = parseALPN(body)
		}
	}
	return h, !r.bad, false
}

func parseServerName(r *reader) string {
	for list := r.vector(2); len(list.b) > 0; {
		kind := list.take(1)
		name := list.vector(2)
		if !list.bad && kind[0] == 0 {
			return string(name.b)
		}
	}
	return ""
}

func parseALPN(r *reader) (names []string) {
	for list := r.vector(2); len(list.b) > 0; {
		if p := list.vector(1); !p.bad {
			names = append(names, string(p.b))
		}
	}
	return names
}
