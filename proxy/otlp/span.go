package otlp

import (
	"strings"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/tulle-mesh/tulle/proxy/metric"
	"github.com/tulle-mesh/tulle/proxy/outcome"
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

// queuedFor is how long a request waits before a span says when it left.
const queuedFor = time.Millisecond

// encoder makes spans of records.
type encoder struct {
	message
	methods methods
}

// span is one of a record's: the request's, or one of its tries'.
type span struct {
	*outcome.Record
	id, parent trace.SpanID
	remote     bool // the parent is of another process
	server     bool
	begin, end time.Time
	try        *outcome.Try // that it is about: the only one, or one of several; nil: none
	resent     int          // tries before it
	status     int
	grpc       string // a number
	endpoint   string
	reason     outcome.Reason
	lost       bool
	events     []outcome.Try // the tries that it is the parent of, but for the first
}

// spans appends a record's, as a ScopeSpans has them, and returns how many there are: a span for
// the request, and below it one for each of its tries if it took more than one.
func (e *encoder) spans(r *outcome.Record) int {
	whole := wholeOf(r)
	tries := r.Trace.Tries
	if whole.server || len(tries) < 2 {
		e.span(&whole)
		return 1
	}
	whole.events = tries[1:]
	e.span(&whole)
	for i := range tries {
		e.span(whole.of(&tries[i], i))
	}
	return 1 + len(tries)
}

// wholeOf is the request's span. If it was tried but once it is that try's too, which its backend
// has been told of: nobody knew then that there would be no other.
func wholeOf(r *outcome.Record) span {
	s := span{Record: r, parent: r.Trace.Context.Parent, remote: true,
		server: r.Labels.Direction == metric.Inbound, begin: r.Start, end: r.Start.Add(r.Latency),
		status: r.Status, grpc: r.GRPCStatus, endpoint: r.Endpoint, reason: r.Reason}
	tries := r.Trace.Tries
	if len(tries) == 1 {
		s.try = &tries[0]
	}
	if s.id = r.Trace.Span; !s.server && len(tries) > 1 {
		s.id = trace.NewSpanID()
	}
	return s
}

// of is the span of a try of a request that was tried more often.
func (s *span) of(t *outcome.Try, before int) *span {
	child := span{Record: s.Record, id: t.Span, parent: s.id, begin: t.Begun, end: t.Ended, try: t,
		resent: before, status: t.Status, grpc: t.GRPC, endpoint: t.Endpoint, reason: t.Reason,
		lost: t.Lost}
	if child.end.IsZero() {
		child.end = s.end
	}
	if t.Status == 0 && !t.Lost && t.Reason == outcome.Plain {
		child.reason = s.reason // it was under way when the request ended
	}
	return &child
}

func (e *encoder) span(s *span) { e.inner(scopeSpansSpans, func() { e.content(s) }) }

func (e *encoder) content(s *span) {
	c := &s.Trace.Context
	e.traceID(spanTraceID, c.Trace)
	e.spanID(spanSpanID, s.id)
	e.text(spanTraceState, s.Trace.State)
	e.spanID(spanParentID, s.parent)
	e.text(spanName, e.name(s))
	kind := uint64(kindClient)
	if s.server {
		kind = kindServer
	}
	e.number(spanKind, kind)
	e.at(spanStart, s.begin)
	e.at(spanEnd, s.end)
	e.attributes(s)
	e.events(s)
	if l := s.Trace.Link; l != nil {
		e.inner(spanLinks, func() {
			e.traceID(linkTraceID, l.Trace)
			e.spanID(linkSpanID, l.Span)
		})
	}
	if s.bad() {
		e.inner(spanStatus, func() { e.number(statusCode, statusError) })
	}
	flags := uint32(c.Flags()) | flagKnowsRemote
	if s.remote && s.parent != (trace.SpanID{}) {
		flags |= flagRemote
	}
	e.fixed32(spanFlags, flags)
}

// events say when a request that had to wait was sent, and when it was tried again.
func (e *encoder) events(s *span) {
	if t := s.try; t != nil && t.Sent.Sub(t.Begun) > queuedFor {
		e.event("sent", t.Sent, func(attributes) {})
	}
	for i := range s.events {
		t, name := &s.events[i], "retry"
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

// knownMethods are HTTP's, as OpenTelemetry knows them.
var knownMethods = map[string]bool{
	"GET": true, "HEAD": true, "POST": true, "PUT": true, "DELETE": true, "CONNECT": true,
	"OPTIONS": true, "TRACE": true, "PATCH": true, "QUERY": true,
}

// name is the span's: of few values, whatever callers ask for.
func (e *encoder) name(s *span) string {
	if s.isGRPC() {
		return e.methods.name(s)
	}
	method := s.Method
	if !knownMethods[method] {
		method = "HTTP"
	}
	switch route := s.Labels.Route; {
	case route == "":
		return method
	case strings.HasPrefix(route, method+" "): // ServiceProfiles' are often called so
		return route
	default:
		return method + " " + route
	}
}

// maxMethods bounds gRPC's methods that a proxy names.
const maxMethods = 256

// other stands for all that are beyond a bound, or not known.
const other = "_OTHER"

// methods are those of gRPC that somebody has implemented, as far as there is room.
type methods struct{ known map[string]bool }

// name is the method of a call, "pkg.Service/Method". A caller can make up as many as it likes; it
// cannot make a server implement them.
func (m *methods) name(s *span) string {
	name := strings.TrimPrefix(s.Path, "/")
	switch {
	case m.known[name]:
		return name
	case s.grpc == "12" || s.status == 0 || len(m.known) >= maxMethods || name == "":
		return other
	}
	if m.known == nil {
		m.known = map[string]bool{}
	}
	m.known[name] = true
	return name
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
		m.text(resourceSpansSchemaURL, schemaURL)
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
