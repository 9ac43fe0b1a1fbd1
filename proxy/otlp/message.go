package otlp

import (
	"strings"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/tulle-mesh/tulle/proxy/span"
	"github.com/tulle-mesh/tulle/proxy/trace"
)

// message is a message of protobuf so far. As in proto3, what is empty is left out.
type message struct{ b []byte }

func (m *message) bytes(field protowire.Number, v []byte) {
	if len(v) > 0 {
		m.b = protowire.AppendBytes(protowire.AppendTag(m.b, field, protowire.BytesType), v)
	}
}

// text appends a string. A message with one that is no UTF-8 is refused whole by who reads it.
func (m *message) text(field protowire.Number, s string) {
	if s != "" {
		m.b = protowire.AppendTag(m.b, field, protowire.BytesType)
		m.b = protowire.AppendString(m.b, strings.ToValidUTF8(s, "\uFFFD"))
	}
}

func (m *message) number(field protowire.Number, n uint64) {
	if n != 0 {
		m.b = protowire.AppendVarint(protowire.AppendTag(m.b, field, protowire.VarintType), n)
	}
}

func (m *message) fixed32(field protowire.Number, n uint32) {
	m.b = protowire.AppendFixed32(protowire.AppendTag(m.b, field, protowire.Fixed32Type), n)
}

// at appends a time as OTLP has it: nanoseconds of Unix's.
func (m *message) at(field protowire.Number, t time.Time) {
	m.b = protowire.AppendTag(m.b, field, protowire.Fixed64Type)
	m.b = protowire.AppendFixed64(m.b, uint64(t.UnixNano()))
}

func (m *message) traceID(field protowire.Number, id trace.ID) { m.bytes(field, id[:]) }

func (m *message) spanID(field protowire.Number, id trace.SpanID) {
	if id != (trace.SpanID{}) {
		m.bytes(field, id[:])
	}
}

// inner appends a message that write writes, with its length in front, which is known last.
func (m *message) inner(field protowire.Number, write func()) {
	m.b = protowire.AppendTag(m.b, field, protowire.BytesType)
	at := len(m.b)
	write()
	n := len(m.b) - at
	var room [10]byte
	size := protowire.SizeVarint(uint64(n))
	m.b = append(m.b, room[:size]...)
	copy(m.b[at+size:], m.b[at:at+n])
	protowire.AppendVarint(m.b[:at], uint64(n))
}

// attributes are a repeated KeyValue of a message's.
type attributes struct {
	m     *message
	field protowire.Number
}

// Of KeyValue, and of the AnyValue in it.
const (
	keyValueKey   = 1
	keyValueValue = 2
	valueString   = 1
	valueBool     = 2
	valueInt      = 3
)

// put appends one of a span's.
func (a attributes) put(x span.Attribute) {
	a.text(x.Key, x.Text)
	a.number(x.Key, x.Number)
	a.flag(x.Key, x.Flag)
}

func (a attributes) value(key string, write func()) {
	a.m.inner(a.field, func() {
		a.m.text(keyValueKey, key)
		a.m.inner(keyValueValue, write)
	})
}

func (a attributes) text(key, value string) {
	if value != "" {
		a.value(key, func() { a.m.text(valueString, value) })
	}
}

// number leaves out zero.
func (a attributes) number(key string, n uint64) {
	if n != 0 {
		a.value(key, func() { a.m.number(valueInt, n) })
	}
}

// flag leaves out false.
func (a attributes) flag(key string, set bool) {
	if set {
		a.value(key, func() { a.m.number(valueBool, 1) })
	}
}
