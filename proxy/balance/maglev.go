package balance

import (
	"fmt"
	"slices"

	"github.com/tulle-mesh/tulle/destination/api"
)

// maglev is the lookup table of Eisenbud et al., "Maglev: A Fast and Reliable Software Network Load
// Balancer" (NSDI 2016, section 3.4), with weights as Envoy has them
// (source/extensions/load_balancing_policies/maglev): each endpoint has a permutation of the table,
// and they take turns at claiming the first entry of theirs that is free.
type maglev struct{ size uint64 }

const (
	defaultMaglev = 65537 // the paper's
	// maxMaglev bounds a table to 2 MB.
	maxMaglev = 1 << 20
)

func compileMaglev(m *api.Maglev) (layout, error) {
	size := m.GetTableSize()
	if size == 0 {
		size = defaultMaglev
	}
	if size > maxMaglev || !prime(size) {
		return nil, fmt.Errorf("a Maglev table of %d entries: it is a prime of at most %d",
			size, maxMaglev)
	}
	return maglev{size}, nil
}

func prime(n uint64) bool {
	for d := uint64(2); d*d <= n; d++ {
		if n%d == 0 {
			return false
		}
	}
	return n > 1
}

// claimant is an endpoint that fills a table.
type claimant struct {
	at, skip uint64  // the next of its permutation, and the step to the one after that
	share    float64 // of the table
	due      float64 // what its rounds must add up to before it takes another turn
}

func (m maglev) lay(keys []string, shares []float64) *table {
	return fill(m.size, slices.Max(shares), m.claimants(keys, shares))
}

// fill is a table in which each takes as many turns as its share compares to the greatest.
func fill(size uint64, greatest float64, all []claimant) *table {
	t := &table{owners: make([]uint16, size)}
	taken := make([]bool, size)
	for round, left := 1.0, size; left > 0; round++ {
		for i := range all {
			c := &all[i]
			if left == 0 || round*c.share < c.due {
				continue
			}
			c.due += greatest
			t.owners[c.claim(taken)] = uint16(i)
			left--
		}
	}
	return t
}

func (m maglev) claimants(keys []string, shares []float64) []claimant {
	all := make([]claimant, len(keys))
	for i, key := range keys {
		all[i] = claimant{at: xxh64(key, 0) % m.size, skip: xxh64(key, 1)%(m.size-1) + 1,
			share: shares[i]}
	}
	return all
}

// claim takes the next free entry; there must be one.
func (c *claimant) claim(taken []bool) (at uint64) {
	for {
		at = c.at
		c.at = (c.at + c.skip) % uint64(len(taken))
		if !taken[at] {
			taken[at] = true
			return at
		}
	}
}
