package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
)

// attack is a kind of abuse, and what the proxy must do about it.
type attack struct {
	name   string
	want   string        // each attacker's answer
	within time.Duration // 0: answerTime
	pace   time.Duration // between two attackers; 0: arrival

	counted string // what grows by one for each attacker; see series
	// it comes close to all that the proxy holds for anyone: where the clock is not judged, a few
	// others may be refused
	crowds bool
	// the victim's own application is the attacker: it is served, and as fast as it lets itself be
	own   bool
	begin func() // before the first attacker
	once  func(*position) result
	// looks at the proxies before the attackers, and again after them
	audit func([]*process) (func() error, error)
	// hostile servers: what the proxy answered to them, since the last call
	peers func() []result
	wants string // hostile servers: that answer
}

// result is how one attacker ended.
type result struct {
	answer string
	took   time.Duration
	err    error
}

// row is an attack at a position.
type row struct {
	*attack
	*position
	single   int // bytes of growth
	crowd    int
	slowest  time.Duration
	seen     seen
	owed     float64 // how much its counter must grow, and what it was before
	before   float64
	failures []string
}

func (r *row) fail(format string, args ...any) {
	r.failures = append(r.failures, fmt.Sprintf(format, args...))
}

// alone is one attacker.
func (r *row) alone() {
	r.start()
	r.hold = func() { time.Sleep(aloneHold) }
	r.audited(func() {
		r.single = r.growth(resident(r.procs), func() {
			r.judge([]result{r.once(r.position)}, r.limit())
		})
	})
	if r.single > growthEach+garbage {
		r.fail("one attacker made it grow by %s", mib(r.single))
	}
}

func (r *row) audited(attack func()) {
	if r.audit == nil {
		attack()
		return
	}
	after, err := r.audit(r.procs)
	attack()
	if err == nil {
		err = after()
	}
	if err != nil {
		r.fail("%v", err)
	}
}

func (r *row) start() {
	if r.begin != nil {
		r.begin()
	}
}

func (r *row) limit() time.Duration { return patient(cmp.Or(r.within, answerTime)) }

// patient is d, or more where the clock is not judged.
func patient(d time.Duration) time.Duration {
	if !*timing {
		d += patience
	}
	return d
}

// together is a hundred of them, beside a well-behaved client.
func (r *row) together(rest []int, base time.Duration) {
	for try := 1; ; try++ {
		r.start()
		if try > 1 {
			r.calm(rest, calmGrowth)
		} else {
			r.calm(rest, startGrowth)
		}
		failed := len(r.failures)
		r.come(attackers)
		r.audited(func() {
			r.crowd = r.growth(rest, func() { r.judge(r.storm(), r.limit()+answerSlack) })
		})
		if r.crowd > growthAll && try < latencyTries && len(r.failures) == failed {
			continue // when the collector last ran decides about as much
		}
		if r.crowd > growthAll {
			r.fail("%d attackers made it grow by %s", attackers, mib(r.crowd))
			copy(rest, resident(r.procs)) // what is given back late is not the next row's fault
		}
		r.judgeCounts()
		others := len(r.failures) > failed
		if r.judgeVictim(base) || try == latencyTries || others {
			return
		}
		r.failures = r.failures[:failed]
	}
}

// storm lets the attackers come one after the other, each whether or not those before it have
// ended.
func (r *row) storm() []result {
	ctx, cancel := context.WithCancel(context.Background())
	var victim sync.WaitGroup
	victim.Go(func() { r.seen = r.victim.watch(ctx) })
	results := make([]result, attackers)
	var all sync.WaitGroup
	here := make(chan struct{})
	r.hold = func() {
		<-here // they are a hundred when all of them stay
		time.Sleep(legalHold)
	}
	for i := range results {
		all.Go(func() { results[i] = r.once(r.position) })
		time.Sleep(cmp.Or(r.pace, arrival))
	}
	close(here)
	all.Wait()
	cancel()
	victim.Wait()
	return results
}

func (r *row) judge(results []result, limit time.Duration) {
	wrong := map[string]int{}
	late, slow := 0, 0
	check := func(x result, want string) {
		r.slowest = max(r.slowest, x.took)
		switch {
		case x.err != nil:
			wrong[x.err.Error()]++
		case !accepts(want, x.answer) && x.answer == served && !*timing && slow < slowAllowed &&
			len(results) == attackers:
			slow++ // not answered yet, it may be
		case !accepts(want, x.answer):
			wrong[fmt.Sprintf("%q instead of %q", x.answer, want)]++
		case x.took > limit:
			late++
		}
	}
	for _, x := range results {
		check(x, r.want)
	}
	if r.peers != nil {
		all := r.peers()
		for _, x := range all {
			check(x, r.wants)
		}
		if len(all) == 0 {
			r.fail("no hostile server was called")
		}
	}
	for what, n := range wrong {
		r.fail("%d of %d attackers: %s", n, len(results), what)
	}
	if late > 0 {
		r.fail("%d of %d attackers were answered late, the last after %v", late, len(results),
			r.slowest.Round(time.Millisecond))
	}
}

// accepts: what a row wants may name alternatives.
func accepts(want, answer string) bool { return slices.Contains(strings.Split(want, "|"), answer) }

func (r *row) counts() (float64, error) {
	total := 0.0
	for _, p := range r.procs {
		all, err := p.scrape()
		if err != nil {
			return 0, errors.Join(err, p.alive())
		}
		total += all[series(r.counted)]
	}
	return total, nil
}

// series is the name of a protocol error's counter, or a name that is whole already.
func series(counted string) string {
	if strings.HasPrefix(counted, "tulle_") {
		return counted
	}
	return `tulle_protocol_errors_total{reason="` + counted + `"}`
}

// come notes what the counter is before n attackers. Hostile servers have fewer connections than
// there are requests.
func (r *row) come(n int) {
	r.owed = float64(n)
	if r.peers != nil {
		r.owed = 1
	}
	var err error
	if r.before, err = r.counts(); err != nil {
		r.fail("%v", err)
	}
}

func (r *row) judgeCounts() {
	if r.counted == "" {
		return
	}
	after, err := r.counts()
	until := time.Now().Add(countWait)
	for err == nil && after-r.before < r.owed && time.Now().Before(until) {
		time.Sleep(20 * time.Millisecond)
		after, err = r.counts()
	}
	if err != nil {
		r.fail("%v", err)
	} else if after-r.before < r.owed {
		r.fail("%s grew by %.0f, not %.0f", series(r.counted), after-r.before, r.owed)
	}
}

func (r *row) judgeVictim(base time.Duration) bool {
	bound := max(p99Factor*base, pastFactor*r.seen.past, p99Floor)
	switch {
	case errors.Is(r.seen.failed, errUnavailable) && r.mayRefuse():
		return true
	case r.seen.failed != nil:
		r.fail("%v", r.seen.failed)
	case *timing && !r.own && r.seen.p99 > bound:
		r.fail("a well-behaved client's p99 was %v, its bound is %v",
			r.seen.p99.Round(time.Microsecond), bound.Round(time.Microsecond))
	default:
		return true
	}
	return false
}

func (r *row) mayRefuse() bool {
	return r.crowds && !*timing && r.seen.refused*100 <= r.seen.n*slowAllowed
}
