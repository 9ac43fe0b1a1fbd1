package forward

import (
	"testing"
	"testing/synctest"

	"github.com/tulle-mesh/tulle/destination/api"
	"github.com/tulle-mesh/tulle/proxy/metric"
)

// Each try is counted by how near its endpoint is, whether near ones are preferred or not.
func TestTriesAreCountedByHowNearTheyStay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := routed(t, nil)
		h.session.Apply(&api.DiscoverResponse{Message: &api.DiscoverResponse_Welcome{
			Welcome: &api.Welcome{Locality: &api.Locality{Region: "r", Zone: "a"}}}})
		list := &api.Endpoints{}
		for _, zone := range []string{"a", "b"} {
			list.Endpoints = append(list.Endpoints, &api.Endpoint{Id: zone + ":80",
				Address: zone + ":80", Protocol: api.Protocol_PROTOCOL_DETECT,
				Locality: &api.Locality{Region: "r", Zone: zone}})
		}
		h.say(&api.Resource{Kind: api.Kind_KIND_ENDPOINTS, Name: "web",
			Body: &api.Resource_Endpoints{Endpoints: list}})
		for range 50 {
			_, s := h.conn.request()
			s.wait(t)
		}
		synctest.Wait()
		var tries, zone, region, farther uint64
		h.Metrics.Each(func(_ uint32, _ metric.Labels, c *metric.Cell) {
			tries += c.Tries.Load()
			zone += c.Near(metric.SameZone)
			region += c.Near(metric.SameRegion)
			farther += c.Near(metric.Farther)
		})
		if tries != 50 || zone+region != 50 || zone == 0 || region == 0 || farther != 0 {
			t.Errorf("%d tries: %d in the zone, %d in the region, %d farther", tries, zone, region,
				farther)
		}
	})
}
