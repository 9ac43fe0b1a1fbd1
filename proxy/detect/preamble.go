package detect

import (
	"bytes"
	"encoding/binary"
)

// The PROXY protocol (HAProxy's proxy-protocol.txt): before anything else a load balancer says who
// its client is, in a line (version 1) or in a binary header (version 2). A server that expects one
// takes HTTP after it.
const (
	maxProxyLine   = 107
	proxySignature = "\r\n\r\n\x00\r\nQUIT\n"
	proxyFixed     = len(proxySignature) + 4 // version and command, family, length
)

var proxyLines = [...]string{"PROXY TCP4 ", "PROXY TCP6 ", "PROXY UNKNOWN"}

// trimProxyHeader returns what follows a whole PROXY header, and b if it does not begin with one;
// more: it may yet.
func trimProxyHeader(b []byte) (rest []byte, more bool) {
	if n := min(len(b), len(proxySignature)); n > 0 && string(b[:n]) == proxySignature[:n] {
		return trimProxyBinary(b)
	}
	for _, begin := range proxyLines {
		end := bytes.IndexByte(b[:min(len(b), maxProxyLine)], '\n')
		if end >= 0 && bytes.HasPrefix(b, []byte(begin)) && !versioned(b) {
			return b[end+1:], false
		}
	}
	return b, false
}

// trimProxyBinary is trimProxyHeader for what begins as version 2 does, or with the empty lines
// that it begins with.
func trimProxyBinary(b []byte) (rest []byte, more bool) {
	if len(b) < proxyFixed {
		return b, true
	}
	n := proxyFixed + int(binary.BigEndian.Uint16(b[proxyFixed-2:]))
	if len(b) < n {
		return b, true
	}
	return b[n:], false
}
