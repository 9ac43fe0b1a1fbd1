package forward

import (
	"sync"
	"time"

	"github.com/tulle-mesh/tulle/proxy/authorize"
	"github.com/tulle-mesh/tulle/proxy/balance"
	"github.com/tulle-mesh/tulle/proxy/discover"
	"github.com/tulle-mesh/tulle/proxy/h2"
	"github.com/tulle-mesh/tulle/proxy/header"
	"github.com/tulle-mesh/tulle/proxy/metric"
	"github.com/tulle-mesh/tulle/proxy/outcome"
	"github.com/tulle-mesh/tulle/proxy/route"
	"github.com/tulle-mesh/tulle/proxy/timer"
	"golang.org/x/net/http2/hpack"
)

// exchange is one request and its response, between the stream it came on and the one it went out
// on. It holds the route, the tries under way, what may have to be sent again, the deadlines, and
// the outcome.
//
// Events arrive from up to three goroutines: the reader of the caller's connection, the reader of
// the backend's, and the timer wheel. mu serialises them. An exchange may be parked at any stage,
// for an endpoint, a dial, a free stream or a backoff: what the caller sends meanwhile is kept
// here, its window withheld, so the caller bounds it.
type exchange struct {
	c    *ServerConn
	down stream

	mu    sync.Mutex // guards everything below; taken before any connection's lock
	phase phase
	tries uint8 // made so far
	// of them, those beyond the first that may have reached somebody: retries and hedges
	repeats uint8
	// Outside of what the profile allows, for a try most likely reached nobody.
	resent   bool
	hedged   bool  // or it was decided against
	occupies uint8 // places within its cluster's limits, a bit for each
	stepOf   phase
	shared   bool // others than its streams' readers may know of it
	rule     *route.Rule
	port     *discover.PortAnswer // inbound: of the moment it was admitted
	backend  *route.Backend
	cluster  *balance.Cluster // backend's
	live     tries
	winner   *attempt // the try whose final head the caller has; nil: none has brought one
	early    *earlyHead
	first    attempt           // for its memory
	last     *balance.Endpoint // of the try before
	reached  *balance.Endpoint // the last that a try was for: the one that counts the request
	start    time.Time
	placed   bool // it counts among those that wait
	grpc     bool
	unsaid   bool // gRPC's status is still to come: the answer has begun, as its do
	tunnel   bool // an upgrade, or CONNECT: what follows the request is not HTTP's
	asked    bool // for a tunnel, which it may have been denied
	http1    bool // the caller speaks it, or its proxy says so; translate.go
	reqEnd   bool // all of the request is here
	kept     bool // body is everything that came
	deadline timer.Timer
	limit    time.Duration // the deadline's; 0: none
	step     timer.Timer   // of stepOf: what is due first of its tries, or a backoff's end
	stepAt   time.Duration // of the exchange's age; 0: it is disarmed

	stall timer.Timer // runs while a peer does not take what it was sent
	// When a stalled peer last took something, or else the caller last sent some of its body.
	progressedAt time.Time
	heldDown     int32  // bytes of the response that its stream keeps, for the caller takes no more
	weight       int32  // of req, among its connection's heads
	tail         stream // the backend's, when the response has ended and some of it is still held

	mirrors *mirror // the copies that are to have all of the request; see mirrorLater

	req      []hpack.HeaderField
	trailers []hpack.HeaderField
	body     []byte // what came so far, while it may have to be sent again
	refunded int    // bytes of body whose window the caller has back

	respEnd   bool // the response has ended; of an upgraded connection, that half
	success   bool // the response's status is 2xx
	failed    bool // classified as a failure
	outcome   outcome.Outcome
	fault     uint16         // that it has: the status of its error, or noError; 0: there is none
	why       outcome.Reason // it does not go plainly well
	bound     outcome.Reason // what kept a try that failed from being repeated; Plain: nothing has
	respBytes uint64
	reqBytes  uint64
	upload    uint64 // of an upgrade: how many of them are its body

	given  *givenCookie    // nil: none is
	seen   *outcome.Record // nil: nobody looks
	memory recycler        // what it is in; nil: the collector's
	next   *exchange       // in a batch's spent
}

