package trace

import (
	"encoding/hex"
	"slices"
	"strings"

	"golang.org/x/net/http2/hpack"
)

// parseB3 reads the one field: TRACE-SPAN, TRACE-SPAN-STATE, TRACE-SPAN-STATE-PARENT, or a STATE
// alone, which is about a trace that has not begun.
func parseB3(s string) (c Context, ok bool) {
	if len(s) == 1 {
		ok = c.parseState(s)
		return c, ok
	}
	trace, rest, _ := strings.Cut(s, "-")
	span, rest, said := strings.Cut(rest, "-")
	if !c.parseIDs(trace, span) {
		return Context{}, false
	}
	if !said {
		return c, true
	}
	state, above, deeper := strings.Cut(rest, "-")
	var parent SpanID
	if !c.parseState(state) || deeper && !unhex(parent[:], above) {
		return Context{}, false
	}
	return c, true
}

func (c *Context) parseState(s string) bool {
	switch s {
	case "0":
		c.Choice = No
	case "1":
		c.Choice = Yes
	case "d":
		c.Choice, c.debug = Yes, true
	default:
		return false
	}
	return true
}

// parseIDs reads a trace's ID, of 64 or 128 bits, and a span's.
func (c *Context) parseIDs(trace, span string) bool {
	const half = 16
	id := c.Trace[:]
	if c.short = len(trace) == half; c.short {
		id = c.Trace[8:]
	}
	return unhex(id, trace) && unhex(c.Parent[:], span) && c.Trace != ID{} && c.Parent != SpanID{}
}

// parseMulti reads the several fields. Without IDs they are about a trace that has not begun.
func (f *fields) parseMulti() (c Context, ok bool) {
	if (f.traceID != "" || f.spanID != "") && !c.parseIDs(f.traceID, f.spanID) {
		return Context{}, false
	}
	switch f.sampled {
	case "":
	case "1", "true":
		c.Choice = Yes
	case "0", "false":
		c.Choice = No
	default:
		return Context{}, false
	}
	switch f.flag {
	case "1":
		c.Choice, c.debug = Yes, true
	case "", "0":
	default:
		return Context{}, false
	}
	return c, c.Trace != ID{} || c.Choice != Open
}

// id is the trace's as B3 writes it: as short as it came.
func (c *Context) id() string {
	if c.short && [8]byte(c.Trace[:8]) == ([8]byte{}) {
		return hex.EncodeToString(c.Trace[8:])
	}
	return c.Trace.String()
}

func (c *Context) writeB3(head []hpack.HeaderField, span SpanID) []hpack.HeaderField {
	state := "0"
	switch {
	case c.debug:
		state = "d"
	case c.Choice == Yes:
		state = "1"
	}
	value := c.id() + "-" + span.String() + "-" + state
	if c.Parent != (SpanID{}) {
		value += "-" + c.Parent.String()
	}
	head = slices.DeleteFunc(head, func(f hpack.HeaderField) bool { return f.Name == fieldB3 })
	return append(head, hpack.HeaderField{Name: fieldB3, Value: value})
}

func (c *Context) writeMulti(head []hpack.HeaderField, span SpanID) []hpack.HeaderField {
	head = slices.DeleteFunc(head, func(f hpack.HeaderField) bool {
		switch f.Name {
		case fieldTraceID, fieldSpanID, fieldAbove, fieldSampled, fieldFlags:
			return true
		}
		return false
	})
	head = append(head, hpack.HeaderField{Name: fieldTraceID, Value: c.id()},
		hpack.HeaderField{Name: fieldSpanID, Value: span.String()})
	if c.Parent != (SpanID{}) {
		head = append(head, hpack.HeaderField{Name: fieldAbove, Value: c.Parent.String()})
	}
	switch {
	case c.debug:
		return append(head, hpack.HeaderField{Name: fieldFlags, Value: "1"})
	case c.Choice == Yes:
		return append(head, hpack.HeaderField{Name: fieldSampled, Value: "1"})
	}
	return append(head, hpack.HeaderField{Name: fieldSampled, Value: "0"})
}
