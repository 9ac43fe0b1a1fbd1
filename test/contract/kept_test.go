package contract

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/tulle-mesh/tulle/destination/api"
	"github.com/tulle-mesh/tulle/test/await"
)

// A route that a proxy keeps, because it cannot use what came after, keeps the clusters that it
// names: destination has replaced them, so the proxy asks for them by name, and they change with
// their pods until another route takes over.
func TestARouteThatIsKeptKeepsItsClusters(t *testing.T) {
	r := newRoad(t, 2)
	old, next := r.lanes[0], r.lanes[1]
	route, cluster, endpoints, _ := r.open(old)
	r.becomes(old, 200)

	// says nothing yet
	r.answer(api.KeyString(&api.Key{Key: &api.Key_Cluster{Cluster: old.authority}}))
	r.open(next)
	bad := same(route)
	bad.GetRoute().Protocol = 99
	bad.GetRoute().Backends[0].Cluster = next.authority
	r.send(next.cluster(), next.endpoints(next.endpoint()), bad,
		removal(endpoints), removal(cluster))
	if rejected := r.rejects("the route"); rejected.Version != bad.Version {
		t.Errorf("rejected %v", rejected)
	}
	r.becomes(old, 200)
	r.waitsFor("cluster/" + old.authority)

	// elsewhere is where the pod has gone: no proxy is in front of it
	elsewhere := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, "elsewhere")
	}))
	t.Cleanup(elsewhere.Close)
	host := strings.TrimPrefix(elsewhere.URL, "http://")
	moved := &api.Endpoint{
		Id: "web-1/" + host, Address: host, Protocol: api.Protocol_PROTOCOL_DETECT,
	}
	r.send(same(cluster), old.endpoints(moved))
	for {
		status, body := r.get(old)
		if status != 200 {
			t.Fatalf("after a move: %d %s", status, body)
		}
		if body == "elsewhere" {
			break
		}
	}

	good := same(route)
	good.GetRoute().Backends[0].Cluster = next.authority
	r.send(good)
	r.waitsFor("-cluster/" + old.authority)
	r.becomes(old, 200)
}

// waitsFor reads what the proxy asks for until it asks for this.
func (r *road) waitsFor(name string) {
	r.t.Helper()
	for await.Receive(r.t, "the proxy asks for "+name, r.asked) != name {
	}
}
