package destination

import (
	"slices"
	"testing"

	"github.com/tulle-mesh/tulle/destination/api"
)

func clusterKey(name string) *api.Key { return &api.Key{Key: &api.Key_Cluster{Cluster: name}} }

// A cluster's name means the same whoever says it: a route's backends, a call to an address, or a
// proxy that keeps a route which names it.
func TestANameIsOneCluster(t *testing.T) {
	const overrides = `
apiVersion: tulle.dev/v1alpha1
kind: ServiceProfile
metadata: {name: web.shop.svc.cluster.local, namespace: shop}
spec:
  dstOverrides:
  - {authority: "10.1.0.2:8080", weight: 1}
  - {authority: "10.1.0.99:8080", weight: 1}
  - {authority: "10.96.0.10:80", weight: 1}
  - {authority: "db-1.db:5432", weight: 1}
  - {authority: "nobody:5432", weight: 1}`
	reg := registryOf(t, cluster, overrides)
	refs := func(key *api.Key) (out []clusterRef) {
		testMesh().read(reg, func(v *view) { out = v.compute(webPod.question(key)).refs })
		return out
	}
	want := []string{
		"10.1.0.2:8080", "10.1.0.99:8080", webName, "db-1.db.shop.svc.cluster.local:5432",
		"nobody:5432",
	}
	split := refs(authority("web.shop:80"))
	for i, ref := range split {
		name := testMesh().clusterName(ref)
		if name != want[i] {
			t.Errorf("backend %d is %s, want %s", i, name, want[i])
		}
		if got := refs(clusterKey(name)); !slices.Equal(got, []clusterRef{ref}) {
			t.Errorf("%s is %+v by its name, %+v as a backend", name, got, ref)
		}
	}
	if got := refs(address("10.1.0.2:8080")); !slices.Equal(got, split[:1]) {
		t.Errorf("a call to the pod goes to %+v, a share of the service's to %+v", got, split[0])
	}
}

// What a proxy keeps goes on changing with its pods.
func TestAProxyMayAskForAClusterByItsName(t *testing.T) {
	s := startServer(t, cluster)
	close(s.gate.open)
	c := s.proxy(t)
	c.subscribe(clusterKey(webName))
	c.wants(wholeRoute, wholeWeb)
	s.apply(t, slice("192.0.2.1"))
	c.wants("EndpointsDelta " + webName + " +192.0.2.1:80")
	c.unsubscribe(clusterKey(webName))
	c.wants("Cluster "+webName+" removed", "Endpoints "+webName+" removed")
	c.subscribe(clusterKey("gone.shop.svc.cluster.local:80"))
	c.wants("Cluster gone.shop.svc.cluster.local:80", "Endpoints gone.shop.svc.cluster.local:80")
	c.subscribe(clusterKey("no name"))
	if invalid := c.next().GetInvalid(); invalid.GetReason() == "" {
		t.Error("a name that cannot be is not refused")
	}
}
