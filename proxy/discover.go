package proxy

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	lru "github.com/hashicorp/golang-lru/v2/simplelru"
	"github.com/tulle-mesh/tulle/destination/api"
	"github.com/tulle-mesh/tulle/proxy/config"
	"github.com/tulle-mesh/tulle/proxy/rpc"
	"google.golang.org/protobuf/proto"
)

const (
	discoverMethod     = "/tulle.destination.v1.Destination/Discover"
	discoverBackoffMin = 100 * time.Millisecond
	discoverBackoffMax = 10 * time.Second // destination's replicas come back one by one; a new pod waits no longer than this
	maxClusters        = 4 * config.MaxTargets
)

// discovery keeps what destination says: one stream, on which every key that is in use is subscribed. What was once
// learned stays, however long destination is away.
type discovery struct {
	p     *Proxy
	log   *slog.Logger
	ready atomic.Bool // destination has welcomed us at least once
	once  sync.Once   // closes met
	met   chan struct{}

	mu       sync.Mutex // guards everything below
	targets  *lru.LRU[string, *target]
	inbounds *lru.LRU[uint16, *inboundPort]
	clusters map[string]*cluster
	params   map[string]ewmaParams
	messages map[resourceKey]*api.Resource // what is held, as it was sent: for deltas and for resuming
	workload *api.Workload
	stream   *rpc.Stream // nil while there is none
	told     bool        // what is held was named on it
	problem  error       // why there is none
	outbox   []*api.DiscoverRequest
	mail     chan struct{} // holds one: there is something in the outbox
}

type resourceKey struct {
	kind api.Kind
	name string
}

// target is an outbound key and destination's latest answer.
type target struct {
	key      *api.Key
	answered chan struct{} // closed by the first answer
	once     sync.Once
	route    atomic.Pointer[route]
	budget   *budget
	evicted  atomic.Bool

	pastOnce  sync.Once // guards pastRoute: where the target is not the mesh's
	pastRoute *route
}

func newDiscovery(p *Proxy) *discovery {
	d := &discovery{p: p, log: p.log, clusters: map[string]*cluster{},
		params: map[string]ewmaParams{}, messages: map[resourceKey]*api.Resource{},
		mail: make(chan struct{}, 1), met: make(chan struct{})}
	// The sizes are positive: no errors.
	d.targets, _ = lru.NewLRU(config.MaxTargets, d.evict)
	d.inbounds, _ = lru.NewLRU(math.MaxUint16+1, d.evictInbound) // evictUnserved bounds it
	return d
}

// target returns the entry for an outbound key, subscribed.
func (d *discovery) target(key *api.Key) *target {
	name := api.KeyString(key)
	d.mu.Lock()
	defer d.mu.Unlock()
	if t, ok := d.targets.Get(name); ok {
		return t
	}
	t := &target{key: key, answered: make(chan struct{}), budget: newBudget(nil)}
	d.targets.Add(name, t)
	d.send(d.subscription(key))
	return t
}

// evict is called by the LRU, with mu held. A connection that still uses the target asks for it anew.
func (d *discovery) evict(name string, t *target) {
	t.evicted.Store(true)
	delete(d.messages, resourceKey{api.Kind_ROUTE, name})
	d.unsubscribe(t.key)
}

func (d *discovery) evictInbound(_ uint16, in *inboundPort) {
	in.evicted.Store(true)
	delete(d.messages, resourceKey{api.Kind_INBOUND, api.KeyString(in.key)})
	d.unsubscribe(in.key)
}

func (d *discovery) unsubscribe(key *api.Key) {
	d.send(&api.DiscoverRequest{Message: &api.DiscoverRequest_Unsubscribe{Unsubscribe: &api.Unsubscribe{Key: key}}})
}

// wait returns the target's route, waiting for the first answer no longer than config.DiscoveryWait.
func (t *target) wait(ctx context.Context) *route {
	if r := t.route.Load(); r != nil {
		return r
	}
	ctx, cancel := context.WithTimeout(ctx, config.DiscoveryWait)
	defer cancel()
	select {
	case <-t.answered:
	case <-ctx.Done():
	}
	return t.route.Load()
}

