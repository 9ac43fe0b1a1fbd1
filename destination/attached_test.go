package destination

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/tulle-mesh/tulle/destination/api"
	"github.com/tulle-mesh/tulle/destination/registry"
)

// versions are two Services that routes send to, a headless one, and one that stands for a name.
const versions = `
{apiVersion: v1, kind: Service, metadata: {name: v1, namespace: shop}, ` +
	`spec: {clusterIP: 10.96.1.1, ports: [{name: http, port: 80}]}}
---
{apiVersion: v1, kind: Service, metadata: {name: v2, namespace: shop}, ` +
	`spec: {clusterIP: 10.96.1.2, ports: [{name: http, port: 80}, {name: admin, port: 81}]}}
---
{apiVersion: v1, kind: Service, metadata: {name: outside, namespace: shop}, ` +
	`spec: {type: ExternalName, externalName: example.com, ports: [{port: 80}]}}
`

// routeOn is a route of the Gateway API on a Service of namespace shop.
func routeOn(service, kind, namespace, name, rules string) string {
	return fmt.Sprintf(`
apiVersion: gateway.networking.k8s.io/v1
kind: %s
metadata: {name: %s, namespace: %s}
spec: {parentRefs: [{group: "", kind: Service, namespace: shop, name: %s}], rules: [%s]}
`, kind, name, namespace, service, rules)
}

func httpOn(service, rules string) string {
	return routeOn(service, "HTTPRoute", "shop", "r", rules)
}

// rulesFor are the rules that a caller is told of a key: which match goes where.
func rulesFor(reg *registry.Registry, key *api.Key, namespace string) string {
	var out []string
	testMesh().read(reg, func(v *view) {
		a := v.compute(caller{namespace: namespace}.question(key))
		for _, r := range a.resources[0].snapshot.GetRoute().GetHttp() {
			var to []string
			for _, b := range r.Backends {
				where := strings.TrimSuffix(b.Cluster, ".shop.svc.cluster.local:80")
				if b.Answer != 0 {
					where += fmt.Sprint(b.Answer)
				}
				if b.Weight != 1 {
					where += fmt.Sprintf("*%d", b.Weight)
				}
				to = append(to, where)
			}
			rule := strings.TrimPrefix(r.Origin.Rule, r.Origin.Name+"/")
			out = append(out, r.Origin.Name+"."+rule+"="+strings.Join(to, ","))
		}
	})
	return strings.Join(out, " ")
}

