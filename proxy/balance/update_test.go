package balance

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/tulle-mesh/tulle/destination/api"
)

func announced(ids ...int) (list []*api.Endpoint) {
	for _, id := range ids {
		list = append(list, &api.Endpoint{
			Id: fmt.Sprintf("%05d", id), Address: fmt.Sprint("192.0.2.1:", id),
		})
	}
	return list
}

// Whatever becomes of endpoints, one that is the same as before is the same Endpoint, and all that
// are not are gone.
func TestUpdateKeepsWhatIsTheSame(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	c := NewCluster("web", func() any { return nil })
	had := map[string]*Endpoint{}
	messages := map[string]*api.Endpoint{}
	for range 2000 {
		list := announced(slices.Sorted(slices.Values(random.Perm(8)[:random.IntN(9)]))...)
		for i, m := range list {
			switch before := messages[m.Id]; {
			case before != nil && random.IntN(2) == 0:
				list[i] = before // as of a delta, in which nothing is said of it
			case random.IntN(8) == 0:
				m.Address = "192.0.2.2:1" // another endpoint of the same id
			}
			messages[m.Id] = list[i]
		}
		ch := c.Update(Params{}, list, time.Now())
		now := map[string]*Endpoint{}
		for i, e := range c.Current().All {
			if now[e.id] = e; e.id != list[i].Id || e.Address != list[i].Address {
				t.Fatalf("%s at %s, want %v", e.id, e.Address, list[i])
			}
			if old := had[e.id]; old != nil && (old == e) != (old.Address == e.Address) {
				t.Fatalf("%s: the same as before %v, from %s to %s",
					e.id, old == e, old.Address, e.Address)
			}
		}
		gone := map[*Endpoint]bool{}
		for _, e := range ch.Gone {
			gone[e] = true
		}
		for id, e := range had {
			if gone[e] != (now[id] != e) {
				t.Fatalf("%s: gone %v", id, gone[e])
			}
		}
		if len(gone) != len(ch.Gone) {
			t.Fatalf("%d endpoints are gone, %d of them twice",
				len(ch.Gone), len(ch.Gone)-len(gone))
		}
		had = now
	}
}

// What one change costs of a cluster of 10,000 endpoints: one is lost, and comes back.
func BenchmarkUpdate10000(b *testing.B) {
	ids := make([]int, 10000)
	for i := range ids {
		ids[i] = i
	}
	all := announced(ids...)
	less := slices.Delete(slices.Clone(all), 5000, 5001)
	c := NewCluster("web", func() any { return nil })
	c.Update(Params{}, all, time.Now())
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		c.Update(Params{}, [][]*api.Endpoint{less, all}[i%2], time.Now())
	}
}

// What takes time to build is used once a change is finished, and whoever has waited for an
// endpoint is woken then. Of several changes at once the last counts, and none is lost.
func TestAChangeIsUsedOnceItIsFinished(t *testing.T) {
	now := time.Now()
	p, err := Compile(maglevCluster(0), Params{})
	if err != nil {
		t.Fatal(err)
	}
	c := NewCluster("web", func() any { return nil })
	if _, queued := c.Park(&caller{"a"}, 8); !queued {
		t.Fatal("nobody may wait")
	}
	ch := c.Update(p, announced(1, 2), now)
	if c.Current() != nil || len(ch.Woken) > 0 {
		t.Fatal("a set is used that has no table")
	}
	ch.Add(c.Update(p, announced(2, 3, 4), now))
	ch.Finish()
	if s := c.Current(); len(s.All) != 3 || s.Pick(Key{Now: now, Hashed: true}) == nil {
		t.Errorf("%d endpoints, want the last 3", len(s.All))
	}
	if len(ch.Woken) != 1 || len(ch.Gone) != 1 || ch.Gone[0].id != "00001" {
		t.Errorf("%d are woken, gone is %v", len(ch.Woken), ch.Gone)
	}

	before := c.Current()
	ch = c.Update(p, announced(4, 5), now)
	if c.Current() != before {
		t.Error("an unfinished change is used")
	}
	ch.Add(c.Update(Params{}, nil, now)) // the cluster is dropped
	if ch.Finish(); len(c.Current().All) != 0 || len(ch.Gone) != 4 {
		t.Errorf("%d endpoints of a cluster that was dropped, %d gone",
			len(c.Current().All), len(ch.Gone))
	}
}

// Requests pick while endpoints come and go, whatever the balancer.
func TestPicksDuringChanges(t *testing.T) {
	for name, m := range all() {
		m = warming(m, time.Minute, 1)
		now := time.Now()
		p, err := Compile(m, Params{Initial: latency, Decay: latency})
		if err != nil {
			t.Fatal(err)
		}
		c := NewCluster("web", func() any { return nil })
		change(c, p, weighed(1, 2, 3, 4), now)
		var requests sync.WaitGroup
		for i := range 4 {
			requests.Go(func() {
				for n := range 500 {
					k := keyOf(n+i, now)
					k.Try = n % 3
					e := c.Current().Pick(k)
					if e == nil {
						t.Errorf("%s: no endpoint", name)
						return
					}
					e.Begin()
					e.Observe(latency, p, now)
					e.Done()
				}
			})
		}
		for n := range 20 {
			change(c, p, weighed(1, 2, 3, 4, uint32(n))[n%3:], now.Add(time.Duration(n)))
		}
		requests.Wait()
		if n := c.underWay.Load(); n != 0 {
			t.Errorf("%s: %d are under way after all have ended", name, n)
		}
	}
}
