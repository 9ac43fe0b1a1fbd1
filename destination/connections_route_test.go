package destination

import (
	"fmt"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tulle-mesh/tulle/destination/api"
	"github.com/tulle-mesh/tulle/destination/crd"
	"github.com/tulle-mesh/tulle/destination/registry"
)

// carriedOn is a route for connections to a Service of namespace shop; a TLSRoute's are those to
// a.org.
func carriedOn(kind, service, namespace, name, refs string) string {
	hostnames := ""
	if kind == crd.TLSRoute {
		hostnames = "hostnames: [a.org], "
	}
	return fmt.Sprintf(`
apiVersion: gateway.networking.k8s.io/v1
kind: %s
metadata: {name: %s, namespace: %s}
spec: {parentRefs: [{group: "", kind: Service, namespace: shop, name: %s}], %s`+
		"rules: [{backendRefs: [%s]}]}\n", kind, name, namespace, service, hostnames, refs)
}

// carriedFor is what a caller is told of connections to a key.
func carriedFor(reg *registry.Registry, key *api.Key, namespace string) (out string) {
	shown := func(all []*api.Backend) string {
		var to []string
		for _, b := range all {
			where := strings.TrimSuffix(b.Cluster, ".shop.svc.cluster.local:80")
			if b.Answer != 0 {
				where = fmt.Sprint(b.Answer)
			}
			to = append(to, fmt.Sprintf("%s*%d", where, b.Weight))
		}
		return strings.Join(to, ",")
	}
	testMesh().read(reg, func(v *view) {
		a := v.compute(caller{namespace: namespace}.question(key))
		r := a.resources[0].snapshot.GetRoute()
		words := []string{strings.TrimPrefix(r.Protocol.String(), "PROTOCOL_")}
		for _, u := range r.Tls {
			words = append(words, fmt.Sprint(u.Origin.Rule, u.ServerNames, "=", shown(u.Backends)))
		}
		for _, u := range r.Tcp {
			words = append(words, u.Origin.Rule+"="+shown(u.Backends))
		}
		if len(r.Http) > 0 {
			words = append(words, "rules of HTTP")
		}
		out = strings.Join(append(words, "else "+shown(r.Backends)), " ")
	})
	return out
}

