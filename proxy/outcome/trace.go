package outcome

import (
	"strings"
	"time"

	"golang.org/x/net/http2/hpack"

	"github.com/tulle-mesh/tulle/proxy/trace"
)

// Trace is what is kept of a request that is traced, beside its record.
type Trace struct {
	Context trace.Context // that it goes on with
	Span    trace.SpanID  // of the first try
	State   string        // W3C's tracestate
	Held    bool          // nobody has sampled it: whoever exports it marks it so
	Query   string        // of the request, its values masked; with its question mark
	Tries   []Try
	Link    *Link // what it is a copy of; nil: it is none
}

// Link names a span of another trace.
type Link struct {
	Trace trace.ID
	Span  trace.SpanID
}

// Try is what is kept of one try of a request that is traced. On a nil one its methods do nothing.
type Try struct {
	Span     trace.SpanID
	Begun    time.Time
	Sent     time.Time // zero: it was not
	Ended    time.Time // zero: with the request
	Endpoint string    // IP:PORT of the application; empty: there was none
	Status   int       // of HTTP; 0: no head came
	GRPC     string
	Reason   Reason
	Hedge    bool // sent beside another
	Lost     bool // another one was faster
}

// BeginRequest is Begin for a request of HTTP, which may be traced: its head says whether those
// before have decided. A hop is what a verified peer's record of the request has; 0: there is none.
func (w *Watch) BeginRequest(at time.Time, head []hpack.HeaderField, hop uint64) *Record {
	if w == nil {
		return nil
	}
	h := w.hook.Load()
	if h == nil {
		return nil
	}
	var t *Trace
	if h.Trace != nil {
		t = h.Trace(head, at)
	}
	if t == nil && h.End == nil && !h.All && (hop == 0 || !h.Joined) {
		return nil
	}
	if t != nil {
		t.Span = trace.NewSpanID()
	}
	return &Record{Start: at, Trace: t, Hop: hop, hook: h}
}

// Untraced: the request is no part of what anybody traces.
func (r *Record) Untraced() {
	if r != nil {
		r.Trace = nil
	}
}

// askedFor keeps the query, which of all that is seen of a request only spans show.
func (t *Trace) askedFor(path string) {
	if t == nil {
		return
	}
	path, _, _ = strings.Cut(path, "#")
	if _, query, ok := strings.Cut(path, "?"); ok {
		t.Query = maskQuery(query)
	}
}

// masked is in place of each value of a query: any of them may be a secret.
const masked = "REDACTED"

// maskQuery leaves a query's names, within maxText. What has no value is one.
func maskQuery(query string) string {
	var b strings.Builder
	for pair := range strings.SplitSeq(query, "&") {
		name, _, named := strings.Cut(pair, "=")
		if b.Len()+len(name)+len(masked) > maxText {
			break
		}
		separator := byte('&')
		if b.Len() == 0 {
			separator = '?'
		}
		b.WriteByte(separator)
		if named {
			b.WriteString(name)
			b.WriteByte('=')
		}
		if pair != "" {
			b.WriteString(masked)
		}
	}
	return b.String()
}

// BeginTry notes that another try begins. Its span is one of its own, or the request's: then the
// proxy has but one span, however often it tries.
func (r *Record) BeginTry(at time.Time, own bool) *Try {
	if r == nil || r.Trace == nil {
		return nil
	}
	all := r.Trace.Tries
	t := Try{Begun: at, Span: r.Trace.Span}
	if own && len(all) > 0 {
		t.Span = trace.NewSpanID()
	}
	r.Trace.Tries = append(all, t)
	return &r.Trace.Tries[len(all)]
}

// Try is the nth try, from 1 on; nil: nothing is kept of it. It is for now only: another try's
// beginning may move it.
func (r *Record) Try(n uint8) *Try {
	if r == nil || r.Trace == nil || n == 0 || int(n) > len(r.Trace.Tries) {
		return nil
	}
	return &r.Trace.Tries[n-1]
}

// Beside: the try is sent beside another one.
func (t *Try) Beside(another bool) {
	if t != nil {
		t.Hedge = another
	}
}

// Leaves: the try's head is on its way to an endpoint.
func (t *Try) Leaves(at time.Time, endpoint string) {
	if t != nil {
		t.Sent, t.Endpoint = at, endpoint
	}
}

// Answered: the response's final head is here.
func (t *Try) Answered(status int) {
	if t != nil {
		t.Status = status
	}
}

// Called: a gRPC answer's status is here.
func (t *Try) Called(status string) {
	if t != nil {
		t.GRPC = keep(status)
	}
}

// Because says why the try does not go well. The first word counts.
func (t *Try) Because(why Reason) {
	if t != nil && t.Reason == Plain {
		t.Reason = why
	}
}

// Loses: another try was faster.
func (t *Try) Loses() {
	if t != nil {
		t.Lost = true
	}
}

// Ends is the try's end, once.
func (t *Try) Ends(at time.Time) {
	if t != nil && t.Ended.IsZero() {
		t.Ended = at
	}
}

// Copy is the record of a copy of the request that goes elsewhere, for its span alone; nil: it has
// none. The copy's trace is one of its own, linked to the request's, of which it is no part.
func (r *Record) Copy(at time.Time) *Record {
	if r == nil || r.Trace == nil || r.Trace.Held {
		return nil
	}
	t := &Trace{Context: r.Trace.Context.Apart(), Span: trace.NewSpanID(),
		Query: r.Trace.Query, Link: &Link{r.Trace.Context.Trace, r.Trace.Span}}
	only := *r.hook
	only.End, only.Pick = nil, nil
	out := &Record{Start: at, Labels: r.Labels, Method: r.Method, Path: r.Path,
		Authority: r.Authority, HTTP1: r.HTTP1, ClientAddress: r.ClientAddress, Trace: t,
		hook: &only}
	out.BeginTry(at, true)
	return out
}
