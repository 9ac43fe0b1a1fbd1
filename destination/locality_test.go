package destination

import (
	"fmt"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/tulle-mesh/tulle/destination/api"
	"github.com/tulle-mesh/tulle/destination/registry"
)

// nodeIn is a node and where it is.
func nodeIn(name, zone, region string) string {
	return fmt.Sprintf("\n{apiVersion: v1, kind: Node, metadata: {name: %s, labels: "+
		"{topology.kubernetes.io/zone: %s, topology.kubernetes.io/region: %s}}}\n", name, zone,
		region)
}

// A proxy is told where it is, by which it tells near endpoints from far ones.
func TestAProxyIsToldWhereItIs(t *testing.T) {
	s := startServer(t, cluster)
	s.apply(t, objectsOf(t, nodeIn("n1", "a", "north"))...)
	close(s.gate.open)
	c := s.dial(t, s.root.source(t, "spiffe://cluster.local/ns/shop/sa/web", "web-1"))
	c.say(&api.DiscoverRequest{Message: &api.DiscoverRequest_Hello{
		Hello: &api.Hello{Version: "test"}}})
	got := c.next().GetWelcome().GetLocality()
	want := &api.Locality{Region: "north", Zone: "a", Node: "n1"}
	if !proto.Equal(got, want) {
		t.Errorf("it is at %v, want %v", got, want)
	}
	if at := stranger.locality(); at != nil {
		t.Errorf("one that runs nowhere we know of is at %v", at)
	}
}

// Regions of endpoints are said where a policy has places in it, whoever's it is.
func TestRegionsAreSaidToWhoGoesByThem(t *testing.T) {
	const preference = "locality: {prefer: Region}"
	target := "{kind: Service, name: api, namespace: shop}"
	service := hinted("", []string{", nodeName: n1, zone: a", ", nodeName: n2, zone: b", ""})
	nodes := nodeIn("n1", "a", "north") + "---" + nodeIn("n2", "b", "south")
	const unsaid, said = "a/n1 b/n2 -", "north/a/n1 south/b/n2 -"
	for _, c := range []struct{ name, policy, want string }{
		{"no policy", "", unsaid},
		{"of something else", trafficPolicy("shop", "p", target, atRandom), unsaid},
		{"the Service's", trafficPolicy("shop", "p", target, preference), said},
		{"the Namespace's", trafficPolicy("shop", "p", "{kind: Namespace, name: shop}", preference),
			said},
		{"a consumer's", trafficPolicy("other", "p", target, preference), said},
	} {
		reg := registryOf(t, service, nodes, c.policy)
		if got := placesOf(reg, "api.shop"); got != c.want {
			t.Errorf("%s: endpoints are at %q, want %q", c.name, got, c.want)
		}
	}
}

func placesOf(reg *registry.Registry, host string) string {
	var out []string
	for _, r := range sentTo(reg, authority(host), "shop") {
		for _, e := range r.snapshot.GetEndpoints().GetEndpoints() {
			at := e.GetLocality()
			text := strings.TrimLeft(at.GetRegion()+"/"+at.GetZone()+"/"+at.GetNode(), "/")
			if text == "" {
				text = "-"
			}
			out = append(out, text)
		}
	}
	return strings.Join(out, " ")
}

// A preference is part of how a cluster is used, and needs a proxy that knows it.
func TestAPreferenceIsSaidOfACluster(t *testing.T) {
	reg := registryOf(t, cluster, trafficPolicy("shop", "p", webTarget, "locality: {prefer: Zone}"))
	for _, r := range sentTo(reg, authority("web.shop"), "shop") {
		c := r.snapshot.GetCluster()
		if c == nil {
			continue
		}
		if c.LocalityPreference.GetPrefer() != api.Nearness_NEARNESS_ZONE {
			t.Errorf("the cluster is %v", c)
		}
		if need := r.snapshot.Needs(); len(need) != 1 || need[0] != api.CapabilityLocality {
			t.Errorf("it needs %v", need)
		}
	}
}
