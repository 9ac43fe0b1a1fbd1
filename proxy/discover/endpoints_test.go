package discover

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/tulle-mesh/tulle/destination/api"
	"github.com/tulle-mesh/tulle/proxy/balance"
)

// told is a session, and one cluster's endpoints as destination would send them.
type told struct {
	*Session
	version int
}

func newTold(t testing.TB) *told {
	d := &told{Session: newSession(t)}
	d.say(&api.Resource{Kind: api.Kind_KIND_CLUSTER, Body: &api.Resource_Cluster{
		Cluster: &api.Cluster{Name: "web", Balancer: &api.Cluster_Ewma{Ewma: &api.EWMA{}}}}})
	return d
}

func (d *told) say(m *api.Resource) {
	m.Name, m.Base = "web", fmt.Sprint(d.version)
	d.version++
	m.Version = fmt.Sprint(d.version)
	d.Apply(&api.DiscoverResponse{Message: &api.DiscoverResponse_Resources{
		Resources: &api.Resources{Resources: []*api.Resource{m}}}})
}

func (d *told) whole(list ...*api.Endpoint) {
	d.say(&api.Resource{Kind: api.Kind_KIND_ENDPOINTS, Body: &api.Resource_Endpoints{
		Endpoints: &api.Endpoints{Endpoints: list}}})
}

func (d *told) delta(delta *api.EndpointsDelta) {
	d.say(&api.Resource{Kind: api.Kind_KIND_ENDPOINTS,
		Body: &api.Resource_EndpointsDelta{EndpointsDelta: delta}})
}

// known are the endpoints of the moment by their addresses.
func (d *told) known() map[string]*balance.Endpoint {
	out := map[string]*balance.Endpoint{}
	for _, e := range d.clusters["web"].Current().All {
		out[e.Address] = e
	}
	return out
}

func endpointOf(id, version int) *api.Endpoint {
	return &api.Endpoint{
		Id: fmt.Sprint(id), Address: fmt.Sprintf("192.0.2.%d:%d", id, 1+version),
		Protocol: api.Protocol_PROTOCOL_DETECT,
	}
}

// A change to endpoints gives what the whole would, in whatever order it names them, and what it
// does not name is the same endpoint as before.
func TestAChangeToEndpointsGivesWhatTheWholeWould(t *testing.T) {
	const most = 40
	random := rand.New(rand.NewPCG(3, 4))
	d := newTold(t)
	want := map[int]*api.Endpoint{} // by number
	had := map[string]*balance.Endpoint{}
	for round := range 2000 {
		delta := &api.EndpointsDelta{}
		for _, id := range random.Perm(most)[:random.IntN(6)] {
			if random.IntN(2) == 0 {
				delete(want, id)
				delta.Removed = append(delta.Removed, fmt.Sprint(id))
				continue
			}
			want[id] = endpointOf(id, round)
			delta.Changed = append(delta.Changed, want[id])
		}
		if round%50 == 0 {
			list := slices.Collect(maps.Values(want)) // in no order
			d.whole(append(list, list...)...)
		} else {
			d.delta(delta)
		}
		now := d.known()
		if len(now) != len(want) || len(now) != len(d.clusters["web"].Current().All) {
			t.Fatalf("%d endpoints, want %d", len(now), len(want))
		}
		for _, m := range want {
			if e := now[m.Address]; e == nil || had[m.Address] != nil && had[m.Address] != e {
				t.Fatalf("%s: %v, before %v", m.Address, e, had[m.Address])
			}
		}
		had = now
	}
}

// What a change both removes and names again is there: the change says what there is now.
func TestAnEndpointIsReplacedInOneChange(t *testing.T) {
	d := newTold(t)
	d.whole(endpointOf(1, 0), endpointOf(2, 0))
	d.delta(&api.EndpointsDelta{
		Removed: []string{"1", "3"}, Changed: []*api.Endpoint{endpointOf(1, 1)}})
	if now := d.known(); len(now) != 2 || now["192.0.2.1:2"] == nil || now["192.0.2.2:1"] == nil {
		t.Errorf("%v", slices.Collect(maps.Keys(now)))
	}
}

// What one change costs of a cluster of 10,000 endpoints: one is lost, and comes back.
func BenchmarkChange10000(b *testing.B) {
	d := newTold(b)
	var all []*api.Endpoint
	for i := range 10000 {
		all = append(all, &api.Endpoint{
			Id: fmt.Sprintf("web-%05d/192.0.2.1:80", i), Address: "192.0.2.1:80",
			Identity: "spiffe://cluster.local/ns/shop/sa/web", MeshAddress: "192.0.2.1:4143",
			Protocol: api.Protocol_PROTOCOL_DETECT,
		})
	}
	d.whole(all...)
	one := all[5000]
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if i%2 == 0 {
			d.delta(&api.EndpointsDelta{Removed: []string{one.Id}})
		} else {
			d.delta(&api.EndpointsDelta{Changed: []*api.Endpoint{one}})
		}
	}
}
