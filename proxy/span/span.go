package span

import (
	"strconv"
	"strings"
	"time"

	"github.com/tulle-mesh/tulle/proxy/metric"
	"github.com/tulle-mesh/tulle/proxy/outcome"
	"github.com/tulle-mesh/tulle/proxy/trace"
)

// queuedFor is how long a request waits before a span says when it left.
const queuedFor = time.Millisecond

// Span is one of a record's: the request's, or one of its tries'.
type Span struct {
	*outcome.Record
	ID, Parent trace.SpanID
	Remote     bool // the parent is of another process
	Server     bool // else it is a client's
	Begin, End time.Time
	Resent     int           // tries before it
	Later      []outcome.Try // the tries that it is the parent of, but for the first
	try        *outcome.Try  // that it is about: the only one, or one of several; nil: none
	status     int
	grpc       string // a number
	endpoint   string
	reason     outcome.Reason
	lost       bool
}

// Of are the spans of a record that has a trace: one for the request, and below it one for each of
// its tries if it took more than one.
func Of(r *outcome.Record) []Span {
	whole := wholeOf(r)
	tries := r.Trace.Tries
	if whole.Server || len(tries) < 2 {
		return []Span{whole}
	}
	whole.Later = tries[1:]
	out := make([]Span, 1, 1+len(tries))
	out[0] = whole
	for i := range tries {
		out = append(out, whole.of(&tries[i], i))
	}
	return out
}

// wholeOf is the request's span. If it was tried but once it is that try's too, which its backend
// has been told of: nobody knew then that there would be no other.
func wholeOf(r *outcome.Record) Span {
	s := Span{Record: r, ID: r.Trace.Span, Parent: r.Trace.Context.Parent, Remote: true,
		Server: r.Labels.Direction == metric.Inbound, Begin: r.Start, End: r.Start.Add(r.Latency),
		status: r.Status, grpc: r.GRPCStatus, endpoint: r.Endpoint, reason: r.Reason}
	tries := r.Trace.Tries
	if len(tries) == 1 {
		s.try = &tries[0]
	}
	if !s.Server && len(tries) > 1 {
		s.ID = above(s.ID)
	}
	return s
}

// above is the ID of the span above the first try's, the same whoever makes it. It is another one,
// and is not zero, since those of trace.NewSpanID are odd.
func above(first trace.SpanID) trace.SpanID {
	for i := range first {
		first[i] ^= 0x5a
	}
	return first
}

// of is the span of a try of a request that was tried more often.
func (s *Span) of(t *outcome.Try, before int) Span {
	child := Span{Record: s.Record, ID: t.Span, Parent: s.ID, Begin: t.Begun, End: t.Ended, try: t,
		Resent: before, status: t.Status, grpc: t.GRPC, endpoint: t.Endpoint, reason: t.Reason,
		lost: t.Lost}
	if child.End.IsZero() {
		child.End = s.End
	}
	if t.Status == 0 && !t.Lost && t.Reason == outcome.Plain {
		child.reason = s.reason // it was under way when the request ended
	}
	return child
}

// Sent is when a request left that had to wait for that; zero: it had not.
func (s *Span) Sent() time.Time {
	if t := s.try; t != nil && t.Sent.Sub(t.Begun) > queuedFor {
		return t.Sent
	}
	return time.Time{}
}

// Answered reports whether a backend answered, and was listened to until the end. Whoever made that
// answer had then ended.
func (s *Span) Answered() bool {
	return s.try != nil && s.try.Status != 0 && !s.lost && !s.Cut
}

// knownMethods are HTTP's, as OpenTelemetry knows them.
var knownMethods = map[string]bool{
	"GET": true, "HEAD": true, "POST": true, "PUT": true, "DELETE": true, "CONNECT": true,
	"OPTIONS": true, "TRACE": true, "PATCH": true, "QUERY": true,
}

// Name is of few values, whatever callers ask for.
func (s *Span) Name(m *Methods) string {
	if s.isGRPC() {
		return m.name(s)
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

// maxMethods bounds gRPC's methods that are named.
const maxMethods = 256

// other stands for all that are beyond a bound, or not known.
const other = "_OTHER"

// Methods are those of gRPC that somebody has implemented, as far as there is room.
type Methods struct{ known map[string]bool }

// name is the method of a call, "pkg.Service/Method". A caller can make up as many as it likes; it
// cannot make a server implement them.
func (m *Methods) name(s *Span) string {
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

// Bad reports whether the span's status is Error. A caller that goes away makes none, nor does a
// try that lost to another; what a caller did wrong is an error of its own span, and not of the
// server's.
func (s *Span) Bad() bool {
	switch {
	case s.lost || s.reason == outcome.ClientGone:
		return false
	case s.Cut && (s.try == nil || s.try.Status != 0):
		return true
	case s.status == 0:
		return s.reason != outcome.Plain
	case s.isGRPC() && s.grpc != "":
		return s.badCall()
	}
	return s.status >= 500 || s.status >= 400 && !s.Server
}

// badCall reports whether gRPC's status is an error of the span's side.
func (s *Span) badCall() bool {
	if !s.Server {
		return s.grpc != "0"
	}
	switch s.grpc {
	case "2", "4", "12", "13", "14", "15":
		return true
	}
	return false
}

// errorType is the reason in one word, or else the status.
func (s *Span) errorType() string {
	switch {
	case !s.Bad():
		return ""
	case s.reason != outcome.Plain:
		return s.reason.String()
	case s.isGRPC() && s.grpc != "":
		return outcome.GRPCName(s.grpc)
	}
	return strconv.Itoa(s.status)
}
