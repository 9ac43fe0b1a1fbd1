package balance

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/tulle-mesh/tulle/destination/api"
	"github.com/tulle-mesh/tulle/proxy/metric"
)

// Cluster is a set of endpoints behind one name. Its pointer lives as long as something refers to
// the name; what it holds is swapped whole.
type Cluster struct {
	Name   string
	attach func() any                  // makes an endpoint's transport
	set    atomic.Pointer[EndpointSet] // nil until destination has sent the endpoints
	latest *EndpointSet                // set, or what it will be; whoever updates it alone knows it

	mu      sync.Mutex // guards waiting
	waiting Queue      // parked until there is an endpoint

	detector detector
	occupied occupied
	// Requests at all endpoints. Each writes it, so it is apart from what each reads.
	underWay atomic.Int64
}

// EndpointSet is immutable.
type EndpointSet struct {
	Params    Params
	All       []*Endpoint
	announced []*api.Endpoint // what each is made of
	made      int64           // when, since epoch
	weights   []float64       // of All; nil: all are the same

	by      picker   // nil: EWMA alone
	total   float64  // of weights
	columns []column // of an alias table for weights
	ramp    *ramp    // nil: none starts slowly
}

// Endpoint is one backend: where it is, who it must prove to be, how it has been doing. It outlives
// the sets that list it, so that a change to one endpoint does not forget what is known of the
// others.
type Endpoint struct {
	id       string
	Address  string // of the application
	Mesh     string // of its proxy; empty: unmeshed
	Port     uint32
	Identity spiffeid.ID
	Protocol api.Protocol
	Local    bool // the application that this proxy is for: nothing is between the two
	workload metric.Workload
	cluster  *Cluster
	place    atomic.Pointer[api.Locality] // nil: nobody knows

	ewma     ewma
	strain   atomic.Pointer[strain] // its tier's; nil: its cluster has none
	joined   time.Duration          // when, since epoch
	health   health
	answered atomic.Bool // at least once

	// Transport is what whoever sends to the endpoint keeps of it, such as its connections. It is
	// there before anybody knows the endpoint, and balance never looks into it.
	Transport any
}

// Cluster is the name of the endpoint's cluster.
func (e *Endpoint) Cluster() string { return e.cluster.Name }

// Meshed reports whether a proxy stands before the endpoint.
func (e *Endpoint) Meshed() bool { return e.Mesh != "" }

// Begin notes that the endpoint works on one more request.
func (e *Endpoint) Begin() {
	e.ewma.pending.Add(1)
	e.cluster.underWay.Add(1)
}

// Done notes that the endpoint works on one request less.
func (e *Endpoint) Done() {
	e.ewma.pending.Add(-1)
	e.cluster.underWay.Add(-1)
}

// Observe takes the latency of an answer.
func (e *Endpoint) Observe(d time.Duration, p Params, now time.Time) {
	e.ewma.observe(d, p, now)
	e.strain.Load().answered(d, now)
}

// Failed takes the latency of a failure, which says nothing good.
func (e *Endpoint) Failed(d time.Duration, p Params, now time.Time) {
	e.ewma.fail(d, p, now)
	e.strain.Load().failed(d, now)
}

// Outlasted takes a latency that is more than so long: nobody waited for the answer.
func (e *Endpoint) Outlasted(d time.Duration, p Params, now time.Time) {
	e.ewma.outlast(d, p, now)
	e.strain.Load().answered(d, now)
}

// Limits are its cluster's of the moment.
func (e *Endpoint) Limits() *Limits { return &e.cluster.Current().Params.Limits }

// Alone reports whether its cluster has no other endpoint.
func (e *Endpoint) Alone() bool { return len(e.cluster.Current().All) <= 1 }

// DialTimeout bounds a dial.
func (e *Endpoint) DialTimeout() time.Duration {
	if e.Alone() {
		return e.Limits().DialTimeout
	}
	return e.Limits().DialElsewhere
}

