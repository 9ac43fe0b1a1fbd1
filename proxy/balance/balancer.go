package balance

import (
	"errors"
	"math/rand/v2"
	"time"

	"github.com/tulle-mesh/tulle/destination/api"
)

// Balancer is what a Cluster says of how its endpoints are picked, where that is not EWMA alone. It
// is immutable.
type Balancer struct {
	how    method     // nil: EWMA
	start  *slowStart // nil: none
	keys   []HashKey  // of a consistent hash
	random *rand.Rand // of a simulation, which is to say the same each time; nil: the runtime's
}

// method is a way to pick endpoints.
type method interface {
	// picker makes what the method needs for the endpoints of s, of which there are two or more.
	// was is the one of the set before, and may be another method's, or nil.
	picker(s *EndpointSet, was picker) picker
}

// picker picks one of the endpoints of the set that it was made for.
type picker interface {
	pick(s *EndpointSet, k Key) *Endpoint
}

var errBalancer = errors.New("a balancer that this proxy does not know: " +
	"update the proxy, or choose another")

// Compile is how a cluster is used, where p has the defaults. What it does not know, and what is
// out of bounds, is an error.
func Compile(c *api.Cluster, p Params) (Params, error) {
	b, err := &Balancer{}, error(nil)
	switch m := c.GetBalancer().(type) {
	case *api.Cluster_Ewma:
		p.obey(m.Ewma)
	case *api.Cluster_LeastRequest:
		b.how, err = compileLeastRequest(m.LeastRequest)
	case *api.Cluster_RoundRobin:
		b.how = roundRobin{}
	case *api.Cluster_Random:
		b.how = random{}
	case *api.Cluster_ConsistentHash:
		b.how, b.keys, err = compileConsistentHash(m.ConsistentHash)
	default:
		err = errBalancer
	}
	if err != nil {
		return Params{}, err
	}
	if b.start, err = compileSlowStart(c.GetSlowStart()); err != nil {
		return Params{}, err
	}
	if b.how != nil || b.start != nil {
		p.Balancer = b
	}
	p.Place, err = compilePlace(c.GetLocalityPreference(), p.Own)
	return p, err
}

// obey takes what a cluster says of its EWMA.
func (p *Params) obey(m *api.EWMA) {
	if ms := m.GetDefaultRttMs(); ms > 0 {
		p.Initial = time.Duration(ms) * time.Millisecond
	}
	if ms := m.GetDecayMs(); ms > 0 {
		p.Decay = time.Duration(ms) * time.Millisecond
	}
}

// Seeded makes picks repeatable, for simulations: one goroutine may use r.
func (p Params) Seeded(r *rand.Rand) Params {
	b := Balancer{}
	if p.Balancer != nil {
		b = *p.Balancer
	}
	b.random = r
	p.Balancer = &b
	return p
}

// HashKeys are what a request of the cluster is hashed by; nil: its balancer does not.
func (s *EndpointSet) HashKeys() []HashKey {
	if b := s.Params.Balancer; b != nil {
		return b.keys
	}
	return nil
}

// plain reports whether nothing has to be built for the set: it is EWMA's, which sees no difference
// between endpoints but how they do.
func (s *EndpointSet) plain() bool {
	return len(s.All) < 2 || s.Params.Place == nil && s.alike()
}

func (s *EndpointSet) alike() bool { return s.Params.Balancer == nil && s.weights == nil }

// build makes what picking from the set needs; was is the set before, or nil.
func (s *EndpointSet) build(was *EndpointSet) {
	if s.Params.Place == nil {
		s.buildPicker(was)
		return
	}
	var before *tiers
	if was != nil {
		before, _ = was.by.(*tiers)
	}
	if t := tiersOf(s, before); t != nil {
		s.by = t
		return
	}
	s.unplaced()
	s.buildPicker(was)
}

// buildPicker is build for endpoints of which none comes first.
func (s *EndpointSet) buildPicker(was *EndpointSet) {
	if len(s.All) < 2 || s.alike() {
		return
	}
	for _, w := range s.weights {
		s.total += w
	}
	s.columns = s.aliasTable()
	b := s.Params.Balancer
	if b == nil {
		s.by = weightedEWMA{}
		return
	}
	s.ramp = newRamp(b.start, s.All)
	var before picker
	if was != nil {
		before = was.by
	}
	s.by = weightedEWMA{}
	if b.how != nil {
		s.by = b.how.picker(s, before)
	}
}

// intN is a number from 0 to n-1 at random.
func (s *EndpointSet) intN(n int) int {
	if b := s.Params.Balancer; b != nil && b.random != nil {
		return b.random.IntN(n)
	}
	return rand.IntN(n)
}

// float is a number from 0 to less than 1 at random.
func (s *EndpointSet) float() float64 {
	if b := s.Params.Balancer; b != nil && b.random != nil {
		return b.random.Float64()
	}
	return rand.Float64()
}