// subscription asks for a key, naming what is held of it; the stream's first names all that routes share. mu is held.
func (d *discovery) subscription(key *api.Key) *api.DiscoverRequest {
	s := &api.Subscribe{Key: key}
	for _, kind := range []api.Kind{api.Kind_ROUTE, api.Kind_INBOUND} {
		if m := d.messages[resourceKey{kind, api.KeyString(key)}]; m != nil {
			s.Held = append(s.Held, &api.Held{Kind: kind, Name: m.Name, Version: m.Version})
		}
	}
	if d.stream == nil || d.told {
		return &api.DiscoverRequest{Message: &api.DiscoverRequest_Subscribe{Subscribe: s}}
	}
	d.told = true
	for k, m := range d.messages {
		if k.kind == api.Kind_CLUSTER || k.kind == api.Kind_ENDPOINTS {
			s.Held = append(s.Held, &api.Held{Kind: k.kind, Name: k.name, Version: m.Version})
		}
	}
	return &api.DiscoverRequest{Message: &api.DiscoverRequest_Subscribe{Subscribe: s}}
}

// send queues a request; mu is held, so it must not wait for destination. Without a stream nothing is lost: a new one
// begins with every subscription. The outbox is bounded by the keys.
func (d *discovery) send(m *api.DiscoverRequest) {
	if d.stream == nil {
		return
	}
	d.outbox = append(d.outbox, m)
	select {
	case d.mail <- struct{}{}:
	default:
	}
}

// post sends what is queued, until the stream ends.
func (d *discovery) post(s *rpc.Stream, done <-chan struct{}) {
	for {
		select {
		case <-d.mail:
		case <-done:
			return
		}
		d.mu.Lock()
		list := d.outbox
		d.outbox = nil
		d.mu.Unlock()
		for _, m := range list {
			if err := s.Send(m); err != nil {
				return // follow sees the same, and reports it
			}
		}
	}
}

// run keeps a stream to destination until ctx ends.
func (d *discovery) run(ctx context.Context) {
	wait := discoverBackoffMin
	for ctx.Err() == nil {
		began := time.Now()
		err := d.follow(ctx)
		if ctx.Err() != nil {
			return
		}
		if time.Since(began) > discoverBackoffMax {
			wait = discoverBackoffMin
		}
		d.p.controlErrors.destination.Inc()
		d.log.Info("the stream to destination ended", "err", err, "retry", wait)
		select {
		case <-time.After(wait/2 + rand.N(wait)):
		case <-ctx.Done():
		}
		wait = min(2*wait, discoverBackoffMax)
	}
}

// follow opens one stream and applies what it brings.
func (d *discovery) follow(ctx context.Context) error {
	if _, err := d.p.source.Wait(ctx); err != nil {
		return err
	}
	s, err := d.p.destination.Open(ctx, discoverMethod)
	if err != nil {
		d.setStream(nil, err)
		return fmt.Errorf("open a stream to destination at %s: %w", d.p.cfg.Destination.Addr, err)
	}
	done := make(chan struct{})
	var sender sync.WaitGroup
	defer sender.Wait()
	defer s.Close()
	defer close(done)
	if err := d.greet(s); err != nil {
		return err
	}
	sender.Go(func() { d.post(s, done) })
	for {
		m := &api.DiscoverResponse{}
		if err := s.Recv(m); err != nil {
			d.setStream(nil, err)
			return fmt.Errorf("receive from destination: %w", err)
		}
		d.apply(m)
	}
}

