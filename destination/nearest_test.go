package destination

import (
	"fmt"
	"strings"
	"testing"

	"github.com/tulle-mesh/tulle/destination/registry"
)

// hinted is a service and its slices. Of an endpoint it takes what follows its address.
func hinted(spec string, slices ...[]string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "{apiVersion: v1, kind: Service, metadata: {name: api, namespace: shop}, "+
		"spec: {clusterIP: 10.96.0.11, ports: [{port: 80}]%s}}\n", spec)
	for i, endpoints := range slices {
		fmt.Fprintf(&b, "---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: "+
			"{name: api-%d, namespace: shop, labels: {kubernetes.io/service-name: api}}\n"+
			"addressType: IPv4\nports: [{name: \"\", port: 80}]\nendpoints:\n", i)
		for j, rest := range endpoints {
			fmt.Fprintf(&b, "- {addresses: [10.9.%d.%d]%s}\n", i, j+1, rest)
		}
	}
	return b.String()
}

const (
	forA    = ", hints: {forZones: [{name: a}]}"
	forB    = ", hints: {forZones: [{name: b}]}"
	forAB   = ", hints: {forZones: [{name: a}, {name: b}]}"
	forN1   = ", nodeName: n1, hints: {forZones: [{name: a}], forNodes: [{name: n1}]}"
	forN2   = ", nodeName: n2, hints: {forZones: [{name: b}], forNodes: [{name: n2}]}"
	unready = ", conditions: {ready: false}"
	ending  = ", conditions: {ready: false, serving: true, terminating: true}"
)

// A caller is given the endpoints that Kubernetes means for its zone or node, as kube-proxy does.
func TestCallersHaveTheEndpointsThatAreForThem(t *testing.T) {
	in := func(node, zone string) caller {
		return caller{namespace: "shop", node: node, zone: zone}
	}
	inA, inB, inC := in("n1", "a"), in("n2", "b"), in("n3", "c")
	for _, c := range []struct {
		name, spec string
		slices     [][]string
		who        caller
		want       string
	}{
		{"those for its zone", "", [][]string{{forA, forB, forAB}}, inA, "0.1 0.3"},
		{"and another's", "", [][]string{{forA, forB, forAB}}, inB, "0.2 0.3"},
		{"of all slices", "", [][]string{{forA}, {forB, forA}}, inA, "0.1 1.2"},
		{"a zone for which there is none", "", [][]string{{forA, forB}}, inC, "0.1 0.2"},
		{"a zone that nobody knows", "", [][]string{{forA, forB}}, in("n1", ""), "0.1 0.2"},
		{"an endpoint without hints", "", [][]string{{forA, forB}, {""}}, inA, "0.1 0.2 1.1"},
		{"one without hints that is not ready", "", [][]string{{forA, forB, unready}}, inA, "0.1"},
		{"the last of the zone is not ready", "", [][]string{{forA + unready, forB}}, inA, "0.2"},
		{"the last that serve are ending", "", [][]string{{forA + ending, forB + ending}}, inA,
			"0.1 0.2"},
		{"those for its node", "", [][]string{{forN1, forN2}}, inB, "0.2"},
		{"a node for which there is none", "", [][]string{{forN1, forN2}}, in("n9", "a"), "0.1"},
		{"neither node nor zone", "", [][]string{{forN1, forN2}}, inC, "0.1 0.2"},
		{"not all are by node", "", [][]string{{forN1, forN2}, {forA}}, inA, "0.1 1.1"},
		{"internalTrafficPolicy Local", ", internalTrafficPolicy: Local",
			[][]string{{forN1, forN1, strings.Replace(forN2, "forNodes: [{name: n2}]",
				"forNodes: [{name: n1}]", 1)}}, inA, "0.1 0.2"},
	} {
		t.Run(c.name, func(t *testing.T) {
			reg := registryOf(t, cluster, hinted(c.spec, c.slices...))
			got := ask(reg, testMesh(), authority("api"), c.who)
			want := "FOUND api.shop.svc.cluster.local:80["
			for i, short := range strings.Fields(c.want) {
				if i > 0 {
					want += " "
				}
				want += "10.9." + short + ":80"
			}
			if got != want+"]" {
				t.Errorf("\n got %s\nwant %s]", got, want)
			}
		})
	}
}

// Who was dialed by name is not balanced away by where the caller is.
func TestAPodThatWasChosenByNameIsForEveryCaller(t *testing.T) {
	reg := registryOf(t, cluster, hinted("", []string{forA, ", hostname: one" + forB}))
	got := ask(reg, testMesh(), authority("one.api:80"), caller{namespace: "shop", zone: "a"})
	if want := "FOUND one.api.shop.svc.cluster.local:80[10.9.0.2:80]"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// forZone is shop/web's slice, each of whose addresses is for a zone, or for all where that is "".
func forZone(zones map[string]string, addresses ...string) *registry.Slice {
	out := slice(addresses...)
	out.Name = "web-a"
	for i, address := range addresses {
		if zone := zones[address]; zone != "" {
			out.Endpoints[i].Hints = &registry.Hints{Zones: []string{zone}}
		}
	}
	return out
}

// A proxy's zone is its node's. Hints that come and go change what it has, and it is back at all
// endpoints as soon as the last one for its zone is gone.
func TestHintsComeAndGoDuringAStream(t *testing.T) {
	const one, two = "192.0.2.1", "192.0.2.2"
	s := startServer(t, cluster)
	s.apply(t, forZone(nil, one, two))
	close(s.gate.open)
	c := s.proxy(t) // on n1, in zone a
	c.subscribe(authority("web"))
	both := "Endpoints " + webName + " " + one + ":80 " + two + ":80"
	c.wants(wholeRoute, both, "Route authority/web")
	cells := s.hub.size()

	zones := map[string]string{one: "a", two: "b"}
	s.apply(t, forZone(zones, one, two))
	c.wants("Endpoints " + webName + " " + one + ":80")
	if n := s.hub.size(); n != cells {
		t.Errorf("%d cells after hints came, %d before: one caller has one", n, cells)
	}
	s.apply(t, forZone(zones, two))
	c.wants("Endpoints " + webName + " " + two + ":80")
	s.apply(t, forZone(zones, one, two))
	c.wants("Endpoints " + webName + " " + one + ":80")
	s.apply(t, forZone(nil, one, two))
	c.wants(both)
}

// Without hints callers of all zones and nodes share a cell; with them, those of one zone.
func TestCallersOfAZoneShareACell(t *testing.T) {
	plain := registryOf(t, cluster, hinted("", []string{"", ""}))
	byZone := registryOf(t, cluster, hinted("", []string{forA, forB}))
	byNode := registryOf(t, cluster, hinted("", []string{forN1, forN2}))
	for name, c := range map[string]struct {
		reg  *registry.Registry
		want int
	}{"no hints": {plain, 1}, "by zone": {byZone, 2}, "by node": {byNode, 4}} {
		refs := map[clusterRef]bool{}
		testMesh().read(c.reg, func(v *view) {
			for i, zone := range []string{"a", "a", "b", "b"} {
				who := caller{namespace: "shop", node: fmt.Sprint("n", i), zone: zone}
				for _, ref := range v.compute(who.question(authority("api"))).refs {
					refs[ref.on(who)] = true
				}
			}
		})
		if len(refs) != c.want {
			t.Errorf("%s: four callers in two zones need %d cells, want %d",
				name, len(refs), c.want)
		}
	}
}