func TestRoutesAreAttached(t *testing.T) {
	split := httpOn("web", `{matches: [{path: {value: /a}}], backendRefs: [`+
		`{name: v1, port: 80, weight: 70}, {name: v2, port: 80, weight: 30}]}`)
	consumer := routeOn("web", "HTTPRoute", "other", "mine",
		`{backendRefs: [{name: v1, namespace: shop, port: 80}]}`)
	to := func(ref string) string { return httpOn("web", "{backendRefs: ["+ref+"]}") }
	annotated := strings.Replace(cluster, "metadata: {name: web, namespace: shop}",
		`metadata: {name: web, namespace: shop, annotations: {tulle.dev/opaque-ports: "80"}}`, 1)
	const frontend = "10.96.0.10:80"
	const search = `
{apiVersion: v1, kind: Service, metadata: {name: search, namespace: shop}, ` +
		`spec: {clusterIP: 10.96.2.1, ports: [{name: a, port: 9300}, ` +
		`{name: b, port: 11211, appProtocol: http}]}}
---
`
	found := search + httpOn("search", `{backendRefs: [{name: v1, port: 80}]}`)
	for _, c := range []struct {
		name, cluster, route, key, namespace, want string
	}{
		{"a split", cluster, split, frontend, "other", "r.0=v1*70,v2*30 r.unmatched=404"},
		{"by name", cluster, split, "web.shop:80", "other", "r.0=v1*70,v2*30 r.unmatched=404"},
		{"not by a pod's address", cluster, split, "10.1.0.1:8080", "other", ""},
		{"not of another Service", cluster, split, "10.96.1.1:80", "other", ""},
		{"a consumer's, for its callers", cluster, consumer + "---" + split, frontend, "other",
			"mine.0=v1"},
		{"and for no others", cluster, consumer + "---" + split, frontend, "third",
			"r.0=v1*70,v2*30 r.unmatched=404"},
		{"nor for the producer's", cluster, consumer, frontend, "shop", ""},
		{"a missing backend", cluster, to("{name: v1, port: 80, weight: 3}, " +
			"{name: none, port: 80, weight: 1}"), frontend, "other", "r.0=v1*3,500"},
		{"a missing port", cluster, to("{name: v1, port: 8080}"), frontend, "other", "r.0=500"},
		{"a backend that stands for a name", cluster, to("{name: outside, port: 80}"), frontend,
			"other", "r.0=500"},
		{"a backend of another protocol", cluster, to("{name: db, port: 5432}"), frontend, "other",
			"r.0=500"},
		{"a missing backend of weight 0", cluster, to("{name: v1, port: 80}, " +
			"{name: none, port: 80, weight: 0}"), frontend, "other", "r.0=v1"},
		{"the parent as its own backend", cluster, to("{name: web, port: 80}"), frontend, "other",
			"r.0=web"},
		{"a headless parent", cluster, httpOn("db", `{backendRefs: [{name: v1, port: 80}]}`),
			"db.shop:5432", "other", ""},
		{"a pod by name", cluster, httpOn("db", `{backendRefs: [{name: v1, port: 80}]}`),
			"db-0.db.shop:5432", "other", ""},
		{"an opaque port", annotated, split, frontend, "other", ""},
		{"a port that is opaque by its number", cluster, found, "10.96.2.1:9300", "other", ""},
		{"unless it is declared", cluster, found, "10.96.2.1:11211", "other", "r.0=v1"},
		{"a GRPCRoute before", cluster, split + "---" + routeOn("web", "GRPCRoute", "shop", "g",
			`{backendRefs: [{name: none, port: 80}]}`), frontend, "other", "g.0=503"},
	} {
		reg := registryOf(t, c.cluster, versions, c.route)
		key := authority(c.key)
		if strings.HasPrefix(c.key, "10.") {
			key = address(c.key)
		}
		if got := rulesFor(reg, key, c.namespace); got != c.want {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
}

// A route counts before a profile, which keeps what the route cannot say.
func TestARouteBeatsAProfile(t *testing.T) {
	const profile = `
apiVersion: tulle.dev/v1alpha1
kind: ServiceProfile
metadata: {name: web.shop.svc.cluster.local, namespace: shop}
spec:
  routes: [{name: p, condition: {method: GET}}]
  dstOverrides: [{authority: v2.shop, weight: 1}]
  retryBudget: {retryRatio: 0.7}`
	route := httpOn("web", `{backendRefs: [{name: v1, port: 80}]}`)
	reg := registryOf(t, cluster, versions, profile, route)
	if got := rulesFor(reg, address("10.96.0.10:80"), "other"); got != "r.0=v1" {
		t.Errorf("the rules are %s", got)
	}
	testMesh().read(reg, func(v *view) {
		a := v.compute(question{address: "10.96.0.10:80", namespace: "other"})
		r := a.resources[0].snapshot.GetRoute()
		if r.RetryBudget.RetryRatio != 0.7 ||
			r.Backends[0].Cluster != "web.shop.svc.cluster.local:80" {
			t.Errorf("the route is %v", r)
		}
		kinds := []string{}
		for _, ref := range a.resources[0].policies {
			kinds = append(kinds, ref.Kind)
		}
		if !slices.Equal(kinds, []string{"ServiceProfile", "HTTPRoute"}) {
			t.Errorf("it is made from %v", kinds)
		}
	})
	apply(reg, objectsOf(t, strings.Replace(route, "name: r,", "name: s,", 1))...)
	reg.Owner("test").Apply(registry.Change{Delete: objectsOf(t, route)})
	if got := rulesFor(reg, address("10.96.0.10:80"), "other"); got != "s.0=v1" {
		t.Errorf("once the first is gone the rules are %s", got)
	}
}

// Whoever asked about a Service is answered anew when a route comes, changes, moves and goes, and
// when a backend that it names does.
func TestRoutesTouchWhatTheyAreOn(t *testing.T) {
	reg := registryOf(t, cluster)
	w := newWatcher()
	h := newHub(reg, testMesh())
	c := h.watch(question{address: "10.96.0.10:80", namespace: "other"}, w)
	defer h.release(c, w)
	owner := reg.Owner("test")
	to := func(service, backend string) []registry.Object {
		return objectsOf(t, httpOn(service, "{backendRefs: [{name: "+backend+", port: 80}]}"))
	}
	v1 := objectsOf(t, versions)[:1]
	for _, step := range []struct {
		name string
		do   registry.Change
		want string
	}{
		{"a route comes", registry.Change{Set: to("web", "v1")}, "r.0=500"},
		{"its backend comes", registry.Change{Set: v1}, "r.0=v1"},
		{"the route changes", registry.Change{Set: to("web", "web")}, "r.0=web"},
		{"it moves to another Service", registry.Change{Set: to("db", "web")}, ""},
		{"and back", registry.Change{Set: to("web", "v1")}, "r.0=v1"},
		{"its backend goes", registry.Change{Delete: v1}, "r.0=500"},
		{"it goes", registry.Change{Delete: to("web", "v1")}, ""},
	} {
		reg.TakeTouched()
		owner.Apply(step.do)
		touched := reg.TakeTouched()
		stale := h.stale(touched.Rest)
		for one := range h.stale(touched.Lost) {
			stale[one] = struct{}{}
		}
		if _, told := stale[c]; !told {
			t.Errorf("%s: who asked is not answered anew", step.name)
		}
		h.compute(c)
		if got := rulesFor(reg, address("10.96.0.10:80"), "other"); got != step.want {
			t.Errorf("%s: got %q, want %q", step.name, got, step.want)
		}
	}
}

// The service's own proxies hear what its rules are called, of the routes that are for everybody.
func TestRoutesAreNamedToTheService(t *testing.T) {
	const rules = `{name: a, matches: [{path: {value: /a}}], backendRefs: [{name: v1, port: 80}]}`
	reg := registryOf(t, cluster, versions, httpOn("web", rules),
		routeOn("web", "HTTPRoute", "other", "mine",
			strings.Replace(rules, "name: a", "name: b", 1)))
	testMesh().read(reg, func(v *view) {
		in, err := v.inbound(8080, registry.Name{Namespace: "shop", Name: "web-1"})
		if err != nil {
			t.Fatal(err)
		}
		if len(in.Http) != 1 || in.Http[0].Origin.Rule != "a" || len(in.Http[0].Backends) != 0 {
			t.Errorf("the service is told %v", in.Http)
		}
	})
}
