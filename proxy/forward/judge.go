package forward

import (
	"errors"
	"strconv"
	"time"

	"github.com/tulle-mesh/tulle/proxy/balance"
	"github.com/tulle-mesh/tulle/proxy/h1"
	"github.com/tulle-mesh/tulle/proxy/h2"
	"github.com/tulle-mesh/tulle/proxy/header"
	"golang.org/x/net/http2/hpack"
)

// judge tells the endpoint's cluster how a try went, once. Where there is no outlier detection that
// costs two loads. Neither a try that lost to its hedge is judged nor one that its caller gave up.
func (a *attempt) judge(v balance.Verdict) {
	if a.judged || !a.endpoint.Judged() {
		return
	}
	a.judged = true
	a.x.c.f.judge(a.endpoint, v, a.probe)
}

// judge takes a verdict, and says whom it ejects or brings back.
func (f *Forwarder) judge(e *balance.Endpoint, v balance.Verdict, probe uint32) {
	for _, x := range e.Judge(v, probe, time.Now()) {
		at := []any{"endpoint", x.Endpoint.Address, "cluster", x.Endpoint.Cluster()}
		switch {
		case x.Back:
			f.Sampled.Info("an endpoint is back in use", at...)
		case x.For > 0:
			f.Sampled.Info("an endpoint gets no requests for a while",
				append(at, "reason", x.Cause, "for", x.For)...)
		default:
			f.Sampled.Info("an endpoint was to get no requests for a while, but it is a dry run, "+
				"or no other is to spare", append(at, "reason", x.Cause)...)
		}
	}
}

// unprobed gives a probe back that nobody will know the end of.
func (a *attempt) unprobed() {
	if a.probe != 0 && !a.judged {
		a.endpoint.Unprobed(a.probe, time.Now())
	}
	a.probe = 0
}

// answersProbe: a piece of a response is a good answer, whatever gRPC's status will be. A stream
// may go on for days.
func (a *attempt) answersProbe() {
	if a.probe != 0 {
		a.judge(balance.Good)
	}
}

// judgeHead judges by a response's head, unless gRPC's status is still to come.
func (a *attempt) judgeHead(status int, fields []hpack.HeaderField, end bool) {
	if !a.endpoint.Judged() {
		return
	}
	grpc := a.x.grpc && saysStatus(status, fields)
	switch {
	case grpc && end:
		a.judgeStatus(fields)
	case grpc:
	case status == 429 || status == 503:
		a.pushback(retryAfter(header.Value(fields, "retry-after"), time.Now()))
		a.judge(httpVerdict(status))
	default:
		a.judge(httpVerdict(status))
	}
}

// judgeStatus judges by gRPC's status.
func (a *attempt) judgeStatus(fields []hpack.HeaderField) {
	if !a.endpoint.Judged() {
		return
	}
	v := grpcVerdict(grpcCode(fields))
	if v != balance.Good {
		a.pushback(grpcPushback(header.Value(fields, "grpc-retry-pushback-ms")))
	}
	a.judge(v)
}

// judgeReset judges by how a try was broken off. A connection that is going away has not failed,
// nor one that was closed while nothing was on it: what was sent meanwhile had bad luck. That a
// proxy takes no request is its application's failure.
func (a *attempt) judgeReset(err error) {
	switch {
	case err == h2.ErrRefused, errors.Is(err, h2.ErrEarly): // GOAWAY, not RST_STREAM
	case errors.Is(err, h1.ErrUnsent), errors.Is(err, h1.ErrUndelivered),
		errors.Is(err, h1.ErrStale):
	default:
		a.judge(balance.Bad)
	}
}

func (a *attempt) pushback(d time.Duration) {
	if d > 0 {
		a.endpoint.Pushback(d, time.Now())
	}
}

// httpVerdict is Linkerd's: 429 is an answer of an endpoint that works.
func httpVerdict(status int) balance.Verdict {
	switch {
	case status == 429:
		return balance.Limited
	case status >= 500:
		return balance.Bad
	}
	return balance.Good
}

// grpcVerdict is Linkerd's, but for PERMISSION_DENIED (7), which is the caller's doing.
func grpcVerdict(status string) balance.Verdict {
	switch status {
	case "8":
		return balance.Limited
	case "2", "4", "13", "14", "15":
		return balance.Bad
	}
	return balance.Good
}

// retryAfter is how long a caller is to wait (RFC 9110 §10.2.3); 0: it is not said, or over.
func retryAfter(value string, now time.Time) time.Duration {
	if n, err := strconv.ParseUint(value, 10, 31); err == nil {
		return min(time.Duration(n)*time.Second, balance.MaxPushback)
	}
	at, err := time.Parse(time.RFC1123, value) // its zone is GMT (RFC 9110 §5.6.7)
	if err != nil {
		return 0
	}
	return max(0, min(at.Sub(now), balance.MaxPushback))
}

// grpcPushback is gRPC's word for it (A6), in milliseconds. A negative one, or another that is no
// number, means no retry, and says nothing of a time.
func grpcPushback(value string) time.Duration {
	n, err := strconv.ParseUint(value, 10, 31)
	if err != nil {
		return 0
	}
	return min(time.Duration(n)*time.Millisecond, balance.MaxPushback)
}
