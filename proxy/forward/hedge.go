package forward

import (
	"time"

	"github.com/tulle-mesh/tulle/proxy/balance"
)

// hedgeDue is the exchange's age at which the try under way is slow enough for a second one beside
// it; 0: there will be none.
func (x *exchange) hedgeDue() time.Duration {
	if x.rule.Hedge == 0 || x.hedged || x.phase != phaseTrying {
		return 0
	}
	return x.live[0].sent.Sub(x.start) + x.rule.HedgeAfter()
}

// hedge sends a second try beside the one under way, once a request, to another endpoint.
func (x *exchange) hedge(b *batch) {
	x.hedged = true
	slow := x.live[0]
	e := x.elsewhere(slow, b)
	if e == nil || !x.hedgeable() || !x.withdraw() {
		x.proceed()
		return
	}
	x.cell(slow.endpoint).Hedges.Add(1)
	x.tries++
	x.repeats++
	x.shared = true
	a := &attempt{x: x, extra: true}
	x.beginTry(a, b)
	x.live.add(a)
	x.sendTo(a, e, b)
}

// hedgeable: the request may be repeated, and all of it is here and stays, whatever of it leaves
// with the slow try.
func (x *exchange) hedgeable() bool {
	return x.repeatable() && x.reqEnd && x.reqBytes <= uint64(x.c.f.Limits.RetryBodyLimit)
}

// elsewhere is another endpoint than a's; nil: there is none.
func (x *exchange) elsewhere(a *attempt, b *batch) *balance.Endpoint {
	set := x.cluster.Current()
	if set == nil {
		return nil
	}
	e := set.Pick(x.pickKey(set, a.endpoint, x.tries, b.time()))
	// the only one that works, or the same one announced anew
	if e == nil || e.Ejected() || e.Address == a.endpoint.Address {
		return nil
	}
	return e
}

// without reports whether another try goes on without a, which is left then.
func (x *exchange) without(a *attempt, b *batch) bool {
	if x.live[1] == nil {
		return false
	}
	x.abandon(a, b)
	x.reached = x.live[0].endpoint
	x.proceed()
	return true
}

// win makes a, whose final head has come, the one that answers and counts the request.
func (x *exchange) win(a *attempt, b *batch) {
	x.winner, x.reached = a, a.endpoint
	if !x.failed {
		a.learn(b)
	}
	for _, other := range x.live {
		if other != nil && other != a {
			x.lose(other, b)
		}
	}
}

// lose leaves a try that another one was faster than. It is no failure of its endpoint, and does
// not make it look fast either: an endpoint whose slow answers nobody waits for would be forgotten
// to be slow, and draw requests.
func (x *exchange) lose(a *attempt, b *batch) {
	a.kept().Loses()
	if a.up != nil {
		a.count(false)
		now := b.time()
		a.endpoint.Outlasted(now.Sub(a.sent), x.cluster.Current().Params, now)
		a.learn(b)
	}
	x.abandon(a, b)
}

// learn takes how long a has taken, for the hedges to come. One that was given up before its answer
// took at least that. A hedge is none of them: beside which it is sent decides about it.
func (a *attempt) learn(b *batch) {
	if !a.extra {
		a.x.rule.Usual.Observe(b.time().Sub(a.sent))
	}
}
