package discover

import (
	"strings"
	"testing"
	"time"

	"github.com/tulle-mesh/tulle/destination/api"
	"github.com/tulle-mesh/tulle/proxy/balance"
)

func welcomeTo(zone string) *api.DiscoverResponse {
	return &api.DiscoverResponse{Message: &api.DiscoverResponse_Welcome{
		Welcome: &api.Welcome{Locality: &api.Locality{Zone: zone}}}}
}

// Clusters that prefer what is near go by where destination says that the proxy is, said before
// they were or after.
func TestNearIsWhereDestinationSays(t *testing.T) {
	d := newSession(t)
	cluster := &api.Resource{Kind: api.Kind_KIND_CLUSTER, Name: "web", Version: "1",
		Body: &api.Resource_Cluster{Cluster: &api.Cluster{Name: "web",
			Balancer: &api.Cluster_Ewma{Ewma: &api.EWMA{}},
			LocalityPreference: &api.LocalityPreference{
				Prefer: api.Nearness_NEARNESS_ZONE}}}}
	endpoints := &api.Resource{Kind: api.Kind_KIND_ENDPOINTS, Name: "web", Version: "1",
		Body: &api.Resource_Endpoints{Endpoints: &api.Endpoints{Endpoints: []*api.Endpoint{
			endpointIn("a"), endpointIn("b"), endpointIn("c"),
		}}}}
	d.Apply(&api.DiscoverResponse{Message: &api.DiscoverResponse_Resources{
		Resources: &api.Resources{Resources: []*api.Resource{cluster, endpoints}}}})
	if got := pickedOf(d); got != "a b c" {
		t.Errorf("a proxy that does not know where it is asks %s", got)
	}
	for _, zone := range []string{"b", "c"} {
		d.Apply(welcomeTo(zone))
		if got := pickedOf(d); got != zone {
			t.Errorf("a proxy in zone %s asks %s", zone, got)
		}
	}
}

func endpointIn(zone string) *api.Endpoint {
	return &api.Endpoint{Id: zone, Address: zone, Protocol: api.Protocol_PROTOCOL_DETECT,
		Locality: &api.Locality{Zone: zone}}
}

// pickedOf are the endpoints of the cluster web that are asked, in order.
func pickedOf(d *Session) string {
	picked := map[string]bool{}
	s := d.clusters["web"].Current()
	for range 200 {
		picked[s.Pick(balance.Key{Now: time.Now()}).Address] = true
	}
	var out []string
	for _, e := range s.All {
		if picked[e.Address] {
			out = append(out, e.Address)
		}
	}
	return strings.Join(out, " ")
}
