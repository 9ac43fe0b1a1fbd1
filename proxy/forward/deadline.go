package forward

import (
	"strconv"
	"sync/atomic"
	"time"

	"github.com/tulle-mesh/tulle/proxy/balance"
	"github.com/tulle-mesh/tulle/proxy/h2"
	"github.com/tulle-mesh/tulle/proxy/header"
	"github.com/tulle-mesh/tulle/proxy/outcome"
	"golang.org/x/net/http2/hpack"
)

// What is left of a request's time goes on with it: in gRPC's own field, or to the next proxy in
// one of ours. Nobody works then for a caller that has given up.

// deadlineSlop is not worth a new header value, and is as good as late.
const deadlineSlop = time.Millisecond

const (
	requestTimeout = "the request took longer than its timeout"
	deadlinePassed = "the request's deadline had passed when it came"
	drained        = "the proxy has ended, and its grace before"
)

// armDeadline sets the whole request's: the rule's timeout or what the caller grants, whichever is
// less. It is false if that is over.
func (x *exchange) armDeadline(fields []hpack.HeaderField) (inTime bool) {
	d, bounded := x.granted(fields)
	if own := x.rule.Request; own > 0 && (!bounded || own < d) {
		d, bounded = own, true
	}
	if !bounded {
		return true
	}
	if d <= 0 {
		return false
	}
	x.limit = d
	x.c.f.Wheel.Arm(&x.deadline, d, x)
	return true
}

// granted is what the caller has left, where it says so. What it says of HTTP's is believed if it
// is a proxy.
func (x *exchange) granted(fields []hpack.HeaderField) (left time.Duration, bounded bool) {
	switch {
	case x.grpc:
		return h2.ParseGRPCTimeout(header.Value(fields, "grpc-timeout"))
	case x.c.side.peer():
		return parseDeadline(header.Value(fields, header.Deadline))
	}
	return 0, false
}

// longestDeadline stands for all that are longer.
const longestDeadline = 100 * 365 * 24 * time.Hour

func parseDeadline(text string) (left time.Duration, ok bool) {
	if text == "" { // as of most requests, and an error is an allocation
		return 0, false
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return 0, false
	}
	n = min(max(n, 0), int64(longestDeadline/time.Millisecond))
	return time.Duration(n) * time.Millisecond, true
}

// tellDeadline says what is left with the head of a.
func (x *exchange) tellDeadline(
	fields []hpack.HeaderField, e *balance.Endpoint,
) []hpack.HeaderField {
	switch {
	case x.limit == 0:
		return fields
	case x.grpc:
		return x.tellGRPCDeadline(fields)
	case !e.Meshed():
		return fields
	}
	// rounded up: whoever is told gives up after whoever tells, which has the answer for it
	left := max(x.limit-x.age(), 0) + time.Millisecond - 1
	ms := x.c.f.deadlines.text(int64(left / time.Millisecond))
	return append(fields, hpack.HeaderField{Name: header.Deadline, Value: ms})
}

// decimals remembers how numbers are written. Of a route that has a timeout most requests are told
// of the same few, each of which would be an allocation.
type decimals [256]atomic.Pointer[decimal]

type decimal struct {
	n    int64
	text string
}

// text writes n, 0 or more, in decimal.
func (d *decimals) text(n int64) string {
	slot := &d[n%int64(len(d))]
	if known := slot.Load(); known != nil && known.n == n {
		return known.text
	}
	fresh := &decimal{n, strconv.FormatInt(n, 10)}
	slot.Store(fresh)
	return fresh.text
}

// tellGRPCDeadline makes grpc-timeout what is left of the deadline: the caller's own, less what was
// spent on the way here, or the profile's if that is shorter. A deadline that nobody told the
// backend of lets it work for no one.
func (x *exchange) tellGRPCDeadline(fields []hpack.HeaderField) []hpack.HeaderField {
	left := max(x.limit-x.age(), time.Microsecond)
	for i := range fields {
		if fields[i].Name != "grpc-timeout" {
			continue
		}
		if said, ok := h2.ParseGRPCTimeout(fields[i].Value); !ok || said-left > deadlineSlop {
			fields[i].Value = formatGRPCTimeout(left)
		}
		return fields
	}
	return append(fields, hpack.HeaderField{Name: "grpc-timeout", Value: formatGRPCTimeout(left)})
}

// formatGRPCTimeout rounds down: eight digits at most.
func formatGRPCTimeout(d time.Duration) string {
	const most = 1e8
	switch {
	case d/time.Microsecond < most:
		return strconv.FormatInt(int64(d/time.Microsecond), 10) + "u"
	case d/time.Millisecond < most:
		return strconv.FormatInt(int64(d/time.Millisecond), 10) + "m"
	}
	return strconv.FormatInt(int64(min(d/time.Second, most-1)), 10) + "S"
}

// late: the deadline has come, or as good as.
func (x *exchange) late() bool {
	return x.limit > 0 && x.age() >= x.limit-deadlineSlop &&
		!(x.tunnel && x.phase == phaseAnswering)
}

// ranOut notes that an answer is a timeout: who watches the same deadline said so a moment before
// our own wheel turned.
func (x *exchange) ranOut() {
	x.outcome = outcome.Timeout
	x.because(outcome.RequestTimeout, requestTimeout)
}

// deadlineExpired is the deadline's end. A tunnel that has opened since the timer fired, or an
// answer that has ended, came in time.
func (x *exchange) deadlineExpired(b *batch) {
	if opened := x.tunnel && x.phase == phaseAnswering; !opened && !x.outlived() {
		x.timeout(outcome.RequestTimeout, requestTimeout, b)
	}
}