// greet says hello and subscribes to all that is in use.
func (d *discovery) greet(s *rpc.Stream) error {
	hello := &api.Hello{Version: d.p.version, Capabilities: []string{"request_headers", "response_headers"}}
	if err := s.Send(&api.DiscoverRequest{Message: &api.DiscoverRequest_Hello{Hello: hello}}); err != nil {
		return fmt.Errorf("greet destination: %w", err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.begin(s)
	return nil
}

// begin subscribes to all that is in use, on a new stream. mu is held.
func (d *discovery) begin(s *rpc.Stream) {
	d.stream, d.problem, d.outbox, d.told = s, nil, nil, false
	for _, t := range d.targets.Values() {
		d.send(d.subscription(t.key))
	}
	for _, in := range d.inbounds.Values() {
		d.send(d.subscription(in.key))
	}
}

func (d *discovery) setStream(s *rpc.Stream, err error) {
	d.mu.Lock()
	d.stream, d.problem = s, err
	d.mu.Unlock()
}

// status says why destination has not answered yet; nil once it has.
func (d *discovery) status() error {
	if d.ready.Load() {
		return nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.problem != nil {
		return fmt.Errorf("destination at %s: %w", d.p.cfg.Destination.Addr, d.problem)
	}
	return errors.New("waiting for destination at " + d.p.cfg.Destination.Addr)
}

// apply takes one message. What waited for it goes on afterwards, without the lock.
func (d *discovery) apply(m *api.DiscoverResponse) {
	var ch change
	d.mu.Lock()
	switch m := m.Message.(type) {
	case *api.DiscoverResponse_Welcome:
		d.workload = m.Welcome.GetWorkload()
		d.ready.Store(true)
		d.once.Do(func() { close(d.met) })
	case *api.DiscoverResponse_Invalid:
		d.applyInvalid(m.Invalid)
	case *api.DiscoverResponse_Resources:
		ch = d.applyResources(m.Resources.GetResources())
	}
	d.mu.Unlock()
	ch.apply()
}

// applyInvalid: destination will not answer for this key. That is an answer: nothing is known by that name.
func (d *discovery) applyInvalid(m *api.Invalid) {
	d.log.Warn("destination refuses a key", "key", api.KeyString(m.GetKey()), "reason", m.GetReason())
	if t, ok := d.targets.Peek(api.KeyString(m.GetKey())); ok && t.route.Load() == nil {
		t.answer(&route{resolution: api.Resolution_NOT_FOUND, fallback: &rule{backends: &picker{}}, budget: t.budget})
	}
	if in, ok := d.inbounds.Peek(uint16(m.GetKey().GetInboundPort())); ok {
		in.once.Do(func() { close(in.answered) })
	}
}

func (t *target) answer(r *route) {
	for _, u := range append(r.rules, r.fallback) {
		u.route = r
	}
	t.route.Store(r)
	t.once.Do(func() { close(t.answered) })
}

// applyResources takes one consistent change: clusters and endpoints first, so that a route never refers to what is not
// here yet. mu is held.
func (d *discovery) applyResources(list []*api.Resource) (ch change) {
	for _, m := range list {
		switch body := m.Body.(type) {
		case *api.Resource_Cluster:
			d.applyCluster(m, body.Cluster)
		case *api.Resource_Endpoints:
			ch.add(d.applyEndpoints(m, body.Endpoints.GetEndpoints()))
		case *api.Resource_EndpointsDelta:
			ch.add(d.applyDelta(m, body.EndpointsDelta))
		case *api.Resource_Inbound:
			d.applyInbound(m, body.Inbound)
		}
	}
	for _, m := range list {
		switch body := m.Body.(type) {
		case *api.Resource_Route:
			d.applyRoute(m, body.Route)
		case nil:
			ch.add(d.drop(m))
		}
	}
	return ch
}

// drop forgets a resource that destination has removed. Targets keep their last route: whoever uses one is told anew.
func (d *discovery) drop(m *api.Resource) (ch change) {
	if !m.Removed {
		return ch
	}
	for _, k := range []api.Kind{api.Kind_CLUSTER, api.Kind_ENDPOINTS} {
		delete(d.messages, resourceKey{k, m.Name})
	}
	if c := d.clusters[m.Name]; c != nil {
		// The cluster itself stays: a route that still refers to it must see it come back.
		ch = c.update(d.params[m.Name], nil, now())
		delete(d.params, m.Name)
	}
	return ch
}

func (d *discovery) hold(kind api.Kind, m *api.Resource) {
	d.messages[resourceKey{kind, m.Name}] = m
}

func (d *discovery) applyCluster(m *api.Resource, c *api.Cluster) {
	p := ewmaParams{config.EWMADefaultRTT, config.EWMADecay}
	if ms := c.GetEwma().GetDefaultRttMs(); ms > 0 {
		p.initial = time.Duration(ms) * time.Millisecond
	}
	if ms := c.GetEwma().GetDecayMs(); ms > 0 {
		p.decay = time.Duration(ms) * time.Millisecond
	}
	d.params[m.Name] = p
	d.hold(api.Kind_CLUSTER, m)
}

func (d *discovery) applyEndpoints(m *api.Resource, list []*api.Endpoint) change {
	d.hold(api.Kind_ENDPOINTS, m)
	return d.cluster(m.Name).update(d.clusterParams(m.Name), list, now())
}

// applyDelta changes the endpoints that are held. A delta to something else is dropped together with the base, so that
// the next stream asks for a snapshot.
func (d *discovery) applyDelta(m *api.Resource, delta *api.EndpointsDelta) change {
	k := resourceKey{api.Kind_ENDPOINTS, m.Name}
	held := d.messages[k]
	if held == nil || held.Version != m.Base {
		d.log.Warn("destination sent a change to endpoints that are not held", "cluster", m.Name)
		delete(d.messages, k)
		if d.stream != nil {
			d.stream.Close()
		}
		return change{}
	}
	merged := mergeEndpoints(held.GetEndpoints().GetEndpoints(), delta)
	whole := &api.Resource{Name: m.Name, Version: m.Version, Body: &api.Resource_Endpoints{Endpoints: &api.Endpoints{Endpoints: merged}}}
	return d.applyEndpoints(whole, merged)
}

func mergeEndpoints(held []*api.Endpoint, delta *api.EndpointsDelta) []*api.Endpoint {
	gone := map[string]bool{}
	for _, id := range delta.Removed {
		gone[id] = true
	}
	for _, e := range delta.Changed {
		gone[e.Id] = true
	}
	merged := make([]*api.Endpoint, 0, len(held)+len(delta.Changed))
	for _, e := range held {
		if !gone[e.Id] {
			merged = append(merged, e)
		}
	}
	return append(merged, delta.Changed...)
}

func (d *discovery) clusterParams(name string) ewmaParams {
	if p, ok := d.params[name]; ok {
		return p
	}
	return ewmaParams{config.EWMADefaultRTT, config.EWMADecay}
}

// cluster returns the cluster of a name, known yet or not. mu is held.
func (d *discovery) cluster(name string) *cluster {
	c := d.clusters[name]
	if c == nil {
		c = &cluster{name: name}
		if len(d.clusters) >= maxClusters {
			d.sweepClusters()
		}
		d.clusters[name] = c
	}
	return c
}

// sweepClusters forgets clusters that nothing is known of any more.
func (d *discovery) sweepClusters() {
	for name := range d.clusters {
		if d.messages[resourceKey{api.Kind_ENDPOINTS, name}] == nil {
			delete(d.clusters, name)
		}
	}
}

func (d *discovery) applyRoute(m *api.Resource, msg *api.Route) {
	t, ok := d.targets.Peek(m.Name)
	if !ok {
		return
	}
	if held := d.messages[resourceKey{api.Kind_ROUTE, m.Name}]; held != nil && proto.Equal(held.GetRoute(), msg) {
		return
	}
	t.budget.configure(msg.RetryBudget)
	r, err := compileRoute(msg, t.budget, d.cluster)
	if err != nil {
		d.log.Error("cannot use a route from destination, keeping the last one", "route", m.Name, "err", err)
		return
	}
	d.hold(api.Kind_ROUTE, m)
	t.answer(r)
}

func (d *discovery) applyInbound(m *api.Resource, msg *api.Inbound) {
	in, ok := d.inbounds.Peek(uint16(msg.Port))
	if !ok {
		return
	}
	d.hold(api.Kind_INBOUND, m)
	in.update(msg)
}

// connected reports whether there is somebody to answer.
func (d *discovery) connected() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.stream != nil
}

// self is the workload that destination takes us for.
func (d *discovery) self() *api.Workload {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.workload
}
