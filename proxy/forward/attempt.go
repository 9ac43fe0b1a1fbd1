package forward

import (
	"errors"
	"slices"
	"strconv"
	"time"

	"github.com/tulle-mesh/tulle/proxy/balance"
	"github.com/tulle-mesh/tulle/proxy/h1"
	"github.com/tulle-mesh/tulle/proxy/h2"
	"github.com/tulle-mesh/tulle/proxy/header"
	"github.com/tulle-mesh/tulle/proxy/metric"
	"github.com/tulle-mesh/tulle/proxy/outcome"
	"golang.org/x/net/http2/hpack"
)

// OnHeaders takes an informational head, the response's head, or its trailers.
func (a *attempt) OnHeaders(fields []hpack.HeaderField, end bool) {
	x := a.x
	x.mu.Lock()
	defer x.mu.Unlock()
	if !x.live.has(a) {
		return
	}
	b := &a.conn.batch
	switch {
	case x.winner == a:
		a.forwardTrailers(fields)
		return
	case x.early.isOf(a):
		a.takeTrailers(fields)
		return
	}
	status, _ := strconv.Atoi(header.Value(fields, ":status"))
	if status >= 100 && status < 200 {
		x.down.WriteHeaders(header.Keep(nil, fields), false)
		b.touch(x.down)
		return
	}
	a.takeHead(status, fields, end)
}

// takeHead takes the response's head: it is a reason for another try, or it goes to the caller.
func (a *attempt) takeHead(status int, fields []hpack.HeaderField, end bool) {
	x, b := a.x, &a.conn.batch
	if a.turnedAway(status, fields, end) {
		return
	}
	a.endpoint.MarkAnswered()
	a.kept().Answered(status)
	failed := x.rule.Failure(status)
	if status == 504 && x.late() {
		x.ranOut()
	}
	again := x.rule.Retries.Answer(status, failed)
	a.judgeHead(status, fields, end)
	if x.grpc && end && saysStatus(status, fields) {
		a.called(fields)
		failed = x.grpcEnd(fields) || failed
		again = again || x.grpcRepeatable(fields)
	}
	if status == 200 && !end && x.grpc && x.reqEnd && x.live[1] == nil && x.repeatable() {
		x.early = &earlyHead{a, slices.Clone(fields)}
		return
	}
	if end && !failed {
		a.sample(b)
	}
	if failed || end || !x.grpc { // else gRPC's status is still to come
		a.count(failed)
	}
	// A response to a request that is still being sent is final (Linkerd's rule): the body cannot
	// be told to have been read or not.
	if again {
		if x.without(a, b) || (x.reqEnd || end) && x.retryWithin(a, fields, b) {
			return
		}
		x.notRepeated()
	}
	x.failed = failed
	a.answer(status, fields, end)
}

// takeTrailers takes the end of a gRPC answer that has a head and no message. Some servers
// (Python's, Akka's) answer so where others send trailers alone, and it is as good a reason for
// another try.
func (a *attempt) takeTrailers(fields []hpack.HeaderField) {
	x, b := a.x, &a.conn.batch
	a.judgeStatus(fields)
	a.called(fields)
	a.count(x.grpcEnd(fields))
	if x.grpcRepeatable(fields) {
		if x.without(a, b) || x.retryWithin(a, fields, b) {
			return
		}
		x.notRepeated()
	}
	if x.answerEarly(); x.winner == a {
		a.forwardTrailers(fields)
	}
}

// earlyHead is the head of a gRPC answer whose trailers may yet ask for another try. It is kept for
// a try that has no other beside it: of two, the first to answer is taken.
type earlyHead struct {
	of     *attempt
	fields []hpack.HeaderField
}

func (e *earlyHead) isOf(a *attempt) bool { return e != nil && e.of == a }

// answerEarly gives the caller the head that was kept.
func (x *exchange) answerEarly() {
	head := x.early
	x.early = nil
	head.of.answer(200, head.fields, false)
}

