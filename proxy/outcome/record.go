package outcome

import (
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/net/http2/hpack"

	"github.com/tulle-mesh/tulle/proxy/metric"
)

const (
	// maxText bounds each piece of a peer's text in a record, in bytes.
	maxText = 1 << 10
	// maxName bounds those that are names and have no need to be long. A line of a record stays
	// within the 16 KiB that a container's runtime takes for one, unless nearly all is escaped.
	maxName = 256
)

// Record is all that is seen of one request, or of one opaque connection, for whoever looks at it.
// It belongs to who forwards until End gives it to the hook. On a nil one, of what nobody looks at,
// its methods do nothing.
type Record struct {
	Request
	Labels        metric.Labels // of the series that counts it
	Start         time.Time
	FirstByte     time.Duration // from Start until the response's head went on; 0: it did not
	Method        string        // empty: an opaque connection
	Path          string        // without its query
	Authority     string        // as the caller names it
	UserAgent     string        // as the caller calls itself
	RequestID     string        // its x-request-id
	HTTP1         bool          // the caller speaks it
	ClientAddress string        // IP:PORT of who connected
	Endpoint      string        // IP:PORT of the application that was reached; empty: none was
	Limit         time.Duration // what the request had; 0: it had no deadline
	Status        int           // of HTTP; 0: no head went to the caller
	GRPCStatus    string        // a number, as it was sent
	Tries         int
	RequestBytes  uint64 // of the body, or of all that the caller said
	ResponseBytes uint64
	Upgraded      bool // to a connection of another protocol
	Delayed       bool // on purpose
	Cut           bool // the response, or the opaque connection, was broken off
	Reason        Reason
	Detail        string // the same in words, for people
	Trace         *Trace // nil: it is not traced
	Hop           uint64 // both proxies' records of a request have the same; 0: they share none
	Picked        uint32 // is Hook.Pick's own

	hook *Hook
}

// Hook is who looks: an access log, a tracer, whoever is shown single requests, or all of them. It
// never changes. Its functions are called by readers, and must not block.
type Hook struct {
	// End takes a record that is complete; nil: nobody wants those that are not traced.
	End func(*Record)
	// Trace decides at a request's beginning whether it is traced; nil, and a nil answer: it is
	// not. It must not keep the head.
	Trace func(head []hpack.HeaderField, at time.Time) *Trace
	// Traced takes a complete record that has a Trace. Neither it nor End may change one.
	Traced func(*Record)
	// Live takes every complete record, whomever it was made for; nil: nobody does. It must not
	// change one.
	Live func(*Record)
	// All asks for a record of whatever begins, and Joined of each request that another proxy's
	// record shares a Hop with. Both are for Live.
	All, Joined bool
	// Pick sees each request that is about to go out, and may give its record a Hop; nil: none gets
	// one.
	Pick func(*Record)
}

// Idle: nobody looks at anything.
func (h *Hook) Idle() bool { return h.End == nil && h.Trace == nil && !h.All && !h.Joined }

// Watch is where a hook hangs. Without one a request costs one look at it.
type Watch struct{ hook atomic.Pointer[Hook] }

// Set hangs another hook; nil: nobody looks at what begins from now on. What has begun is the
// earlier one's.
func (w *Watch) Set(h *Hook) { w.hook.Store(h) }

// Begin is the beginning of a request or of an opaque connection. It returns nil if nobody looks at
// it: then nothing has to be kept for it.
func (w *Watch) Begin(at time.Time) *Record {
	if w == nil {
		return nil
	}
	h := w.hook.Load()
	if h == nil || h.End == nil && !h.All {
		return nil
	}
	return &Record{Start: at, hook: h}
}

// Looks reports whether anybody looks at anything.
func (w *Watch) Looks() bool { return w != nil && w.hook.Load() != nil }

// Texts are those that the records of one connection mostly have in common: each is copied once.
// They belong to the connection's reader.
type Texts struct{ method, authority, agent string }

// Asked keeps what the request's head says and may be shown: neither a query, which often holds
// secrets, nor user and password of an authority.
func (r *Record) Asked(t *Texts, method, path, authority string) {
	r.Trace.askedFor(path)
	if i := strings.IndexAny(path, "?#"); i >= 0 {
		path = path[:i]
	}
	authority = authority[strings.LastIndexByte(authority, '@')+1:]
	r.Method, r.Path = again(&t.method, method, maxText), keep(path)
	r.Authority = again(&t.authority, authority, maxText)
}

// Named keeps how the caller calls itself, and the request.
func (r *Record) Named(t *Texts, agent, request string) {
	r.UserAgent = again(&t.agent, agent, maxName)
	r.RequestID = strings.Clone(request[:min(len(request), maxName)])
}

// keep is a copy of a peer's text, whose own memory is used again.
func keep(s string) string { return strings.Clone(s[:min(len(s), maxText)]) }

// again is a copy of a peer's text, the last one if it is the same.
func again(last *string, s string, most int) string {
	if s = s[:min(len(s), most)]; s != *last {
		*last = strings.Clone(s)
	}
	return *last
}

// HeldBack: a fault delays the request.
func (r *Record) HeldBack() {
	if r != nil {
		r.Delayed = true
	}
}

// Pickable reports whether somebody may give the request's record a Hop.
func (r *Record) Pickable() bool { return r != nil && r.hook.Pick != nil }

// SetsOut: the request is about to go out. Its record says by now where to.
func (r *Record) SetsOut() { r.hook.Pick(r) }

// Answered: the response's final head has gone to the caller.
func (r *Record) Answered(status int, at time.Time) {
	if r != nil {
		r.Status, r.FirstByte = status, at.Sub(r.Start)
	}
}

// GRPC keeps the status of gRPC.
func (r *Record) GRPC(status string) {
	if r != nil {
		r.GRPCStatus = keep(status)
	}
}

// Because says why it does not go well, in one word and in many. The first word counts: the others
// follow from it.
func (r *Record) Because(why Reason, detail string) {
	if r != nil && r.Reason == Plain {
		r.Reason, r.Detail = why, keep(detail)
	}
}

// CutOff: the response, of which the caller has the beginning, is broken off.
func (r *Record) CutOff() {
	if r != nil {
		r.Cut = true
	}
}

// End completes the record and gives it away.
func (r *Record) End(q Request) {
	if r == nil {
		return
	}
	r.Request = q
	r.Cut = r.Cut || q.Outcome == Reset || q.Outcome == Cancelled && r.Status != 0
	r.Because(q.Outcome.Reason(), "")
	if r.hook.End != nil {
		r.hook.End(r)
	}
	if r.Trace != nil {
		r.hook.Traced(r)
	}
	if r.hook.Live != nil {
		r.hook.Live(r)
	}
}
