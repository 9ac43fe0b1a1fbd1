package balance

import (
	"fmt"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/tulle-mesh/tulle/destination/api"
	"github.com/tulle-mesh/tulle/proxy/metric"
	"google.golang.org/protobuf/proto"
)

// here is where the proxy of a test is.
var here = &api.Locality{Region: "r1", Zone: "a", Node: "n1"}

func nearest(m *api.Cluster, prefer api.Nearness) *api.Cluster {
	m = proto.CloneOf(m)
	m.LocalityPreference = &api.LocalityPreference{Prefer: prefer}
	return m
}

func inZone(m *api.Cluster) *api.Cluster { return nearest(m, api.Nearness_NEARNESS_ZONE) }

// located are endpoints at these places, in their order.
func located(places ...*api.Locality) []*api.Endpoint {
	list := weighed(make([]uint32, len(places))...)
	for i, at := range places {
		list[i].Locality = at
	}
	return list
}

// zones are endpoints in zones of one letter.
func zones(letters string) []*api.Endpoint {
	var places []*api.Locality
	for _, letter := range letters {
		places = append(places, &api.Locality{Region: "r1", Zone: string(letter)})
	}
	return located(places...)
}

// placed is a cluster of these endpoints, none of which has been asked.
func placed(t testing.TB, m *api.Cluster, list []*api.Endpoint, now time.Time) *Cluster {
	t.Helper()
	c := NewCluster("web", func() any { return nil })
	change(c, compiledAt(t, m, here), list, now)
	return c
}

func compiledAt(t testing.TB, m *api.Cluster, own *api.Locality) Params {
	t.Helper()
	p, err := Compile(m, Params{
		Initial: 30 * time.Millisecond, Decay: 10 * time.Second, Own: own,
	})
	if err != nil {
		t.Fatal(err)
	}
	return p.Seeded(compiled(t, ewmaCluster()).Balancer.random)
}

// parts are what the tiers were given, per cent.
func parts(c *Cluster) (all []float64) {
	before := 0.0
	for _, one := range c.Current().by.(*tiers).all {
		upTo := float64(one.upTo.Load()) / wholeShare * 100
		all = append(all, math.Round(upTo-before))
		before = upTo
	}
	return all
}

// What Envoy's documentation says of priority levels ("Priority levels", with the overprovisioning
// factor of 1.4), for tiers of as many endpoints each.
func TestTiersHaveWhatTheFormulaSays(t *testing.T) {
	for _, tt := range []struct {
		healthy   []int
		endpoints int
		want      []float64
	}{
		{[]int{100, 100}, 100, []float64{100, 0}},
		{[]int{72, 100}, 100, []float64{100, 0}},
		{[]int{71, 100}, 100, []float64{99, 1}},
		{[]int{50, 100}, 100, []float64{70, 30}},
		{[]int{25, 100}, 100, []float64{35, 65}},
		{[]int{0, 100}, 100, []float64{0, 100}},
		{[]int{100, 0}, 100, []float64{100, 0}},
		{[]int{25, 25}, 100, []float64{50, 50}},
		{[]int{25, 0}, 100, []float64{100, 0}},
		{[]int{71, 71, 100}, 100, []float64{99, 1, 0}},
		{[]int{25, 25, 100}, 100, []float64{35, 35, 30}},
		{[]int{20, 20, 10}, 100, []float64{40, 40, 20}},
		{[]int{5, 5, 5}, 100, []float64{34, 33, 33}}, // the first has what is left over
		{[]int{1, 3}, 3, []float64{46, 54}},
		{[]int{2, 3}, 3, []float64{93, 7}},
		{[]int{3, 3}, 3, []float64{100, 0}},
		{[]int{0, 0, 0}, 4, []float64{33, 33, 33}}, // by how many endpoints they have
	} {
		var list []*api.Endpoint
		now := time.Now()
		for i := range tt.healthy {
			for range tt.endpoints {
				list = append(list, &api.Endpoint{Id: fmt.Sprintf("%05d", len(list)),
					Locality: &api.Locality{Priority: uint32(i)}})
			}
		}
		c := placed(t, inZone(ewmaCluster()), list, now)
		for i, e := range c.Current().All {
			if i%tt.endpoints >= tt.healthy[i/tt.endpoints] {
				e.RestLonger(now, time.Hour)
			}
		}
		c.Current().Pick(Key{Now: now.Add(reckonEach)})
		if got := parts(c); !slices.Equal(got, tt.want) {
			t.Errorf("%v of %d: %v, want %v", tt.healthy, tt.endpoints, got, tt.want)
		}
	}
}

