package destination

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/tulle-mesh/tulle/destination/registry"
)

// outer is what a source knows that has names and endpoints, and no ports: a service web, and two
// versions of it under names of their own.
func outer() []registry.Object {
	v1, v2 := ready("10.7.0.1"), ready("10.7.0.2")
	v2.Weight, v2.Region, v2.Zone = 5, "dc1", "dc1"
	v2.Mesh = &registry.Mesh{Address: netip.MustParseAddrPort("10.7.0.2:4143"),
		Identity: "spiffe://cluster.local/ns/old/sa/web"}
	sick := ready("10.7.0.3")
	sick.Ready = false
	var out []registry.Object
	for name, endpoints := range map[string][]registry.Endpoint{
		"web": {v1, v2, sick}, "v1.web": {v1}, "v2.web": {v2},
	} {
		key := registry.Name{Namespace: "consul", Name: name}
		meta := registry.Meta{Namespace: "consul", Name: name}
		out = append(out,
			&registry.Service{Meta: meta, AnyPort: true,
				Ports: []registry.ServicePort{{Number: 80}}},
			&registry.Host{Meta: registry.Meta{Name: name + ".service.consul"}, Service: key},
			&registry.Slice{Meta: meta, Service: key, Family: registry.IPv4, Target: 9090,
				Endpoints: endpoints})
	}
	return out
}

func ready(address string) registry.Endpoint {
	return registry.Endpoint{Address: netip.MustParseAddr(address), Ready: true, Serving: true}
}

// withOuter is the shared cluster, and that source beside it.
func withOuter(t testing.TB, more ...string) *registry.Registry {
	t.Helper()
	reg := registryOf(t, append([]string{cluster}, more...)...)
	reg.Owner("consul").Apply(registry.Change{Set: outer()})
	return reg
}

const (
	outer1 = "10.7.0.1:9090"
	outer2 = "10.7.0.2:9090@10.7.0.2:4143=old/sa/web"
)

// A name of another source's is found by all that it is called, at any port; an address of it is
// called alone, and behind its proxy where it has one.
func TestServicesOfAnotherSource(t *testing.T) {
	const whole = "FOUND web.consul.svc.cluster.local:80[" + outer1 + " " + outer2 + "]"
	reg := withOuter(t, `
{apiVersion: v1, kind: Service, metadata: {name: alias, namespace: shop}, spec: `+
		`{type: ExternalName, externalName: web.service.consul}}
---
{apiVersion: v1, kind: Node, metadata: {name: n7}, status: `+
		`{addresses: [{type: InternalIP, address: 10.7.0.2}]}}`)
	mesh := testMesh()
	mesh.Zones = []string{"service.consul"}
	for _, c := range []struct{ key, want string }{
		{"web.service.consul", whole},
		{"web.service.consul:8080", whole},
		{"WEB.service.consul.", whole},
		{"web.consul", whole},
		{"web.consul.svc.cluster.local:1", whole},
		{"alias", whole},
		{"v1.web.service.consul", "FOUND v1.web.consul.svc.cluster.local:80[" + outer1 + "]"},
		{"v2.web.consul", "FOUND v2.web.consul.svc.cluster.local:80[" + outer2 + "]"},
		{"10.7.0.1:9090", "FOUND 10.7.0.1:9090[" + outer1 + "]"},
		{"10.7.0.2:9090", "FOUND 10.7.0.2:9090[" + outer2 + "]"}, // which is a node's, too
		{"10.7.0.3:9090", "FOUND 10.7.0.3:9090[10.7.0.3:9090]"},
		{"10.7.0.1:80", "OUTSIDE"},
		{"db.service.consul", "NOT_FOUND"},
		{"n1.node.consul", "OUTSIDE"},
		{"v3.web.consul.svc.cluster.local", "NOT_FOUND"},
	} {
		if got := ask(reg, mesh, authority(c.key), webPod); got != c.want {
			t.Errorf("%s:\n got %s\nwant %s", c.key, got, c.want)
		}
	}
	mesh.read(reg, func(v *view) {
		ref := clusterRef{service: registry.Name{Namespace: "consul", Name: "web"}, port: 80}
		eps := v.endpoints(ref)
		if l := eps[1].GetLocality(); l.GetRegion() != "dc1" || l.GetZone() != "dc1" ||
			eps[1].GetWeight() != 5 || eps[0].GetWeight() != 0 {
			t.Errorf("endpoints are %v", eps)
		}
	})
}

