package main

import (
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/tulle-mesh/tulle/destination/api"
	"github.com/tulle-mesh/tulle/proxy/balance"
)

// caller is a proxy that asks the service.
type caller struct {
	run     *run
	zone    string
	random  *rand.Rand
	cluster *balance.Cluster
	params  balance.Params
}

// clock makes simulated time what package balance takes.
func clock(at time.Duration) time.Time { return time.Unix(0, 0).Add(at) }

func newCaller(r *run, m *api.Cluster, number uint64) (*caller, error) {
	c := &caller{run: r, random: rand.New(rand.NewPCG(seed, number)), zone: zoneOf(number)}
	p, err := balance.Compile(m, balance.Params{
		Initial: 30 * time.Millisecond, Decay: 10 * time.Second, // a proxy's defaults
		Own: &api.Locality{Zone: c.zone},
	})
	c.params = p.Seeded(c.random)
	c.cluster = balance.NewCluster("service", func() any { return new(*server) })
	return c, err
}

// learn takes the endpoints that there are now.
func (c *caller) learn(all []*server) {
	var list []*api.Endpoint
	servers := map[string]*server{}
	for _, s := range all {
		list = append(list, s.message)
		servers[s.message.Address] = s
	}
	ch := c.cluster.Update(c.params, list, clock(c.run.events.now))
	ch.Finish()
	for _, e := range c.cluster.Current().All {
		*e.Transport.(**server) = servers[e.Address]
	}
}

// arrive is a request, and plans the next.
func (c *caller) arrive() {
	if c.run.events.now >= c.run.length {
		return
	}
	gap := c.random.ExpFloat64() * float64(time.Second) * callers / (rate * c.run.load())
	c.run.events.after(time.Duration(gap), c.arrive)
	user := fmt.Sprint("user-", c.random.IntN(users))
	q := &request{caller: c, began: c.run.events.now, hash: balance.Hash(user)}
	q.try(nil)
}

// request is one request and its tries.
type request struct {
	caller *caller
	began  time.Duration
	hash   uint64
	tries  int
}

// try asks an endpoint, but not the one that has just failed.
func (q *request) try(avoid *balance.Endpoint) {
	now := q.caller.run.events.now
	e := q.caller.cluster.Current().Pick(balance.Key{
		Avoid: avoid, Now: clock(now), Hash: q.hash, Hashed: true, Try: q.tries,
	})
	q.tries++
	e.Begin()
	s := *e.Transport.(**server)
	s.ask(func(f failed) {
		q.caller.run.events.after(q.travel(s), func() { q.answered(e, s, now, f) })
	})
}

// travel is how long the network takes to a server and back.
func (q *request) travel(s *server) time.Duration {
	if q.caller.crosses(s) {
		return roundTrip + crossing
	}
	return roundTrip
}

func (c *caller) crosses(s *server) bool {
	return s.message.Locality != nil && s.message.Locality.Zone != c.zone
}

// answered ends a try, and the request but for one that may yet succeed elsewhere.
func (q *request) answered(e *balance.Endpoint, s *server, sent time.Duration, f failed) {
	r := q.caller.run
	now := r.events.now
	e.Done()
	if f {
		e.Failed(now-sent, q.caller.params, clock(now))
		if q.tries < mostTries {
			q.try(e)
			return
		}
	} else {
		e.Observe(now-sent, q.caller.params, clock(now))
	}
	r.count(s, now-q.began, f)
	if q.caller.crosses(s) {
		r.crossed++
	}
}
