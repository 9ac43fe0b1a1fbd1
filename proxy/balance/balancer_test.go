package balance

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/tulle-mesh/tulle/destination/api"
	"google.golang.org/protobuf/proto"
)

// latency is what every endpoint of a test is known to take.
const latency = 10 * time.Millisecond

// compiled is how m is used by picks that are the same in each run.
func compiled(t testing.TB, m *api.Cluster) Params {
	t.Helper()
	p, err := Compile(m, Params{Initial: 30 * time.Millisecond, Decay: 10 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	return p.Seeded(rand.New(rand.NewPCG(1, 2)))
}

// made is a cluster of these endpoints, each of which has answered.
func made(t testing.TB, m *api.Cluster, list []*api.Endpoint, now time.Time) *Cluster {
	t.Helper()
	c := NewCluster("web", func() any { return nil })
	change(c, compiled(t, m), list, now)
	for _, e := range c.Current().All {
		e.Observe(latency, c.Current().Params, now)
	}
	return c
}

func change(c *Cluster, p Params, list []*api.Endpoint, now time.Time) Change {
	own := make([]*api.Endpoint, len(list)) // the test changes its own, and says them again
	for i, m := range list {
		own[i] = proto.CloneOf(m)
	}
	ch := c.Update(p, own, now)
	ch.Finish()
	return ch
}

func ewmaCluster() *api.Cluster {
	return &api.Cluster{Balancer: &api.Cluster_Ewma{Ewma: &api.EWMA{}}}
}

func leastRequestCluster(choices uint32) *api.Cluster {
	return &api.Cluster{Balancer: &api.Cluster_LeastRequest{
		LeastRequest: &api.LeastRequest{Choices: choices}}}
}

func roundRobinCluster() *api.Cluster {
	return &api.Cluster{Balancer: &api.Cluster_RoundRobin{RoundRobin: &api.RoundRobin{}}}
}

func randomCluster() *api.Cluster {
	return &api.Cluster{Balancer: &api.Cluster_Random{Random: &api.Random{}}}
}

func maglevCluster(size uint64) *api.Cluster {
	return hashCluster(&api.ConsistentHash{
		Table: &api.ConsistentHash_Maglev{Maglev: &api.Maglev{TableSize: size}}})
}

func ringCluster(least, most uint64) *api.Cluster {
	return hashCluster(&api.ConsistentHash{
		Table: &api.ConsistentHash_Ring{Ring: &api.Ring{MinSize: least, MaxSize: most}}})
}

func hashCluster(m *api.ConsistentHash) *api.Cluster {
	m.Keys = []*api.HashKey{{Key: &api.HashKey_Header{Header: "x-user"}}}
	return &api.Cluster{Balancer: &api.Cluster_ConsistentHash{ConsistentHash: m}}
}

// balancers are all that draw endpoints without looking at the request.
func balancers() map[string]*api.Cluster {
	return map[string]*api.Cluster{
		"ewma": ewmaCluster(), "least request": leastRequestCluster(0),
		"round robin": roundRobinCluster(), "random": randomCluster(),
		"maglev without a key": maglevCluster(0),
	}
}

// all are those and the tables.
func all() map[string]*api.Cluster {
	m := balancers()
	m["maglev"], m["ring"] = maglevCluster(0), ringCluster(0, 0)
	return m
}

// weighed are endpoints with these weights.
func weighed(weights ...uint32) (list []*api.Endpoint) {
	for i, w := range weights {
		list = append(list, &api.Endpoint{Id: fmt.Sprintf("%05d", i),
			Address: fmt.Sprint("127.0.0.1:", 90+i), Weight: w})
	}
	return list
}

// shares of so many picks, of hashes one after the other, in the order of the endpoints.
func shares(c *Cluster, picks int, k Key) []float64 {
	s := c.Current()
	number := map[*Endpoint]int{}
	for i, e := range s.All {
		number[e] = i
	}
	got := make([]float64, len(s.All))
	for i := range picks {
		if k.Hashed {
			k.Hash = xxh64("", uint64(i))
		}
		got[number[s.Pick(k)]] += 1 / float64(picks)
	}
	return got
}

func near(got, want []float64, within float64) bool {
	for i := range want {
		if math.Abs(got[i]-want[i]) > within {
			return false
		}
	}
	return true
}

// Idle endpoints that are as fast as each other have what their weights say; 0 is 1.
func TestWeightsAreObeyed(t *testing.T) {
	const picks = 40_000
	want := []float64{0.1, 0.2, 0.1, 0.6}
	now := time.Now()
	for name, m := range all() {
		within := 0.008 // three and more standard deviations
		if name == "ring" {
			within = 0.04 // 1,024 points are not evenly apart
		}
		c := made(t, m, weighed(1, 2, 0, 6), now)
		hashed := name == "ring" || name == "maglev"
		got := shares(c, picks, Key{Now: now, Hashed: hashed})
		if !near(got, want, within) {
			t.Errorf("%s: shares %.4f, want %.4f", name, got, want)
		}
	}
}

// Weights are an endpoint's of the moment: a change to them keeps what is known of it.
func TestAWeightMayChange(t *testing.T) {
	now := time.Now()
	for name, m := range all() {
		c := made(t, m, weighed(1, 1), now)
		before := c.Current().All[0]
		change(c, compiled(t, m), weighed(9, 1), now)
		k := Key{Now: now, Hashed: name == "ring" || name == "maglev"}
		got := shares(c, 50_000, k)
		if c.Current().All[0] != before || got[0] < 0.85 || got[0] > 0.95 {
			t.Errorf("%s: the same endpoint %v, with %.3f of all", name,
				c.Current().All[0] == before, got[0])
		}
	}
}

// Whatever the balancer, who has just failed the request is not asked again, nor who rests, while
// another is there; and the only one is better than none.
func TestEveryBalancerAvoidsAndRests(t *testing.T) {
	now := time.Now()
	for name, m := range all() {
		for _, weights := range [][]uint32{{1, 1, 1}, {1, 50, 1}} {
			c := made(t, m, weighed(weights...), now)
			s := c.Current()
			k := Key{Now: now, Avoid: s.All[1], Hashed: name == "ring" || name == "maglev"}
			if got := shares(c, 1000, k); got[1] != 0 || got[0] == 0 || got[2] == 0 {
				t.Errorf("%s, %v: picked the endpoint that just failed: %.3f", name, weights, got)
			}
			s.All[0].health.rest(now, time.Second)
			if got := shares(c, 1000, k); got[2] < 0.9999 {
				t.Errorf("%s, %v: picked one that rests: %.3f", name, weights, got)
			}
			s.All[2].health.rest(now, time.Second)
			if got := shares(c, 1000, k); got[1] != 0 {
				t.Errorf("%s, %v: of those that rest, picked the one that just failed: %.3f",
					name, weights, got)
			}
		}
		c := made(t, m, weighed(1), now)
		if e := c.Current().All[0]; c.Current().Pick(Key{Avoid: e, Now: now}) != e {
			t.Errorf("%s: the only endpoint is better than none", name)
		}
		change(c, compiled(t, m), nil, now)
		if c.Current().Pick(Key{Now: now}) != nil {
			t.Errorf("%s: picked an endpoint of none", name)
		}
	}
}

// A retry that avoids nobody may come to any other endpoint; a hash goes on from where it was, so
// that the third try is at a third endpoint.
func TestEachTryOfAHashGoesOneFurther(t *testing.T) {
	now := time.Now()
	for _, m := range []*api.Cluster{maglevCluster(0), ringCluster(0, 0)} {
		s := made(t, m, weighed(1, 1, 1, 1, 1), now).Current()
		for h := range uint64(100) {
			k := Key{Now: now, Hash: h * prime1, Hashed: true}
			seen := map[*Endpoint]bool{}
			for range s.All {
				e := s.Pick(k)
				if seen[e] || e != s.Pick(k) {
					t.Fatalf("try %d is at an endpoint that was tried, or at any", k.Try)
				}
				seen[e] = true
				k.Avoid = e
				k.Try++
			}
			if k.Avoid = nil; s.Pick(k) != s.Pick(Key{Now: now, Hash: k.Hash, Hashed: true}) {
				t.Fatal("after all, the first is not the next")
			}
		}
	}
}

// Endpoints take turns, and two proxies begin at different ones.
func TestRoundRobinTakesTurns(t *testing.T) {
	now := time.Now()
	c := made(t, roundRobinCluster(), weighed(1, 1, 1, 1, 1), now)
	s := c.Current()
	first := s.Pick(Key{Now: now})
	for i := range 20 {
		if i%5 == 4 {
			if s.Pick(Key{Now: now}) != first {
				t.Error("a round does not end where it began")
			}
		} else if s.Pick(Key{Now: now}) == first {
			t.Error("an endpoint has two turns in a round")
		}
	}
	begins := map[string]bool{}
	for range 20 {
		p, err := Compile(roundRobinCluster(), Params{})
		if err != nil {
			t.Fatal(err)
		}
		c := NewCluster("web", func() any { return nil })
		change(c, p, weighed(1, 1, 1, 1, 1), now)
		begins[c.Current().Pick(Key{Now: now}).id] = true
	}
	if len(begins) < 2 {
		t.Error("all proxies begin with the same endpoint")
	}
}

// The turn goes on where it was when the endpoints change: a set that changes often would otherwise
// give the first ones more.
func TestATurnOutlivesAChange(t *testing.T) {
	now := time.Now()
	c := made(t, roundRobinCluster(), weighed(1, 1, 1), now)
	p := compiled(t, roundRobinCluster())
	got := map[string]int{}
	for range 300 {
		change(c, p, weighed(1, 1, 1), now)
		got[c.Current().Pick(Key{Now: now}).id]++
	}
	if got["00000"] != 100 || got["00001"] != 100 || got["00002"] != 100 {
		t.Errorf("turns %v, want 100 each", got)
	}
}

// Over all rounds each endpoint has exactly its stride (gRFC A58).
func TestStridesAreExact(t *testing.T) {
	strides := stridesOf([]float64{1, 2, 3})
	if strides[0] != 21845 || strides[1] != 43690 || strides[2] != maxStride {
		t.Fatalf("strides %v", strides)
	}
	r := &rotation{strides: strides}
	for i, stride := range strides {
		n, gap, longest := uint64(0), 0, 0
		for round := range uint64(maxStride) {
			if gap++; r.due(uint64(i), round) {
				n, gap = n+1, 0
			}
			longest = max(longest, gap)
		}
		if n != stride || longest > 3 {
			t.Errorf("endpoint %d has %d turns in %d rounds, with up to %d between two, want %d",
				i, n, maxStride, longest, stride)
		}
	}
}

// Of n endpoints with 0 to n-1 requests under way, the one with i is taken where it is drawn and
// the others drawn have more: by d distinct choices, C(n-1-i, d-1) times in C(n, d).
func TestLeastRequestByItsFormula(t *testing.T) {
	const n, picks = 8, 60_000
	now := time.Now()
	for _, d := range []int{2, 3, n} {
		c := made(t, leastRequestCluster(uint32(d)), weighed(make([]uint32, n)...), now)
		want := make([]float64, n)
		for i, e := range c.Current().All {
			for range i {
				e.Begin()
			}
			want[i] = choose(n-1-i, d-1) / choose(n, d)
		}
		if got := shares(c, picks, Key{Now: now}); !near(got, want, 0.006) {
			t.Errorf("%d choices: shares %.4f, want %.4f", d, got, want)
		}
	}
}

func choose(n, k int) float64 {
	v := 1.0
	for i := range k {
		v *= float64(n-i) / float64(i+1)
	}
	return v
}

// What is under way is in proportion to the weights once all are busy.
func TestLeastRequestKeepsWhatIsUnderWayInProportion(t *testing.T) {
	now := time.Now()
	s := made(t, leastRequestCluster(0), weighed(1, 2, 3), now).Current()
	for range 6000 {
		s.Pick(Key{Now: now}).Begin()
	}
	for i, e := range s.All {
		if got, want := e.Pending(), int64(1000*(i+1)); got < want-20 || got > want+20 {
			t.Errorf("endpoint %d has %d under way, want about %d", i, got, want)
		}
	}
}

// With two choices the fullest of n endpoints has about ln ln n / ln 2 of n requests; at random it
// has about ln n / ln ln n (Mitzenmacher, "The Power of Two Choices in Randomized Load Balancing").
func TestTwoChoicesKeepTheFullestLow(t *testing.T) {
	const n = 10_000
	now := time.Now()
	fullest := func(m *api.Cluster) (most int64) {
		s := made(t, m, weighed(make([]uint32, n)...), now).Current()
		for range n {
			e := s.Pick(Key{Now: now})
			e.Begin()
			most = max(most, e.Pending())
		}
		return most
	}
	two, one := fullest(leastRequestCluster(2)), fullest(randomCluster())
	if bound := int64(math.Log(math.Log(n))/math.Ln2 + 1.5); two > bound || one <= two+1 {
		t.Errorf("the fullest has %d by two choices, want %d at most, and %d at random",
			two, bound, one)
	}
}

func TestPicksAllocateNothing(t *testing.T) {
	now := time.Now()
	for name, m := range all() {
		s := made(t, m, weighed(1, 2, 3, 4), now).Current()
		k := Key{Now: now, Hashed: name == "ring" || name == "maglev", Try: 1, Avoid: s.All[0]}
		if n := testing.AllocsPerRun(100, func() { k.Hash++; s.Pick(k) }); n > 0 {
			t.Errorf("%s: %v allocations a pick", name, n)
		}
	}
}

// What is not known, or is out of bounds, is an error that says so.
func TestWhatABalancerCannotBe(t *testing.T) {
	maglev := &api.ConsistentHash_Maglev{Maglev: &api.Maglev{}}
	keyed := func(keys ...*api.HashKey) *api.Cluster {
		return &api.Cluster{Balancer: &api.Cluster_ConsistentHash{
			ConsistentHash: &api.ConsistentHash{Keys: keys, Table: maglev}}}
	}
	header := func(name string) *api.Cluster {
		return keyed(&api.HashKey{Key: &api.HashKey_Header{Header: name}})
	}
	cookie := func(name, path string, ttl uint64) *api.Cluster {
		return keyed(&api.HashKey{Key: &api.HashKey_Cookie{
			Cookie: &api.Cookie{Name: name, Path: path, TtlMs: ttl}}})
	}
	slow := func(window uint64, percent uint32, aggression float64) *api.Cluster {
		m := randomCluster()
		m.SlowStart = &api.SlowStart{WindowMs: window, MinWeightPercent: percent,
			Aggression: aggression}
		return m
	}
	many := make([]*api.HashKey, maxHashKeys+1)
	for i := range many {
		many[i] = &api.HashKey{Key: &api.HashKey_Source{}}
	}
	for _, tt := range []struct {
		why string // empty: it is good
		m   *api.Cluster
	}{
		{"balancer", nil},
		{"balancer", &api.Cluster{}},
		{"1 choices", leastRequestCluster(1)},
		{"33 choices", leastRequestCluster(33)},
		{"", leastRequestCluster(32)},
		{"table", hashCluster(&api.ConsistentHash{})},
		{"prime", maglevCluster(65536)},
		{"prime", maglevCluster(1)},
		{"prime", maglevCluster(5000011)}, // one, but too large
		{"", maglevCluster(2)},
		{"points", ringCluster(2000, 1000)},
		{"points", ringCluster(0, 512)},
		{"points", ringCluster(0, 1<<20+1)},
		{"points", ringCluster(1<<21, 0)},
		{"", ringCluster(1<<20, 0)},
		{"", ringCluster(1, 1)},
		{"without a key", keyed()},
		{"17 keys", keyed(many...)},
		{"hash key", keyed(&api.HashKey{})},
		{"name of a header", header("")},
		{"name of a header", header("X-User")},
		{"name of a header", header(":path")},
		{"mesh's own", header("tulle-client-id")},
		{"", header("host")},
		{"query", keyed(&api.HashKey{Key: &api.HashKey_Query{}})},
		{"name of a cookie", cookie("", "", 0)},
		{"name of a cookie", cookie("a=b", "", 0)},
		{"path", cookie("a", "b", 0)},
		{"path", cookie("a", "/;Domain=example.org", 0)},
		{"lifetime", cookie("a", "/", 401*24*3600*1000)},
		{"", cookie("JSESSIONID", "/shop", 3600_000)},
		{"", keyed(&api.HashKey{Key: &api.HashKey_Source{}})},
		{"slow start", slow(0, 0, 0)},
		{"slow start", slow(25*3600*1000, 0, 0)},
		{"slow start", slow(1000, 101, 0)},
		{"slow start", slow(1000, 0, -1)},
		{"slow start", slow(1000, 0, math.NaN())},
		{"slow start", slow(1000, 0, math.Inf(1))},
		{"", slow(60_000, 100, 2)},
	} {
		_, err := Compile(tt.m, Params{})
		if (err == nil) != (tt.why == "") || err != nil && !strings.Contains(err.Error(), tt.why) {
			t.Errorf("%v: %v, want one about %q", tt.m, err, tt.why)
		}
	}
}
