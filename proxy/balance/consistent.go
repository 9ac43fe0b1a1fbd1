package balance

import (
	"cmp"
	"errors"
	"math"
	"slices"

	"github.com/tulle-mesh/tulle/destination/api"
)

// consistent takes the endpoint that a key of the request falls to, by a table that changes little
// when an endpoint comes or goes. Where that may not be picked, the next entry's counts.
type consistent struct {
	layout layout
	bound  float64 // what an endpoint may have, of its share of what is under way; 0: no bound
}

// layout lays endpoints out in a table, by their keys in order and their shares, whose sum is 1. It
// can be compared.
type layout interface {
	lay(keys []string, shares []float64) *table
}

// table says where a hash falls. Proxies that know the same endpoints have the same one.
type table struct {
	owners []uint16 // of its entries, which are numbers of endpoints
	hashes []uint64 // of a ring's points, sorted; nil: a hash falls to its remainder
}

// maxOwners is as many endpoints as a table tells apart: more than a cluster may have.
const maxOwners = 1 << 16

func compileConsistentHash(m *api.ConsistentHash) (method, []HashKey, error) {
	c, err := &consistent{}, error(nil)
	switch t := m.GetTable().(type) {
	case *api.ConsistentHash_Ring:
		c.layout, err = compileRing(t.Ring)
	case *api.ConsistentHash_Maglev:
		c.layout, err = compileMaglev(t.Maglev)
	default:
		err = errors.New("a consistent hash's table that this proxy does not know")
	}
	if err != nil {
		return nil, nil, err
	}
	if percent := m.GetBoundedLoadPercent(); percent > 0 {
		c.bound = 1 + float64(percent)/100
	}
	keys, err := compileKeys(m.GetKeys())
	return c, keys, err
}

// entry is where a hash falls.
func (t *table) entry(h uint64) int {
	if t.hashes == nil {
		return int(h % uint64(len(t.owners)))
	}
	i, _ := slices.BinarySearch(t.hashes, h)
	if i == len(t.hashes) {
		return 0
	}
	return i
}

// hashed is a set's table.
type hashed struct {
	*consistent
	order  []*Endpoint // by key, which is the address
	keys   []string
	shares []float64 // of order; their sum is 1
	table  *table
}

// picker keeps the table of the set before if it is still right, for most changes are to something
// else: an endpoint's identity, or what a cluster says beside its balancer.
func (c *consistent) picker(s *EndpointSet, was picker) picker {
	h := &hashed{consistent: c}
	n := min(len(s.All), maxOwners)
	numbers := make([]int, n)
	for i := range numbers {
		numbers[i] = i
	}
	slices.SortFunc(numbers, func(i, j int) int {
		a, b := s.All[i], s.All[j]
		return cmp.Or(cmp.Compare(a.Address, b.Address), cmp.Compare(a.id, b.id))
	})
	for _, i := range numbers {
		h.order = append(h.order, s.All[i])
		h.keys = append(h.keys, s.All[i].Address)
		h.shares = append(h.shares, s.part(i))
	}
	if old, ok := was.(*hashed); ok && old.layout == c.layout &&
		slices.Equal(old.keys, h.keys) && slices.Equal(old.shares, h.shares) {
		h.table = old.table
	} else {
		h.table = c.layout.lay(h.keys, h.shares)
	}
	return h
}

// walkEach bounds how many entries are looked at, for each endpoint: one that is not among so many
// entries at random is one in nine million.
const walkEach = 16

func (h *hashed) pick(s *EndpointSet, k Key) *Endpoint {
	if !k.Hashed {
		return random{}.pick(s, k)
	}
	var full *Endpoint // the first that may be picked, but for the bound
	before := passed{want: k.Try % len(h.order)}
	m, at := h.underWay(s), h.table.entry(k.Hash)
	for range min(len(h.table.owners), walkEach*len(h.order)) {
		i := h.table.owners[at]
		if at++; at == len(h.table.owners) {
			at = 0
		}
		e := h.order[i]
		if before.has(e) || !wants(e, k) || !s.ramp.takes(e, k) {
			continue
		}
		if h.bound == 0 || e.Pending() < h.room(i, m) {
			return e
		}
		full = cmp.Or(full, e)
	}
	if full == nil {
		return s.pickReady(k)
	}
	return full
}

// underWay is how many requests there are, with the one to be placed.
func (h *hashed) underWay(s *EndpointSet) int64 {
	if h.bound == 0 {
		return 0
	}
	return s.All[0].cluster.underWay.Load() + 1
}

// room is how many of m requests the ith endpoint may have: its share and a bit more, rounded up
// (Mirrokni, Thorup, Zadimoghaddam, "Consistent Hashing with Bounded Loads", SODA 2018). One has
// always room. Requests that are placed at the same moment may exceed it by their number.
func (h *hashed) room(i uint16, m int64) int64 {
	const rounding = 1e-9
	return int64(math.Ceil(h.bound*float64(m)*h.shares[i] - rounding))
}

// passed are endpoints that earlier tries were for: the first ones after a key's entry.
type passed struct {
	want int
	list [maxPassed]*Endpoint
	n    int
}

// maxPassed is more than a request has tries.
const maxPassed = 8

func (p *passed) has(e *Endpoint) bool {
	if slices.Contains(p.list[:p.n], e) {
		return true
	}
	if p.n == min(p.want, maxPassed) {
		return false
	}
	p.list[p.n] = e
	p.n++
	return true
}

// takes lets a key fall to an endpoint that starts slowly once its share has grown to the key: some
// keys come to it early, and stay. They are ordered by another hash than the table's, so that each
// part of the table gives as many.
func (r *ramp) takes(e *Endpoint, k Key) bool {
	const all = 1 << 53
	f := r.factor(e, k.Now)
	return f >= 1 || float64(round(prime5, k.Hash)>>11)/all < f
}
