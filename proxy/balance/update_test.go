package balance

import (
	"fmt"
	"math/rand/v2"
	"slices"
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
