package balance

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/tulle-mesh/tulle/destination/api"
)

func announced(ids ...int) (list []*api.Endpoint) {
	for _, id := range ids {
		list = append(list, &api.Endpoint{
			Id: fmt.Sprint(id), Address: fmt.Sprint("192.0.2.1:", id),
		})
	}
	return list
}

// Whatever the order in which endpoints come, one that is the same as before is the same Endpoint,
// and all that are not are gone.
func TestUpdateKeepsWhatIsTheSame(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	c := NewCluster("web", func() any { return nil })
	had := map[string]*Endpoint{}
	for range 2000 {
		ids := random.Perm(8)[:random.IntN(9)]
		list := announced(ids...)
		if len(list) > 0 && random.IntN(2) == 0 {
			list[0].Address = "192.0.2.2:1" // another endpoint of the same id
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

// What one change costs of a cluster of 10,000 endpoints: one is lost, and comes back at the end.
func BenchmarkUpdate10000(b *testing.B) {
	ids := make([]int, 10000)
	for i := range ids {
		ids[i] = i
	}
	all := announced(ids...)
	less := append(append([]*api.Endpoint{}, all[:5000]...), all[5001:]...)
	more := append(append([]*api.Endpoint{}, less...), all[5000])
	c := NewCluster("web", func() any { return nil })
	c.Update(Params{}, more, time.Now())
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		c.Update(Params{}, [][]*api.Endpoint{less, more}[i%2], time.Now())
	}
}
