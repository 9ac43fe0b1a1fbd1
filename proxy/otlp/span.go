package otlp

import (
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/tulle-mesh/tulle/proxy/outcome"
	"github.com/tulle-mesh/tulle/proxy/span"
	"github.com/tulle-mesh/tulle/proxy/trace"
)

// Of opentelemetry.proto.trace.v1. A ResourceSpans is as TracesData and ExportTraceServiceRequest
// have it.
const (
	dataResourceSpans = 1

	resourceSpansResource  = 1
	resourceSpansScope     = 2
	resourceSpansSchemaURL = 3
	resourceAttributes     = 1
	scopeSpansScope        = 1
	scopeSpansSpans        = 2
	scopeName              = 1
	scopeVersion           = 2

	spanTraceID    = 1
	spanSpanID     = 2
	spanTraceState = 3
	spanParentID   = 4
	spanName       = 5
	spanKind       = 6
	spanStart      = 7
	spanEnd        = 8
	spanAttributes = 9
	spanEvents     = 11
	spanLinks      = 13
	spanStatus     = 15
	spanFlags      = 16

	eventTime       = 1
	eventName       = 2
	eventAttributes = 3
	linkTraceID     = 1
	linkSpanID      = 2
	statusCode      = 3

	kindServer  = 2
	kindClient  = 3
	statusError = 2
)

// The flags of a span above W3C's: whether it is known that its parent is of another process, and
// whether it is.
const (
	flagKnowsRemote = 1 << 8
	flagRemote      = 1 << 9
)

// encoder makes spans of records.
type encoder struct {
	message
	methods span.Methods
}

// spans appends a record's, as a ScopeSpans has them, and returns how many there are.
func (e *encoder) spans(r *outcome.Record) int {
	all := span.Of(r)
	for i := range all {
		e.inner(scopeSpansSpans, func() { e.content(&all[i]) })
	}
	return len(all)
}

func (e *encoder) content(s *span.Span) {
	c := &s.Trace.Context
	e.traceID(spanTraceID, c.Trace)
	e.spanID(spanSpanID, s.ID)
	e.text(spanTraceState, s.Trace.State)
	e.spanID(spanParentID, s.Parent)
	e.text(spanName, s.Name(&e.methods))
	kind := uint64(kindClient)
	if s.Server {
		kind = kindServer
	}
	e.number(spanKind, kind)
	e.at(spanStart, s.Begin)
	e.at(spanEnd, s.End)
	s.Attributes(&e.methods, attributes{&e.message, spanAttributes}.put)
	e.events(s)
	if l := s.Trace.Link; l != nil {
		e.inner(spanLinks, func() {
			e.traceID(linkTraceID, l.Trace)
			e.spanID(linkSpanID, l.Span)
		})
	}
	if s.Bad() {
		e.inner(spanStatus, func() { e.number(statusCode, statusError) })
	}
	flags := uint32(c.Flags()) | flagKnowsRemote
	if s.Remote && s.Parent != (trace.SpanID{}) {
		flags |= flagRemote
	}
	e.fixed32(spanFlags, flags)
}

// events say when a request that had to wait was sent, and when it was tried again.
func (e *encoder) events(s *span.Span) {
	if at := s.Sent(); !at.IsZero() {
		e.event("sent", at, func(attributes) {})
	}
	for i := range s.Later {
		t, name := &s.Later[i], "retry"
		if t.Hedge {
			name = "hedge"
		}
		e.event(name, t.Begun, func(a attributes) {
			a.number("http.request.resend_count", uint64(i+1))
			a.text(outcome.NameEndpoint, t.Endpoint)
		})
	}
}

func (e *encoder) event(name string, at time.Time, more func(attributes)) {
	e.inner(spanEvents, func() {
		e.at(eventTime, at)
		e.text(eventName, name)
		more(attributes{&e.message, eventAttributes})
	})
}

// request is an ExportTraceServiceRequest with the spans of a batch.
func request(spans []byte, resource func(attributes), version string) []byte {
	var m message
	m.b = make([]byte, 0, len(spans)+1<<10)
	m.inner(dataResourceSpans, func() {
		m.inner(resourceSpansResource, func() { resource(attributes{&m, resourceAttributes}) })
		m.inner(resourceSpansScope, func() {
			m.inner(scopeSpansScope, func() {
				m.text(scopeName, "tulle")
				m.text(scopeVersion, version)
			})
			m.b = append(m.b, spans...)
		})
		m.text(resourceSpansSchemaURL, span.SchemaURL)
	})
	return m.b
}

// rejected reads an ExportTraceServiceResponse: how many spans the collector did not take, and why.
func rejected(b []byte) (n uint64, why string) {
	const partialSuccess, rejectedSpans, errorMessage = 1, 1, 2
	each(b, func(field protowire.Number, _ uint64, inner []byte) {
		if field != partialSuccess {
			return
		}
		each(inner, func(field protowire.Number, v uint64, text []byte) {
			switch field {
			case rejectedSpans:
				n = v
			case errorMessage:
				why = string(text)
			}
		})
	})
	return n, why
}

// each calls f with the fields of a message, up to the first that is broken.
func each(b []byte, f func(field protowire.Number, n uint64, text []byte)) {
	for len(b) > 0 {
		field, kind, size := protowire.ConsumeTag(b)
		if size < 0 {
			return
		}
		b = b[size:]
		var n uint64
		var text []byte
		switch kind {
		case protowire.VarintType:
			n, size = protowire.ConsumeVarint(b)
		case protowire.BytesType:
			text, size = protowire.ConsumeBytes(b)
		default:
			size = protowire.ConsumeFieldValue(field, kind, b)
		}
		if size < 0 {
			return
		}
		f(field, n, text)
		b = b[size:]
	}
}