// answer gives the caller the response's head: this try is the one that answers.
func (a *attempt) answer(status int, fields []hpack.HeaderField, end bool) {
	x, b := a.x, &a.conn.batch
	x.win(a, b)
	a.conn.scratch = x.responseFields(a.conn.scratch[:0], a, fields)
	if x.down.WriteHeaders(a.conn.scratch, end) != nil {
		x.fail(502, outcome.HeaderTooLarge,
			"the response's header fields are more than the caller takes", b)
		return
	}
	x.enter(phaseAnswering)
	x.success = status >= 200 && status < 300
	x.seen.Answered(status, b.time())
	x.unsaid = x.grpc && !end && status == 200
	if status >= 300 && status < 400 {
		x.c.side.redirected(x, header.Value(fields, "location"))
	}
	x.kept, x.body = false, nil
	x.freeHead()
	if x.tunnel && (status != 200 || header.Value(fields, h1.DeclinedField) != "") {
		a.decline(b)
	}
	if x.tunnel {
		x.stop(&x.deadline) // a timeout is for an answer; an open tunnel has had it
		x.stop(&x.stall)    // it may pause
	}
	b.touch(x.down)
	if end {
		x.answered(b)
	}
}

// decline makes an ordinary request of one that asked for a tunnel and got another answer. What was
// for the tunnel is thrown away, and is held no longer.
func (a *attempt) decline(b *batch) {
	x := a.x
	x.tunnel = false
	a.held = min(a.held, int32(max(0, int(x.upload)-a.left)))
	if x.uploaded() {
		x.reqEnd = true
		a.up.WriteData(nil, true)
		b.touch(a.up)
	}
}

// uploaded reports whether a caller who asked for a tunnel in vain has said all of its request. In
// HTTP/1 what follows is its next request; in HTTP/2 it says itself when it has.
func (x *exchange) uploaded() bool {
	return x.asked && !x.tunnel && x.c.http1 && x.reqBytes >= x.upload
}

// OnData takes a piece of the response's body.
func (a *attempt) OnData(p []byte, end bool) {
	x := a.x
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.early.isOf(a) {
		x.answerEarly()
	}
	if x.winner != a {
		a.up.Consumed(len(p))
		return
	}
	b := &a.conn.batch
	a.sample(b)
	a.answersProbe()
	x.respBytes += uint64(len(p))
	n := x.down.WriteData(p, end)
	x.hold(&x.heldDown, len(p)-n)
	if n > 0 {
		a.up.Consumed(n)
		b.touch(a.up)
	}
	b.touch(x.down)
	if end {
		x.answered(b)
	}
}

// forwardTrailers passes the response's trailers on: the end.
func (a *attempt) forwardTrailers(fields []hpack.HeaderField) {
	x, b := a.x, &a.conn.batch
	x.unsaid = false
	if x.grpc {
		a.judgeStatus(fields)
		a.called(fields)
		x.failed = x.grpcEnd(fields) || x.failed
	}
	a.count(x.failed)
	a.sample(b)
	x.down.WriteHeaders(header.Keep(nil, fields), true)
	b.touch(x.down)
	x.answered(b)
}

// OnReset: the try is over without an end.
func (a *attempt) OnReset(code uint32, err error) {
	x := a.x
	x.mu.Lock()
	defer x.mu.Unlock()
	if !x.live.has(a) {
		return
	}
	b := &a.conn.batch
	if x.outlived() {
		x.complete(b) // the backend wants no more of the request
		return
	}
	a.count(true)
	a.judgeReset(err)
	if x.c.f.Ctx.Err() != nil {
		x.because(outcome.Draining, drained)
	}
	unsent, unread := errors.Is(err, h1.ErrUnsent), errors.Is(err, h1.ErrUndelivered)
	refused := unsent || unread || errors.Is(err, h2.ErrRefused)
	a.kept().Because(brokenBy(refused))
	switch {
	case x.late():
		// A backend that watches the same deadline (grpc-timeout) gave up a moment before the wheel
		// turned.
		x.timeout(outcome.RequestTimeout, requestTimeout, b)
	case x.without(a, b):
	case x.winner == a:
		x.failed = true
		x.brokenOff(a, code, err)
		b.touch(x.down)
		a.up = nil
		x.abandon(a, b)
		x.finish(outcome.Reset, b)
	case errors.Is(err, h2.ErrEarly) && x.resend(a, b):
	case refused && x.c.refuses():
		x.abandon(a, b)
		x.refuse(b)
	case unsent && x.resend(a, b):
	case (unread || errors.Is(err, h1.ErrStale) && x.idempotent()) && x.resendOnce(a, b):
	case errors.Is(err, h2.ErrRefused) && x.resendElsewhere(a, b), x.retryWithin(a, nil, b):
	case refused:
		x.fail(503, outcome.RefusedStream,
			"the application behind "+a.endpoint.Address+" takes no requests", b)
	default:
		x.fail(502, outcome.ResetByPeer,
			"the connection to "+a.endpoint.Address+" broke: "+reasonOf(err), b)
	}
}

