package destination

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2/hpack"

	"github.com/tulle-mesh/tulle/destination/api"
	"github.com/tulle-mesh/tulle/proxy/authorize"
	"github.com/tulle-mesh/tulle/proxy/metric"
)

// borrowing is a rate limit's proxies, replicas of destination, and the network between them, all
// on one clock. What is said takes its time, in order; streams break, and lose it.
type borrowing struct {
	*rand.Rand
	now      time.Time
	total    uint64
	proxies  []*borrower
	replicas []*lending
	slowest  time.Duration // of the network
}

// borrower is a proxy and its stream.
type borrower struct {
	limits  *authorize.Limits
	loan    *authorize.Loan
	streams uint64
	calls   float64 // requests a second, as the world has them
	owed    float64 // of those

	replica int // -1: there is no stream
	member  *sharer
	up      []inFlight[*api.Demand]
	down    []inFlight[*api.Share]
	demand  time.Time // when the next one is due
	back    time.Time // when it connects again
}

type inFlight[T any] struct {
	at      time.Time
	message T
}

// parted are members whose streams have ended, and when their replica sees that.
type parted struct {
	at time.Time
	*sharer
}

var anyCaller = &authorize.Caller{Security: metric.MTLS}

// share is what a proxy starts with of a limit in a window of a second.
func share(t testing.TB, own uint64) *authorize.Limits {
	t.Helper()
	ls, err := authorize.CompileLimits(&api.Inbound{Port: 80,
		RateLimits: []*api.RateLimit{{Origin: &api.Origin{Name: "a", Rule: "all"}, Requests: own,
			WindowMs: 1000}},
		Lendings: []*api.Lending{{Limit: 0, Pool: strings.Repeat("a", api.PoolLen)}},
	}, nil, metric.NewRegistry().Limited)
	if err != nil {
		t.Fatal(err)
	}
	return ls
}

// newBorrowing divides a limit evenly.
func newBorrowing(t testing.TB, seed uint64, total uint64, proxies, replicas int) *borrowing {
	w := &borrowing{Rand: rand.New(rand.NewPCG(seed, 1)), now: time.Unix(1e9, 0), total: total}
	for range replicas {
		w.replicas = append(w.replicas, &lending{})
	}
	for range proxies {
		ls := share(t, total/uint64(proxies))
		w.proxies = append(w.proxies, &borrower{limits: ls, loan: ls.Loans()[0], replica: -1})
	}
	return w
}

// later is when something that is said now arrives, after all that was said before.
func later[T any](w *borrowing, queue []inFlight[T]) time.Time {
	at := w.now.Add(time.Millisecond + time.Duration(w.Int64N(int64(w.slowest)+1)))
	if n := len(queue); n > 0 && at.Before(queue[n-1].at) {
		return queue[n-1].at
	}
	return at
}

func (p *borrower) say(w *borrowing, m *api.Demand) {
	if m != nil {
		p.up = append(p.up, inFlight[*api.Demand]{later(w, p.up), m})
	}
}

func (p *borrower) connect(w *borrowing, replica int) {
	p.streams++
	p.replica, p.up, p.down = replica, nil, nil
	p.loan.Begin()
	m := &sharer{own: w.total / uint64(len(w.proxies))}
	stream := p.streams
	m.tell = func(s *api.Share) {
		if p.streams == stream && p.replica >= 0 {
			p.down = append(p.down, inFlight[*api.Share]{later(w, p.down), s})
		}
	}
	p.member = m
}

// cut ends a stream; what is on its way is lost. The replica sees it at some time.
func (p *borrower) cut(w *borrowing) (gone parted) {
	p.replica, p.up, p.down = -1, nil, nil
	p.back = w.now.Add(time.Duration(w.Int64N(int64(20 * time.Second))))
	return parted{w.now.Add(time.Duration(w.Int64N(int64(15 * time.Second)))), p.member}
}

// step lets a tenth of a second pass.
func (w *borrowing) step() {
	w.now = w.now.Add(100 * time.Millisecond)
	for _, p := range w.proxies {
		for p.owed += p.calls / 10; p.owed >= 1; p.owed-- {
			p.limits.Take(anyCaller, []hpack.HeaderField{}, w.now)
		}
		if p.replica < 0 {
			continue
		}
		for len(p.down) > 0 && !w.now.Before(p.down[0].at) {
			m := p.down[0].message
			p.down = p.down[1:]
			p.say(w, p.loan.Apply(m, p.streams, w.now))
		}
		for len(p.up) > 0 && !w.now.Before(p.up[0].at) {
			w.replicas[p.replica].hear(p.member, p.up[0].message, w.now)
			p.up = p.up[1:]
		}
		if !w.now.Before(p.demand) {
			p.demand = w.now.Add(api.DemandEvery)
			p.say(w, p.loan.Demand(w.now))
		}
	}
	if w.now.UnixMilli()%500 == 0 {
		for _, r := range w.replicas {
			r.settle(w.now, func(m *sharer, s *api.Share) { m.tell(s) })
		}
	}
}

func (w *borrowing) run(d time.Duration) {
	for end := w.now.Add(d); w.now.Before(end); {
		w.step()
	}
}

func (w *borrowing) shares() (all []uint64, sum uint64) {
	for _, p := range w.proxies {
		all = append(all, p.loan.Share(w.now))
		sum += all[len(all)-1]
	}
	return all, sum
}

