package h1

import "golang.org/x/net/http2/hpack"

// statusLine parses "HTTP/1.x 200 reason". It drops the reason, which HTTP/2 does not have.
func (h *head) statusLine(line []byte) error {
	if len(line) < 12 || line[8] != ' ' {
		return errStatusLine
	}
	if err := h.version(line[:8]); err != nil {
		return errStatusLine
	}
	code, ok := statusCode(line[9:12])
	if !ok || len(line) > 12 && line[12] != ' ' || !isText(line[12:]) {
		return errStatusLine
	}
	h.code = code
	h.status = reuse(h.status, line[9:12])
	return nil
}

// statusCode reads three digits. Nothing is defined below 100. Nothing is above 599 either, but
// some applications send it.
func statusCode[T chars](s T) (int, bool) {
	if len(s) != 3 || s[0] < '1' || !isDigit(s[0]) || !isDigit(s[1]) || !isDigit(s[2]) {
		return 0, false
	}
	return int(s[0]-'0')*100 + int(s[1]-'0')*10 + int(s[2]-'0'), true
}

func (h *head) finishResponse() error {
	if err := h.framing(); err != nil {
		return err
	}
	if h.code < 200 && (h.length > 0 || h.codings > 0) {
		return errSwitch // RFC 9110 §8.6: an informational response has no body to frame
	}
	if h.code < 200 && h.lengthSeen {
		h.drop("content-length") // of nothing, which some say all the same
	}
	h.close = h.close || h.http10
	if h.code == 204 && (h.length > 0 || h.codings > 0) || h.code == 304 && h.codings > 0 {
		h.close = true // it may send the body that it must not
	}
	if h.code == 204 {
		h.drop("content-length")
	}
	return nil
}

// response is the finished head as HTTP/2 would say it.
func (h *head) response() []hpack.HeaderField {
	h.fields[pseudoSlots-1] = hpack.HeaderField{Name: ":status", Value: h.status}
	return h.fields[pseudoSlots-1:]
}

// bodiless says whether no body follows such a head, whatever the head says about lengths (RFC 9112
// §6.3).
func bodiless(method string, code int) bool {
	return method == "HEAD" || code < 200 || code == 204 || code == 304
}
