package balance

import (
	"math"
	"slices"
	"testing"
	"time"

	"github.com/tulle-mesh/tulle/destination/api"
)

// The example of the paper's table 1: three permutations of seven entries, and what becomes of them
// when the second of three goes.
func TestMaglevFillsAsInThePaper(t *testing.T) {
	b0, b1, b2 := claimant{at: 3, skip: 4}, claimant{at: 0, skip: 2}, claimant{at: 3, skip: 1}
	for _, tt := range []struct {
		all  []claimant
		want []uint16
	}{
		{[]claimant{b0, b1, b2}, []uint16{1, 0, 1, 0, 2, 2, 0}},
		{[]claimant{b0, b2}, []uint16{0, 0, 0, 0, 1, 1, 1}},
	} {
		for i := range tt.all {
			tt.all[i].share = 1
		}
		if got := fill(7, 1, tt.all).owners; !slices.Equal(got, tt.want) {
			t.Errorf("filled as %v, want %v", got, tt.want)
		}
	}
}

func tableOfSet(c *Cluster) *table { return c.Current().by.(*hashed).table }

// The tables are those that Envoy's own tests have for the same endpoints and weights
// (test/extensions/load_balancing_policies/maglev/maglev_lb_test.cc).
func TestMaglevIsEnvoys(t *testing.T) {
	for _, tt := range []struct {
		size    uint64
		weights []uint32
		want    []uint16
	}{
		{7, []uint32{1, 1, 1, 1, 1, 1}, []uint16{2, 4, 0, 1, 5, 0, 3}},
		{17, []uint32{1, 2}, []uint16{1, 0, 0, 1, 0, 1, 1, 0, 1, 1, 1, 1, 1, 0, 1, 0, 1}},
	} {
		c := made(t, maglevCluster(tt.size), weighed(tt.weights...), time.Now())
		if got := tableOfSet(c).owners; !slices.Equal(got, tt.want) {
			t.Errorf("%d entries, weights %v: %v, want %v", tt.size, tt.weights, got, tt.want)
		}
	}
}

// The rings are those that Envoy's own tests have
// (test/extensions/load_balancing_policies/ring_hash/ring_hash_lb_test.cc).
func TestARingIsEnvoys(t *testing.T) {
	now := time.Now()
	c := made(t, ringCluster(12, 0), weighed(1, 1, 1, 1, 1, 1), now)
	table := tableOfSet(c)
	if want := []uint16{4, 2, 0, 5, 3, 1, 1, 3, 5, 2, 4, 0}; !slices.Equal(table.owners, want) {
		t.Errorf("points of %v, want %v", table.owners, want)
	}
	if want := []uint64{833437586790550860, 928266305478181108, 1033482794131418490,
		3551244743356806947, 3851675632748031481, 5583722120771150861, 6311230543546372928,
		7700377290971790572, 13144177310400110813, 13444792449719432967, 15516499411664133160,
		16117243373044804889}; !slices.Equal(table.hashes, want) {
		t.Errorf("points at %v, want %v", table.hashes, want)
	}
	for hash, want := range map[uint64]int{0: 4, math.MaxUint64: 4, 3551244743356806947: 5,
		3551244743356806948: 3} {
		k := Key{Now: now, Hash: hash, Hashed: true}
		if s := c.Current(); s.Pick(k) != s.All[want] {
			t.Errorf("%d falls to %s, want %s", hash, s.Pick(k).Address, s.All[want].Address)
		}
	}

	tiny := tableOfSet(made(t, ringCluster(6, 6), weighed(1, 2, 3), now))
	if want := []uint16{2, 2, 1, 1, 2, 0}; !slices.Equal(tiny.owners, want) {
		t.Errorf("weights 1, 2, 3: points of %v, want %v", tiny.owners, want)
	}
	large := tableOfSet(made(t, ringCluster(6144, 0), weighed(1, 2, 3), now))
	got := make([]int, 3)
	for i := range uint64(6000) {
		got[large.owners[large.entry(i*(math.MaxUint64/6000))]]++
	}
	if want := []int{987, 1932, 3081}; !slices.Equal(got, want) {
		t.Errorf("of 6000 hashes %v, want %v", got, want)
	}
}

// keyOf is one of many keys.
func keyOf(number int, now time.Time) Key {
	return Key{Now: now, Hash: xxh64("", uint64(number)), Hashed: true}
}

// In whatever order destination names the endpoints, all proxies have the same table.
func TestProxiesAgree(t *testing.T) {
	now := time.Now()
	for name, m := range map[string]*api.Cluster{
		"maglev": maglevCluster(0), "ring": ringCluster(1000, 1000),
	} {
		weights := make([]uint32, 50)
		for i := range weights {
			weights[i] = uint32(1 + i*i%7)
		}
		list := weighed(weights...)
		one := made(t, m, list, now)
		slices.Reverse(list)
		other := made(t, m, list, now)
		a, b := one.Current().by.(*hashed), other.Current().by.(*hashed)
		for i := range a.table.owners {
			at, too := a.order[a.table.owners[i]].Address, b.order[b.table.owners[i]].Address
			if at != too {
				t.Fatalf("%s: entry %d is of %s and of %s", name, i, at, too)
			}
		}
	}
}

// Equal endpoints have the same number of entries, to one (section 3.4: their turns).
func TestMaglevIsEven(t *testing.T) {
	for _, n := range []int{2, 10, 333} {
		table := tableOfSet(made(t, maglevCluster(0), weighed(make([]uint32, n)...), time.Now()))
		got := make([]int, n)
		for _, owner := range table.owners {
			got[owner]++
		}
		if least, most := slices.Min(got), slices.Max(got); most-least > 1 {
			t.Errorf("of %d endpoints one has %d entries, another %d", n, least, most)
		}
	}
}

