package forward

import "github.com/tulle-mesh/tulle/proxy/h2"

// abandonAll leaves all that is under way.
func (x *exchange) abandonAll(b *batch) {
	for x.live[0] != nil {
		x.abandon(x.live[0], b)
	}
}

// abandon leaves a, wherever it is.
func (x *exchange) abandon(a *attempt, b *batch) {
	a.kept().Ends(b.time())
	x.leave(a)
	switch {
	case a.up != nil:
		a.up.Reset(h2.CodeCancel)
		b.touch(a.up)
	case a.pool != nil:
		a.pool.cancel(a)
	default:
		x.cluster.Unpark(a)
	}
	x.releasePending(a)
}

// leave takes a from those under way: what it still says is ignored.
func (x *exchange) leave(a *attempt) {
	x.live.remove(a)
	a.waitsNoMore()
	a.unprobed()
	if x.early.isOf(a) {
		x.early = nil
	}
	if x.winner == a {
		x.winner = nil
	}
}

// releasePending gives a's pending back without a sample.
func (x *exchange) releasePending(a *attempt) {
	if a.endpoint != nil && !a.sampled {
		a.sampled = true
		a.endpoint.Done()
	}
}
