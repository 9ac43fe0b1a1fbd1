package h1

import (
	"bytes"
	"strconv"

	"golang.org/x/net/http2/hpack"
)

// requestLine parses "METHOD target HTTP/1.x": single spaces, nothing else.
func (h *head) requestLine(line []byte) error {
	i := bytes.IndexByte(line, ' ')
	j := bytes.LastIndexByte(line, ' ')
	if i <= 0 || j <= i+1 || !isToken(line[:i]) {
		return errRequestLine
	}
	if err := h.version(line[j+1:]); err != nil {
		return err
	}
	h.method = methodName(h.method, line[:i])
	if h.method == "CONNECT" {
		return h.connectTarget(line[i+1 : j])
	}
	return h.requestTarget(line[:i], line[i+1:j])
}

func (h *head) version(v []byte) error {
	switch string(v) {
	case "HTTP/1.1":
		return nil
	case "HTTP/1.0":
		h.http10 = true
		return nil
	}
	if len(v) == 8 && string(v[:5]) == "HTTP/" && isDigit(v[5]) && v[6] == '.' && isDigit(v[7]) {
		return errVersion
	}
	return errRequestLine
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

func (h *head) requestTarget(method, target []byte) error {
	if target[0] != '/' && target[0] != '*' {
		return h.absoluteTarget(method, target)
	}
	if !isTarget(method, target) {
		return errTarget
	}
	h.path = reuse(h.path, target)
	return nil
}

// connectTarget takes the target of CONNECT, which is a host and a port (RFC 9112 §3.2.3).
func (h *head) connectTarget(target []byte) error {
	port := bytes.LastIndexByte(target, ':')
	if !isHost(target) || port <= bytes.LastIndexByte(target, ']') {
		return errTarget
	}
	h.connect, h.absolute, h.target = true, true, reuse(h.target, target)
	return nil
}

// absoluteTarget takes "http://host/path" apart (RFC 9112 §3.2.2). Its authority is
// the request's, whatever Host says.
func (h *head) absoluteTarget(method, target []byte) error {
	i := bytes.Index(target, []byte("://"))
	if i < 0 {
		return errTarget
	}
	switch {
	case foldEqual(target[:i], "http"):
	case foldEqual(target[:i], "https"):
		h.https = true
	default:
		return errScheme
	}
	rest := target[i+3:]
	end := bytes.IndexAny(rest, "/?#")
	if end < 0 {
		end = len(rest)
	}
	if !isHost(rest[:end]) {
		return errHost
	}
	h.absolute, h.target = true, reuse(h.target, rest[:end])
	return h.absolutePath(method, rest[end:])
}

// absolutePath takes the path of an absolute target. If it is empty it means "/", or "*" for
// OPTIONS (RFC 9112 §3.2.4).
func (h *head) absolutePath(method, path []byte) error {
	switch {
	case len(path) == 0 && string(method) == "OPTIONS":
		h.path = "*"
		return nil
	case len(path) == 0:
		h.path = "/"
		return nil
	case path[0] == '?':
		path = append([]byte{'/'}, path...)
	}
	if !isTarget(method, path) {
		return errTarget
	}
	h.path = reuse(h.path, path)
	return nil
}

func (h *head) hostField(value []byte) error {
	if h.hosts++; h.hosts > 1 {
		return errHostTwice
	}
	if len(value) > 0 && !isHost(value) {
		return errHost
	}
	h.host = reuse(h.host, value)
	return nil
}

// upgradeTo keeps the protocol that can be carried: WebSocket if it is offered, else the first. h2c
// and TLS are ignored, for they change the connection and not what it carries.
func (h *head) upgradeTo(value []byte) error {
	for token := range list(value) {
		if foldEqual(token, "websocket") {
			h.upgrade, h.upgrades = "websocket", true
			return nil
		}
		name, _, _ := bytes.Cut(token, []byte{'/'})
		if !isToken(name) {
			return errValue
		}
		if h.upgrades || changesConnection(string(name)) {
			continue
		}
		h.upgrade, h.upgrades = reuse(h.upgrade, token), true
	}
	return nil
}

func (h *head) finishRequest() error {
	if err := h.framing(); err != nil {
		return err
	}
	if err := h.authority(); err != nil {
		return err
	}
	if h.http10 {
		h.drop("expect") // RFC 9110 §10.1.1
	} else if h.trailers {
		if err := h.push("te", "trailers"); err != nil {
			return err
		}
	}
	// A proxy does not keep connections of HTTP/1.0 clients (RFC 9112 §C.2.2).
	h.close = h.close || h.http10
	h.upgrades = h.upgrades && h.upgradable && !h.http10 && h.codings == 0 && !h.connect &&
		h.method != "HEAD"
	return h.finishTunnel()
}

// finishTunnel takes the length of its body off a request that begins a tunnel, for what follows is
// more than that: HTTP/2 would not let it exceed a content-length. It marks an absolute target.
func (h *head) finishTunnel() error {
	switch {
	case h.connect && h.body():
		return errConnectBody
	case h.tunnels():
		h.drop("content-length")
	}
	if h.upgrades && h.length > 0 {
		n := strconv.FormatInt(h.length, 10)
		if err := h.push(UpgradeLengthField, n); err != nil {
			return err
		}
	}
	if h.absolute && !h.connect {
		return h.push(AbsoluteField, "1")
	}
	return nil
}

// tunnels says whether what follows the head is another protocol's.
func (h *head) tunnels() bool { return h.upgrades || h.connect }

func (h *head) body() bool { return h.codings > 0 || h.length > 0 }

// authority checks that there is exactly one Host (RFC 9112 §3.2), which only an HTTP/1.0 request
// may do without. A Host that is empty is passed on as a field, for HTTP/2 has no empty :authority.
// The authority of an absolute target is the request's; a Host beside it is replaced by it
// (§3.2.2).
func (h *head) authority() error {
	switch {
	case h.hosts == 0 && !h.http10:
		return errHostMissing
	case h.absolute:
		h.host = h.target
	case h.hosts == 0:
		h.host = ""
	case h.host == "":
		return h.push("host", "")
	}
	return nil
}

func (h *head) drop(name string) {
	kept := h.fields[:pseudoSlots]
	for _, f := range h.fields[pseudoSlots:] {
		if f.Name != name {
			kept = append(kept, f)
		}
	}
	h.fields = kept
}

// request is the finished head as HTTP/2 would say it, but for the method of an upgrade.
func (h *head) request() []hpack.HeaderField {
	if h.connect {
		return h.connectRequest()
	}
	scheme := "http"
	if h.https {
		scheme = "https"
	}
	first := pseudoSlots - 3
	if h.host != "" {
		first--
	}
	if h.upgrades {
		first--
	}
	p := append(h.fields[first:first],
		hpack.HeaderField{Name: ":method", Value: h.method},
		hpack.HeaderField{Name: ":scheme", Value: scheme})
	if h.host != "" {
		p = append(p, hpack.HeaderField{Name: ":authority", Value: h.host})
	}
	p = append(p, hpack.HeaderField{Name: ":path", Value: h.path})
	if h.upgrades {
		_ = append(p, hpack.HeaderField{Name: ":protocol", Value: h.upgrade})
	}
	return h.fields[first:]
}

// connectRequest is request for CONNECT (RFC 9113 §8.5).
func (h *head) connectRequest() []hpack.HeaderField {
	first := pseudoSlots - 2
	_ = append(h.fields[first:first],
		hpack.HeaderField{Name: ":method", Value: "CONNECT"},
		hpack.HeaderField{Name: ":authority", Value: h.host})
	return h.fields[first:]
}