// Who is nearer comes first, but not before who has a lower priority; what is far is as the
// failover says.
func TestWhoComesFirst(t *testing.T) {
	list := located(
		&api.Locality{Region: "r1", Zone: "a", Node: "n1"},              // 0
		&api.Locality{Region: "r1", Zone: "a", Node: "n2"},              // 1
		&api.Locality{Region: "r1", Zone: "b", Node: "n3"},              // 2
		&api.Locality{Region: "r1", Zone: "c", Node: "n4"},              // 3
		&api.Locality{Region: "r2", Zone: "d", Node: "n5"},              // 4
		&api.Locality{Region: "r3", Zone: "e"},                          // 5
		nil,                                                             // 6
		&api.Locality{Region: "r1", Zone: "a", Node: "n1", Priority: 1}, // 7
	)
	zone := func(name string) *api.Locality { return &api.Locality{Zone: name} }
	region := func(name string) *api.Locality { return &api.Locality{Region: name} }
	node, inA, inR1 := api.Nearness_NEARNESS_NODE, api.Nearness_NEARNESS_ZONE,
		api.Nearness_NEARNESS_REGION
	for _, tt := range []struct {
		prefer   api.Nearness
		own      *api.Locality
		failover []*api.Locality
		want     string
	}{
		{node, here, nil, "[0] [1] [2 3] [4 5 6] [7]"},
		{inA, here, nil, "[0 1] [2 3] [4 5 6] [7]"},
		{inR1, here, nil, "[0 1 2 3] [4 5 6] [7]"},
		{inA, here, []*api.Locality{zone("c"), region("r2")}, "[0 1] [3] [4] [2] [5 6] [7]"},
		{node, here, []*api.Locality{region("r3")}, "[0] [1] [5] [2 3] [4 6] [7]"},
		{inR1, here, []*api.Locality{{Region: "r2", Zone: "x"}, {Region: "r3", Zone: "e"}},
			"[0 1 2 3] [5] [4 6] [7]"},
		{inA, &api.Locality{Zone: "z"}, nil, "[0 1 2 3 4 5 6] [7]"},
		{inA, nil, []*api.Locality{zone("c")}, "[0 1 2 3 4 5 6] [7]"}, // nobody knows where it is
		{node, &api.Locality{Node: "n4"}, nil, "[3] [0 1 2 4 5 6] [7]"},
	} {
		m := nearest(ewmaCluster(), tt.prefer)
		m.LocalityPreference.Failover = tt.failover
		c := NewCluster("web", func() any { return nil })
		change(c, compiledAt(t, m, tt.own), list, time.Now())
		number := map[*Endpoint]int{}
		for i, e := range c.Current().All {
			number[e] = i
		}
		got := ""
		for _, one := range c.Current().by.(*tiers).all {
			var in []int
			for _, e := range one.set.All {
				in = append(in, number[e])
			}
			got += fmt.Sprint(in, " ")
		}
		if got != tt.want+" " {
			t.Errorf("%v at %v, %v:\n got %s\nwant %s", tt.prefer, tt.own, tt.failover, got,
				tt.want)
		}
	}
}

// hashedPicks says whether a balancer's picks are by a key.
func hashedPicks(name string) bool { return name == "ring" || name == "maglev" }

// While capacity suffices nothing leaves the zone, whatever the balancer. With one of three local
// endpoints left, what leaves is 100 - 140/3 %, and within each zone all have as much.
func TestNothingCrossesThatNeedNot(t *testing.T) {
	const picks = 40_000
	for name, m := range all() {
		now := time.Now()
		c := placed(t, inZone(m), zones("ababab"), now)
		k := Key{Now: now, Hashed: hashedPicks(name)}
		got := shares(c, picks, k)
		third, within := 1.0/3, 0.01
		if name == "ring" {
			within = 0.1
		}
		if !near(got, []float64{third, 0, third, 0, third, 0}, within) ||
			got[1]+got[3]+got[5] != 0 {
			t.Errorf("%s: shares %.4f while capacity suffices", name, got)
		}
		for _, i := range []int{0, 4} {
			c.Current().All[i].RestLonger(now, time.Hour)
		}
		k.Now = now.Add(reckonEach)
		got = shares(c, picks, k)
		if !near(got, []float64{0, 0.18, 0.46, 0.18, 0, 0.18}, within) {
			t.Errorf("%s: shares %.4f with one of three local endpoints left", name, got)
		}
	}
}

