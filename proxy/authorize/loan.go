package authorize

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tulle-mesh/tulle/destination/api"
)

// Loan is what this proxy lends of its share of a rate limit, or has borrowed beside it. It knows
// no other proxy: destination is between them, and says how much by Share. Loans outlive the limit
// that they began with, where the next one has the same pool.
type Loan struct {
	port   uint32
	pool   string
	own    uint64 // the share without loans
	burst  uint64 // of that
	window time.Duration
	asked  atomic.Uint64 // requests that the limit is about
	shown  *atomic.Uint64

	mu       sync.Mutex // guards what follows
	promises []promise
	borrowed uint64
	until    time.Time // of borrowed
	rate     gcra      // of all that is in force
	next     time.Time // when that changes by itself; zero: it does not
	report
}

// promise is what is lent on one stream, until its time is over, for others have it meanwhile.
type promise struct {
	stream uint64
	amount uint64
	until  time.Time
}

// report is what destination knows of a loan.
type report struct {
	sequence uint64
	sent     []sentDemand // the latest ones
	wanted   uint64
	counted  uint64    // of asked
	since    time.Time // when that was

	said  bool   // on this stream
	told  uint64 // of wanted
	share uint64 // the number of this stream's latest
	lent  uint64 // by it
}

type sentDemand struct {
	sequence uint64
	at       time.Time
}

// maxSent is how many demands destination may yet answer.
const maxSent = 16

func newLoan(port uint32, m *api.RateLimit, about *api.Lending) (*Loan, error) {
	if len(m.Keys) > 0 || m.DryRun || len(about.Pool) != api.PoolLen {
		return nil, fmt.Errorf(
			"a lending of a limit with keys, or that is a dry run, or by pool %q", about.Pool)
	}
	l := &Loan{port: port, pool: about.Pool, own: m.Requests, burst: m.Requests,
		window: time.Duration(m.WindowMs) * time.Millisecond, shown: &atomic.Uint64{}}
	if m.Burst > 0 {
		l.burst = m.Burst
	}
	l.rateLocked(time.Time{})
	return l, nil
}

// show has the share that is in force kept somewhere. It comes before anything else.
func (l *Loan) show(at *atomic.Uint64) {
	l.shown = at
	at.Store(l.own)
}

// rateNow is what the proxy admits now.
func (l *Loan) rateNow(now time.Time) gcra {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.next.IsZero() && !now.Before(l.next) {
		l.rateLocked(now)
	}
	return l.rate
}

// rateLocked reckons with what is lent and borrowed now, and returns the proxy's share.
func (l *Loan) rateLocked(now time.Time) (share uint64) {
	share = l.shareLocked(now)
	l.rate = newGCRA(share, max(l.burst*share/l.own, 1), l.window)
	l.shown.Store(share)
	return share
}

// shareLocked is how many requests of a window the proxy has, one at least.
func (l *Loan) shareLocked(now time.Time) uint64 {
	l.next = time.Time{}
	l.promises = slices.DeleteFunc(l.promises, func(p promise) bool { return !now.Before(p.until) })
	var lent uint64
	for _, p := range l.promises {
		lent += p.amount
		l.changesLocked(p.until)
	}
	if !now.Before(l.until) {
		l.borrowed = 0
	}
	if l.borrowed > 0 {
		l.changesLocked(l.until)
	}
	return l.own - min(lent, l.own-1) + l.borrowed
}

func (l *Loan) changesLocked(at time.Time) {
	if l.next.IsZero() || at.Before(l.next) {
		l.next = at
	}
}

// Share is how many requests of a window the proxy has now.
func (l *Loan) Share(now time.Time) uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.rateLocked(now)
}

// Pool is how destination knows the limit.
func (l *Loan) Pool() string { return l.pool }

// Begin is for a new stream: destination may be another one. What was lent goes on to be, until its
// time is over.
func (l *Loan) Begin() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.said, l.told, l.share, l.lent = false, 0, 0, 0
}

// Demand is what there is to say of how much the limit is needed, now that api.DemandEvery is over;
// nil: nothing new.
func (l *Loan) Demand(now time.Time) *api.Demand {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.rateLocked(now)
	l.sampleLocked(now)
	moved := max(l.wanted, l.told) - min(l.wanted, l.told)
	over, wasOver := l.wanted > l.own, l.told > l.own
	if l.said && over == wasOver && moved < max(l.own/4, 1) {
		return nil
	}
	return l.demandLocked(now)
}

// sampleLocked measures what comes. A sudden need counts at once, and one that is over little by
// little.
func (l *Loan) sampleLocked(now time.Time) {
	asked := l.asked.Load()
	if !l.since.IsZero() && now.After(l.since) {
		perWindow := float64(asked-l.counted) * float64(l.window) / float64(now.Sub(l.since))
		came := uint64(min(perWindow, api.MaxRateRequests))
		l.wanted = max(came, (l.wanted+came)/2)
	}
	l.counted, l.since = asked, now
}

func (l *Loan) demandLocked(now time.Time) *api.Demand {
	l.sequence++
	l.sent = append(l.sent, sentDemand{l.sequence, now})
	if len(l.sent) > maxSent {
		l.sent = slices.Delete(l.sent, 0, 1)
	}
	l.said, l.told = true, l.wanted
	return &api.Demand{Port: l.port, Pool: l.pool, Sequence: l.sequence, Wanted: l.wanted,
		Share: l.share, Lent: l.lent}
}

// Apply takes what destination says on a stream, of which the caller has the number, and returns
// what confirms it; nil: it is of before.
func (l *Loan) Apply(m *api.Share, stream uint64, now time.Time) *api.Demand {
	l.mu.Lock()
	defer l.mu.Unlock()
	if m.Number <= l.share {
		return nil
	}
	l.share = m.Number
	l.lendLocked(m, stream, now)
	l.borrowLocked(m, now)
	l.rateLocked(now)
	return l.demandLocked(now)
}

// lendLocked lends what is not lent on other streams. Of its own share the proxy keeps a request.
func (l *Loan) lendLocked(m *api.Share, stream uint64, now time.Time) {
	room := l.own - 1
	l.promises = slices.DeleteFunc(l.promises, func(p promise) bool {
		return p.stream == stream || !now.Before(p.until)
	})
	for _, p := range l.promises {
		room -= min(room, p.amount)
	}
	l.lent = min(m.Lend, room)
	if l.lent > 0 {
		l.promises = append(l.promises,
			promise{stream, l.lent, now.Add(upTo(m.LendMs, api.MaxLendFor))})
	}
}

// borrowLocked counts a loan's time from when its demand was sent: destination has not heard that
// sooner, and whoever lends has promised it for longer.
func (l *Loan) borrowLocked(m *api.Share, now time.Time) {
	l.borrowed, l.until = 0, time.Time{}
	for _, d := range l.sent {
		if d.sequence == m.Sequence {
			l.until = d.at.Add(upTo(m.BorrowMs, api.MaxLendFor))
		}
	}
	if now.Before(l.until) {
		l.borrowed = min(m.Borrow, api.MaxRateRequests)
	}
}

// upTo is a time on the wire, and no longer than that.
func upTo(ms uint64, most time.Duration) time.Duration {
	return time.Duration(min(ms, uint64(most.Milliseconds()))) * time.Millisecond
}
