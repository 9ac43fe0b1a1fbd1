package proxy

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/tulle-mesh/tulle/destination/api"
	"github.com/tulle-mesh/tulle/proxy/metric"
)

// cluster is a set of endpoints behind one name. Its pointer lives as long as something refers to the name; what it
// holds is swapped whole.
type cluster struct {
	name string
	set  atomic.Pointer[endpointSet] // nil until destination has sent the endpoints

	mu      sync.Mutex // guards waiting
	waiting queue      // parked until there is an endpoint
}

// endpointSet is immutable.
type endpointSet struct {
	params    ewmaParams
	endpoints []*endpoint
}

// endpoint is one backend: where it is, who it must prove to be, how it has been doing. It outlives the sets that list
// it, so that a change to one endpoint does not forget what is known of the others.
type endpoint struct {
	id       string
	address  string // of the application
	mesh     string // of its proxy; empty: unmeshed
	port     uint32
	identity spiffeid.ID
	protocol api.Protocol
	local    bool // the application that this proxy is for: nothing is between the two
	workload metric.Workload

	ewma        ewma
	failedUntil atomic.Int64 // unix nanoseconds
	answered    atomic.Bool  // at least once

	pools pools
	cells cellCache
}

func (e *endpoint) meshed() bool { return e.mesh != "" }

// failed notes that the endpoint could not be dialed: it is passed over for rest, while another is there.
func (e *endpoint) failed(now time.Time, rest time.Duration) {
	e.failedUntil.Store(now.Add(rest).UnixNano())
}

func (e *endpoint) ready(now time.Time) bool { return e.failedUntil.Load() <= now.UnixNano() }

// pick chooses by the power of two choices: of two endpoints at random, the one with the lower load. avoid, the endpoint
// that just failed this request, is never chosen while another is there.
func (s *endpointSet) pick(avoid *endpoint, now time.Time) *endpoint {
	n := len(s.endpoints)
	switch n {
	case 0:
		return nil
	case 1:
		return s.endpoints[0]
	}
	a := s.endpoints[rand.IntN(n)]
	b := s.endpoints[rand.IntN(n-1)]
	if b == a {
		b = s.endpoints[n-1]
	}
	aOK, bOK := a != avoid && a.ready(now), b != avoid && b.ready(now)
	switch {
	case aOK && bOK:
		if b.ewma.load(s.params, now) < a.ewma.load(s.params, now) {
			return b
		}
		return a
	case aOK:
		return a
	case bOK:
		return b
	}
	return s.pickReady(avoid, now)
}

// pickReady is for when both choices were bad: anything that is ready, else anything but avoid.
func (s *endpointSet) pickReady(avoid *endpoint, now time.Time) *endpoint {
	var last *endpoint
	start := rand.IntN(len(s.endpoints))
	for i := range s.endpoints {
		e := s.endpoints[(start+i)%len(s.endpoints)]
		if e == avoid {
			continue
		}
		if e.ready(now) {
			return e
		}
		last = e
	}
	return last
}

// change is what follows from new endpoints. Apply it with no lock held: it leads into exchanges and connections.
type change struct {
	woken []*attempt  // there is an endpoint for them now
	gone  []*endpoint // nothing new begins there
}

func (c *change) add(o change) {
	c.woken = append(c.woken, o.woken...)
	c.gone = append(c.gone, o.gone...)
}

func (c *change) apply() {
	var b batch
	for _, e := range c.gone {
		for _, a := range e.pools.retire() {
			a.stranded(&b)
		}
	}
	for _, a := range c.woken {
		a.wake(&b)
	}
	b.flush()
}

// update swaps in the endpoints that destination sent, keeping those that are the same as before.
func (c *cluster) update(params ewmaParams, list []*api.Endpoint, now time.Time) (ch change) {
	old := map[string]*endpoint{}
	if s := c.set.Load(); s != nil {
		for _, e := range s.endpoints {
			old[e.id] = e
		}
	}
	next := &endpointSet{params: params}
	for _, m := range list {
		e := old[m.Id]
		if e == nil || !e.same(m) {
			e = newEndpoint(m, params, now)
		} else {
			delete(old, m.Id)
		}
		next.endpoints = append(next.endpoints, e)
	}
	c.set.Store(next)
	for _, e := range old {
		ch.gone = append(ch.gone, e)
	}
	if len(next.endpoints) == 0 {
		return ch
	}
	c.mu.Lock()
	ch.woken = c.waiting.all()
	c.mu.Unlock()
	return ch
}

// park queues a until there is an endpoint, unless there is one by now; queued false with a set that is still empty means
// that too many wait already.
func (c *cluster) park(a *attempt) (set *endpointSet, queued bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	// update stores the set before it takes mu, so an endpoint is either seen here or wakes what was queued.
	if s := c.set.Load(); s != nil && len(s.endpoints) > 0 {
		return s, false
	}
	return nil, c.waiting.add(a, a.x.c.p.limits.MaxQueue)
}

func (c *cluster) unpark(a *attempt) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.waiting.remove(a)
}

// lone is a cluster of one endpoint, which nobody else announces.
func lone(name, addr string, params ewmaParams) *cluster {
	c := &cluster{name: name}
	c.update(params, []*api.Endpoint{{Id: addr, Address: addr, Protocol: api.Protocol_PROTOCOL_DETECT}}, now())
	return c
}

func newEndpoint(m *api.Endpoint, params ewmaParams, now time.Time) *endpoint {
	e := &endpoint{id: m.Id, address: m.Address, mesh: m.MeshAddress, port: m.TargetPort, protocol: m.Protocol}
	if w := m.Workload; w != nil {
		e.workload = metric.Workload{Namespace: w.Namespace, Kind: w.Kind, Name: w.Name, Pod: w.Pod}
	}
	if m.MeshAddress != "" {
		// An identity that does not parse leaves the zero ID, which no certificate matches: an error, never plaintext.
		e.identity, _ = spiffeid.FromString(m.Identity)
	}
	e.ewma.reset(params, now)
	return e
}

// same reports whether m is this very endpoint: same place, same identity.
func (e *endpoint) same(m *api.Endpoint) bool {
	return e.address == m.Address && e.mesh == m.MeshAddress && e.port == m.TargetPort && e.protocol == m.Protocol &&
		(e.mesh == "" || e.identity.String() == m.Identity)
}