// When one of n endpoints goes, the keys move that fell to it, and few others.
func TestFewKeysMove(t *testing.T) {
	const keys = 100_000
	now := time.Now()
	for name, tt := range map[string]struct {
		m *api.Cluster
		// of the keys of those that stay, in shares of one of n
		most float64
	}{"maglev": {maglevCluster(0), 1}, "ring": {ringCluster(0, 0), 1}} {
		for _, n := range []int{5, 20, 100} {
			list := weighed(make([]uint32, n)...)
			c := made(t, tt.m, list, now)
			before := make([]*Endpoint, keys)
			for h := range before {
				before[h] = c.Current().Pick(keyOf(h, now))
			}
			gone := c.Current().All[n/2]
			change(c, compiled(t, tt.m), slices.Delete(list, n/2, n/2+1), now)
			moved := 0
			for h, e := range before {
				if after := c.Current().Pick(keyOf(h, now)); after != e && e != gone {
					moved++
				}
			}
			share := float64(moved) / keys * float64(n)
			t.Logf("%s of %d: %.3f of an endpoint's share moves beside its own", name, n, share)
			if share > tt.most {
				t.Errorf("%s of %d: %.3f of an endpoint's share moves beside its own, want %.1f "+
					"at most", name, n, share, tt.most)
			}
		}
	}
}

// While no endpoint comes or goes and no weight changes, the table is the same one.
func TestATableIsKept(t *testing.T) {
	now := time.Now()
	m := maglevCluster(0)
	list := weighed(1, 2, 3)
	c := made(t, m, list, now)
	was := tableOfSet(c)
	list[1].Identity, list[1].MeshAddress = "spiffe://cluster.local/ns/a/sa/b", "127.0.0.1:4143"
	change(c, compiled(t, m), list, now)
	if tableOfSet(c) != was {
		t.Error("a change of identity builds the table anew")
	}
	k := Key{Now: now, Hashed: true}
	for k.Hash = range uint64(1000) {
		if e := c.Current().Pick(k); e.id == list[1].Id && !e.Meshed() {
			t.Fatal("the table leads to an endpoint that is gone")
		}
	}
	list[1].Weight = 5
	if change(c, compiled(t, m), list, now); tableOfSet(c) == was {
		t.Error("a change of weight does not")
	}
	other := tableOfSet(c)
	if change(c, compiled(t, maglevCluster(7)), list, now); tableOfSet(c) == other {
		t.Error("a change of size does not")
	}
}

// No endpoint has more than its share and the bound, whatever the keys; with few keys the bound is
// reached, and with many and none under way a key stays where it falls.
func TestBoundedLoads(t *testing.T) {
	const n, percent = 10, 25
	now := time.Now()
	for name, m := range map[string]*api.ConsistentHash{
		"maglev": {Table: &api.ConsistentHash_Maglev{Maglev: &api.Maglev{}}},
		"ring":   {Table: &api.ConsistentHash_Ring{Ring: &api.Ring{}}},
	} {
		m.BoundedLoadPercent = percent
		weights := []uint32{1, 1, 1, 1, 1, 1, 1, 1, 1, 3}
		c := made(t, hashCluster(m), weighed(weights...), now)
		s := c.Current()
		total, full := 0, 0
		for i := range 5000 {
			k := keyOf(i%3, now)
			if i%7 == 0 {
				k = keyOf(i, now)
			}
			e := s.Pick(k)
			e.Begin()
			total++
			number := slices.Index(s.All, e)
			share := float64(weights[number]) / (n + 2)
			most := math.Ceil((1 + percent/100.0) * float64(total) * share)
			if float64(e.Pending()) > most {
				t.Fatalf("%s: an endpoint has %d of %d, more than %v",
					name, e.Pending(), total, most)
			}
			if float64(e.Pending()) == most {
				full++
			}
			if i%3 == 0 { // some end
				for _, e := range s.All {
					if e.Pending() > 0 {
						e.Done()
						total--
						break
					}
				}
			}
		}
		if full < 1000 {
			t.Errorf("%s: %d requests found an endpoint about full", name, full)
		}
		for _, e := range s.All {
			for e.Pending() > 0 {
				e.Done()
			}
		}
		if at := c.underWay.Load(); at != 0 {
			t.Errorf("%s: %d are under way after all have ended", name, at)
		}
		k := Key{Now: now, Hashed: true, Hash: 12345}
		if s.Pick(k) != s.by.(*hashed).order[tableOfSet(c).owners[tableOfSet(c).entry(k.Hash)]] {
			t.Errorf("%s: the bound moves a key of idle endpoints", name)
		}
	}
}

func BenchmarkTable10000(b *testing.B) {
	for name, m := range map[string]*api.Cluster{
		"maglev": maglevCluster(0), "ring": ringCluster(0, 0),
	} {
		b.Run(name, func(b *testing.B) {
			c := made(b, m, weighed(make([]uint32, 10_000)...), time.Now())
			b.ReportAllocs()
			for b.Loop() {
				c.Current().build(nil)
			}
		})
	}
}

func BenchmarkPick(b *testing.B) {
	now := time.Now()
	for name, m := range all() {
		b.Run(name, func(b *testing.B) {
			p, err := Compile(m, Params{Initial: latency, Decay: 10 * time.Second})
			if err != nil {
				b.Fatal(err)
			}
			c := NewCluster("web", func() any { return nil })
			change(c, p, weighed(make([]uint32, 100)...), now)
			s := c.Current()
			k := Key{Now: now, Hashed: name == "maglev" || name == "ring"}
			b.ReportAllocs()
			for b.Loop() {
				k.Hash += prime1
				s.Pick(k)
			}
		})
	}
}
