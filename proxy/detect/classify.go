package detect

import "bytes"

// Protocol is what a connection's first bytes are.
type Protocol uint8

const (
	Opaque Protocol = iota // nothing that is known here
	HTTP1                  // a request line, of whatever version, or what a server may take for one
	HTTP2                  // the preface of RFC 9113 §3.4
	TLS                    // a whole ClientHello
)

func (p Protocol) String() string {
	return [...]string{"opaque", "HTTP/1", "HTTP/2", "TLS"}[p]
}

// IsHTTP reports whether one of the HTTP engines serves it.
func (p Protocol) IsHTTP() bool { return p == HTTP1 || p == HTTP2 }

// Preface begins every HTTP/2 connection (RFC 9113 §3.4).
const Preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

// Classify says what a connection is that began with b. While sure is false more bytes could make
// it something else; p is what those of b would be the beginning of, and Opaque only for no bytes
// at all. A PROXY header changes nothing about what follows it, but that no engine takes it: HTTP
// after one is HTTP1, whose engine refuses it.
func Classify(b []byte) (p Protocol, sure bool) {
	rest, more := trimProxyHeader(b)
	if more {
		return HTTP1, false
	}
	p, sure = classify(rest)
	switch {
	case len(rest) == len(b):
		return p, sure
	case sure && p == HTTP2, !sure:
		return HTTP1, sure
	case p == TLS:
		return Opaque, true // nobody's here: it is not at the beginning
	}
	return p, sure
}

func classify(b []byte) (p Protocol, sure bool) {
	if len(b) == 0 {
		return Opaque, false
	}
	if b[0] == recordHandshake {
		_, ok, more := ParseHello(b)
		if more || ok && !versioned(b) {
			return TLS, ok
		}
	}
	if n := min(len(b), len(Preface)); string(b[:n]) == Preface[:n] {
		return HTTP2, n == len(Preface)
	}
	return classifyHTTP1(b)
}

// classifyHTTP1 looks for a request line as the most lenient servers do. RFC 9112 §3 allows them
// any form of whitespace between its parts, and §2.2 empty lines before it; some take whitespace
// for those too.
func classifyHTTP1(b []byte) (Protocol, bool) {
	b = trimEmptyLines(b)
	method := tokenLength(b)
	switch {
	case len(b) == 0 || method == len(b):
		return HTTP1, false
	case method == 0 || b[method] != '\n' && !isBlank(b[method]):
		return orVersioned(b)
	}
	rest := trimBlanks(b[method:])
	switch {
	case len(rest) == 0:
		return HTTP1, false
	case rest[0] == '/' || foldPrefix(rest, "http://") || foldPrefix(rest, "https://"):
		return HTTP1, true // the rest is the HTTP engine's to judge
	}
	line, _, whole := bytes.Cut(rest, []byte("\n"))
	switch {
	case whole && len(line) == 0:
		return Opaque, true // one word
	case !whole:
		return HTTP1, false
	case string(b[:method]) == "GET" && len(trimBlanks(line[wordLength(line):])) == 0:
		// HTTP/0.9 has no version, and a server that still takes it may read header fields as well
		return HTTP1, true
	}
	return orVersioned(b)
}

// orVersioned is for what does not begin like a request: Opaque, unless its first line is here and
// ends in a version of HTTP. Python's servers take any word for a method and leave it to the
// application.
func orVersioned(b []byte) (Protocol, bool) {
	if versioned(b) {
		return HTTP1, true
	}
	return Opaque, true
}

// MayPass reports whether b, which Classify is not sure about, surely holds neither a whole request
// line nor a header field in any reading. A field has a colon.
func MayPass(b []byte) bool {
	rest, _ := trimProxyHeader(b)
	return Follow(rest) != nil && bytes.IndexByte(rest, ':') < 0
}

// isBlank: the whitespace of RFC 9112 §3, and what else Python's servers split lines at. A line
// feed ends the line.
func isBlank(c byte) bool {
	switch c {
	case ' ', '\t', '\v', '\f', '\r', 0x1c, 0x1d, 0x1e, 0x1f, 0x85, 0xa0: // two of ISO 8859-1
		return true
	}
	return false
}

func trimBlanks(b []byte) []byte {
	for len(b) > 0 && isBlank(b[0]) {
		b = b[1:]
	}
	return b
}

// trimEmptyLines is trimBlanks across lines.
func trimEmptyLines(b []byte) []byte {
	for b = trimBlanks(b); len(b) > 0 && b[0] == '\n'; b = trimBlanks(b) {
		b = b[1:]
	}
	return b
}

// wordLength is how many bytes of b are no whitespace.
func wordLength(b []byte) (n int) {
	for n < len(b) && b[n] != '\n' && !isBlank(b[n]) {
		n++
	}
	return n
}

// tokenLength is how many bytes of b a method may consist of (RFC 9110 §5.6.2).
func tokenLength(b []byte) (n int) {
	for n < len(b) && isToken[b[n]] {
		n++
	}
	return n
}

var isToken = func() (t [256]bool) {
	const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
	for _, c := range "!#$%&'*+-.^_`|~0123456789" + letters {
		t[c] = true
	}
	return t
}()

// foldPrefix reports whether b begins with prefix, which is in lower case, in any case.
func foldPrefix(b []byte, prefix string) bool {
	return len(b) >= len(prefix) && bytes.EqualFold(b[:len(prefix)], []byte(prefix))
}
