package viz

import (
	"maps"

	"github.com/tulle-mesh/tulle/viz/api"
)

// standing is how the endpoints behind series stand with those who call them. These are gauges:
// what several proxies say of one endpoint is of one endpoint, so nothing is summed over proxies.
// An endpoint counts as ejected while one of them keeps requests from it, and of how many endpoints
// a backend has the largest number counts, for to a proxy that has not heard of a new one there are
// fewer. The zero value is of none.
type standing struct {
	ejected   map[place]uint32
	endpoints map[string]uint32 // by backend
}

// place is where an endpoint is: a backend's pod.
type place struct {
	backend string
	pod     workload
}

// note takes what a series of a live proxy says.
func (s *standing) note(one *series) {
	l := one.labels
	if one.endpoints == 0 || l.direction != api.Direction_DIRECTION_OUTBOUND {
		return
	}
	if s.endpoints == nil {
		s.endpoints, s.ejected = map[string]uint32{}, map[place]uint32{}
	}
	s.endpoints[l.backend] = max(s.endpoints[l.backend], one.endpoints)
	if one.ejected > 0 {
		at := place{l.backend, l.peer}
		s.ejected[at] = max(s.ejected[at], one.ejected)
	}
}

// add takes what others say.
func (s *standing) add(o *standing) {
	if o.endpoints == nil {
		return
	}
	if s.endpoints == nil {
		s.endpoints, s.ejected = maps.Clone(o.endpoints), maps.Clone(o.ejected)
		return
	}
	for backend, n := range o.endpoints {
		s.endpoints[backend] = max(s.endpoints[backend], n)
	}
	for at, n := range o.ejected {
		s.ejected[at] = max(s.ejected[at], n)
	}
}

// sums are how many endpoints are ejected, and how many there are.
func (s *standing) sums() (ejected, all uint64) {
	for _, n := range s.ejected {
		ejected += uint64(n)
	}
	for _, n := range s.endpoints {
		all += uint64(n)
	}
	return ejected, all
}

// standingsLocked is how each resource of a kind stands with its callers. It needs the store's lock
// for reading.
func (s *store) standingsLocked(w span, kind string) map[key]*standing {
	out := make(map[key]*standing)
	for one := range s.noted {
		if !one.process.live(w.now) {
			continue
		}
		k, ok := one.destination(kind)
		if !ok {
			continue
		}
		if out[k] == nil {
			out[k] = &standing{}
		}
		out[k].note(one)
	}
	return out
}
