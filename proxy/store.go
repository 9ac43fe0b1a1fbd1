package proxy

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/tulle-mesh/tulle/destination/api"
	"google.golang.org/protobuf/proto"
)

// maxEndpoints bounds one cluster: some 25 MB.
const maxEndpoints = 65536

// store is what destination has said, as it was said: for deltas, and for resuming.
type store struct {
	messages map[resourceKey]*api.Resource
	parts    map[resourceKey]*parts
	clusters map[string]*clusterEntry   // by the name of the Cluster resource
	users    map[string][]*clusterEntry // of endpoints, by their name: the variants of one cluster
	kept     map[string]struct{}        // names of clusters that only what this proxy keeps still needs
}

// maxKept bounds the keys that this proxy asks for the sake of routes that destination has replaced by some that it cannot
// use. Clusters beyond it stay as they are.
const maxKept = 1024

type resourceKey struct {
	kind api.Kind
	name string
}

func keyOf(m *api.Resource) resourceKey { return resourceKey{m.Kind, m.Name} }

// parts is a resource of which more is to come.
type parts struct {
	whole *api.Resource // so far; without its body once it is too large
	count uint32
	err   error
}

// clusterEntry is a cluster, for as long as destination or a route knows its name.
type clusterEntry struct {
	cluster
	params    *ewmaParams // nil: destination has not said how it is used, so it is not
	endpoints string      // the name of its endpoints
	routes    int         // how many times routes name it
}

func newStore() store {
	return store{messages: map[resourceKey]*api.Resource{}, parts: map[resourceKey]*parts{}, clusters: map[string]*clusterEntry{},
		users: map[string][]*clusterEntry{}, kept: map[string]struct{}{}}
}

// row is what becomes of a kind of resource.
type row struct {
	kind  api.Kind
	apply func(*discovery, *api.Resource) (change, error)
	drop  func(d *discovery, name string) change // nil: there is nothing to do
}

// rows are in the order in which a change is applied, so that a route never refers to what is not here yet. Removals go
// the other way round. A target keeps its last route, a port its last policy and a cluster its last endpoints: whoever uses
// one is told anew.
var rows = [...]row{
	{api.Kind_KIND_CLUSTER, (*discovery).applyCluster, (*discovery).dropCluster},
	{api.Kind_KIND_ENDPOINTS, (*discovery).applyEndpoints, nil},
	{api.Kind_KIND_ROUTE, (*discovery).applyRoute, nil},
	{api.Kind_KIND_INBOUND, (*discovery).applyInbound, nil},
}

// applyResources takes one consistent change. mu is held.
func (d *discovery) applyResources(list []*api.Resource) (ch change) {
	for i := range rows {
		for _, m := range list {
			if m.Kind == rows[i].kind && !m.Removed {
				ch.add(d.applyResource(&rows[i], m))
			}
		}
	}
	for i := len(rows) - 1; i >= 0; i-- {
		for _, m := range list {
			if m.Kind == rows[i].kind && m.Removed {
				ch.add(d.remove(&rows[i], m))
			}
		}
	}
	for _, m := range list {
		if !known(m.Kind) {
			d.reject(m, fmt.Errorf("a resource of a kind (%d) that this proxy does not know", m.Kind))
		}
	}
	return ch
}

func (d *discovery) remove(r *row, m *api.Resource) change {
	delete(d.parts, keyOf(m))
	if d.keep(m) {
		return change{}
	}
	delete(d.messages, keyOf(m))
	if r.drop == nil {
		return change{}
	}
	return r.drop(d, m.Name)
}

// keep reports whether what destination has removed is still needed: by a route that stays in use because the one after it
// was rejected, or withheld. It is asked for by name from now on, so that it goes on changing with its pods. mu is held.
func (d *discovery) keep(m *api.Resource) bool {
	var users []*clusterEntry
	switch m.Kind {
	case api.Kind_KIND_ENDPOINTS:
		users = d.users[m.Name]
	case api.Kind_KIND_CLUSTER:
		if e := d.clusters[m.Name]; e != nil && e.params != nil {
			users = []*clusterEntry{e}
		}
	}
	for _, e := range users {
		if e.routes == 0 {
			continue
		}
		if _, asked := d.kept[e.name]; !asked && len(d.kept) < maxKept {
			d.kept[e.name] = struct{}{}
			d.subscribe(clusterKey(e.name))
		}
		return true
	}
	return false
}

func clusterKey(name string) *api.Key { return &api.Key{Key: &api.Key_Cluster{Cluster: name}} }

func known(k api.Kind) bool {
	for i := range rows {
		if rows[i].kind == k {
			return true
		}
	}
	return false
}

