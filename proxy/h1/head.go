package h1

import (
	"bytes"
	"sync"

	"golang.org/x/net/http2/hpack"
)

const (
	// maxStartLine: RFC 9112 §3 asks for 8000 at least.
	maxStartLine = 16 << 10
	// pseudoSlots at the front of a head's fields are kept free: a request's pseudo-headers are
	// known only at its end.
	pseudoSlots = 5
	// fieldCost is what RFC 9113 §6.5.2 adds to a field's strings.
	fieldCost = 32
	// maxRemembered is the size beyond which a head is not kept for its strings, so that an idle
	// connection stays small.
	maxRemembered = 8 << 10
)

type section uint8

const (
	requestHead section = iota
	responseHead
	trailerSection
)

// head parses one header section at a time, line by line as the lines arrive. It remembers the
// section before: a string that is the same again is not allocated again.
type head struct {
	section   section
	maxBytes  int
	maxFields int

	fields []hpack.HeaderField
	prev   []hpack.HeaderField
	cursor int    // where in prev the next field is expected
	name   []byte // scratch: a name in lower case
	named  []byte // tokens of Connection that this package does not know, each followed by a comma
	scan   int    // bytes of the unfinished line that hold no LF
	raw    int    // bytes of finished lines
	size   int    // as RFC 9113 counts
	count  int

	// These are the latest message's. They stay, for the next one to reuse.
	method, path, host, upgrade, target, status string

	facts
}

// facts are what a head says about its message and its connection.
type facts struct {
	started    bool // the start line was read
	blank      bool // the one empty line that RFC 9112 §2.2 tolerates was seen
	http10     bool
	absolute   bool // target holds the authority of an absolute-form request, or of CONNECT
	https      bool // of an absolute-form request: its scheme
	connect    bool // CONNECT
	hosts      int
	lengthSeen bool
	length     int64
	codings    int
	close      bool
	upgradable bool // Connection: upgrade
	upgrades   bool // Upgrade names something that we carry
	trailers   bool // TE: trailers
	code       int
}

// begin prepares for the next section.
func (h *head) begin(s section) {
	freeFields(h.prev)
	h.fields, h.prev = nil, h.fields
	if h.size > maxRemembered {
		h.forget()
	}
	h.section = s
	h.facts = facts{}
	h.cursor, h.scan, h.raw, h.size, h.count = 0, 0, 0, 0, 0
	h.named = h.named[:0]
	if s == trailerSection {
		h.started = true
	}
	if len(h.prev) > pseudoSlots {
		h.cursor = pseudoSlots
	}
}

// feed takes whole lines from b and says how many bytes they were.
func (h *head) feed(b []byte) (n int, done bool, err error) {
	if h.fields == nil {
		h.fields = newFields()
	}
	for {
		i := bytes.IndexByte(b[n+h.scan:], '\n')
		if i < 0 {
			h.scan = len(b) - n
			return n, false, h.room(h.scan)
		}
		line := b[n : n+h.scan+i]
		n += len(line) + 1
		h.scan = 0
		if err := h.room(len(line)); err != nil {
			return n, false, err
		}
		h.raw += len(line)
		if len(line) == 0 || line[len(line)-1] != '\r' {
			return n, false, errBareLF
		}
		done, err = h.line(line[:len(line)-1])
		if done || err != nil {
			return n, done, err
		}
	}
}

// forget drops the head that is kept for its strings, and the scratch space.
func (h *head) forget() {
	freeFields(h.prev)
	h.prev, h.name, h.named, h.cursor = nil, nil, nil, 0
	h.method, h.path, h.host, h.upgrade, h.target, h.status = "", "", "", "", "", ""
}

// pooledFields is how many fields an array of the pool has: enough for nearly every head. A
// connection that waits for its next head holds only the array of the one before.
const pooledFields = 16

var fieldArrays = sync.Pool{New: func() any { return new([pooledFields]hpack.HeaderField) }}

func newFields() []hpack.HeaderField {
	return fieldArrays.Get().(*[pooledFields]hpack.HeaderField)[:pseudoSlots]
}