// An ejected endpoint is one that may not be picked.
func TestEjectedOnesCountAsGone(t *testing.T) {
	now := time.Now()
	c := NewCluster("web", func() any { return nil })
	p := compiledAt(t, inZone(ewmaCluster()), here)
	p.Outliers, p.Counts = protected(&Outliers{Consecutive: 1, Base: time.Hour, Max: time.Hour,
		MaxPercent: 100}).Outliers, protected(nil).Counts
	change(c, p, zones("aaabbb"), now)
	for i := range 2 {
		c.Current().All[i].Judge(Bad, 0, now)
	}
	local, later := 0, now.Add(reckonEach)
	for range 10_000 {
		e, _ := c.Take(c.Current(), Key{Now: later})
		if e.Ejected() {
			t.Fatal("an ejected endpoint is asked")
		}
		if e == c.Current().All[2] {
			local++
		}
	}
	if local < 4400 || local > 4800 {
		t.Errorf("%d of 10000 stay with two of three local endpoints ejected, want 46 %%", local)
	}
}

// A zone whose endpoints cannot be dialed has nothing but a few probes once their rests are over,
// and all again as soon as they were reached: one change each way.
func TestADeadZoneIsLeftAndComesBack(t *testing.T) {
	now := time.Now()
	c := placed(t, inZone(leastRequestCluster(0)), zones("aabb"), now)
	a := c.Current().All[:2]
	local := func() float64 {
		now = now.Add(reckonEach)
		got := shares(c, 10_000, Key{Now: now})
		return got[0] + got[1]
	}
	for _, e := range a {
		e.Rest(now)
		e.RestLonger(now, time.Second)
	}
	for range 9 {
		if got := local(); got != 0 {
			t.Errorf("%.4f of all go to a zone that cannot be dialed", got)
		}
	}
	now = now.Add(time.Second)
	if got := local(); got < 0.02 || got > 0.04 {
		t.Errorf("%.4f of all see whether a zone is back, want 0.03", got)
	}
	for i, want := range []float64{0.70, 1} {
		a[i].Reached()
		if got := local(); math.Abs(got-want) > 0.02 {
			t.Errorf("%.4f of all stay with %d endpoints back, want %.2f", got, i+1, want)
		}
	}
	for range 20 {
		if got := local(); got < 0.9999 {
			t.Errorf("%.4f of all stay in a zone that is back", got)
		}
	}
}

// When no endpoint anywhere may be picked all are used, none more than the others (panic), and the
// one to avoid still is.
func TestWhenAllAreBadAllAreUsed(t *testing.T) {
	for name, m := range all() {
		now := time.Now()
		c := placed(t, inZone(m), zones("abbb"), now)
		for _, e := range c.Current().All {
			e.RestLonger(now, time.Hour)
		}
		k := Key{Now: now.Add(reckonEach), Hashed: hashedPicks(name)}
		if got := shares(c, 20_000, k); !near(got, []float64{.25, .25, .25, .25}, 0.02) {
			t.Errorf("%s: shares %.4f", name, got)
		}
		k.Avoid = c.Current().All[0]
		if got := shares(c, 1000, k); got[0] != 0 {
			t.Errorf("%s: the endpoint to avoid has %.4f", name, got[0])
		}
	}
}

// The one endpoint of a zone that has just failed a request is not asked again for it.
func TestAvoidingTheOnlyLocalOneLeavesTheZone(t *testing.T) {
	for name, m := range all() {
		now := time.Now()
		c := placed(t, inZone(m), zones("abb"), now)
		k := Key{Now: now, Avoid: c.Current().All[0], Hashed: hashedPicks(name)}
		if got := shares(c, 1000, k); got[0] != 0 || got[1] == 0 || got[2] == 0 {
			t.Errorf("%s: shares %.4f", name, got)
		}
	}
}

// Keys that stay in the zone stay with their endpoints, and those that leave come to the same one
// each time.
func TestKeysStickAcrossTiers(t *testing.T) {
	now := time.Now()
	c := placed(t, inZone(maglevCluster(0)), zones("aaabbb"), now)
	c.Current().All[0].RestLonger(now, time.Hour)
	c.Current().All[1].RestLonger(now, time.Hour)
	for i := range 1000 {
		k := Key{Now: now.Add(reckonEach), Hashed: true, Hash: xxh64("", uint64(i))}
		first := c.Current().Pick(k)
		for range 3 {
			if e := c.Current().Pick(k); e != first {
				t.Fatalf("key %d comes to %s, and then to %s", i, first.id, e.id)
			}
		}
	}
}

