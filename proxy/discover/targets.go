package discover

import (
	"context"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tulle-mesh/tulle/destination/api"
	"github.com/tulle-mesh/tulle/proxy/balance"
	"github.com/tulle-mesh/tulle/proxy/route"
)

// Target is an outbound key and destination's latest answer.
type Target struct {
	d        *Session
	key      *api.Key
	answered chan struct{} // closed by the first answer
	once     sync.Once
	latest   atomic.Pointer[Answer]
	budget   *route.Budget
	evicted  atomic.Bool
	uses     []*clusterEntry // the clusters that the answer names; discovery.mu guards it

	outsideOnce sync.Once // guards outside: where the target is not the mesh's
	outside     *Answer
}

// Answer is a route, and the clusters that it names. It is immutable.
type Answer struct {
	*route.Route
	Members []*balance.Cluster // by the backends' index
}

// Cluster returns the cluster that a backend of the answer's route goes to; nil: the backend is an
// answer itself.
func (a *Answer) Cluster(b *route.Backend) *balance.Cluster {
	if b.Answer != 0 {
		return nil
	}
	return a.Members[b.Index]
}

// Target returns the entry for an outbound key, subscribed.
func (d *Session) Target(key *api.Key) *Target {
	name := api.KeyString(key)
	d.mu.Lock()
	defer d.mu.Unlock()
	if t, ok := d.targets.Get(name); ok {
		return t
	}
	t := &Target{d: d, key: key, answered: make(chan struct{}), budget: route.NewBudget(nil)}
	d.targets.Add(name, t)
	d.subscribeLocked(key)
	return t
}

// evictTargetLocked is called by the LRU, with mu held. A connection that still uses the target
// asks for it anew.
func (d *Session) evictTargetLocked(name string, t *Target) {
	t.evicted.Store(true)
	d.lose(resourceKey{api.Kind_KIND_ROUTE, name})
	d.releaseLocked(t.uses)
	t.uses = nil
	d.unsubscribeLocked(t.key)
}

func (d *Session) evictPortLocked(_ uint16, in *Port) {
	in.evicted.Store(true)
	d.lose(resourceKey{api.Kind_KIND_INBOUND, api.KeyString(in.key)})
	d.unsubscribeLocked(in.key)
}

// wait returns the target's answer, waiting for the first one no longer than longest.
func (t *Target) wait(ctx context.Context, longest time.Duration) *Answer {
	if a := t.latest.Load(); a != nil {
		return a
	}
	ctx, cancel := context.WithTimeout(ctx, longest)
	defer cancel()
	t.d.await(ctx, t.answered)
	return t.latest.Load()
}

// Again is the target as it is asked for anew.
func (t *Target) Again() *Target { return t.d.Target(t.key) }

// Now is destination's answer of the moment; nil: there is none yet.
func (t *Target) Now() *Answer { return t.latest.Load() }

// Gone reports whether the target was forgotten, and is to be asked for anew.
func (t *Target) Gone() bool { return t.evicted.Load() }

func (t *Target) set(a *Answer) {
	t.latest.Store(a)
	t.once.Do(func() { close(t.answered) })
}

// Name is what the target is called in words.
func (t *Target) Name() string {
	if a := t.key.GetAuthority(); a != "" {
		return a
	}
	return t.key.GetAddress()
}

// Resolve returns where the target is: destination's answer, or past the mesh for an address that
// is not the cluster's. nil: it is the cluster's, and there is no answer. It waits for the first
// one no longer than longest.
func (t *Target) Resolve(ctx context.Context, longest time.Duration) *Answer {
	a := t.latest.Load()
	if a == nil {
		a = t.await(ctx, longest)
	}
	if a == nil && !t.d.outside(t.key.GetAddress()) {
		return nil
	}
	if a == nil || a.Resolution == api.Resolution_RESOLUTION_OUTSIDE {
		return t.pastTheMesh()
	}
	return a
}

// await is wait, but for the way out of the cluster: it does not wait for a destination that is
// away.
func (t *Target) await(ctx context.Context, longest time.Duration) *Answer {
	if longest == 0 || !t.d.connected() && t.d.outside(t.key.GetAddress()) {
		return nil
	}
	return t.wait(ctx, longest)
}

// outside reports whether an address is surely not the cluster's.
func (d *Session) outside(addr string) bool {
	dst, err := netip.ParseAddrPort(addr)
	if err != nil {
		return false
	}
	for _, n := range d.Cfg.ClusterNetworks {
		if n.Contains(dst.Addr()) {
			return false
		}
	}
	return len(d.Cfg.ClusterNetworks) > 0
}

// pastTheMesh is the answer for a target that is not the mesh's: its own address, in plaintext or
// the application's own TLS.
func (t *Target) pastTheMesh() *Answer {
	t.outsideOnce.Do(func() {
		c := balance.NewCluster(route.OutsideAuthority, t.d.Attach)
		p := t.d.defaults()
		p.DialTimeout = t.d.Cfg.Limits.DialOutside
		c.Lone(t.Name(), p) // a name is looked up as it stands
		t.outside = &Answer{route.Outside(t.budget), []*balance.Cluster{c}}
	})
	return t.outside
}
