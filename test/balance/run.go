package main

import (
	"math/rand/v2"
	"slices"
	"time"
)

// seed makes every run the same.
const seed = 14

// run is one balancer's.
type run struct {
	length  time.Duration // for which requests arrive
	grows   bool          // load does, from a quarter of it in the first quarter of the time
	events  events
	servers []*server
	ready   int // of them, the first ones
	callers []*caller

	took    []time.Duration
	by      [isStarting + 1]int // requests whose last try was there
	failed  int
	crossed int     // requests that were answered in another zone
	peak    float64 // of what one endpoint had in a window, in fair shares
	// Requests while the endpoints that start were cold, and those of them that came there.
	inCold, atCold int
}

// result is what came of a run.
type result struct {
	name       string
	p50, p99   time.Duration
	failed     float64 // of all requests, per cent
	slow, fail float64 // at slow and at failing endpoints at last, of all, per cent
	cold       float64 // at cold ones, of those while they were cold, per cent
	crossed    float64 // in another zone, per cent
	peak       float64
}

// simulate is a run of so long.
func simulate(b balancer, length time.Duration) (result, error) {
	r := &run{length: length, ready: fast + slow + failing}
	r.servers = servers(&r.events, rand.New(rand.NewPCG(seed, 0)))
	r.events.after(time.Duration(startsWhen*float64(length)), r.start)
	return r.of(b)
}

// of is the run from its first request to its last.
func (r *run) of(b balancer) (result, error) {
	for i := range callers {
		c, err := newCaller(r, b.cluster, uint64(i+1))
		if err != nil {
			return result{}, err
		}
		r.callers = append(r.callers, c)
		c.learn(r.servers[:r.ready])
		r.events.after(0, c.arrive)
	}
	r.events.after(window, r.tick)
	r.events.run()
	return r.result(b.name), nil
}

// load is how much of the rate there is now.
func (r *run) load() float64 {
	if !r.grows {
		return 1
	}
	return min(1, 0.25+3*float64(r.events.now)/float64(r.length))
}

// start brings the endpoints that were not there. All proxies hear of it at once.
func (r *run) start() {
	r.ready = len(r.servers)
	for _, s := range r.servers {
		s.started = r.events.now
	}
	for _, c := range r.callers {
		c.learn(r.servers)
	}
}

// tick ends a window.
func (r *run) tick() {
	sum, most := 0, 0
	for _, s := range r.servers {
		sum, most = sum+s.asked, max(most, s.asked)
		s.asked = 0
	}
	if sum > 0 {
		r.peak = max(r.peak, float64(most)/float64(sum)*float64(r.ready))
	}
	if r.events.now < r.length {
		r.events.after(window, r.tick)
	}
}

// count counts a request that has ended.
func (r *run) count(s *server, took time.Duration, f failed) {
	r.took = append(r.took, took)
	r.by[s.kind]++
	if r.isCold() {
		r.inCold++
		if s.kind == isStarting {
			r.atCold++
		}
	}
	if f {
		r.failed++
	}
}

// isCold reports whether endpoints have started that are not warm yet.
func (r *run) isCold() bool {
	return r.ready == len(r.servers) && r.events.now < r.servers[r.ready-1].started+warm
}

func (r *run) result(name string) result {
	slices.Sort(r.took)
	n := len(r.took)
	percent := func(k, of int) float64 { return 100 * float64(k) / float64(of) }
	return result{name: name, p50: r.took[n/2], p99: r.took[n*99/100], peak: r.peak,
		failed: percent(r.failed, n), slow: percent(r.by[isSlow], n),
		fail: percent(r.by[isFailing], n), cold: percent(r.atCold, r.inCold),
		crossed: percent(r.crossed, n)}
}
