package trace

import (
	"encoding/binary"
	"encoding/hex"
	"math/rand/v2"

	"golang.org/x/net/http2/hpack"
)

// ID is a trace's. Zero is none.
type ID [16]byte

func (t ID) String() string { return hex.EncodeToString(t[:]) }

// SpanID is a span's, within its trace. Zero is none.
type SpanID [8]byte

func (s SpanID) String() string { return hex.EncodeToString(s[:]) }

// NewSpanID makes one. IDs are no secrets: they need to differ, and not to be unpredictable.
func NewSpanID() (s SpanID) {
	binary.BigEndian.PutUint64(s[:], rand.Uint64()|1) // never zero
	return s
}

// Choice is whether a trace is sampled, as those before have decided.
type Choice uint8

const (
	Open Choice = iota // nobody has
	Yes
	No
)

// Context is what a request says of the trace that it is a part of.
type Context struct {
	Trace  ID     // zero: it is part of none
	Parent SpanID // that sent the request; zero: there is none
	Choice Choice
	came   formats
	from   formats // the one that the IDs are from
	random bool    // the trace's ID is, as W3C's flag of that name says
	debug  bool    // B3's: sampled, whatever anybody thinks
	short  bool    // B3's trace ID came as 64 bits
	began  bool    // the trace begins here
	state  string  // of a trace that begins here
}

// formats are those in which contexts are written.
type formats uint8

const (
	w3c formats = 1 << iota
	single
	multi
)

// The fields, as they are spelled in HTTP/2.
const (
	fieldParent  = "traceparent"
	fieldState   = "tracestate"
	fieldB3      = "b3"
	fieldTraceID = "x-b3-traceid"
	fieldSpanID  = "x-b3-spanid"
	fieldAbove   = "x-b3-parentspanid"
	fieldSampled = "x-b3-sampled"
	fieldFlags   = "x-b3-flags"
)

// fields are those of a head that say something of a trace.
type fields struct {
	came, twice                    formats
	parent, b3                     string
	traceID, spanID, sampled, flag string
}

// Extract reads a request's head. What is not valid counts as absent, but for Write, which replaces
// it. It allocates nothing: it is asked about every request while tracing is on.
func Extract(head []hpack.HeaderField) Context {
	var f fields
	for i := range head {
		f.take(head[i].Name, head[i].Value)
	}
	if f.came == 0 {
		return Context{}
	}
	return f.context()
}

func (f *fields) take(name, value string) {
	switch name {
	case fieldParent:
		f.set(w3c, &f.parent, value)
	case fieldB3:
		f.set(single, &f.b3, value)
	case fieldTraceID:
		f.set(multi, &f.traceID, value)
	case fieldSpanID:
		f.set(multi, &f.spanID, value)
	case fieldSampled:
		f.set(multi, &f.sampled, value)
	case fieldFlags:
		f.set(multi, &f.flag, value)
	}
}

// set notes a field. Of two with the same name nobody can tell which one is meant.
func (f *fields) set(format formats, to *string, value string) {
	if *to != "" || value == "" {
		f.twice |= format
	}
	f.came |= format
	*to = value
}

// context is the first valid one: W3C's, then B3's in one field, then B3's in several.
func (f *fields) context() Context {
	var c Context
	for _, format := range [...]formats{w3c, single, multi} {
		if f.came&format == 0 || f.twice&format != 0 {
			continue
		}
		read, ok := f.parse(format)
		if ok && c.from == 0 {
			c, c.from = read, format
		}
		c.debug, c.short = c.debug || read.debug, c.short || read.short
	}
	c.came = f.came
	return c
}

func (f *fields) parse(format formats) (Context, bool) {
	switch format {
	case w3c:
		return parseParent(f.parent)
	case single:
		return parseB3(f.b3)
	}
	return f.parseMulti()
}

// begin makes it the context of a trace that begins here; state is what W3C's own field says of it.
func (c *Context) begin(high, low uint64, state string) {
	if high|low == 0 {
		low = 1
	}
	binary.BigEndian.PutUint64(c.Trace[:], high)
	binary.BigEndian.PutUint64(c.Trace[8:], low)
	c.began, c.random, c.state = true, true, state
}

// Apart is the context of a trace of its own, in the formats of c: of a copy of the request, which
// is no part of what the request does.
func (c *Context) Apart() Context {
	out := Context{Choice: c.Choice, came: c.came}
	out.begin(rand.Uint64(), rand.Uint64(), "")
	return out
}

// State is the trace's as it came, joined, for who exports the span; empty: there is none.
func (c *Context) State(head []hpack.HeaderField) string {
	switch {
	case c.began:
		return c.state
	case c.from == w3c:
		return joinState(head)
	}
	return ""
}

// Flags are W3C's.
func (c *Context) Flags() (flags byte) {
	if c.Choice == Yes {
		flags |= flagSampled
	}
	if c.random {
		flags |= flagRandom
	}
	return flags
}

// Write makes a request's head say that a span of ours sends it: in every format that came, and in
// W3C's if the trace begins here. It changes head in place, and appends to it.
func (c *Context) Write(head []hpack.HeaderField, span SpanID) []hpack.HeaderField {
	if c.began || c.came&w3c != 0 {
		head = c.writeW3C(head, span)
	}
	if c.came&single != 0 {
		head = c.writeB3(head, span)
	}
	if c.came&multi != 0 {
		head = c.writeMulti(head, span)
	}
	return head
}

// unhex reads lower-case hexadecimal digits, of which there must be exactly as many as dst takes.
func unhex(dst []byte, s string) bool {
	if len(s) != 2*len(dst) {
		return false
	}
	for i := range dst {
		high, low := digit(s[2*i]), digit(s[2*i+1])
		if high|low > 0xf {
			return false
		}
		dst[i] = high<<4 | low
	}
	return true
}

// digit is more than 15 for what is none.
func digit(c byte) byte {
	switch {
	case '0' <= c && c <= '9':
		return c - '0'
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10
	}
	return 0xff
}
