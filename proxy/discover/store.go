package discover

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/tulle-mesh/tulle/destination/api"
	"github.com/tulle-mesh/tulle/proxy/balance"
	"google.golang.org/protobuf/proto"
)

// store is what destination has said, as it was said: for deltas, and for resuming.
type store struct {
	messages map[resourceKey]*api.Resource
	parts    map[resourceKey]*parts
	clusters map[string]*clusterEntry   // by the name of the Cluster resource
	users    map[string][]*clusterEntry // of endpoints, by their name: the variants of one cluster
	// Names of clusters that only what this proxy keeps still needs.
	kept     map[string]struct{}
	revision uint64 // of messages: see mark
}

// maxKept bounds the keys that this proxy asks for the sake of routes that destination has replaced
// by some that it cannot use. Clusters beyond it stay as they are.
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
	*balance.Cluster
	params    *balance.Params // nil: destination has not said how it is used, so it is not
	endpoints string          // the name of its endpoints
	routes    int             // how many routes name it
}

func newStore() store {
	return store{
		messages: map[resourceKey]*api.Resource{},
		parts:    map[resourceKey]*parts{},
		clusters: map[string]*clusterEntry{},
		users:    map[string][]*clusterEntry{},
		kept:     map[string]struct{}{},
	}
}

// row is what becomes of a kind of resource.
type row struct {
	kind  api.Kind
	apply func(*Session, *api.Resource) (balance.Change, error)
	drop  func(d *Session, name string) balance.Change // nil: there is nothing to do
}

// rows are in the order in which a change is applied, so that a route never refers to what is not
// here yet. Removals go the other way round. A target keeps its last route, a port its last policy
// and a cluster its last endpoints: whoever uses one is told anew. A Config that is removed counts
// no longer.
//
// What a balancer has to build of endpoints, such as a table, is built after the lock is released:
// for a moment the ones before are still used, or requests wait for the first.
var rows = [...]row{
	{api.Kind_KIND_CLUSTER, (*Session).applyClusterLocked, (*Session).dropClusterLocked},
	{api.Kind_KIND_ENDPOINTS, (*Session).applyEndpointsLocked, nil},
	{api.Kind_KIND_ROUTE, (*Session).applyRouteLocked, nil},
	{api.Kind_KIND_INBOUND, (*Session).applyInboundLocked, nil},
	{api.Kind_KIND_CONFIG, (*Session).applyConfigLocked, (*Session).dropConfigLocked},
}

// applyAllLocked takes one consistent change.
func (d *Session) applyAllLocked(list []*api.Resource) (ch balance.Change) {
	for i := range rows {
		for _, m := range list {
			if m.Kind == rows[i].kind && !m.Removed {
				ch.Add(d.applyLocked(&rows[i], m))
			}
		}
	}
	for i := len(rows) - 1; i >= 0; i-- {
		for _, m := range list {
			if m.Kind == rows[i].kind && m.Removed {
				ch.Add(d.removeLocked(&rows[i], m))
			}
		}
	}
	for _, m := range list {
		if !known(m.Kind) {
			d.rejectLocked(m,
				fmt.Errorf("a resource of a kind (%d) that this proxy does not know", m.Kind))
		}
	}
	return ch
}

func (d *Session) removeLocked(r *row, m *api.Resource) balance.Change {
	delete(d.parts, keyOf(m))
	if d.keepLocked(m) {
		return balance.Change{}
	}
	d.lose(keyOf(m))
	if r.drop == nil {
		return balance.Change{}
	}
	return r.drop(d, m.Name)
}

