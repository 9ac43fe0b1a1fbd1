package h1

import (
	"strconv"
	"strings"

	"golang.org/x/net/http2/hpack"
)

// outgoing is what requests and responses have in common when they are written.
type outgoing struct {
	hasLength bool
	length    int64
	declined  bool
	// announced: there will be trailers. HTTP/2 can send them beside a length; in HTTP/1 only the
	// chunked coding carries them.
	announced bool
}

// note checks a regular field. HTTP/2 should have done so, but a CR that was overlooked there would
// split the message here.
func (o *outgoing) note(f hpack.HeaderField) error {
	if !isLowerToken(f.Name) || !isText(f.Value) {
		return ErrMalformed
	}
	o.declined = o.declined || f.Name == DeclinedField
	o.announced = o.announced || f.Name == "trailer"
	if f.Name != "content-length" {
		return nil
	}
	n, ok := length(f.Value)
	if !ok || o.hasLength {
		return ErrMalformed
	}
	o.hasLength, o.length = true, n
	return nil
}

// isConnectionField says whether a field belongs to a connection, or is written by this package
// itself. What a caller gives for it is not written.
func isConnectionField(name string) bool {
	switch name {
	case "connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade",
		"http2-settings", "content-length", "host", "te", DeclinedField, AbsoluteField,
		UpgradeLengthField:
		return true
	}
	return false
}

func appendField(b []byte, name, value string) []byte {
	b = append(b, name...)
	b = append(b, ": "...)
	b = append(b, value...)
	return append(b, "\r\n"...)
}

func (o *outgoing) appendLength(b []byte) []byte {
	b = append(b, "content-length: "...)
	b = strconv.AppendInt(b, o.length, 10)
	return append(b, "\r\n"...)
}

// appendRegular writes the fields that are passed on. HTTP/2 splits cookies over several fields;
// HTTP/1 has one field for all (RFC 9113 §8.2.3).
func appendRegular(b []byte, fields []hpack.HeaderField, joinCookies bool) []byte {
	joined := false
	for i, f := range fields {
		switch {
		case isConnectionField(f.Name):
		case joinCookies && f.Name == "cookie":
			if !joined {
				b = appendCookies(b, fields[i:])
			}
			joined = true
		default:
			b = appendField(b, f.Name, f.Value)
		}
	}
	return b
}

func appendCookies(b []byte, fields []hpack.HeaderField) []byte {
	sep := "cookie: "
	for _, f := range fields {
		if f.Name == "cookie" {
			b = append(b, sep...)
			b = append(b, f.Value...)
			sep = "; "
		}
	}
	return append(b, "\r\n"...)
}

// request is the head of a request that is to be written.
type request struct {
	outgoing
	method, scheme, authority, path, protocol string
	pseudo                                    int
	upload                                    int64 // of an upgrade: the length of its body
	absolute                                  bool  // the target is
	trailers                                  bool  // te: trailers
	end                                       bool
}

func (r *request) read(fields []hpack.HeaderField, end bool) error {
	r.end = end
	for r.pseudo < len(fields) && r.pseudoField(fields[r.pseudo]) {
		r.pseudo++
	}
	for _, f := range fields[r.pseudo:] {
		if err := r.note(f); err != nil {
			return err
		}
		switch {
		case f.Name == "te" && f.Value == "trailers":
			r.trailers = true
		case f.Name == AbsoluteField:
			r.absolute = true
		case f.Name == UpgradeLengthField && r.protocol != "":
			n, ok := length(f.Value)
			if !ok || r.upload > 0 {
				return ErrMalformed
			}
			r.upload = n
		case f.Name == "host" && r.authority == "":
			r.authority = f.Value
		}
	}
	return r.check()
}

func (r *request) pseudoField(f hpack.HeaderField) bool {
	switch f.Name {
	case ":method":
		r.method = f.Value
	case ":authority":
		r.authority = f.Value
	case ":path":
		r.path = f.Value
	case ":protocol":
		r.protocol = f.Value
	case ":scheme":
		r.scheme = f.Value
	default:
		return false
	}
	return true
}

func (r *request) check() error {
	if r.protocol != "" {
		if !isProtocol(r.protocol) || changesConnection(r.protocol) || r.method == "HEAD" {
			return ErrMalformed
		}
		if r.method == "CONNECT" { // HTTP/2 says no other for an upgrade (RFC 8441 §4)
			r.method = "GET"
		}
	}
	switch {
	case r.method == "CONNECT":
		return r.checkConnect()
	case !isToken(r.method) || !isTarget(r.method, r.path):
		return ErrMalformed
	case r.absolute && (r.authority == "" || r.scheme != "http" && r.scheme != "https"):
		return ErrMalformed
	case r.authority != "" && !isHost(r.authority):
		return ErrMalformed
	case r.end && r.length+r.upload > 0:
		return errLength
	}
	return nil
}

func (r *request) checkConnect() error {
	if r.path != "" || r.absolute || r.hasLength || r.authority == "" || !isHost(r.authority) {
		return ErrMalformed
	}
	return nil
}

// tunnels says whether what follows the head is not HTTP's, if the server agrees.
func (r *request) tunnels() bool { return r.protocol != "" || r.method == "CONNECT" }

// changesConnection says whether a protocol, which may have a version, is one that a server would
// go on with in place of HTTP/1.1 (RFC 7540 §3.2 h2c, RFC 2817 TLS), and not one that is carried
// inside it. Nobody would look for headers in what follows, nor end the TLS. The drafts of HTTP/2
// had names such as h2c-14.
func changesConnection(protocol string) bool {
	name, _, _ := strings.Cut(protocol, "/")
	return len(name) >= 2 && strings.EqualFold(name[:2], "h2") ||
		strings.EqualFold(name, "http") || strings.EqualFold(name, "tls")
}

