package balance

import (
	"math"
	"slices"
	"sync/atomic"
	"time"
)

// tiers are a set's endpoints by their rank, where its cluster prefers some. Each tier is a set of
// its own, picked from as the cluster says. What a tier is given of all requests is reckoned a few
// times a second:
//
//   - by how many of its endpoints may be picked, as Envoy does with priority levels (see loads),
//   - less what it is to pass on because it answers slowly (see strain).
type tiers struct {
	all []*tier
	due atomic.Int64 // when the shares are reckoned anew, since epoch
}

// tier is one rank's.
type tier struct {
	rank   rank
	set    *EndpointSet
	strain *strain // outlives the set
	// The sum of its share and those of the tiers before it, of wholeShare.
	upTo atomic.Uint32
}

const (
	// mostTiers bounds what a pick looks at; who comes after them is in the last one.
	mostTiers = 8
	// reckonEach is how old shares may be. Who rests or is ejected meanwhile is not picked, but
	// what it had goes to its own tier alone.
	reckonEach = 100 * time.Millisecond
	wholeShare = 1 << 24
	// probeShare is what a tier is given at least, per cent, while one of its endpoints is to be
	// dialed again after it could not be: else nobody would find out that it can.
	probeShare = 3
)

// tiersOf is nil where all endpoints have the same rank. strains are the tiers' of the set before.
func tiersOf(s *EndpointSet, was *tiers) *tiers {
	place := s.Params.Place
	ranks := make([]rank, len(s.All))
	for i, m := range s.announced {
		ranks[i] = place.rank(m.GetLocality())
	}
	order := slices.SortedFunc(slices.Values(ranks), rank.compare)
	order = slices.Compact(order)
	if len(order) < 2 {
		return nil
	}
	order = order[:min(len(order), mostTiers)]
	t := &tiers{}
	for _, r := range order {
		t.all = append(t.all, &tier{rank: r, set: &EndpointSet{Params: s.Params}})
	}
	for i, e := range s.All {
		at, _ := slices.BinarySearchFunc(order, ranks[i], rank.compare)
		in := t.all[min(at, len(order)-1)].set
		in.All, in.announced = append(in.All, e), append(in.announced, s.announced[i])
	}
	for _, one := range t.all {
		one.build(was)
	}
	t.reckon(s.made, place.byHealth)
	return t
}

// build makes what picking from a tier needs, and keeps what was known of it.
func (t *tier) build(was *tiers) {
	var before *EndpointSet
	t.strain = newStrain()
	if old := was.ranked(t.rank); old != nil {
		before, t.strain = old.set, old.strain
	}
	t.set.weights = weightsOf(t.set.announced)
	t.set.buildPicker(before)
	for _, e := range t.set.All {
		e.strain.Store(t.strain)
	}
}

func (t *tiers) ranked(r rank) *tier {
	if t == nil {
		return nil
	}
	i := slices.IndexFunc(t.all, func(one *tier) bool { return one.rank == r })
	if i < 0 {
		return nil
	}
	return t.all[i]
}

// pick takes a tier by its share, and an endpoint of it. A request with a hash comes to the same
// tier each time, until shares change.
func (t *tiers) pick(s *EndpointSet, k Key) *Endpoint {
	at, due := since(k.Now), t.due.Load()
	if at >= due && t.due.CompareAndSwap(due, at+int64(reckonEach)) {
		t.reckon(at, s.Params.Place.byHealth)
	}
	i := t.choose(s, k)
	e := t.all[i].set.Pick(k)
	if e == nil || !wants(e, k) {
		return t.elsewhere(k, i, e)
	}
	return e
}

func (t *tiers) choose(s *EndpointSet, k Key) int {
	if t.all[0].upTo.Load() == wholeShare {
		return 0
	}
	n := uint32(round(prime3, k.Hash) >> 40)
	if !k.Hashed {
		n = uint32(s.intN(wholeShare))
	}
	for i, one := range t.all {
		if n < one.upTo.Load() {
			return i
		}
	}
	return len(t.all) - 1
}