// HandshakeTimeout bounds a TLS handshake. While another endpoint is there, whoever waits must have
// time left for it.
func (e *Endpoint) HandshakeTimeout() time.Duration {
	if e.Alone() {
		return e.Limits().Handshake
	}
	return min(e.Limits().Handshake, 2*e.Limits().DialElsewhere)
}

// Rest passes the endpoint over for a while, if another is there: it could not be dialed. Each dial
// that fails doubles the rest, until one is answered. It returns how long that is.
func (e *Endpoint) Rest(now time.Time) time.Duration {
	l := e.Limits()
	d := pause(l.Rest, l.RestMax, int(e.health.failures.Add(1)))
	e.health.rest(now, d)
	return d
}

// RestLonger passes the endpoint over until whoever dials it again has heard.
func (e *Endpoint) RestLonger(now time.Time, d time.Duration) { e.health.rest(now, d) }

// Reached notes that a dial was answered.
func (e *Endpoint) Reached() {
	if e.health.failures.Load() > 0 {
		e.health.failures.Store(0)
		e.health.until.Store(0)
	}
}

// pause after the nth failure is between half of what it may be and all of it, so that the proxies
// of a cluster do not dial a node that comes back all at once.
func pause(first, most time.Duration, n int) time.Duration {
	d := min(first<<min(n-1, 16), most)
	return d/2 + rand.N(d/2+1)
}

// HasAnswered reports whether the endpoint ever has.
func (e *Endpoint) HasAnswered() bool { return e.answered.Load() }

// MarkAnswered notes that the endpoint has answered. It is called for each answer, so it writes
// once only.
func (e *Endpoint) MarkAnswered() {
	if !e.answered.Load() {
		e.answered.Store(true)
	}
}

// Label says who answers for a cell, and how the endpoint is reached; own is this proxy's ID.
func (e *Endpoint) Label(l *metric.Labels, own string) {
	l.Peer, l.Security = e.workload, metric.PlaintextUnmeshed
	if e.Meshed() {
		l.Security, l.PeerID, l.OwnID = metric.MTLS, e.Identity.String(), own
	}
}

// health is whether an endpoint may be picked.
type health struct {
	until    atomic.Int64 // the end of its rest, since epoch; 0: it has none
	failures atomic.Int32 // dials that failed since the last one that was answered
	// What was seen of its answers; nil: nothing, or nobody looks.
	history atomic.Pointer[history]
}

// epoch makes rests monotonic: a wall clock that is set back must not make them longer. It is so
// long ago that what is since it is positive on a test's clock too, which begins in 2000.
var epoch = time.Now().Add(-100 * 365 * 24 * time.Hour)

func (h *health) rest(now time.Time, d time.Duration) { h.until.Store(int64(now.Sub(epoch) + d)) }

func (h *health) ready(now time.Time) bool { return h.readyAt(since(now)) }

func (h *health) readyAt(at int64) bool {
	until := h.until.Load()
	return (until == 0 || until <= at) && h.history.Load().ready(at)
}

func (h *health) ejected() bool { return h.history.Load().ejected() }

// Key is what a pick goes by.
type Key struct {
	Avoid  *Endpoint // never chosen while another is there: it just failed this request; nil: none
	Now    time.Time
	Hash   uint64 // of the request's first key that it has, for a consistent hash
	Hashed bool   // it has one
	Try    int    // how many tries went before: with each a hash goes one endpoint further
}

// Pick chooses an endpoint as the cluster says. It returns nil if there is none.
func (s *EndpointSet) Pick(k Key) *Endpoint {
	switch len(s.All) {
	case 0:
		return nil
	case 1:
		return s.All[0]
	}
	if s.by != nil {
		return s.by.pick(s, k)
	}
	return s.pickFaster(k)
}

func wants(e *Endpoint, k Key) bool {
	return e != k.Avoid && e.health.ready(k.Now)
}

// pickReady is for when both choices were bad: anything that is ready, else anything but the one to
// avoid.
func (s *EndpointSet) pickReady(k Key) *Endpoint {
	var last *Endpoint
	start := s.intN(len(s.All))
	for i := range s.All {
		e := s.All[(start+i)%len(s.All)]
		if e == k.Avoid {
			continue
		}
		if e.health.ready(k.Now) {
			return e
		}
		last = e
	}
	return last
}