// isProtocol says whether s is a protocol's name, perhaps with a version (RFC 9110 §7.8).
func isProtocol(s string) bool {
	for i := range len(s) {
		if lower[s[i]] == 0 && (s[i] != '/' || i == 0) {
			return false
		}
	}
	return len(s) > 0
}

func (r *request) framing() (framing, int64) {
	switch {
	case r.tunnels():
		return framedLater, r.upload
	case r.hasLength && (r.end || !r.announced):
		return framedLength, r.length
	case r.end:
		return framedNone, 0
	}
	return framedChunked, 0
}

func (r *request) append(b []byte, fields []hpack.HeaderField) []byte {
	b = append(b, r.method...)
	b = append(b, ' ')
	b = r.appendTarget(b)
	b = append(b, " HTTP/1.1\r\n"...)
	b = appendField(b, "host", r.authority)
	b = appendRegular(b, fields[r.pseudo:], true)
	switch how, left := r.framing(); {
	case how == framedLater && r.protocol == "":
	case how == framedLater:
		if r.length = left; left > 0 || expectsBody(r.method) {
			b = r.appendLength(b)
		}
		b = appendField(b, "upgrade", r.protocol)
		b = appendField(b, "connection", "upgrade")
	case how == framedLength, how == framedNone && expectsBody(r.method):
		b = r.appendLength(b)
	case how == framedChunked:
		b = appendField(b, "transfer-encoding", "chunked")
	}
	if r.trailers && !r.tunnels() {
		b = append(b, "te: trailers\r\nconnection: te\r\n"...)
	}
	return append(b, "\r\n"...)
}

func (r *request) appendTarget(b []byte) []byte {
	switch {
	case r.method == "CONNECT":
		return append(b, r.authority...)
	case r.absolute:
		b = append(b, r.scheme...)
		b = append(b, "://"...)
		b = append(b, r.authority...)
		if r.path == "*" { // RFC 9112 §3.2.4
			return b
		}
	}
	return append(b, r.path...)
}

// expectsBody says whether a method usually has a body. If a request has none all the same RFC 9110
// §8.6 wants content-length: 0.
func expectsBody(method string) bool {
	return method == "POST" || method == "PUT" || method == "PATCH"
}

// response is the head of a response that is to be written.
type response struct {
	outgoing
	code  int
	close bool
	how   framing
	as    string // the protocol switched to
}

func (r *response) read(fields []hpack.HeaderField) error {
	if len(fields) == 0 || fields[0].Name != ":status" {
		return ErrMalformed
	}
	code, ok := statusCode(fields[0].Value)
	if !ok {
		return ErrMalformed
	}
	r.code = code
	for _, f := range fields[1:] {
		if err := r.note(f); err != nil {
			return err
		}
	}
	return nil
}

// plan chooses how the end of this stream's response is told.
func (r *response) plan(s *Stream, end bool) (framing, int64) {
	switch {
	case s.tunnel && r.code < 300 && !r.declined:
		r.how = framedRaw
		if s.method != "CONNECT" {
			r.code = 101
		}
	case bodiless(s.method, r.code):
		r.how = framedNone
	case r.hasLength && (end || s.http10 || !r.announced):
		r.how = framedLength
	case end:
		r.how, r.hasLength = framedLength, true
	case s.http10:
		r.how, r.close = framedClose, true
	default:
		r.how = framedChunked
	}
	return r.how, r.length
}

// mayOutrun says whether such a response may end before its request has: it refuses, or has no body
// to wait for. The connection will end then, and the head is where to say so (RFC 9112 §9.6).
func (r *response) mayOutrun(method string) bool {
	return r.code >= 400 || bodiless(method, r.code) || r.hasLength && r.length == 0
}

func (r *response) append(b []byte, fields []hpack.HeaderField) []byte {
	b = append(b, "HTTP/1.1 "...)
	b = strconv.AppendInt(b, int64(r.code), 10)
	b = append(b, ' ')
	b = append(b, reason(r.code)...)
	b = append(b, "\r\n"...)
	b = appendRegular(b, fields[1:], false)
	switch {
	case r.how == framedRaw && r.as == "":
	case r.how == framedRaw:
		b = appendField(b, "upgrade", r.as)
		b = appendField(b, "connection", "upgrade")
	case r.how == framedChunked:
		b = appendField(b, "transfer-encoding", "chunked")
	case r.hasLength && r.code >= 200 && r.code != 204:
		b = r.appendLength(b)
	}
	if r.close && r.how != framedRaw && r.code >= 200 {
		b = append(b, "connection: close\r\n"...)
	}
	return append(b, "\r\n"...)
}

func appendChunk(b, p []byte) []byte {
	b = strconv.AppendUint(b, uint64(len(p)), 16)
	b = append(b, "\r\n"...)
	b = append(b, p...)
	return append(b, "\r\n"...)
}

func appendLastChunk(b []byte, trailers []hpack.HeaderField) []byte {
	b = append(b, "0\r\n"...)
	b = appendRegular(b, trailers, false)
	return append(b, "\r\n"...)
}

// appendRefusal writes a response that this package gives by itself.
func appendRefusal(b []byte, r *Refusal, withBody bool) []byte {
	n := len(r.Reason) + 1
	b = append(b, "HTTP/1.1 "...)
	b = strconv.AppendInt(b, int64(r.Status), 10)
	b = append(b, ' ')
	b = append(b, reason(r.Status)...)
	b = append(b, "\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: "...)
	b = strconv.AppendInt(b, int64(n), 10)
	b = append(b, "\r\nconnection: close\r\n\r\n"...)
	if withBody {
		b = append(b, r.Reason...)
		b = append(b, '\n')
	}
	return b
}