// attempt is one try at the backend. It is the sink of its stream: what an earlier try still says
// is ignored.
type attempt struct {
	x        *exchange
	endpoint *balance.Endpoint
	pool     *pool
	conn     *clientConn
	up       stream
	sent     time.Time
	// The exchange's age at which its wait ends, or its time with the backend; 0: it has no end.
	due     time.Duration
	left    int    // bytes of the body that have left
	held    int32  // bytes of it that the stream keeps, for the backend takes no more
	probe   uint32 // the endpoint is ejected, and this is to show whether it is back; 0: it is not
	sampled bool   // the latency was taken, and pending given back
	counted bool   // the try's result was recorded
	judged  bool   // its endpoint was, by the try's result
	pending bool   // it has a place among those that wait
	extra   bool   // it is a hedge
	number  uint8  // the how manieth it is, from 1 on

	http2 h2.Stream // up's memory, if it is one
}

// Owner is the caller's connection: those take turns in a queue.
func (a *attempt) Owner() any { return a.x.c }

func (a *attempt) memory() *h2.Stream { return &a.http2 }
func (a *attempt) headOnly() bool     { return a.x.headersEnd() }
func (a *attempt) tunnels() bool      { return a.x.tunnel }

// OnHeaders takes the request's head, or its trailers.
func (x *exchange) OnHeaders(fields []hpack.HeaderField, end bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	switch {
	case x.phase == phaseEnded:
	case x.phase == phaseNew:
		x.begin(fields, end)
	default:
		x.reqEnd = end
		x.trailers = header.Keep(nil, fields)
		for _, a := range x.live.all() {
			if a.up != nil {
				a.up.WriteHeaders(x.trailers, true)
				x.c.batch.touch(a.up)
			}
		}
		x.mirrors.trail(x.trailers, &x.c.batch)
		x.endHalves(&x.c.batch)
	}
}

// OnData takes a piece of the request's body.
func (x *exchange) OnData(p []byte, end bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.reqBytes += uint64(len(p))
	end = end || x.uploaded()
	x.reqEnd = x.reqEnd || end
	if x.phase == phaseEnded {
		x.refunded += len(p)
		x.down.Consumed(len(p))
		return
	}
	if !x.holds() {
		x.progressedAt = x.c.batch.time()
	}
	if x.kept {
		// bounded: credit stops it, and what is not credited the caller's window withholds
		x.body = append(x.body, p...)
	}
	for _, a := range x.live.all() {
		if a.up != nil {
			a.send(p, end, &x.c.batch)
			x.c.batch.touch(a.up)
		}
	}
	x.mirrors.data(p, end, &x.c.batch)
	x.endHalves(&x.c.batch)
}

// send sends a piece of the request's body with a.
func (a *attempt) send(p []byte, end bool, b *batch) {
	n := a.up.WriteData(p, end)
	a.x.hold(&a.held, len(p)-n)
	a.x.credit(a, n, b)
}

// credit gives the caller's window back for n bytes that have left with a, but for those it has
// back already.
func (x *exchange) credit(a *attempt, n int, b *batch) {
	a.left += n
	if ahead := a.left - x.refunded; ahead > 0 {
		x.refunded = a.left
		x.down.Consumed(ahead)
		b.touch(x.down)
	}
	if x.refunded > x.c.f.Limits.RetryBodyLimit {
		x.kept, x.body = false, nil
	}
}

// OnReset: the caller has gone away, or broke its protocol.
func (x *exchange) OnReset(code uint32, err error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.phase == phaseEnded {
		x.cutTail(&x.c.batch)
		return
	}
	if x.outlived() {
		x.complete(&x.c.batch) // it has its answer
		return
	}
	switch {
	case x.c.shed.Load():
		x.because(outcome.Overload, "the proxy was short of memory, and its peer slow")
	case x.c.f.Ctx.Err() != nil:
		x.because(outcome.Draining, drained)
	}
	x.countSent(false) // nobody will know how it went
	x.abandonAll(&x.c.batch)
	x.finish(outcome.Cancelled, &x.c.batch)
}