// Change is what follows from new endpoints, once it is finished. Whoever applies it holds no lock:
// it leads into requests and connections.
type Change struct {
	Woken []Waiter    // there is an endpoint for them now
	Gone  []*Endpoint // nothing new begins there

	unfinished []*Cluster
}

// Add makes o part of c.
func (c *Change) Add(o Change) {
	c.Woken = append(c.Woken, o.Woken...)
	c.Gone = append(c.Gone, o.Gone...)
	c.unfinished = append(c.unfinished, o.unfinished...)
}

// Update takes the endpoints that destination sent, keeping those that are the same as before. They
// come in the order of their IDs, each once, and neither they nor the list are changed later. One
// goroutine at a time updates a cluster, and finishes the change.
func (c *Cluster) Update(params Params, list []*api.Endpoint, now time.Time) (ch Change) {
	had := former{of: c.latest}
	next := &EndpointSet{
		Params: params, All: make([]*Endpoint, 0, len(list)), announced: list, made: since(now),
	}
	if c.latest != nil {
		had.all, had.announced = c.latest.All, c.latest.announced
	}
	for len(list) > 0 {
		n := had.unchanged(list)
		next.All = append(next.All, had.skip(n)...)
		if list = list[n:]; len(list) == 0 {
			break
		}
		e := had.take(list[0])
		if e == nil {
			e = c.newEndpoint(list[0], had.newcomer(params, now), now)
		}
		next.All = append(next.All, e)
		list = list[1:]
	}
	next.weights = weightsOf(next.announced)
	if was := had.of; was != nil && was.Params.Place != nil &&
		(params.Place == nil || next.plain()) {
		next.unplaced()
	}
	c.latest = next
	c.settle(next, now)
	next.count(had.of)
	ch.Gone = append(had.gone, had.all...)
	if next.plain() {
		ch.Woken = c.publish(next)
	} else {
		ch.unfinished = append(ch.unfinished, c)
	}
	return ch
}

// count keeps the gauges of those whose failures are looked for; of others there are none.
func (s *EndpointSet) count(was *EndpointSet) {
	counts := s.Params.Counts
	if was != nil && was.Params.Counts != nil && was.Params.Counts != counts {
		was.Params.Counts.Endpoints.Store(0)
		was.Params.Counts.SetEjected(nil)
	}
	if counts == nil {
		return
	}
	all := 0
	if s.Params.Outliers != nil {
		all = len(s.All)
	}
	counts.Endpoints.Store(int64(all))
}

// Finish builds what balancers need of new endpoints, and has requests use them. The table of a
// consistent hash over 10,000 endpoints takes milliseconds, so whoever calls it holds no lock that
// a request takes.
func (ch *Change) Finish() {
	for _, c := range ch.unfinished {
		if was := c.set.Load(); was != c.latest {
			c.latest.build(was)
			ch.Woken = append(ch.Woken, c.publish(c.latest)...)
		}
	}
	ch.unfinished = nil
}

