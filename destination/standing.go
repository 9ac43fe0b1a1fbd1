package destination

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/tulle-mesh/tulle/destination/registry"
)

const (
	// standingEvery is how often the standing of policies is published, at most. Each change of it
	// is a write to the API server.
	standingEvery = 5 * time.Second
	// maxRejecters bounds the proxies that are named; the others are counted.
	maxRejecters = 3
)

// standings counts the connected proxies that were sent what policies were made into, and those
// that cannot use it. It keeps one entry for each stream and policy, which the stream takes back.
// Replicas tell each other how many they have, and each publishes them all.
type standings struct {
	owner *registry.Owner
	wake  chan struct{} // holds one token while changed is not empty

	mu      sync.Mutex                                // guards everything below
	by      map[registry.PolicyRef]map[*stream]string // why it cannot be used, or ""
	changed map[registry.PolicyRef]struct{}           // since it was published
	last    map[registry.PolicyRef]*registry.Standing // as it was published

	own    map[registry.PolicyRef]*registry.Standing // this replica's, as others are told
	relays map[*relay]struct{}
	peers  map[*peerStandings]struct{}
}

// peerStandings are what another replica tells of its own.
type peerStandings struct {
	of map[registry.PolicyRef]*registry.Standing
}

func newStandings(reg *registry.Registry) *standings {
	return &standings{
		owner: reg.Owner("proxies"), wake: make(chan struct{}, 1),
		by:      map[registry.PolicyRef]map[*stream]string{},
		changed: map[registry.PolicyRef]struct{}{},
		last:    map[registry.PolicyRef]*registry.Standing{},
		own:     map[registry.PolicyRef]*registry.Standing{},
		relays:  map[*relay]struct{}{}, peers: map[*peerStandings]struct{}{},
	}
}

// set says how a policy stands with a stream's proxy. It never blocks.
func (st *standings) set(ref registry.PolicyRef, s *stream, rejected string) {
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.by[ref] == nil {
		st.by[ref] = map[*stream]string{}
	}
	if was, known := st.by[ref][s]; !known || was != rejected {
		st.by[ref][s] = rejected
		st.markLocked(ref)
	}
}

// remove says that a stream's proxy has nothing more of a policy.
func (st *standings) remove(ref registry.PolicyRef, s *stream) {
	st.mu.Lock()
	defer st.mu.Unlock()
	delete(st.by[ref], s)
	if len(st.by[ref]) == 0 {
		delete(st.by, ref)
	}
	st.markLocked(ref)
}

func (st *standings) markLocked(ref registry.PolicyRef) {
	st.changed[ref] = struct{}{}
	select {
	case st.wake <- struct{}{}:
	default:
	}
}

// run publishes until the context ends.
func (st *standings) run(ctx context.Context) {
	for {
		select {
		case <-st.wake:
			st.publish()
		case <-ctx.Done():
			return
		}
		select {
		case <-time.After(standingEvery):
		case <-ctx.Done():
			return
		}
	}
}

// publish tells the registry of what is worth telling.
func (st *standings) publish() {
	st.mu.Lock()
	defer st.mu.Unlock()
	var change registry.Change
	for ref := range st.changed {
		own := st.ownLocked(ref)
		st.relayLocked(ref, own)
		now, last := st.allLocked(ref, own), st.last[ref]
		switch {
		case now == nil && last != nil:
			delete(st.last, ref)
			change.Delete = append(change.Delete, last)
		case now != nil && isNews(now, last):
			st.last[ref] = now
			change.Set = append(change.Set, now)
		}
	}
	clear(st.changed)
	st.owner.Apply(change)
}

// isNews says whether a standing differs by more than a few proxies from what was told last.
func isNews(now, last *registry.Standing) bool {
	return last == nil || !slices.Equal(now.Rejections, last.Rejections) ||
		isMore(now.Proxies, last.Proxies) || isMore(now.Rejected, last.Rejected)
}

// isMore says whether a number is twice another, or half of it.
func isMore(a, b int) bool { return a != b && max(a, b) >= 2*min(a, b) }

// ownLocked is of the proxies with streams here; nil: none has been sent anything.
func (st *standings) ownLocked(ref registry.PolicyRef) *registry.Standing {
	proxies := st.by[ref]
	if len(proxies) == 0 {
		return nil
	}
	var all []registry.Rejection
	for s, reason := range proxies {
		if reason != "" {
			pod := registry.Name{Namespace: s.caller.namespace, Name: s.caller.pod}
			all = append(all, registry.Rejection{Pod: pod, Reason: reason})
		}
	}
	return &registry.Standing{
		Meta: registry.Meta{Namespace: ref.Name.Namespace, Name: ref.Name.Name}, Kind: ref.Kind,
		Proxies: len(proxies), Rejected: len(all), Rejections: firstRejections(all),
	}
}

// firstRejections are those that are named, in the order of their pods.
func firstRejections(all []registry.Rejection) []registry.Rejection {
	slices.SortFunc(all, func(a, b registry.Rejection) int {
		return cmp.Or(registry.CompareNames(a.Pod, b.Pod), cmp.Compare(a.Reason, b.Reason))
	})
	return slices.Clone(all[:min(len(all), maxRejecters)])
}

// allLocked adds to this replica's standing what others tell of theirs.
func (st *standings) allLocked(
	ref registry.PolicyRef, own *registry.Standing,
) *registry.Standing {
	out := own
	for p := range st.peers {
		one := p.of[ref]
		switch {
		case one == nil:
		case out == nil:
			out = one
		default:
			sum := *out
			sum.Proxies += one.Proxies
			sum.Rejected += one.Rejected
			sum.Rejections = firstRejections(slices.Concat(out.Rejections, one.Rejections))
			out = &sum
		}
	}
	return out
}

// attribute notes which policies what the proxy has of a resource was made from.
func (s *stream) attribute(id resourceID, policies []registry.PolicyRef, r *round) {
	last := s.view.madeFrom[id]
	for _, ref := range last {
		r.policies[ref] = struct{}{}
		if !slices.Contains(policies, ref) {
			delete(s.view.made[ref], id)
		}
	}
	for _, ref := range policies {
		r.policies[ref] = struct{}{}
		if s.view.made[ref] == nil {
			s.view.made[ref] = map[resourceID]struct{}{}
		}
		s.view.made[ref][id] = struct{}{}
	}
	if s.view.madeFrom[id] = policies; len(policies) == 0 {
		delete(s.view.madeFrom, id)
	}
}

// tellStandings says how the policies that a flush has touched stand with the proxy.
func (s *stream) tellStandings(r *round) {
	for ref := range r.policies {
		made := s.view.made[ref]
		if len(made) == 0 {
			delete(s.view.made, ref)
			s.standings.remove(ref, s)
			continue
		}
		rejected := ""
		for _, id := range slices.SortedFunc(maps.Keys(made), inOrder) {
			if why, bad := s.view.unusable[id]; bad {
				rejected = cmp.Or(rejected, why.reason)
			}
		}
		s.standings.set(ref, s, rejected)
	}
}
