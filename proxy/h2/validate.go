package h2

import (
	"strings"

	"golang.org/x/net/http2/hpack"
)

// message is what the engine needs to know of a head.
type message struct {
	length int64 // content-length; -1: none
	status int
}

const (
	seenMethod = 1 << iota
	seenScheme
	seenAuthority
	seenPath
	seenProtocol
	seenStatus
)

func pseudoBit(name string) int {
	switch name {
	case ":method":
		return seenMethod
	case ":scheme":
		return seenScheme
	case ":authority":
		return seenAuthority
	case ":path":
		return seenPath
	case ":protocol":
		return seenProtocol
	case ":status":
		return seenStatus
	}
	return 0
}

const (
	requestPseudo   = seenMethod | seenScheme | seenAuthority | seenPath | seenProtocol
	ordinaryRequest = seenMethod | seenScheme | seenPath
)

// splitPseudo checks the pseudo-header fields (RFC 9113 §8.3): each is known, comes once, and comes
// before all other fields.
func splitPseudo(fields []hpack.HeaderField, allowed int) (seen, n int, reason string) {
	for n < len(fields) && fields[n].IsPseudo() {
		bit := pseudoBit(fields[n].Name)
		if bit&allowed == 0 {
			return 0, 0, "pseudo-header field that is not defined here"
		}
		if seen&bit != 0 {
			return 0, 0, "pseudo-header field twice"
		}
		seen |= bit
		n++
	}
	return seen, n, ""
}

func validRequest(fields []hpack.HeaderField, connect bool) (m message, reason string) {
	seen, n, reason := splitPseudo(fields, requestPseudo)
	if reason != "" {
		return m, reason
	}
	isConnect := false
	for _, f := range fields[:n] {
		if f.Name == ":method" {
			isConnect = f.Value == "CONNECT"
		}
		if reason := validPseudo(f); reason != "" {
			return m, reason
		}
	}
	switch {
	case seen&seenProtocol != 0 && !(connect && isConnect):
		return m, ":protocol that was not offered"
	case isConnect && seen&seenProtocol == 0:
		if seen != seenMethod|seenAuthority {
			return m, "CONNECT with :scheme or :path, or without :authority"
		}
	case seen&ordinaryRequest != ordinaryRequest:
		return m, "request without :method, :scheme or :path"
	}
	if !sameHost(fields, n) {
		return m, "host that differs from :authority, or twice"
	}
	m.length, reason = validFields(fields[n:], false)
	return m, reason
}

// sameHost says whether there is at most one host field, and it names what :authority does
// (§8.3.1). Otherwise two hops could route by different names. n is where the ordinary fields
// begin.
func sameHost(fields []hpack.HeaderField, n int) bool {
	authority, hosts := "", 0
	for i := range fields {
		switch f := &fields[i]; {
		case f.Name == ":authority":
			authority = f.Value
		case i >= n && f.Name == "host":
			if hosts++; hosts > 1 || authority != "" && !strings.EqualFold(f.Value, authority) {
				return false
			}
		}
	}
	return true
}

func validPseudo(f hpack.HeaderField) string {
	ok := false
	switch f.Name {
	case ":method":
		ok = isToken(f.Value)
	case ":protocol": // what Upgrade says of one, which may have a version (RFC 9110 §7.8)
		name, version, versioned := strings.Cut(f.Value, "/")
		ok = isToken(name) && (!versioned || isToken(version))
	case ":scheme":
		ok = isScheme(f.Value)
	case ":authority":
		ok = isVisible(f.Value) && !strings.ContainsAny(f.Value, "@/?#\\")
	case ":path":
		ok = isPath(f.Value)
	}
	if !ok {
		return "bad " + f.Name
	}
	return ""
}

func validResponse(fields []hpack.HeaderField) (m message, reason string) {
	seen, n, reason := splitPseudo(fields, seenStatus)
	if reason != "" {
		return m, reason
	}
	if seen != seenStatus {
		return m, "response without :status"
	}
	if m.status = statusOf(fields[0].Value); m.status == 0 {
		return m, "bad :status"
	}
	m.length, reason = validFields(fields[n:], false)
	return m, reason
}

