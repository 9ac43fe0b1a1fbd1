package balance

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"

	"github.com/tulle-mesh/tulle/destination/api"
)

// ring is a hash ring, as Envoy builds it (source/extensions/load_balancing_policies/ring_hash;
// the idea is ketama's): each endpoint has points on it in proportion to its weight, at the hashes
// of its key and their numbers, and a key falls to the next point.
type ring struct{ least, most float64 } // points

const (
	defaultRing = 1024
	// defaultRingMost is less than Envoy's, whose 8 million points take 80 MB.
	defaultRingMost = 1 << 16
	// maxRing bounds a ring to 10 MB.
	maxRing = 1 << 20
)

func compileRing(m *api.Ring) (layout, error) {
	least := cmp.Or(m.GetMinSize(), defaultRing)
	most := cmp.Or(m.GetMaxSize(), max(defaultRingMost, least))
	if least > most || most > maxRing {
		return nil, fmt.Errorf("a ring of %d to %d points: the first is not more than the second, "+
			"and that not more than %d", least, most, maxRing)
	}
	return ring{float64(least), float64(most)}, nil
}

// point of a ring.
type point struct {
	hash  uint64
	owner uint16
}

func (r ring) lay(keys []string, shares []float64) *table {
	smallest := slices.Min(shares)
	// The one with the least weight has a whole number of points.
	scale := min(math.Ceil(smallest*r.least)/smallest, r.most)
	points := make([]point, 0, int(math.Ceil(scale)))
	have, want := 0.0, 0.0 // running sums: what is rounded for one is made up for by the next
	for i, key := range keys {
		want += scale * shares[i]
		for n := 0; have < want; n++ {
			hash := xxh64(key+"_"+strconv.Itoa(n), 0)
			points = append(points, point{hash, uint16(i)})
			have++
		}
	}
	slices.SortFunc(points, func(a, b point) int {
		return cmp.Or(cmp.Compare(a.hash, b.hash), cmp.Compare(a.owner, b.owner))
	})
	return tableOf(points)
}

func tableOf(points []point) *table {
	t := &table{owners: make([]uint16, len(points)), hashes: make([]uint64, len(points))}
	for i, p := range points {
		t.owners[i], t.hashes[i] = p.owner, p.hash
	}
	return t
}