// OnSent: n bytes of the response have left for the caller.
func (x *exchange) OnSent(n int) {
	x.mu.Lock()
	x.progressed(&x.heldDown, n)
	up := x.tail
	if x.winner != nil {
		up = x.winner.up
	}
	if up != nil {
		up.Consumed(n)
	}
	x.mu.Unlock()
	if up != nil {
		up.Wire().Flush()
	}
}

// begin routes a request and starts its first try.
func (x *exchange) begin(fields []hpack.HeaderField, end bool) {
	x.start = x.c.batch.time()
	x.kept, x.reqEnd = true, end
	x.takeRequest(fields)
	x.look(fields)
	a, refusal := x.admit()
	x.rule = a.Find(x.req)
	if refusal != nil {
		x.turnAway(refusal, &x.c.batch)
		return
	}
	if why := x.noRoom(); why != "" {
		x.refuseForNow(why)
		return
	}
	if !x.direct(a, &x.c.batch) {
		return
	}
	if !x.occupy(metric.Requests) {
		x.overLimit(metric.Requests, &x.c.batch)
		return
	}
	if !x.armDeadline(fields) {
		x.timeout(outcome.DeadlinePassed, deadlinePassed, &x.c.batch)
		return
	}
	if x.rule.Retry && x.mayRepeat() {
		// Only what may be retried pays in: a service's other routes must not earn the retries of
		// the one that fails.
		x.rule.Route.Budget.Deposit(x.start)
	}
	x.setOut()
	if x.rule.Faults != nil && x.befallen(a, &x.c.batch) {
		return
	}
	x.awaitBody(&x.c.batch)
	x.mirror(a, &x.c.batch)
	x.try(&x.c.batch)
}

// direct chooses the backend. It is false if nobody is to be asked: the caller has its answer.
func (x *exchange) direct(a *discover.Answer, b *batch) bool {
	if x.answeredBy(&x.rule.Treatment, b) {
		return false
	}
	x.backend, x.cluster = x.c.side.choose(a, x.rule)
	switch {
	case x.backend == nil:
		x.fail(503, outcome.NoEndpoints, "no backend of "+a.Authority+" has any weight", b)
	case x.answeredBy(&x.backend.Treatment, b):
	case x.backend.Answer != 0:
		x.answerFixed(x.backend.Answer, b)
	default:
		return true
	}
	return false
}

// admit finds where the request goes, and says why it is not served.
func (x *exchange) admit() (*discover.Answer, *authorize.Refusal) {
	if x.shed() {
		const words = "the proxy is out of memory"
		return x.c.f.unknown, &authorize.Refusal{Status: 503, Reason: words, Crowded: true}
	}
	return x.c.side.admit(x)
}

// try starts an attempt: at an endpoint, or parked until there is one.
func (x *exchange) try(b *batch) {
	x.enter(phaseWaiting)
	x.tries++
	a := &x.first
	if x.tries > 1 {
		a, x.shared = &attempt{}, true
	}
	a.x = x
	x.beginTry(a, b)
	x.live.add(a)
	x.findEndpoint(a, b)
}

// findEndpoint sends a to an endpoint, or parks it until there is one.
func (x *exchange) findEndpoint(a *attempt, b *batch) {
	set := x.cluster.Current()
	if set == nil || len(set.All) == 0 {
		if !a.mayWait() {
			x.overLimit(metric.Pending, b)
			return
		}
		var queued bool
		if set, queued = x.cluster.Park(a, x.c.f.Limits.MaxOwnQueue); queued {
			x.await(a)
			return
		}
		if set == nil {
			x.fail(503, outcome.QueueFull,
				"too many requests wait for an endpoint of "+x.cluster.Name, b)
			return
		}
		a.waitsNoMore()
	}
	x.openAt(a, set, b)
}

// openAt sends a to one of the endpoints.
func (x *exchange) openAt(a *attempt, set *balance.EndpointSet, b *batch) {
	e, probe := x.cluster.Take(set, x.pickKey(set, x.last, x.tries-1, b.time()))
	a.probe = probe
	x.sendTo(a, e, b)
}

