package forward

import (
	"strconv"

	"github.com/tulle-mesh/tulle/proxy/authorize"
	"github.com/tulle-mesh/tulle/proxy/h2"
	"github.com/tulle-mesh/tulle/proxy/header"
	"github.com/tulle-mesh/tulle/proxy/outcome"
	"github.com/tulle-mesh/tulle/proxy/route"
	"golang.org/x/net/http2/hpack"
)

// reply is an answer of ours: an error, or whatever else no backend is asked for.
type reply struct {
	status int
	fields []hpack.HeaderField
	body   string
}

// errorReply says what went wrong: the exchange's reason, which goes no further than the mesh, and
// words for people.
func (x *exchange) errorReply(status int, words string) reply {
	if status == 503 && !x.grpc {
		return x.replyUntil(1, status, words) // an endpoint, or room, may soon be there
	}
	return x.replyUntil(0, status, words)
}

// replyUntil is errorReply's, and asks the caller to come again after so many seconds (RFC 9110
// §10.2.3), of which gRPC has metadata; 0: it says nothing of that.
func (x *exchange) replyUntil(again, status int, words string) reply {
	r := reply{status: 200}
	if x.grpc {
		r.fields = grpcError(status, words)
	} else {
		r = reply{status: status, body: words + "\n", fields: []hpack.HeaderField{
			{Name: "content-type", Value: "text/plain; charset=utf-8"},
			{Name: "content-length", Value: strconv.Itoa(len(words) + 1)},
		}}
	}
	if again > 0 {
		r.fields = append(r.fields,
			hpack.HeaderField{Name: "retry-after", Value: strconv.Itoa(again)})
	}
	r.fields = x.explain(r.fields, status, words)
	return r
}

// explain adds what the mesh alone is told of an error of ours.
func (x *exchange) explain(
	fields []hpack.HeaderField, status int, words string,
) []hpack.HeaderField {
	if !x.c.side.explains() {
		return fields
	}
	if x.undelivered(status) {
		fields = append(fields, hpack.HeaderField{Name: header.Undelivered, Value: "1"})
	}
	return append(fields,
		hpack.HeaderField{Name: header.Error, Value: header.Printable(x.why.Says(words))})
}

// answeredBy gives the answer that filters have in place of a backend's, if there is one.
func (x *exchange) answeredBy(t *route.Treatment, b *batch) bool {
	switch {
	case t.CORS != nil && route.IsPreflight(x.req):
		x.permit(t.CORS, b)
	case t.Redirect != nil:
		x.redirect(t.Redirect, b)
	default:
		return false
	}
	return true
}

// permit answers a preflight request. A page that may not ask is told so by 403: to its browser
// that is the same as an answer that permits nothing, and who looks for the reason finds it.
func (x *exchange) permit(c *route.CORS, b *batch) {
	if c.Allows(x.req) {
		x.answerByRoute(reply{status: 204}, b)
		return
	}
	const words = "the route lets no page of this origin ask"
	x.because(outcome.RouteAnswer, words)
	x.answerByRoute(x.errorReply(403, words), b)
}

// redirect tells the caller to make its request elsewhere.
func (x *exchange) redirect(to *route.Redirect, b *batch) {
	r := reply{status: to.Status, fields: []hpack.HeaderField{
		{Name: "location", Value: to.Location(x.req, x.rule.Route.Authority)},
	}}
	x.answerByRoute(r, b)
}

// answerFixed gives the answer that the route has instead of a cluster: 404 to what none of its
// rules matches.
func (x *exchange) answerFixed(status int, b *batch) {
	words := "the route answers " + strconv.Itoa(status)
	x.because(outcome.Fixed(status), words)
	x.answerByRoute(x.errorReply(status, words), b)
}

// turnAway answers a request that is not admitted. One that is beyond a rate limit comes too often,
// which is no failure of whoever it was for: it counts as an application's answer would.
func (x *exchange) turnAway(why *authorize.Refusal, b *batch) {
	switch {
	case why.Crowded:
		x.overloaded(why.Reason, b)
		return
	case why.Over.Limit == nil:
		x.fail(why.Status, x.refusedFor(), why.Reason, b)
		return
	}
	x.because(outcome.RateLimited, why.Reason)
	r := x.errorReply(why.Status, why.Reason)
	r.fields = append(r.fields, limitFields(&why.Over)...)
	x.failed = x.rule.Failure(r.status) || grpcFailure(header.Value(r.fields, "grpc-status"))
	x.reply(r, b)
}

// limitField says which rate limit a request is beyond.
const limitField = "ratelimit"

// limitFields tell a caller when to come again (RFC 9110, 10.2.3), and what the limit is
// (draft-ietf-httpapi-ratelimit-headers-10). gRPC takes them for metadata.
func limitFields(over *authorize.Excess) []hpack.HeaderField {
	return []hpack.HeaderField{
		{Name: "retry-after", Value: strconv.FormatInt(over.RetryAfter(), 10)},
		{Name: "ratelimit-policy", Value: over.Limit.Policy},
		{Name: limitField, Value: over.RateLimit()},
	}
}

// answerByRoute gives an answer that the route asks for. It counts, and its head is edited, as a
// backend's would.
func (x *exchange) answerByRoute(r reply, b *batch) {
	x.failed = x.rule.Failure(r.status) || grpcFailure(header.Value(r.fields, "grpc-status"))
	r.fields = route.Edit(x.rule.Filters, true, r.fields)
	if x.backend != nil {
		r.fields = route.Edit(x.backend.Filters, true, r.fields)
	}
	x.reply(r, b)
}

// reply gives an answer of ours, and ends the exchange.
func (x *exchange) reply(r reply, b *batch) {
	r.fields = x.share(r.fields)
	x.write(r)
	x.seen.Answered(r.status, b.time())
	x.seen.GRPC(header.Value(r.fields, "grpc-status"))
	x.endEarly(b)
	b.touch(x.down)
	x.finish(x.outcome, b)
}

// write sends a reply: all of the response. A caller that does not take even its head gets a reset.
func (x *exchange) write(r reply) {
	head := append(
		[]hpack.HeaderField{{Name: ":status", Value: strconv.Itoa(r.status)}},
		r.fields...)
	bodiless := r.body == "" || header.Value(x.req, ":method") == "HEAD"
	if x.down.WriteHeaders(head, bodiless) != nil {
		x.down.Reset(h2.CodeInternal)
	}
	if !bodiless {
		x.down.WriteData([]byte(r.body), true)
	}
}