// Whatever is lost, late or started anew, all proxies together never have more than the limit.
func TestLoansAreNeverMoreThanTheLimit(t *testing.T) {
	lent, most := 0, uint64(0)
	for seed := range uint64(30) {
		w := newBorrowing(t, seed, 10+seed*17, 2+int(seed%6), 1+int(seed%3))
		var gone []parted
		for end := w.now.Add(20 * time.Minute); w.now.Before(end); {
			w.disturb(&gone)
			w.step()
			all, sum := w.shares()
			if sum > w.total {
				t.Fatalf("seed %d: after %s the shares are %v, together %d of %d", seed,
					w.now.Sub(time.Unix(1e9, 0)), all, sum, w.total)
			}
			for _, one := range all {
				if own := w.total / uint64(len(w.proxies)); one > own {
					lent++
					most = max(most, one*100/own)
				}
			}
		}
	}
	if lent < 5_000 || most < 200 {
		t.Errorf("proxies have borrowed in %d steps, up to %d %% of their share: nothing is shown",
			lent, most)
	}
}

// disturb has the world change at random.
func (w *borrowing) disturb(gone *[]parted) {
	if w.IntN(300) == 0 {
		w.slowest = []time.Duration{0, 50, 2000, 30_000}[w.IntN(4)] * time.Millisecond
	}
	for _, p := range w.proxies {
		own := float64(w.total) / float64(len(w.proxies))
		switch {
		case w.IntN(300) == 0:
			p.calls = []float64{0, own / 10, own / 2, own, 3 * own, 10 * own}[w.IntN(6)]
		case p.replica >= 0 && w.IntN(1500) == 0:
			*gone = append(*gone, p.cut(w))
		case p.replica < 0 && !w.now.Before(p.back):
			p.connect(w, w.IntN(len(w.replicas)))
		}
	}
	if i := w.IntN(len(w.replicas)); w.IntN(3000) == 0 {
		w.replicas[i] = &lending{} // it is started anew, and knows nothing
		for _, p := range w.proxies {
			if p.replica == i {
				p.cut(w)
			}
		}
	}
	for i := 0; i < len(*gone); i++ {
		if one := (*gone)[i]; !w.now.Before(one.at) {
			one.gone = true
			*gone = append((*gone)[:i], (*gone)[i+1:]...)
			i--
		}
	}
}

// Who needs more gets what others do not need within seconds, and they have it back within seconds
// once they need it. Where destination is away, all have their own shares again after a while.
func TestSharesGoWhereTheyAreNeeded(t *testing.T) {
	w := newBorrowing(t, 1, 400, 4, 1)
	w.slowest = 50 * time.Millisecond
	for _, p := range w.proxies {
		p.connect(w, 0)
		p.calls = 4
	}
	expect := func(what string, within time.Duration, holds func(all []uint64) bool) {
		t.Helper()
		for end := w.now.Add(within); w.now.Before(end); {
			if all, _ := w.shares(); holds(all) {
				return
			}
			w.step()
		}
		all, _ := w.shares()
		t.Errorf("%s: after %s the shares are %v", what, within, all)
	}
	w.run(10 * time.Second)
	if all, _ := w.shares(); fmt.Sprint(all) != "[100 100 100 100]" {
		t.Errorf("where nobody needs more the shares are %v", all)
	}
	w.proxies[0].calls = 500
	expect("one needs more", 8*time.Second, func(all []uint64) bool { return all[0] >= 340 })
	w.run(10 * time.Minute)
	expect("it goes on", 1, func(all []uint64) bool { return all[0] >= 340 })
	w.proxies[1].calls = 95
	expect("another wants its own back", 8*time.Second,
		func(all []uint64) bool { return all[1] >= 100 && all[0] >= 230 })
	w.proxies[1].calls, w.proxies[0].calls = 4, 20
	w.proxies[2].calls, w.proxies[3].calls = 300, 300
	expect("two need it", 30*time.Second,
		func(all []uint64) bool { return all[2] >= 160 && all[3] >= 160 })
	w.replicas[0] = &lending{}
	for _, p := range w.proxies {
		p.cut(w)
	}
	expect("destination is away", lendFor, func(all []uint64) bool {
		return fmt.Sprint(all) == "[100 100 100 100]"
	})
}

// Where nothing changes nothing is said, but for what holds a loan.
func TestFewWordsAreSaidOfLoans(t *testing.T) {
	w := newBorrowing(t, 1, 10_000, 100, 1)
	said := 0
	for i, p := range w.proxies {
		p.connect(w, 0)
		tell := p.member.tell
		p.member.tell = func(s *api.Share) { said++; tell(s) }
		p.calls = 20
		if i < 10 {
			p.calls = 300
		}
	}
	w.run(time.Minute)
	said = 0
	w.run(10 * time.Minute)
	// Some 44 lend 65 each to ten that need 285 more: each is told every half minute, or sooner.
	if said > 54*30 {
		t.Errorf("in 10 minutes %d shares were said", said)
	}
	if all, _ := w.shares(); all[0] < 300 {
		t.Errorf("who needs more has %v", all[:10])
	}
}

// A pod's new process knows nothing of what the one before it has lent: nobody has that longer than
// it takes to say so.
func TestANewProcessHasItsShare(t *testing.T) {
	w := newBorrowing(t, 1, 200, 2, 1)
	for _, p := range w.proxies {
		p.connect(w, 0)
	}
	w.proxies[0].calls = 300
	w.run(10 * time.Second)
	if all, _ := w.shares(); all[0] < 170 {
		t.Fatalf("the shares are %v", all)
	}
	p := w.proxies[1]
	p.member.gone = true
	ls := share(t, 100)
	fresh := &borrower{limits: ls, loan: ls.Loans()[0], calls: 300}
	fresh.connect(w, 0)
	w.proxies[1] = fresh
	w.run(6 * time.Second)
	if all, sum := w.shares(); sum > w.total {
		t.Errorf("the shares are %v", all)
	}
}