// publish has requests use a set, and returns who has waited for one.
func (c *Cluster) publish(s *EndpointSet) []Waiter {
	c.set.Store(s)
	if len(s.All) == 0 {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.waiting.All()
}

// former is the endpoints before a change. Nearly all stay, and are made of the very messages that
// the new ones are: to see that, no endpoint is looked at, which 10,000 times over would take a
// millisecond.
type former struct {
	of        *EndpointSet // nil: there were none
	all       []*Endpoint  // that are yet to be passed, by their IDs
	announced []*api.Endpoint
	gone      []*Endpoint
	fresh     *Params // of newcomers, once there is one
}

// newcomer are the parameters of an endpoint that is new: it is taken to be like its peers.
func (f *former) newcomer(p Params, now time.Time) Params {
	if f.of == nil {
		return p
	}
	if f.fresh == nil {
		p.Initial = f.of.medianLatency(now, p.Initial)
		f.fresh = &p
	}
	return *f.fresh
}

// unchanged is how many of the next endpoints are made of the first of these messages.
func (f *former) unchanged(list []*api.Endpoint) (n int) {
	had := f.announced
	for n < len(list) && n < len(had) && list[n] == had[n] {
		n++
	}
	return n
}

// skip passes the next n.
func (f *former) skip(n int) []*Endpoint {
	passed := f.all[:n]
	f.all, f.announced = f.all[n:], f.announced[n:]
	return passed
}

// take returns the endpoint of before that m is, and nil if there is none that is the same.
func (f *former) take(m *api.Endpoint) *Endpoint {
	n := 0
	for n < len(f.all) && f.all[n].id < m.Id {
		n++
	}
	f.gone = append(f.gone, f.skip(n)...)
	if len(f.all) == 0 || f.all[0].id != m.Id {
		return nil
	}
	e := f.skip(1)[0]
	if !e.same(m) {
		f.gone = append(f.gone, e)
		return nil
	}
	e.place.Store(m.Locality)
	return e
}

// Park queues w among no more than limit until there is an endpoint, unless there is one by now.
// queued false without a set means that too many wait already.
func (c *Cluster) Park(w Waiter, limit int) (set *EndpointSet, queued bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	// update stores the set before it takes mu, so an endpoint is either seen here or wakes what
	// was queued.
	if s := c.set.Load(); s != nil && len(s.All) > 0 {
		return s, false
	}
	return nil, c.waiting.Add(w, limit)
}

// Unpark takes w out of the queue, if it is there.
func (c *Cluster) Unpark(w Waiter) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.waiting.Remove(w)
}

// NewCluster makes a cluster without endpoints. attach makes what its user keeps with each of them.
func NewCluster(
	name string,
	attach func() any,
) *Cluster {
	return &Cluster{Name: name, attach: attach}
}

// Lone makes c a cluster of one endpoint, which nobody else announces.
func (c *Cluster) Lone(addr string, params Params) *Cluster {
	c.Update(params,
		[]*api.Endpoint{{Id: addr, Address: addr, Protocol: api.Protocol_PROTOCOL_DETECT}},
		time.Now())
	return c
}

// Current is the endpoints of the moment; nil: destination has not sent any yet.
func (c *Cluster) Current() *EndpointSet { return c.set.Load() }

// First is the endpoint of a cluster that has one and keeps it.
func (c *Cluster) First() *Endpoint { return c.set.Load().All[0] }

func (c *Cluster) newEndpoint(m *api.Endpoint, params Params, now time.Time) *Endpoint {
	e := &Endpoint{
		cluster:   c,
		id:        m.Id,
		Address:   m.Address,
		Mesh:      m.MeshAddress,
		Port:      m.TargetPort,
		Protocol:  m.Protocol,
		Transport: c.attach(),
		joined:    now.Sub(epoch),
	}
	if w := m.Workload; w != nil {
		e.workload = metric.Workload{Namespace: w.Namespace, Kind: w.Kind, Name: w.Name, Pod: w.Pod}
	}
	if m.MeshAddress != "" {
		// An identity that does not parse leaves the zero ID, which no certificate matches: an
		// error, never plaintext.
		e.Identity, _ = spiffeid.FromString(m.Identity)
	}
	e.place.Store(m.Locality)
	e.ewma.reset(params, now)
	return e
}

// same reports whether m is this very endpoint: same place, same identity.
func (e *Endpoint) same(m *api.Endpoint) bool {
	return e.Address == m.Address && e.Mesh == m.MeshAddress && e.Port == m.TargetPort &&
		e.Protocol == m.Protocol &&
		(e.Mesh == "" || e.Identity.String() == m.Identity)
}

// Pending is how many requests the endpoint is believed to work on.
func (e *Endpoint) Pending() int64 { return e.ewma.pending.Load() }

// Waiting is how many wait for an endpoint.
func (c *Cluster) Waiting() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.waiting.Size()
}
