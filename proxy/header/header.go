package header

import (
	"strings"

	"golang.org/x/net/http2/hpack"
)

// Our own headers. Any other of the prefix, from anyone, is removed, in headers and in trailers.
// headers_test.go has one test a cell.
//
//	tulle-client-id  set by inbound, from the verified certificate; believed by the application;
//	                 removed from whatever arrives, everywhere
//	tulle-error      set by a proxy that failed; believed by outbound, from a verified peer;
//	                 removed from applications and unmeshed peers, and by inbound towards
//	                 unmeshed callers
//	tulle-undelivered
//	                 set by inbound, of an error of its own to a verified peer: the application
//	                 has seen nothing of the request; believed by outbound, from a verified peer;
//	                 removed by outbound, always
//	tulle-proto      set by outbound, when what travels as HTTP/2 is for HTTP/1 to restore;
//	                 believed by inbound, from a verified peer; removed by inbound, always
//	tulle-method     the same, of an upgrade that is not a GET: HTTP/2 calls each a CONNECT
//	tulle-deadline-ms
//	                 set by outbound, of a request that has a timeout, to a meshed endpoint: what
//	                 is left of it; believed by inbound, from a verified peer; removed by inbound,
//	                 always. gRPC has grpc-timeout for it
//	tulle-hop        set by outbound, to a meshed endpoint, of a request that somebody watches:
//	                 what its record in the other proxy is known by; believed by inbound, from a
//	                 verified peer; removed by inbound, always
const (
	headerPrefix = "tulle-"
	ClientID     = "tulle-client-id"
	Error        = "tulle-error"
	Undelivered  = "tulle-undelivered"
	Proto        = "tulle-proto"
	Method       = "tulle-method"
	Deadline     = "tulle-deadline-ms"
	Hop          = "tulle-hop"
	// headerXFCC carries identities in other meshes; an application might believe one that its
	// caller forged.
	headerXFCC = "x-forwarded-client-cert"
)

// ProtoHTTP1 is what Proto says.
const ProtoHTTP1 = "http/1.1"

// Reserved reports whether a field is ours to set, so nobody else's to send. Neither is its
// spelling with underscores: CGI and WSGI show an application no difference between the two.
func Reserved(name string) bool {
	return disguised(name) ||
		len(name) >= len(headerPrefix) &&
			(spells(name[:len(headerPrefix)], headerPrefix) || spells(name, headerXFCC))
}

// disguised: a field that frames a message to whoever shows names as CGI does, and to nobody
// before.
func disguised(name string) bool {
	switch len(name) {
	case len("content-length"):
		return name != "content-length" && spells(name, "content-length")
	case len("transfer-encoding"):
		return name != "transfer-encoding" && spells(name, "transfer-encoding")
	}
	return false
}

func spells(name, ours string) bool {
	if len(name) != len(ours) {
		return false
	}
	for i := range len(name) {
		if name[i] != ours[i] && (name[i] != '_' || ours[i] != '-') {
			return false
		}
	}
	return true
}

// Keep appends to dst the fields that are not reserved.
func Keep(dst, fields []hpack.HeaderField) []hpack.HeaderField {
	for i := range fields {
		if !Reserved(fields[i].Name) {
			dst = append(dst, fields[i])
		}
	}
	return dst
}

// Value returns the first field of that name.
func Value(fields []hpack.HeaderField, name string) string {
	for i := range fields {
		if fields[i].Name == name {
			return fields[i].Value
		}
	}
	return ""
}

// IsToken: RFC 9110, 5.6.2, in lower case.
func IsToken(s string) bool {
	for i := range len(s) {
		c := s[i]
		letter := 'a' <= c && c <= 'z' || '0' <= c && c <= '9'
		if !letter && strings.IndexByte("!#$%&'*+-.^_`|~", c) < 0 {
			return false
		}
	}
	return s != ""
}

// IsValue: RFC 9110, 5.5. Spaces are inside only.
func IsValue(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' && c != '\t' || c == 0x7f {
			return false
		}
	}
	return s == strings.Trim(s, " \t")
}

// Printable makes a reason fit for a header: it may quote what a peer said.
func Printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return ' '
		}
		return r
	}, s)
}