func (d *discovery) applyResource(r *row, m *api.Resource) change {
	whole, err := d.assemble(m)
	held := d.messages[keyOf(m)]
	if whole == nil || held != nil && held.Version == whole.Version {
		return change{}
	}
	var ch change
	if err == nil {
		ch, err = r.apply(d, whole)
	}
	if err != nil {
		d.reject(whole, err)
	}
	return ch
}

// assemble returns a resource once all its parts are here. Parts out of order are destination's fault, and cannot be
// mended: the stream ends, and the next one begins with what is held.
func (d *discovery) assemble(m *api.Resource) (*api.Resource, error) {
	k := keyOf(m)
	p := d.parts[k]
	switch {
	case p == nil && m.Part == 0 && !m.More:
		return m, nil
	case p == nil && m.Part == 0:
		p = &parts{whole: m}
	case p != nil && m.Part == p.count && m.Version == p.whole.Version && m.Base == p.whole.Base:
		p.add(m)
	default:
		d.resync(k, "destination sent parts of a resource out of order")
		return nil, nil
	}
	p.count++
	if m.More {
		d.parts[k] = p
		return nil, nil
	}
	delete(d.parts, k)
	return p.whole, p.err
}

// add joins a part to those before it.
func (p *parts) add(m *api.Resource) {
	whole, more := p.whole.GetEndpoints(), m.GetEndpoints()
	delta, moreDelta := p.whole.GetEndpointsDelta(), m.GetEndpointsDelta()
	switch {
	case p.err != nil:
	case whole != nil && more != nil:
		whole.Endpoints = append(whole.Endpoints, more.Endpoints...)
	case delta != nil && moreDelta != nil:
		delta.Changed = append(delta.Changed, moreDelta.Changed...)
		delta.Removed = append(delta.Removed, moreDelta.Removed...)
	default:
		p.err = errors.New("the parts of the resource are of different kinds")
	}
	if len(whole.GetEndpoints()) > maxEndpoints || len(delta.GetChanged()) > maxEndpoints || len(delta.GetRemoved()) > maxEndpoints {
		p.err = fmt.Errorf("more than %d endpoints", maxEndpoints)
	}
	if p.err != nil {
		p.whole.Body = nil
	}
}

// resync drops what is held of a resource and ends the stream: the next one asks for a snapshot.
func (d *discovery) resync(k resourceKey, why string) {
	d.log.Warn(why, "kind", k.kind, "name", k.name)
	delete(d.messages, k)
	delete(d.parts, k)
	if d.stream != nil {
		d.stream.Close()
	}
}

// resume names what is held, in messages of bounded size, of which the last one says that it is.
func (s *store) resume() []*api.Resume {
	out := []*api.Resume{{}}
	size, count := 0, 0
	for k, m := range s.messages {
		if count++; count > api.MaxHeld {
			break
		}
		h := &api.Held{Kind: k.kind, Name: k.name, Version: m.Version}
		n := proto.Size(h) + heldOverhead
		if size += n; size > api.MaxRequest-requestOverhead {
			out, size = append(out, &api.Resume{}), n
		}
		r := out[len(out)-1]
		r.Held = append(r.Held, h)
	}
	out[len(out)-1].Last = true
	return out
}

const (
	heldOverhead    = 4  // the tag and length of an element, at most
	requestOverhead = 16 // those of what is around the list
)

func (d *discovery) hold(m *api.Resource) { d.messages[keyOf(m)] = m }

var errBody = errors.New("its body is not of its kind")

func (d *discovery) applyCluster(m *api.Resource) (change, error) {
	c := m.GetCluster()
	if c == nil {
		return change{}, errBody
	}
	params, err := d.compileBalancer(c)
	if err != nil {
		return change{}, err
	}
	e := d.entry(m.Name)
	d.unlink(e)
	e.params, e.endpoints = &params, c.Name
	d.users[c.Name] = append(d.users[c.Name], e)
	d.hold(m)
	return d.refresh(e), nil
}

func (d *discovery) compileBalancer(c *api.Cluster) (ewmaParams, error) {
	b, ok := c.Balancer.(*api.Cluster_Ewma)
	if !ok {
		return ewmaParams{}, errors.New("a balancer that this proxy does not know")
	}
	p := d.p.ewmaDefaults()
	if ms := b.Ewma.GetDefaultRttMs(); ms > 0 {
		p.initial = time.Duration(ms) * time.Millisecond
	}
	if ms := b.Ewma.GetDecayMs(); ms > 0 {
		p.decay = time.Duration(ms) * time.Millisecond
	}
	return p, nil
}

func (d *discovery) dropCluster(name string) (ch change) {
	if e := d.clusters[name]; e != nil {
		d.unlink(e)
		e.params = nil
		ch = d.refresh(e)
		d.forget(name)
	}
	return ch
}