// OnSent: n bytes of the request have left.
func (a *attempt) OnSent(n int) {
	var b batch
	x := a.x
	x.mu.Lock()
	if x.live.has(a) {
		x.progressed(&a.held, n)
		x.credit(a, n, &b)
		x.endHalves(&b)
	}
	x.mu.Unlock()
	b.flush()
}

// sample takes the try's latency, once, at the first piece of the body or the end: a head alone may
// be an early one.
func (a *attempt) sample(b *batch) {
	if a.sampled {
		return
	}
	a.sampled = true
	now := b.time()
	e := a.endpoint
	e.Done()
	set := a.x.cluster.Current()
	e.Observe(now.Sub(a.sent), set.Params, now)
	a.x.leaves(now, !a.x.failed)
}

// sampleFailure takes the latency of a try that failed, unless a better moment has been taken.
func (a *attempt) sampleFailure() {
	if a.sampled || a.sent.IsZero() {
		return
	}
	a.sampled = true
	e := a.endpoint
	e.Done()
	e.Failed(time.Since(a.sent), a.x.cluster.Current().Params, time.Now())
}

// openQueued opens a, which was queued, if it still wants to be; false: there was no room after
// all.
func (a *attempt) openQueued(b *batch) bool {
	x := a.x
	x.mu.Lock()
	defer x.mu.Unlock()
	if !x.live.has(a) || a.up != nil {
		return true
	}
	switch a.pool.openNext(a, b) {
	case queued:
		return false
	case unsendable:
		x.unsendable(a, b)
	case endpointLeft:
		x.findAnew(a, b)
	}
	return true
}

// answered: the response has ended. Of an upgraded connection the other half goes on (RFC 8441 §5),
// and so does the rest of a request that has succeeded: a server may read on after its answer. One
// that does not want the rest says so, or closes.
func (x *exchange) answered(b *batch) {
	x.respEnd = true
	if x.unsaid && x.grpcEnd(nil) {
		x.winner.judge(balance.Bad)
		x.failed = true
	}
	switch {
	case x.tunnel:
		x.endHalves(b)
	case x.grpc, !x.success, x.reqEnd && x.winner.held == 0:
		x.complete(b)
	default:
		x.shared = true
		x.stop(&x.deadline) // a timeout is for the answer
		x.awaitBody(b)
	}
}

// outlived: the response has ended, and the request goes on.
func (x *exchange) outlived() bool {
	return x.respEnd && !x.tunnel && x.phase == phaseAnswering
}

// endHalves ends an exchange once both halves have, and all that the caller said has left.
func (x *exchange) endHalves(b *batch) {
	if x.respEnd && x.reqEnd && x.winner.held == 0 {
		x.complete(b)
	}
}

// complete ends an exchange whose response has.
func (x *exchange) complete(b *batch) {
	a := x.winner
	a.count(x.failed)
	a.kept().Ends(b.time())
	if x.heldDown > 0 {
		x.tail = a.up
	}
	// The backend wants no more: the stream would wait for a window that need not come.
	if !x.reqEnd || a.held > 0 {
		a.up.Reset(h2.CodeNone)
		b.touch(a.up)
	}
	x.endEarly(b)
	x.leave(a)
	x.finish(outcome.Answered, b)
	if x.forgotten(a) {
		b.spend(x)
	}
}

// finish records the exchange, exactly once, and disarms what is armed.
func (x *exchange) finish(o outcome.Outcome, b *batch) {
	x.enter(phaseEnded)
	if x.outcome == outcome.None {
		x.outcome = o
	}
	x.stop(&x.deadline)
	if x.tail == nil {
		x.stop(&x.stall)
	}
	if rest := int(x.reqBytes) - x.refunded; rest > 0 {
		x.refunded += rest
		x.down.Consumed(rest) // nobody will; the connection's other streams need the window
	}
	x.recordOutcome(b.time())
	x.leaves(b.time(), false)
	x.mirrors.leave(x.reqEnd, b)
	x.body, x.trailers, x.mirrors = nil, nil, nil
	x.givesPlace()
	x.vacate(metric.Requests)
	x.vacate(metric.Retries)
	x.freeHead()
}

// brokenBy is why a try ended without an answer, in one word.
func brokenBy(refused bool) outcome.Reason {
	if refused {
		return outcome.RefusedStream
	}
	return outcome.ResetByPeer
}

func reasonOf(err error) string {
	if err == nil {
		return "reset by the peer"
	}
	return err.Error()
}
