package destination

import (
	"slices"

	"github.com/tulle-mesh/tulle/destination/api"
	"github.com/tulle-mesh/tulle/destination/registry"
)

// maxPeerStandings bounds the policies of which another replica is believed to have proxies.
const maxPeerStandings = 1 << 16

// join begins a relay, which has everything to tell.
func (st *standings) join(r *relay) {
	st.mu.Lock()
	defer st.mu.Unlock()
	for ref := range st.own {
		r.policies[ref] = struct{}{}
	}
	r.notify()
	st.relays[r] = struct{}{}
}

func (st *standings) leave(r *relay) {
	st.mu.Lock()
	defer st.mu.Unlock()
	delete(st.relays, r)
}

// relayLocked has other replicas told how a policy stands here, if that is new.
func (st *standings) relayLocked(ref registry.PolicyRef, own *registry.Standing) {
	if last := st.own[ref]; isSame(own, last) {
		return
	}
	if st.own[ref] = own; own == nil {
		delete(st.own, ref)
	}
	for r := range st.relays {
		r.policies[ref] = struct{}{}
		r.notify()
	}
}

func isSame(a, b *registry.Standing) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.Proxies == b.Proxies && a.Rejected == b.Rejected &&
		slices.Equal(a.Rejections, b.Rejections)
}

// take adds some of what a relay has to tell, as it is now.
func (st *standings) take(r *relay, out *api.RelayResponse) {
	st.mu.Lock()
	defer st.mu.Unlock()
	for ref := range r.policies {
		if len(out.Standings) == relayBatch {
			return
		}
		delete(r.policies, ref)
		m := &api.PolicyStanding{Kind: ref.Kind, Namespace: ref.Name.Namespace, Name: ref.Name.Name}
		if own := st.own[ref]; own != nil {
			m.Proxies, m.Rejected = uint32(own.Proxies), uint32(own.Rejected)
			for _, one := range own.Rejections {
				m.Rejecters = append(m.Rejecters, &api.Rejecter{Namespace: one.Pod.Namespace,
					Pod: one.Pod.Name, Reason: one.Reason})
			}
		}
		out.Standings = append(out.Standings, m)
	}
}

// hear takes what another replica tells.
func (st *standings) hear(from *peerStandings, list []*api.PolicyStanding) {
	if len(list) == 0 {
		return
	}
	st.mu.Lock()
	defer st.mu.Unlock()
	if from.of == nil {
		from.of = map[registry.PolicyRef]*registry.Standing{}
	}
	st.peers[from] = struct{}{}
	for _, m := range list {
		name := registry.Name{Namespace: m.GetNamespace(), Name: m.GetName()}
		ref := registry.PolicyRef{Kind: m.GetKind(), Name: name}
		if m.GetProxies() == 0 {
			delete(from.of, ref)
		} else if len(from.of) < maxPeerStandings {
			from.of[ref] = standingOf(ref, m)
		}
		st.markLocked(ref)
	}
}

func standingOf(ref registry.PolicyRef, m *api.PolicyStanding) *registry.Standing {
	out := &registry.Standing{
		Meta: registry.Meta{Namespace: ref.Name.Namespace, Name: ref.Name.Name}, Kind: ref.Kind,
		Proxies: int(m.Proxies), Rejected: int(m.Rejected),
	}
	for _, one := range m.Rejecters[:min(len(m.Rejecters), maxRejecters)] {
		out.Rejections = append(out.Rejections, registry.Rejection{
			Pod:    registry.Name{Namespace: one.GetNamespace(), Name: one.GetPod()},
			Reason: one.GetReason(),
		})
	}
	return out
}

// forget is for a replica that tells nothing any longer.
func (st *standings) forget(from *peerStandings) {
	st.mu.Lock()
	defer st.mu.Unlock()
	delete(st.peers, from)
	for ref := range from.of {
		st.markLocked(ref)
	}
}