// sendTo asks an endpoint's pool for a stream for a.
func (x *exchange) sendTo(a *attempt, e *balance.Endpoint, b *batch) {
	a.endpoint, x.reached = e, e
	a.pool = transportOf(a.endpoint).pools.of(x.kindFor(a.endpoint), x.c.f, a.endpoint)
	a.endpoint.Begin()
	switch a.pool.open(a, b) {
	case queued:
		x.await(a)
	case refused:
		if !x.without(a, b) {
			x.fail(503, outcome.QueueFull, "too many requests wait for "+a.endpoint.Address, b)
		}
	case limited:
		if !x.without(a, b) {
			x.overLimit(metric.Pending, b)
		}
	case unsendable:
		x.unsendable(a, b)
	case endpointLeft:
		x.findAnew(a, b) // the set has changed since it was read
	}
}

// opened is called by the pool, with mu held, once a has a stream: the head is on its way, the body
// follows.
func (a *attempt) opened(conn *clientConn, up stream, b *batch) {
	x := a.x
	a.conn, a.up, a.sent, a.due = conn, up, b.time(), 0
	a.kept().Leaves(a.sent, a.endpoint.Address)
	a.waitsNoMore()
	if x.rule.Try > 0 {
		a.due = a.sent.Sub(x.start) + x.rule.Try
	}
	x.proceed()
	if len(x.body) > 0 || (x.reqEnd && !x.headersEnd() && x.trailers == nil) {
		a.send(x.body, x.reqEnd && x.trailers == nil, b)
	}
	if x.trailers != nil {
		up.WriteHeaders(x.trailers, true)
	}
	x.sendOnce()
	b.touch(up)
}

// headersEnd reports whether the request is nothing but its head.
func (x *exchange) headersEnd() bool {
	return x.reqEnd && x.trailers == nil && x.reqBytes == 0
}

// await bounds how long a is in a queue, which knows the exchange from now on.
func (x *exchange) await(a *attempt) {
	x.shared = true
	a.due = x.age() + x.c.f.Limits.DiscoveryWait
	x.proceed()
}

// overdue ends one try; the request may have time for another.
func (x *exchange) overdue(a *attempt, b *batch) {
	if a.up == nil {
		x.waited(a, b)
		return
	}
	a.count(true)
	a.judge(balance.Bad)
	a.kept().Because(outcome.TryTimeout)
	if !x.without(a, b) && !x.retryWithin(a, nil, b) {
		x.timeout(outcome.TryTimeout, "the try took longer than its timeout", b)
	}
}

// waited: no endpoint, connection or stream came free for a in time.
func (x *exchange) waited(a *attempt, b *batch) {
	name := x.cluster.Name
	switch {
	case x.without(a, b):
	case a.endpoint == nil:
		x.fail(503, outcome.NoEndpoints, "no endpoint is ready for "+name, b)
	default:
		x.fail(503, outcome.QueueTimeout, "no connection to "+name+" came free in time", b)
	}
}

// timeout answers 504, or cuts a response that has begun.
func (x *exchange) timeout(why outcome.Reason, words string, b *batch) {
	x.outcome = outcome.Timeout
	x.countSent(true)
	x.fail(504, why, words, b)
}

// countSent records the tries that are with a backend.
func (x *exchange) countSent(failed bool) {
	for _, a := range x.live.all() {
		if a.up != nil {
			a.count(failed)
			if failed {
				a.judge(balance.Bad)
			}
		}
	}
}

// wake is called, without mu, when the cluster that a waits for has an endpoint.
func (a *attempt) wake(b *batch) {
	x := a.x
	x.mu.Lock()
	defer x.mu.Unlock()
	if !x.live.has(a) || a.endpoint != nil {
		return
	}
	x.findEndpoint(a, b)
}

// fail answers with an error of ours, or cuts the response that has begun.
func (x *exchange) fail(status int, why outcome.Reason, words string, b *batch) {
	if x.outlived() {
		x.complete(b) // the rest of the request is what failed
		return
	}
	x.because(why, words)
	x.abandonAll(b)
	x.failed = true
	if x.phase != phaseAnswering {
		x.reply(x.errorReply(status, words), b)
		return
	}
	x.seen.CutOff()
	x.cutShort(h2.CodeInternal, status, words, b)
	b.touch(x.down)
	x.finish(x.outcome, b)
}
