package proxy

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tulle-mesh/tulle/destination/api"
)

// target is an outbound key and destination's latest answer.
type target struct {
	key      *api.Key
	answered chan struct{} // closed by the first answer
	once     sync.Once
	route    atomic.Pointer[route]
	budget   *budget
	evicted  atomic.Bool
	uses     []*clusterEntry // the clusters that the route names; discovery.mu guards it

	pastOnce  sync.Once // guards pastRoute: where the target is not the mesh's
	pastRoute *route
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
	d.subscribe(key)
	return t
}

// evict is called by the LRU, with mu held. A connection that still uses the target asks for it anew.
func (d *discovery) evict(name string, t *target) {
	t.evicted.Store(true)
	delete(d.messages, resourceKey{api.Kind_KIND_ROUTE, name})
	d.release(t.uses)
	t.uses = nil
	d.unsubscribe(t.key)
}

func (d *discovery) evictInbound(_ uint16, in *inboundPort) {
	in.evicted.Store(true)
	delete(d.messages, resourceKey{api.Kind_KIND_INBOUND, api.KeyString(in.key)})
	d.unsubscribe(in.key)
}

// wait returns the target's route, waiting for the first answer no longer than longest.
func (t *target) wait(ctx context.Context, longest time.Duration) *route {
	if r := t.route.Load(); r != nil {
		return r
	}
	ctx, cancel := context.WithTimeout(ctx, longest)
	defer cancel()
	select {
	case <-t.answered:
	case <-ctx.Done():
	}
	return t.route.Load()
}

func (t *target) answer(r *route) {
	for _, u := range append(r.rules, r.fallback) {
		u.route = r
	}
	t.route.Store(r)
	t.once.Do(func() { close(t.answered) })
}