func freeFields(f []hpack.HeaderField) {
	if cap(f) == pooledFields {
		clear(f)
		fieldArrays.Put((*[pooledFields]hpack.HeaderField)(f[:pooledFields]))
	}
}

// partial says whether some of a section was seen, and not all of it.
func (h *head) partial() bool { return h.started || h.blank || h.scan > 0 }

func (h *head) room(line int) error {
	if !h.started && line > maxStartLine {
		return errLineTooLong
	}
	if h.started && h.raw+line > h.maxBytes+maxStartLine {
		return errHeadTooLarge
	}
	return nil
}

func (h *head) line(line []byte) (done bool, err error) {
	if h.started {
		if len(line) == 0 {
			return true, h.finish()
		}
		return false, h.field(line)
	}
	if len(line) == 0 && h.section == requestHead && !h.blank {
		h.blank = true
		return false, nil
	}
	h.started = true
	if h.section == requestHead {
		return false, h.requestLine(line)
	}
	return false, h.statusLine(line)
}

func (h *head) finish() error {
	switch h.section {
	case requestHead:
		return h.finishRequest()
	case responseHead:
		return h.finishResponse()
	}
	return nil
}

func (h *head) field(line []byte) error {
	if line[0] == ' ' || line[0] == '\t' {
		return errFolded
	}
	colon := bytes.IndexByte(line, ':')
	if colon <= 0 {
		return errName
	}
	if err := h.countField(line[:colon]); err != nil {
		return err
	}
	value := trim(line[colon+1:])
	f := h.repeated(line[:colon])
	if f != nil && f.Value == string(value) && f.Name != "content-length" {
		return h.push(f.Name, f.Value)
	}
	if !isText(value) {
		return errValue
	}
	name, err := h.lowerName(line[:colon])
	if err != nil {
		return err
	}
	return h.special(name, value)
}

// countField bounds the fields, but for cookies: a server sets each in a field of its own, and
// they are bounded by their size.
func (h *head) countField(name []byte) error {
	if foldEqual(name, "cookie") || foldEqual(name, "set-cookie") {
		return nil
	}
	if h.count++; h.count > h.maxFields {
		return errTooMany
	}
	return nil
}

// repeated is the field of the previous message that stands where this one does, if it has the same
// name; else nil.
func (h *head) repeated(name []byte) *hpack.HeaderField {
	if h.cursor < len(h.prev) && foldEqual(name, h.prev[h.cursor].Name) {
		h.cursor++
		return &h.prev[h.cursor-1]
	}
	return nil
}

func (h *head) lowerName(name []byte) (string, error) {
	b := h.name[:0]
	for _, c := range name {
		if lower[c] == 0 {
			return "", errName
		}
		b = append(b, lower[c])
	}
	h.name = b
	if s := common(b); s != "" {
		return s, nil
	}
	for i := min(pseudoSlots, len(h.prev)); i < len(h.prev); i++ {
		if h.prev[i].Name == string(b) {
			return h.prev[i].Name, nil
		}
	}
	return string(b), nil
}

// keep adds an ordinary field. If the previous message had the same value its string is used.
func (h *head) keep(name string, value []byte) error {
	for i := min(pseudoSlots, len(h.prev)); i < len(h.prev); i++ {
		if f := &h.prev[i]; f.Name == name && f.Value == string(value) {
			h.cursor = i + 1
			return h.push(name, f.Value)
		}
	}
	return h.push(name, string(value))
}

func (h *head) push(name, value string) error {
	if h.size += len(name) + len(value) + fieldCost; h.size > h.maxBytes {
		return errHeadTooLarge
	}
	h.fields = append(h.fields, hpack.HeaderField{Name: name, Value: value})
	return nil
}