// elsewhere is for when a tier has none but the endpoint to avoid, or that may not be picked.
func (t *tiers) elsewhere(k Key, but int, otherwise *Endpoint) *Endpoint {
	for i, one := range t.all {
		if i == but {
			continue
		}
		switch e := one.set.Pick(k); {
		case e == nil:
		case wants(e, k):
			return e
		case otherwise == nil || otherwise == k.Avoid:
			otherwise = e
		}
	}
	return otherwise
}

// reckon brings the shares up to date.
func (t *tiers) reckon(at int64, byHealth bool) {
	var health, share [mostTiers]float64
	n := len(t.all)
	for i, one := range t.all {
		ready, probed := one.set.census(at)
		health[i] = healthOf(ready, len(one.set.All))
		if probed && ready == 0 {
			share[i] = probeShare
		}
	}
	t.loads(health[:n], share[:n])
	if !byHealth {
		t.ease(health[:n], share[:n], at)
	}
	sum := 0.0
	for i, one := range t.all {
		sum += share[i]
		one.upTo.Store(uint32(math.Round(sum / 100 * wholeShare)))
	}
}

// census counts who may be picked. One that could not be dialed is not counted until it was
// reached, and probed says that there is one whose rest is over.
func (s *EndpointSet) census(at int64) (ready int, probed bool) {
	for _, e := range s.All {
		switch {
		case !e.health.readyAt(at):
		case e.health.failures.Load() > 0:
			probed = true
		default:
			ready++
		}
	}
	return ready, probed
}

// overprovisioning is how many more endpoints a tier is taken to have than it needs, per cent: of
// 100, 71 suffice.
const overprovisioning = 140

// healthOf is a whole number of per cent (Envoy, "Priority levels": "the percentage of healthy
// hosts, multiplied by the overprovisioning factor of 1.4, is the health of the priority").
func healthOf(ready, endpoints int) float64 {
	return float64(min(100, overprovisioning*ready/endpoints))
}

// loads adds to shares, which have what is set aside, the tiers' parts of the rest, per cent, by
// Envoy's formula:
//
//	normalized total = min(100, sum of health)
//	load(P)          = min(100 - sum of loads before P, health(P) * 100 / normalized total)
//
// in whole numbers, of which the first healthy tier has what rounding leaves over. So a tier is
// used only for what those before it cannot take. Where no tier has any health all are used, by how
// many endpoints they have (Envoy, "Panic threshold").
func (t *tiers) loads(health, share []float64) {
	total, aside, endpoints := 0.0, 0.0, 0
	for i := range t.all {
		total, aside = total+health[i], aside+share[i]
		endpoints += len(t.all[i].set.All)
	}
	if total == 0 {
		for i, one := range t.all {
			share[i] = 100 * float64(len(one.set.All)) / float64(endpoints)
		}
		return
	}
	left, first := 100.0, -1
	var load [mostTiers]float64
	for i := range t.all {
		load[i] = min(left, math.Floor(health[i]*100/min(100, total)))
		left -= load[i]
		if first < 0 && health[i] > 0 {
			first = i
		}
	}
	load[first] += left
	for i := range t.all {
		share[i] += load[i] * (1 - aside/100)
	}
}

// ease has tiers that answer slowly pass on part of their share to the next that is healthy.
func (t *tiers) ease(health, share []float64, at int64) {
	for i := range t.all {
		next := i + 1
		for next < len(health) && health[next] == 0 {
			next++
		}
		if next == len(health) {
			return
		}
		if health[i] == 0 {
			continue
		}
		passed := share[i] * (1 - t.all[i].strain.review(t.all[next].strain, at))
		share[i] -= passed
		share[next] += passed
	}
}

// unplaced forgets tiers that there are no longer.
func (s *EndpointSet) unplaced() {
	for _, e := range s.All {
		e.strain.Store(nil)
	}
}
