package forward

import (
	"math/rand/v2"
	"time"

	"github.com/tulle-mesh/tulle/proxy/authorize"
	"github.com/tulle-mesh/tulle/proxy/balance"
	"github.com/tulle-mesh/tulle/proxy/header"
	"github.com/tulle-mesh/tulle/proxy/memory"
	"github.com/tulle-mesh/tulle/proxy/metric"
	"github.com/tulle-mesh/tulle/proxy/outcome"
	"golang.org/x/net/http2/hpack"
)

// tight reports whether nothing is to be done twice. So it is, too, while nearly as many requests
// wait for their answers as may: what waits longest is tried again first.
func (f *Forwarder) tight(now time.Time) bool {
	return f.Memory(now) >= memory.Tight || f.waiting.Load() > int64(f.maxCrowd/20*17)
}

// shed reports whether there is no memory for a request, and counts that.
func (x *exchange) shed() bool {
	f := x.c.f
	switch level := f.Memory(x.start); {
	case level < memory.Short, level == memory.Short && !x.c.side.stranger():
		return false
	case x.c.side.probed(x), f.relieve(x.start):
		return false
	}
	f.shedWork.Inc()
	return true
}

// inside is a bit of occupies, beside those of its cluster's limits: a place among the requests
// that are under way at the application.
const inside = 1 << metric.Limits

// crowded refuses what the application has no room for.
var crowded = &authorize.Refusal{
	Status: 503, Reason: "too many requests are under way at the application", Crowded: true,
}

// enter counts a request among those under way at the application, if there is room. The pod's own
// calls are not counted, nor what may go on for days.
func (s *toApplication) enter(x *exchange) bool {
	c := x.port.Concurrency
	if c == nil || x.tunnel || s.caller.Security == metric.Loopback {
		return true
	}
	if !c.Enter(x.start) {
		return false
	}
	x.occupies |= inside
	return true
}

// leaves ends what enter began. A request is under way until its answer begins: what follows, and
// how fast, is up to the caller.
func (x *exchange) leaves(now time.Time, answered bool) {
	if x.occupies&inside == 0 {
		return
	}
	x.occupies &^= inside
	if answered {
		x.port.Concurrency.Answered(x.start, now)
	} else {
		x.port.Concurrency.Left(x.start, now)
	}
}

// mostSeconds is the longest time after which a caller is asked to come again.
const mostSeconds = 3

// overloaded refuses a request of which nothing was done. The times after which callers are to come
// again differ, so that they do not all come at once.
func (x *exchange) overloaded(words string, b *batch) {
	x.because(outcome.Overload, words)
	x.failed = true
	x.reply(x.replyUntil(1+rand.IntN(mostSeconds), 503, words), b)
}

// undelivered reports whether the caller may be told that the application has seen nothing of the
// request: it is a proxy, and knows others.
func (x *exchange) undelivered(status int) bool {
	return status == 503 && x.tries == 0 && x.c.side.peer()
}

// turnedAway reports whether another try follows a, whose endpoint's proxy says that its
// application has seen nothing of it. That the application has enough to do is no failure of it.
func (a *attempt) turnedAway(status int, fields []hpack.HeaderField, end bool) bool {
	x, b := a.x, &a.conn.batch
	switch {
	case status != 503 && !(x.grpc && end), !a.endpoint.Meshed(),
		header.Value(fields, header.Undelivered) == "":
		return false
	}
	a.count(true)
	a.judge(balance.Limited)
	return x.without(a, b) || !x.alone() && x.resendElsewhere(a, b)
}