// What users write about a service of the cluster they may write about one of another source.
func TestPoliciesOnAnotherSourcesServices(t *testing.T) {
	split := withOuter(t, `
apiVersion: tulle.dev/v1alpha1
kind: ServiceProfile
metadata: {name: web.consul.svc.cluster.local, namespace: consul}
spec:
  dstOverrides:
  - {authority: v1.web.service.consul, weight: 9}
  - {authority: "v2.web.consul.svc.cluster.local:80", weight: 1}`)
	want := "FOUND v1.web.consul.svc.cluster.local:80[" + outer1 + "]*9000 " +
		"v2.web.consul.svc.cluster.local:80[" + outer2 + "]*1000"
	if got := ask(split, testMesh(), authority("web.service.consul"), stranger); got != want {
		t.Errorf("\n got %s\nwant %s", got, want)
	}

	routed := withOuter(t, `
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: r, namespace: consul}
spec:
  parentRefs: [{group: "", kind: Service, name: web}]
  rules: [{backendRefs: [{name: v2.web, port: 80}]}]
---
apiVersion: tulle.dev/v1alpha1
kind: BackendTrafficPolicy
metadata: {name: b, namespace: consul}
spec:
  targetRefs: [{kind: Service, name: web}]
  slowStart: {window: 30s}`)
	testMesh().read(routed, func(v *view) {
		a := v.compute(stranger.question(authority("web.service.consul:8080")))
		route := a.resources[0].snapshot.GetRoute()
		if len(route.GetHttp()) != 1 || len(route.Http[0].Backends) != 1 ||
			route.Http[0].Backends[0].Cluster != "v2.web.consul.svc.cluster.local:80" {
			t.Errorf("the route is %v", route)
		}
		whole := clusterRef{service: registry.Name{Namespace: "consul", Name: "web"}, port: 80}
		cluster, by := v.cluster(whole)
		if cluster.GetSlowStart() == nil || len(by) != 1 {
			t.Errorf("the cluster is %v, by %v", cluster, by)
		}
	})
}

// One name may have endpoints of several sources. The one that knows ports says what they are,
// however young it is, and who asks is told.
func TestOneNameOfSeveralSources(t *testing.T) {
	const service = `
apiVersion: v1
kind: Service
metadata: {name: web, namespace: consul, creationTimestamp: "2030-01-01T00:00:00Z"}
spec: {clusterIP: 10.96.0.50, ports: [{name: http, port: 80, targetPort: 8080}]}`
	const slice = `
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: web-a, namespace: consul, labels: {kubernetes.io/service-name: web}}
addressType: IPv4
ports: [{name: http, port: 8080}]
endpoints: [{addresses: [192.0.2.7]}, {addresses: [10.7.0.1]}]`
	reg := withOuter(t, service, slice)
	const union = "FOUND web.consul.svc.cluster.local:80[10.7.0.1:8080 " + outer1 + " " + outer2 +
		" 192.0.2.7:8080]"
	for _, c := range []struct{ key, want string }{
		{"10.96.0.50:80", union}, {"web.consul", union}, {"web.service.consul", union},
		{"web.service.consul:81", "NOT_FOUND"},
		{"10.7.0.2:9090", "FOUND 10.7.0.2:9090[" + outer2 + "]"},
		{"v1.web.service.consul:81", "FOUND v1.web.consul.svc.cluster.local:80[" + outer1 + "]"},
	} {
		if got := ask(reg, testMesh(), authority(c.key), webPod); got != c.want {
			t.Errorf("%s:\n got %s\nwant %s", c.key, got, c.want)
		}
	}
	told := func(want string) {
		t.Helper()
		testMesh().read(reg, func(v *view) {
			got := fmt.Sprint(v.parts(authority("web.service.consul"), "shop"))
			if got != want {
				t.Errorf("told %s, want %s", got, want)
			}
		})
	}
	told("[{test true 2} {consul false 3}]")

	reg.Owner("test").Apply(registry.Change{Delete: objectsOf(t, service)})
	told("[{consul true 3} {test false 2}]")
	const alone = "FOUND web.consul.svc.cluster.local:80[" + outer1 + " " + outer2 + "]"
	if got := ask(reg, testMesh(), authority("web.service.consul:81"), webPod); got != alone {
		t.Errorf("\n got %s\nwant %s", got, alone)
	}
	reg.Owner("consul").Apply(registry.Change{Delete: outer()})
	gone := authority("web.consul.svc.cluster.local")
	if got := ask(reg, testMesh(), gone, webPod); got != "NOT_FOUND" {
		t.Errorf("what is gone is %s", got)
	}
}

// Proxies are told of what another source loses.
func TestALossInAnotherSourceIsTold(t *testing.T) {
	s := startServer(t, cluster)
	s.registry.Owner("consul").Apply(registry.Change{Set: outer()})
	close(s.gate.open)
	c := s.proxy(t)
	c.subscribe(authority("web.service.consul"))
	c.wants("Cluster web.consul.svc.cluster.local:80",
		"Endpoints web.consul.svc.cluster.local:80 10.7.0.1:9090 10.7.0.2:9090",
		"Route authority/web.service.consul")
	for _, obj := range outer() {
		if slice, ok := obj.(*registry.Slice); ok && slice.Name == "web" {
			slice.Endpoints = slice.Endpoints[1:]
			s.registry.Owner("consul").Apply(registry.Change{Set: []registry.Object{slice}})
		}
	}
	c.wants("Endpoints web.consul.svc.cluster.local:80 10.7.0.2:9090")
}