// unlink says that a cluster no longer uses its endpoints.
func (d *discovery) unlink(e *clusterEntry) {
	left := slices.DeleteFunc(d.users[e.endpoints], func(u *clusterEntry) bool { return u == e })
	if d.users[e.endpoints] = left; len(left) == 0 {
		delete(d.users, e.endpoints)
	}
}

// refreshAll brings the clusters up to date whose endpoints are of that name.
func (d *discovery) refreshAll(endpoints string) (ch change) {
	for _, e := range d.users[endpoints] {
		ch.add(d.refresh(e))
	}
	return ch
}

// refresh gives a cluster the endpoints that are held, or none while it cannot be used.
func (d *discovery) refresh(e *clusterEntry) change {
	if e.params == nil {
		if e.set.Load() == nil {
			return change{}
		}
		return e.update(d.p.ewmaDefaults(), nil, now())
	}
	m := d.messages[resourceKey{api.Kind_KIND_ENDPOINTS, e.endpoints}]
	if m == nil {
		return change{} // they are on their way, perhaps in parts; until then the last ones hold
	}
	return e.update(*e.params, m.GetEndpoints().GetEndpoints(), now())
}

// applyEndpoints takes a snapshot, or a change to the endpoints that are held. A change to something else is dropped
// together with the base.
func (d *discovery) applyEndpoints(m *api.Resource) (change, error) {
	var list []*api.Endpoint
	switch body := m.Body.(type) {
	case *api.Resource_Endpoints:
		list = body.Endpoints.GetEndpoints()
	case *api.Resource_EndpointsDelta:
		held := d.messages[keyOf(m)]
		if held == nil || held.Version != m.Base {
			d.resync(keyOf(m), "destination sent a change to endpoints that are not held")
			return change{}, nil
		}
		list = mergeEndpoints(held.GetEndpoints().GetEndpoints(), body.EndpointsDelta)
	default:
		return change{}, errBody
	}
	if err := checkEndpoints(list); err != nil {
		return change{}, err
	}
	d.hold(&api.Resource{Kind: m.Kind, Name: m.Name, Version: m.Version,
		Body: &api.Resource_Endpoints{Endpoints: &api.Endpoints{Endpoints: list}}})
	return d.refreshAll(m.Name), nil
}

func checkEndpoints(list []*api.Endpoint) error {
	if len(list) > maxEndpoints {
		return fmt.Errorf("more than %d endpoints", maxEndpoints)
	}
	for _, e := range list {
		if err := checkProtocol(e.Protocol); err != nil {
			return fmt.Errorf("endpoint %q: %w", e.Id, err)
		}
	}
	return nil
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

// entry returns the cluster of a name, known yet or not. mu is held.
func (d *discovery) entry(name string) *clusterEntry {
	e := d.clusters[name]
	if e == nil {
		e = &clusterEntry{cluster: cluster{name: name}}
		d.clusters[name] = e
	}
	return e
}

// forget drops a cluster that neither destination nor a route knows any more. One that a route still names must be seen
// to come back.
func (d *discovery) forget(name string) {
	if e := d.clusters[name]; e != nil && e.params == nil && e.routes == 0 {
		delete(d.clusters, name)
	}
}

// release says that a route no longer names these clusters.
func (d *discovery) release(list []*clusterEntry) {
	for _, e := range list {
		e.routes--
		if _, asked := d.kept[e.name]; asked && e.routes == 0 {
			delete(d.kept, e.name)
			d.unsubscribe(clusterKey(e.name))
		}
		d.forget(e.name)
	}
}

func (d *discovery) applyRoute(m *api.Resource) (change, error) {
	msg := m.GetRoute()
	if msg == nil {
		return change{}, errBody
	}
	t, ok := d.targets.Peek(m.Name)
	if !ok {
		return change{}, nil // unsubscribed meanwhile
	}
	var uses []*clusterEntry
	r, err := compileRoute(msg, t.budget, func(name string) *cluster {
		e := d.entry(name)
		e.routes++
		uses = append(uses, e)
		return &e.cluster
	})
	if err != nil {
		d.release(uses)
		return change{}, err
	}
	t.budget.configure(msg.RetryBudget)
	d.release(t.uses)
	t.uses = uses
	d.hold(m)
	t.answer(r)
	return change{}, nil
}

func (d *discovery) applyInbound(m *api.Resource) (change, error) {
	msg := m.GetInbound()
	if msg == nil {
		return change{}, errBody
	}
	in, ok := d.inbounds.Peek(uint16(msg.Port))
	if !ok || api.KeyString(in.key) != m.Name {
		return change{}, nil // unsubscribed meanwhile
	}
	pol, err := in.compile(msg)
	if err != nil {
		return change{}, err
	}
	d.hold(m)
	in.update(pol)
	return change{}, nil
}