// A newcomer in the zone starts slowly beside its peers of the zone, who take the rest.
func TestSlowStartIsWithinATier(t *testing.T) {
	start := time.Now()
	m := warming(inZone(roundRobinCluster()), time.Minute, 1)
	c := placed(t, m, zones("abab"), start)
	now := start.Add(time.Hour)
	change(c, c.Current().Params, zones("ababa"), now)
	got := shares(c, 40_000, Key{Now: now.Add(30 * time.Second)})
	if !near(got, []float64{0.4, 0, 0.4, 0, 0.2}, 0.01) {
		t.Errorf("shares %.4f, want half a share for the newcomer", got)
	}
}

// Endpoints that come and go leave what is known of a tier, and a preference that ends does not.
func TestTiersOutliveChanges(t *testing.T) {
	now := time.Now()
	m := inZone(ewmaCluster())
	c := placed(t, m, zones("aabb"), now)
	a := c.Current().All[0]
	known := a.strain.Load()
	if known == nil {
		t.Fatal("nothing is kept of a tier")
	}
	change(c, compiledAt(t, m, here), zones("aabbab"), now)
	if c.Current().All[0] != a || a.strain.Load() != known ||
		c.Current().All[4].strain.Load() != known {
		t.Error("what was known of a tier is forgotten")
	}
	change(c, compiled(t, ewmaCluster()), zones("aabb"), now)
	got := shares(c, 10_000, Key{Now: now})
	if a.strain.Load() != nil || !near(got, []float64{.25, .25, .25, .25}, 0.03) {
		t.Errorf("without a preference shares are %.4f", got)
	}
	change(c, compiledAt(t, m, here), zones("aaaa"), now)
	if a.strain.Load() != nil {
		t.Error("one tier is compared with others")
	}
}

func TestPicksOfTiersAllocateNothing(t *testing.T) {
	for name, m := range all() {
		now := time.Now()
		c := placed(t, inZone(m), zones("aaabbb"), now)
		s := c.Current()
		s.All[0].RestLonger(now, time.Hour)
		s.All[1].RestLonger(now, time.Hour)
		k := Key{Now: now, Hashed: hashedPicks(name)}
		n := testing.AllocsPerRun(100, func() {
			k.Hash++
			k.Now = k.Now.Add(reckonEach)
			e := s.Pick(k)
			e.Observe(latency, s.Params, k.Now)
		})
		if n > 0 {
			t.Errorf("%s: %v allocations a pick", name, n)
		}
	}
}

// What is not known, or says nothing, is an error.
func TestWhatAPreferenceCannotBe(t *testing.T) {
	zone := api.Nearness_NEARNESS_ZONE
	for why, m := range map[string]*api.LocalityPreference{
		"nothing preferred": {},
		"prefer unknown":    {Prefer: 99},
		"failover nowhere":  {Prefer: zone, Failover: []*api.Locality{{Node: "n"}}},
		"failover everywhere": {Prefer: zone,
			Failover: slices.Repeat([]*api.Locality{{Zone: "a"}}, mostFailover+1)},
	} {
		c := ewmaCluster()
		c.LocalityPreference = m
		if _, err := Compile(c, Params{}); err == nil {
			t.Errorf("%s is taken", why)
		}
	}
}

// Of each endpoint it is known how near it is, wherever it is said to be at the time, unless it is
// not known where one of the two is.
func TestHowNearAnEndpointIs(t *testing.T) {
	now := time.Now()
	places := []*api.Locality{
		{Region: "r1", Zone: "a"}, {Region: "r1", Zone: "a", Node: "n1"},
		{Region: "r1", Zone: "b"}, {Region: "r2", Zone: "c"}, {Zone: "c"}, {Region: "r1"}, nil,
	}
	want := []metric.Nearness{metric.SameZone, metric.SameZone, metric.SameRegion, metric.Farther,
		metric.Farther, metric.UnknownNearness, metric.UnknownNearness}
	list := located(places...)
	c := placed(t, ewmaCluster(), list, now)
	for i, e := range c.Current().All {
		if got := e.Nearness(); got != want[i] {
			t.Errorf("an endpoint at %v is %s, want %s", places[i], got, want[i])
		}
	}
	moved := proto.CloneOf(list[0])
	moved.Locality = places[2]
	list[0] = moved
	change(c, compiledAt(t, ewmaCluster(), here), list, now)
	if got := c.Current().All[0].Nearness(); got != metric.SameRegion {
		t.Errorf("one that has moved is %s", got)
	}
	change(c, compiledAt(t, ewmaCluster(), nil), list, now)
	if got := c.Current().All[0].Nearness(); got != metric.UnknownNearness {
		t.Errorf("a proxy that does not know where it is says %s", got)
	}
}