// keepLocked reports whether what destination has removed is still needed: by a route that stays in
// use because the one after it was rejected, or withheld. It is asked for by name from now on, so
// that it goes on changing with its pods.
func (d *Session) keepLocked(m *api.Resource) bool {
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
		if _, asked := d.kept[e.Name]; !asked && len(d.kept) < maxKept {
			d.kept[e.Name] = struct{}{}
			d.subscribeLocked(clusterKey(e.Name))
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

func (d *Session) applyLocked(r *row, m *api.Resource) balance.Change {
	whole, err := d.assembleLocked(m)
	held := d.messages[keyOf(m)]
	if whole == nil || held != nil && held.Version == whole.Version {
		return balance.Change{}
	}
	var ch balance.Change
	if err == nil {
		ch, err = r.apply(d, whole)
	}
	if err != nil {
		d.rejectLocked(whole, err)
	}
	return ch
}

// assembleLocked returns a resource once all its parts are here. Parts out of order are
// destination's fault, and cannot be mended: the stream ends, and the next one begins with what is
// held.
func (d *Session) assembleLocked(m *api.Resource) (*api.Resource, error) {
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
		d.resyncLocked(k, "destination sent parts of a resource out of order")
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
	if len(whole.GetEndpoints()) > maxEndpoints || len(delta.GetChanged()) > maxEndpoints ||
		len(delta.GetRemoved()) > maxEndpoints {
		p.err = fmt.Errorf("more than %d endpoints", maxEndpoints)
	}
	if p.err != nil {
		p.whole.Body = nil
	}
}

// resyncLocked drops what is held of a resource and ends the stream: the next one asks for a
// snapshot.
func (d *Session) resyncLocked(k resourceKey, why string) {
	d.Log.Warn(why, "kind", k.kind, "name", k.name)
	d.lose(k)
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

func (d *Session) holdLocked(m *api.Resource) { d.hold(m) }

var errBody = errors.New("its body is not of its kind")

func (d *Session) applyClusterLocked(m *api.Resource) (balance.Change, error) {
	c := m.GetCluster()
	if c == nil {
		return balance.Change{}, errBody
	}
	params, err := balance.Compile(c, d.defaults())
	if err == nil {
		err = d.protect(c, &params)
	}
	if err != nil {
		return balance.Change{}, err
	}
	e := d.entryLocked(m.Name)
	d.unlinkLocked(e)
	e.params, e.endpoints = &params, c.Name
	d.users[c.Name] = append(d.users[c.Name], e)
	d.holdLocked(m)
	return d.refreshLocked(e), nil
}

// moveLocked has clusters go by another place of this proxy's. Nearly always it is the one of the
// stream before, if there was one.
func (d *Session) moveLocked(to *api.Locality) (ch balance.Change) {
	if proto.Equal(d.locality, to) {
		return ch
	}
	d.locality = to
	for _, m := range d.messages {
		if m.GetCluster() == nil {
			continue
		}
		if one, err := d.applyClusterLocked(m); err == nil { // it was good, wherever this is
			ch.Add(one)
		}
	}
	return ch
}

func (d *Session) dropClusterLocked(name string) (ch balance.Change) {
	if e := d.clusters[name]; e != nil {
		d.unlinkLocked(e)
		e.params = nil
		ch = d.refreshLocked(e)
		d.forgetLocked(name)
	}
	return ch
}

// unlinkLocked says that a cluster no longer uses its endpoints.
func (d *Session) unlinkLocked(e *clusterEntry) {
	left := slices.DeleteFunc(d.users[e.endpoints], func(u *clusterEntry) bool { return u == e })
	if d.users[e.endpoints] = left; len(left) == 0 {
		delete(d.users, e.endpoints)
	}
}

// refreshAllLocked brings the clusters up to date whose endpoints are of that name.
func (d *Session) refreshAllLocked(endpoints string) (ch balance.Change) {
	for _, e := range d.users[endpoints] {
		ch.Add(d.refreshLocked(e))
	}
	return ch
}

// refreshLocked gives a cluster the endpoints that are held, or none while it cannot be used.
func (d *Session) refreshLocked(e *clusterEntry) balance.Change {
	if e.params == nil {
		if e.Current() == nil {
			return balance.Change{}
		}
		return e.Update(d.defaults(), nil, time.Now())
	}
	m := d.messages[resourceKey{api.Kind_KIND_ENDPOINTS, e.endpoints}]
	if m == nil {
		// They are on their way, perhaps in parts; until then the last ones hold.
		return balance.Change{}
	}
	return e.Update(*e.params, m.GetEndpoints().GetEndpoints(), time.Now())
}

// entryLocked returns the cluster of a name, known yet or not.
func (d *Session) entryLocked(name string) *clusterEntry {
	e := d.clusters[name]
	if e == nil {
		e = &clusterEntry{Cluster: balance.NewCluster(name, d.Attach)}
		d.clusters[name] = e
	}
	return e
}

// forgetLocked drops a cluster that neither destination nor a route knows any more. One that a
// route still names must be seen to come back.
func (d *Session) forgetLocked(name string) {
	if e := d.clusters[name]; e != nil && e.params == nil && e.routes == 0 {
		delete(d.clusters, name)
	}
}

// useLocked says that a route names these clusters.
func (d *Session) useLocked(names []string) (uses []*clusterEntry) {
	for _, name := range names {
		e := d.entryLocked(name)
		e.routes++
		uses = append(uses, e)
	}
	return uses
}

func members(uses []*clusterEntry) (list []*balance.Cluster) {
	for _, e := range uses {
		list = append(list, e.Cluster)
	}
	return list
}

// releaseLocked says that a route no longer names these clusters.
func (d *Session) releaseLocked(list []*clusterEntry) {
	for _, e := range list {
		e.routes--
		if _, asked := d.kept[e.Name]; asked && e.routes == 0 {
			delete(d.kept, e.Name)
			d.unsubscribeLocked(clusterKey(e.Name))
		}
		d.forgetLocked(e.Name)
	}
}

func (d *Session) applyRouteLocked(m *api.Resource) (balance.Change, error) {
	msg := m.GetRoute()
	if msg == nil {
		return balance.Change{}, errBody
	}
	t, ok := d.targets.Peek(m.Name)
	if !ok {
		return balance.Change{}, nil // unsubscribed meanwhile
	}
	c := d.compiledLocked(m)
	if c.err != nil {
		return balance.Change{}, c.err
	}
	r := c.route
	r.Budget = t.budget
	uses := d.useLocked(r.Clusters)
	t.budget.Configure(msg.RetryBudget)
	d.releaseLocked(t.uses)
	t.uses = uses
	d.holdLocked(m)
	t.set(&Answer{r, members(uses)})
	return balance.Change{}, nil
}

func (d *Session) applyInboundLocked(m *api.Resource) (balance.Change, error) {
	msg := m.GetInbound()
	if msg == nil {
		return balance.Change{}, errBody
	}
	in, ok := d.inbounds.Peek(uint16(msg.Port))
	if !ok && msg.HealthCheck == nil || ok && api.KeyString(in.key) != m.Name {
		return balance.Change{}, nil // unsubscribed meanwhile
	}
	c := d.compiledLocked(m)
	if c.err != nil {
		return balance.Change{}, c.err
	}
	if !ok { // it is to be checked before anybody calls it
		in = d.portLocked(uint16(msg.Port))
	}
	d.holdLocked(m)
	in.update(c.port)
	d.lendLocked()
	return balance.Change{}, nil
}

func (d *Session) applyConfigLocked(m *api.Resource) (balance.Change, error) {
	msg := m.GetConfig()
	if msg == nil {
		return balance.Change{}, errBody
	}
	if m.Name != api.KeyString(selfKey) {
		return balance.Change{}, nil // another proxy's
	}
	if err := d.Configure(msg); err != nil {
		return balance.Change{}, err
	}
	d.holdLocked(m)
	return balance.Change{}, nil
}

func (d *Session) dropConfigLocked(name string) balance.Change {
	if name == api.KeyString(selfKey) {
		d.Configure(nil) // nothing in it could be refused
	}
	return balance.Change{}
}
