package forward

import (
	"cmp"
	"time"

	"github.com/tulle-mesh/tulle/proxy/balance"
	"github.com/tulle-mesh/tulle/proxy/h2"
	"github.com/tulle-mesh/tulle/proxy/header"
	"github.com/tulle-mesh/tulle/proxy/metric"
	"github.com/tulle-mesh/tulle/proxy/outcome"
	"golang.org/x/net/http2/hpack"
)

// retryWithin leaves a and starts another try, if the rule and its budget allow one, after the
// pause that the rule or what the backend said asks for; nil: it said nothing.
func (x *exchange) retryWithin(a *attempt, said []hpack.HeaderField, b *batch) bool {
	if x.bound = outcome.Plain; !x.repeatable() {
		if x.rule.Retry && x.mayRepeat() && int(x.tries) >= x.maxTries() {
			x.bound = outcome.RetryLimit
		}
		return false
	}
	pause, welcome := x.pause(a, said)
	if !welcome || x.endsWithin(pause) {
		return false
	}
	if !x.withdraw() {
		x.bound = outcome.RetryBudget
		return false
	}
	x.record().Retries.Add(1)
	x.repeats++
	x.retry(a, pause, b)
	return true
}

// repeatable: the rule allows another try, but for the budget.
func (x *exchange) repeatable() bool {
	return x.rule.Retry && x.mayRepeat() && x.replayable(x.maxTries())
}

func (x *exchange) maxTries() int { return cmp.Or(x.rule.MaxTries, x.c.f.Limits.MaxTries) }

// notRepeated says what kept an answer that asks for another try from getting one. The caller has
// that answer, with its own status: for an empty budget Gateway API would have 503 (GEP-3388),
// which says less.
func (x *exchange) notRepeated() {
	switch x.bound {
	case outcome.RetryLimit:
		x.because(x.bound, "there were as many tries as may be")
	case outcome.RetryBudget:
		x.because(x.bound, "the retries' budget or the cluster's limit had no room for another try")
	}
}

// mayRepeat: what the request does may be done twice, as far as its method tells.
func (x *exchange) mayRepeat() bool {
	return x.rule.Retries.Covers(header.Value(x.req, ":method"))
}

// resend is again for what never left: nothing was asked of anybody, so neither profile nor budget
// has a say.
func (x *exchange) resend(a *attempt, b *batch) bool {
	if !x.replayable(x.c.f.Limits.MaxTries) {
		return false
	}
	x.retry(a, x.ownPause(), b)
	return true
}

// resendOnce is resend for what most likely reached nobody. That is believed once: who is wrong
// twice does a thing three times.
func (x *exchange) resendOnce(a *attempt, b *batch) bool {
	if x.resent {
		return false
	}
	x.resent = true
	return x.resend(a, b)
}

// resendElsewhere is resend for what a backend says it has not processed (RFC 9113 §8.7). It is
// free once and at another endpoint, as gRPC's transparent retries are (gRPC A6). After that the
// budget is charged: a backend that refuses because it has too much to do must not be sent a
// multiple of it.
func (x *exchange) resendElsewhere(a *attempt, b *batch) bool {
	if !x.replayable(x.c.f.Limits.MaxTries) {
		return false
	}
	if (x.resent || x.alone()) && !x.withdraw() {
		return false
	}
	x.resent = true
	x.retry(a, x.ownPause(), b)
	return true
}

// withdraw takes a try from the retries' budget and the cluster's limit, or counts that there was
// none.
func (x *exchange) withdraw() bool {
	held, now := x.occupies&(1<<metric.Retries) != 0, time.Now()
	if !x.c.f.tight(now) && x.occupy(metric.Retries) {
		if x.rule.Route.Budget.Withdraw(now) {
			return true
		}
		if !held {
			x.vacate(metric.Retries)
		}
	}
	x.record().RetriesRefused.Add(1)
	return false
}

// alone: the next try will be at the same endpoint.
func (x *exchange) alone() bool {
	set := x.cluster.Current()
	if set == nil {
		return true
	}
	others := len(set.All) - x.cluster.Ejected()
	return others <= 1 || int(x.tries) >= others
}

// idempotent: such a request may be sent again when a kept connection broke before it was answered
// (RFC 9110 §9.2.2).
func (x *exchange) idempotent() bool {
	if x.tunnel {
		return false
	}
	switch header.Value(x.req, ":method") {
	case "GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE":
		return true
	}
	return false
}

// replayable: all of the request is here, and it was not sent as often as it may be.
func (x *exchange) replayable(most int) bool {
	return x.phase < phaseAnswering && x.kept && int(x.tries) < most
}

// retry starts the try that follows a, after a pause; 0: at once.
func (x *exchange) retry(a *attempt, pause time.Duration, b *batch) {
	x.last = a.endpoint
	x.abandon(a, b)
	if pause == 0 {
		x.try(b)
		return
	}
	x.enter(phaseBackoff)
	x.arm(x.age() + pause)
}

// undelivered is called by the pool, without mu, when a's request could not be sent: nothing of it
// reached anyone.
func (a *attempt) undelivered(why outcome.Reason, words string, b *batch) {
	x := a.x
	x.mu.Lock()
	defer x.mu.Unlock()
	if !x.live.has(a) {
		return
	}
	a.count(true)
	a.kept().Because(outcome.ConnectFailed)
	if a.probe != 0 { // else the dial was judged, for all that waited for it
		a.judge(balance.Bad)
	}
	if x.without(a, b) {
		return
	}
	if x.c.refuses() {
		x.because(why, words)
		x.abandon(a, b)
		x.refuse(b)
		return
	}
	if !x.resend(a, b) && !x.retryWithin(a, nil, b) {
		x.fail(503, why, words, b)
	}
}

// stranded is called, without mu, when the endpoint that a waits for a connection to has left.
func (a *attempt) stranded(b *batch) {
	x := a.x
	x.mu.Lock()
	defer x.mu.Unlock()
	if !x.live.has(a) || a.up != nil {
		return
	}
	x.findAnew(a, b)
}

// findAnew places a anew, among the endpoints of the moment: nothing was sent, so it is the
// same try.
func (x *exchange) findAnew(a *attempt, b *batch) {
	if x.without(a, b) {
		return
	}
	a.endpoint.Done()
	a.waitsNoMore()
	a.unprobed()
	a.endpoint, a.pool = nil, nil
	x.findEndpoint(a, b)
}

// unsendable: a peer sent in HTTP/2 what the application's HTTP/1 has no words for, or more than an
// HTTP/2 one has said that it takes (RFC 9113 §6.5.2).
func (x *exchange) unsendable(a *attempt, b *batch) {
	switch {
	case x.without(a, b):
	case a.pool.kind != plainHTTP1:
		x.fail(431, outcome.HeaderTooLarge,
			"the request's header fields are more than "+a.endpoint.Address+" takes", b)
	default:
		x.fail(400, outcome.BadRequest,
			"this request cannot be written as HTTP/1.1, which the application speaks", b)
	}
}

// refuse passes on that the application took nothing, so that the caller's proxy tries elsewhere.
func (x *exchange) refuse(b *batch) {
	x.down.Reset(h2.CodeRefusedStream)
	b.touch(x.down)
	x.failed = true
	x.finish(outcome.Refused, b)
}