// special takes a field by its name. What belongs to this connection or to the message's framing
// never reaches a sink.
func (h *head) special(name string, value []byte) error {
	if h.section == trailerSection {
		return h.trailer(name, value)
	}
	switch name {
	case "content-length":
		return h.contentLength(value)
	case "transfer-encoding":
		return h.transferEncoding(value)
	case "connection":
		return h.connection(value)
	case "keep-alive", "proxy-connection", "http2-settings", DeclinedField, AbsoluteField,
		UpgradeLengthField:
		return nil
	case "upgrade":
		return h.upgradeTo(value)
	case "te":
		h.trailers = h.trailers || listHas(value, "trailers")
		return nil
	case "host":
		if h.section == requestHead {
			return h.hostField(value)
		}
	}
	return h.keep(name, value)
}

// trailer takes a field of a trailer section. It drops what a recipient must never take from a
// trailer (RFC 9110 §6.5.1): what routes, frames or authenticates.
func (h *head) trailer(name string, value []byte) error {
	switch name {
	case "content-length", "transfer-encoding", "host", "trailer":
		return errTrailer
	case "connection", "keep-alive", "proxy-connection", "te", "upgrade", "expect", "authorization",
		"proxy-authorization", "proxy-authenticate", "www-authenticate", "cookie", "set-cookie",
		"content-encoding", "content-type", "content-range", "cache-control", "max-forwards",
		"range":
		return nil
	}
	return h.keep(name, value)
}

func (h *head) contentLength(value []byte) error {
	if h.lengthSeen {
		return errLengthTwice
	}
	n, ok := length(value)
	if !ok {
		return errLengthValue
	}
	for len(value) > 1 && value[0] == '0' {
		value = value[1:]
	}
	h.lengthSeen, h.length = true, n
	return h.keep("content-length", value)
}

func (h *head) transferEncoding(value []byte) error {
	if h.codings++; h.codings > 1 {
		return errCodingTwice
	}
	if !foldEqual(value, "chunked") {
		return errCoding
	}
	return nil
}

// connection notes the options of a Connection field that it knows, and the names of fields that
// are to be dropped.
func (h *head) connection(value []byte) error {
	for token := range list(value) {
		switch {
		case foldEqual(token, "close"):
			h.close = true
		case foldEqual(token, "upgrade"):
			h.upgradable = true
		case foldEqual(token, "keep-alive"), foldEqual(token, "te"),
			foldEqual(token, "http2-settings"):
		case !isToken(token):
			return errValue
		default:
			for _, c := range token {
				h.named = append(h.named, lower[c])
			}
			h.named = append(h.named, ',')
		}
	}
	return nil
}

// framing checks what requests and responses have in common.
func (h *head) framing() error {
	if h.codings > 0 && h.lengthSeen {
		return errBothLengths
	}
	if h.codings > 0 && h.http10 {
		return errCoding10
	}
	if len(h.named) > 0 {
		h.removeNamed()
	}
	return nil
}

// removeNamed drops the fields that Connection names: they were for this connection alone. A
// content-length stays, for it says how to read this message.
func (h *head) removeNamed() {
	kept := h.fields[:pseudoSlots]
	for _, f := range h.fields[pseudoSlots:] {
		if f.Name == "content-length" || !h.isNamed(f.Name) {
			kept = append(kept, f)
		}
	}
	h.fields = kept
}

func (h *head) isNamed(name string) bool {
	for rest := h.named; len(rest) > 0; {
		i := bytes.IndexByte(rest, ',')
		if string(rest[:i]) == name {
			return true
		}
		rest = rest[i+1:]
	}
	return false
}

// list yields the elements of a comma-separated value, but no empty ones (RFC 9110 §5.6.1).
func list(b []byte) func(func([]byte) bool) {
	return func(yield func([]byte) bool) {
		for len(b) > 0 {
			i := bytes.IndexByte(b, ',')
			if i < 0 {
				i = len(b)
			}
			token := trim(b[:i])
			b = b[min(i+1, len(b)):]
			if len(token) > 0 && !yield(token) {
				return
			}
		}
	}
}

func listHas(b []byte, token string) bool {
	for t := range list(b) {
		if foldEqual(t, token) {
			return true
		}
	}
	return false
}

// reuse is string(b), or old if that is the same.
func reuse(old string, b []byte) string {
	if old == string(b) {
		return old
	}
	return string(b)
}