// Routes for connections are attached where nobody has said that there is HTTP, a TLSRoute not
// where nobody looks; their backends may speak anything.
func TestRoutesForConnectionsAreAttached(t *testing.T) {
	const services = versions + `---
{apiVersion: v1, kind: Service, metadata: {name: ports, namespace: shop}, ` +
		`spec: {clusterIP: 10.96.2.1, ports: [{name: a, port: 80, appProtocol: http}, ` +
		`{name: b, port: 443, appProtocol: https}, {name: c, port: 3306}, ` +
		`{name: d, port: 5000, appProtocol: tcp}]}}
---
`
	const v1, frontend = "{name: v1, port: 80}", "10.96.0.10:80"
	tcp := func(refs string) string { return carriedOn("TCPRoute", "web", "shop", "r", refs) }
	on := func(kind string) string { return carriedOn(kind, "ports", "shop", "r", v1) }
	mine := carriedOn("TCPRoute", "web", "other", "mine", "{name: v1, namespace: shop, port: 80}")
	for _, c := range []struct{ name, objects, key, namespace, want string }{
		{"by weight", tcp("{name: v1, port: 80, weight: 3}, {name: v2, port: 80}"), frontend,
			"other", "OPAQUE r/0=v1*3,v2*1 else v1*3,v2*1"},
		{"a missing backend", tcp("{name: v1, port: 80, weight: 3}, {name: none, port: 80}"),
			frontend, "other", "OPAQUE r/0=v1*3,500*1 else v1*3,500*1"},
		{"a missing port", tcp("{name: v1, port: 8080}"), frontend, "other",
			"OPAQUE r/0=500*1 else 500*1"},
		{"one that is opaque", tcp("{name: db, port: 5432}"), frontend, "other",
			"OPAQUE r/0=db.shop.svc.cluster.local:5432*1 else db.shop.svc.cluster.local:5432*1"},
		{"one that stands for a name", tcp("{name: outside, port: 80}"), frontend, "other",
			"OPAQUE r/0=500*1 else 500*1"},
		{"by server name", carriedOn("TLSRoute", "web", "shop", "r", v1), frontend, "other",
			"TLS r/0[a.org]=v1*1 else 404*1"},
		{"a consumer's", mine + "---" + tcp(v1), frontend, "other",
			"OPAQUE mine/0=v1*1 else v1*1"},
		{"not for others", mine, frontend, "third", "DETECT else web*1"},
		{"HTTP first", tcp(v1) + "---" + routeOn("web", "HTTPRoute", "shop", "h",
			"{backendRefs: ["+v1+"]}"), frontend, "other", "DETECT rules of HTTP else web*1"},
		{"a pod's address", tcp(v1), "10.1.0.1:8080", "other", "DETECT else 10.1.0.1:8080*1"},
		{"TCP where HTTP is declared", on("TCPRoute"), "10.96.2.1:80", "other",
			"HTTP1 else ports*1"},
		{"TLS where HTTP is declared", on("TLSRoute"), "10.96.2.1:80", "other",
			"HTTP1 else ports*1"},
		{"TCP where TLS is declared", on("TCPRoute"), "10.96.2.1:443", "other",
			"OPAQUE r/0=v1*1 else v1*1"},
		{"TLS where it is", on("TLSRoute"), "10.96.2.1:443", "other",
			"TLS r/0[a.org]=v1*1 else 404*1"},
		{"TCP on MySQL's port", on("TCPRoute"), "10.96.2.1:3306", "other",
			"OPAQUE r/0=v1*1 else v1*1"},
		{"TLS on MySQL's port", on("TLSRoute"), "10.96.2.1:3306", "other",
			"DETECT else ports.shop.svc.cluster.local:3306*1"},
		{"TCP on an opaque port", on("TCPRoute"), "10.96.2.1:5000", "other",
			"OPAQUE r/0=v1*1 else v1*1"},
		{"TLS on an opaque port", on("TLSRoute"), "10.96.2.1:5000", "other",
			"OPAQUE else ports.shop.svc.cluster.local:5000*1"},
	} {
		reg := registryOf(t, cluster, services, c.objects)
		if got := carriedFor(reg, address(c.key), c.namespace); got != c.want {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
}

// A route for connections changes nothing of how the Service's own proxies take them.
func TestTheServiceItselfKnowsNoRoutesForConnections(t *testing.T) {
	for _, kind := range []string{"TCPRoute", "TLSRoute"} {
		reg := registryOf(t, cluster, versions,
			carriedOn(kind, "web", "shop", "r", "{name: v1, port: 80}"))
		testMesh().read(reg, func(v *view) {
			in, err := v.inbound(8080, registry.Name{Namespace: "shop", Name: "web-1"})
			if err != nil {
				t.Fatal(err)
			}
			if in.Protocol != api.Protocol_PROTOCOL_DETECT || len(in.Http) > 0 {
				t.Errorf("%s: the service is told %v", kind, in)
			}
		})
	}
}

// A profile's budget counts beside a route for connections, its rules and its backends do not.
func TestARouteForConnectionsBeatsAProfile(t *testing.T) {
	const profile = `
apiVersion: tulle.dev/v1alpha1
kind: ServiceProfile
metadata: {name: web.shop.svc.cluster.local, namespace: shop}
spec:
  routes: [{name: p, condition: {method: GET}}]
  dstOverrides: [{authority: v2.shop, weight: 1}]`
	reg := registryOf(t, cluster, versions, profile,
		carriedOn("TCPRoute", "web", "shop", "r", "{name: v1, port: 80}"))
	if got, want := carriedFor(reg, address("10.96.0.10:80"), "other"),
		"OPAQUE r/0=v1*1 else v1*1"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	apply(reg, objectsOf(t, harming("f", "targetRefs: [{kind: Service, name: web}]"))...)
	testMesh().read(reg, func(v *view) {
		said := v.report(registry.PolicyRef{Kind: crd.FaultInjectionKind,
			Name: registry.Name{Namespace: "shop", Name: "f"}}).Want.Parents[0].Conditions[0]
		want := "the fault applies to nothing: of port 80 of Service shop/web: " +
			"its port has TCPRoutes"
		if said.Status != metav1.ConditionFalse || said.Message != want {
			t.Errorf("a fault there: %s, %q", said.Status, said.Message)
		}
	})
}

func connectionRoute(kind, name, refs string) string {
	hostnames := ""
	if kind == crd.TLSRoute {
		hostnames = `hostnames: [a.org, "*"], `
	}
	return "{apiVersion: gateway.networking.k8s.io/v1, kind: " + kind + ", metadata: {name: " +
		name + `, namespace: shop}, spec: {parentRefs: [{group: "", kind: Service, name: web}], ` +
		hostnames + "rules: [{backendRefs: [" + refs + "]}]}}"
}

// One writer says of every kind of route what has become of it.
func TestStatusOfRoutesForConnections(t *testing.T) {
	k := startKubernetes(t)
	k.putRoute(crd.TCPRoutes, connectionRoute("TCPRoute", "r", "{name: web, port: 80}"))
	k.parents(crd.TCPRoutes, "r", "tulle.dev/mesh web"+accepted)
	k.putRoute(crd.TCPRoutes, connectionRoute("TCPRoute", "r", "{name: gone, port: 80}"))
	k.parents(crd.TCPRoutes, "r", "tulle.dev/mesh web Accepted=True(Accepted) "+
		"ResolvedRefs=False(BackendNotFound)")
	k.putRoute(crd.TCPRoutes, connectionRoute("TCPRoute", "r", "{name: db, port: 5432}"))
	k.parents(crd.TCPRoutes, "r", "tulle.dev/mesh web"+accepted)

	k.putRoute(crd.TCPRoutes, connectionRoute("TCPRoute", "s", "{name: web, port: 80}"))
	status := k.parents(crd.TCPRoutes, "s", "tulle.dev/mesh web"+accepted)
	want := "the route is accepted, but an older one is in use: " +
		"connections to port 80 go by TCPRoute shop/r"
	if said := status.Parents[0].Conditions[0].Message; said != want {
		t.Errorf("the second says %q", said)
	}

	k.putRoute(crd.TLSRoutes, connectionRoute("TLSRoute", "t", "{name: web, port: 80}"))
	k.parents(crd.TLSRoutes, "t", "tulle.dev/mesh web"+accepted+
		" PartiallyInvalid=True(UnsupportedValue)")
	status = k.parents(crd.TCPRoutes, "r", "tulle.dev/mesh web Accepted=False(Conflicted) "+
		"ResolvedRefs=True(ResolvedRefs)")
	want = "port 80 of Service shop/web has TLSRoutes, and then TCPRoutes have no say"
	if said := status.Parents[0].Conditions[0].Message; said != want {
		t.Errorf("the loser says %q", said)
	}
	err := k.routesOf(crd.TLSRoutes).Delete(t.Context(), "t", metav1.DeleteOptions{})
	if err != nil {
		t.Fatal(err)
	}
	k.parents(crd.TCPRoutes, "r", "tulle.dev/mesh web"+accepted)
}