// statusOf reads a status. It returns 0 if that is none; 101 does not exist in HTTP/2 (RFC 9113
// §8.6).
func statusOf(v string) int {
	if len(v) != 3 || v == "101" {
		return 0
	}
	n := 0
	for i := range 3 {
		if v[i] < '0' || v[i] > '9' {
			return 0
		}
		n = n*10 + int(v[i]-'0')
	}
	if n < 100 { // above 599 nothing is defined, but some applications send it
		return 0
	}
	return n
}

func validTrailers(fields []hpack.HeaderField) string {
	_, reason := validFields(fields, true)
	return reason
}

// validFields checks the ordinary fields and finds content-length.
func validFields(fields []hpack.HeaderField, trailers bool) (length int64, reason string) {
	length = -1
	for i := range fields {
		f := &fields[i]
		if !isFieldName(f.Name) {
			return 0, "bad field name, or a pseudo-header field out of place"
		}
		if !isFieldValue(f.Value) {
			return 0, "bad value of " + f.Name
		}
		switch f.Name {
		case "connection", "proxy-connection", "keep-alive", "transfer-encoding", "upgrade":
			return 0, "connection-specific field " + f.Name // §8.2.2
		case "host", "authorization", "proxy-authorization":
			if trailers { // what routed and authorized came before
				return 0, "trailer " + f.Name
			}
		case "te":
			if f.Value != "trailers" {
				return 0, "te is not trailers"
			}
		case "content-length":
			if length >= 0 || trailers {
				return 0, "content-length twice, or in trailers"
			}
			if length = parseLength(f.Value); length < 0 {
				return 0, "bad content-length"
			}
		}
	}
	return length, ""
}

// parseLength reads a content-length. It returns -1 if that is not digits alone, which every hop
// reads as the same number.
func parseLength(v string) int64 {
	if len(v) == 0 || len(v) > 18 {
		return -1
	}
	var n int64
	for i := range len(v) {
		if v[i] < '0' || v[i] > '9' {
			return -1
		}
		n = n*10 + int64(v[i]-'0')
	}
	return n
}

// Classes of bytes.
const (
	byteName    = 1 << iota // of a field name: token without upper case
	byteToken               // of a token
	byteValue               // of a field value
	byteVisible             // of a target
	byteScheme
)

var classes = func() (t [256]byte) {
	for b := range 256 {
		c := byte(b)
		lower, upper, digit := c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9'
		if lower || digit || strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0 {
			t[b] |= byteName | byteToken
		}
		if upper {
			t[b] |= byteToken
		}
		if lower || upper || digit || c == '+' || c == '-' || c == '.' {
			t[b] |= byteScheme
		}
		if c != 0 && c != '\r' && c != '\n' {
			t[b] |= byteValue
		}
		if c > ' ' && c != 0x7f {
			t[b] |= byteVisible
		}
	}
	return t
}()

func all(s string, class byte) bool {
	for i := range len(s) {
		if classes[s[i]]&class == 0 {
			return false
		}
	}
	return true
}

func isFieldName(s string) bool { return s != "" && all(s, byteName) }
func isToken(s string) bool     { return s != "" && all(s, byteToken) }
func isVisible(s string) bool   { return all(s, byteVisible) }
func isScheme(s string) bool    { return s != "" && all(s, byteScheme) }

// isFieldValue says whether s has no CR, LF or NUL (§8.2.1).
func isFieldValue(s string) bool { return all(s, byteValue) }

// trimBlanks takes the white space off the ends of a field value. §8.2.1 calls such a message
// malformed, but gRPC servers send status texts that end in a space, and x/net and nginx bear with
// them. Trimmed, a value is the same to every hop, as HTTP/1 reads it.
func trimBlanks(s string) string {
	for s != "" && isSpace(s[0]) {
		s = s[1:]
	}
	for s != "" && isSpace(s[len(s)-1]) {
		s = s[:len(s)-1]
	}
	return s
}

func isSpace(c byte) bool { return c == ' ' || c == '\t' }

// isPath says whether s is "/..." or "*". A fragment is refused: only a client has a use for one,
// and routers that read it differently can be attacked with it.
func isPath(s string) bool {
	if s == "*" {
		return true
	}
	return strings.HasPrefix(s, "/") && all(s, byteVisible) && strings.IndexByte(s, '#') < 0
}
