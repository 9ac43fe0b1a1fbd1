package destination

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/tulle-mesh/tulle/destination/api"
	"github.com/tulle-mesh/tulle/destination/registry"
)

// trafficPolicy is a BackendTrafficPolicy.
func trafficPolicy(namespace, name, targets, sections string) string {
	return fmt.Sprintf("\n{apiVersion: tulle.dev/v1alpha1, kind: BackendTrafficPolicy, "+
		"metadata: {name: %s, namespace: %s}, spec: {targetRefs: [%s], %s}}\n---\n",
		name, namespace, targets, sections)
}

// of is a policy that was made in some year.
func of(year, policy string) string {
	return strings.Replace(policy, "metadata: {",
		`metadata: {creationTimestamp: "`+year+`-01-01T00:00:00Z", `, 1)
}

// sentTo are all resources that callers in a namespace are sent for a key.
func sentTo(reg *registry.Registry, key *api.Key, namespace string) (out []*resource) {
	c := caller{namespace: namespace}
	testMesh().read(reg, func(v *view) {
		first := v.compute(c.question(key))
		out = append(out, first.resources...)
		for _, ref := range first.refs {
			for _, q := range ref.questions(c) {
				out = append(out, v.compute(q).resources...)
			}
		}
	})
	return out
}

// usesFor says how callers in a namespace are told to use the clusters of a key.
func usesFor(reg *registry.Registry, key *api.Key, namespace string) string {
	var out []string
	for _, r := range sentTo(reg, key, namespace) {
		c := r.snapshot.GetCluster()
		if c == nil {
			continue
		}
		m := c.ProtoReflect()
		balancer := m.WhichOneof(m.Descriptor().Oneofs().ByName("balancer")).Name()
		text := strings.ReplaceAll(r.id.name, ".shop.svc.cluster.local:80", "") + "=" +
			string(balancer)
		if c.SlowStart != nil {
			text += "+slow_start"
		}
		for _, ref := range r.policies {
			text += " by " + ref.Name.Name
		}
		out = append(out, text)
	}
	return strings.Join(out, " ")
}

const (
	webTarget  = "{kind: Service, name: web}"
	webOutside = "{kind: Service, name: web, namespace: shop}"
	roundRobin = "loadBalancer: {type: RoundRobin}"
	atRandom   = "loadBalancer: {type: Random}"
	slowly     = "slowStart: {window: 30s}"
)

func TestTrafficPoliciesAreObeyed(t *testing.T) {
	const frontend = "10.96.0.10:80"
	producer := trafficPolicy("shop", "p", webTarget, roundRobin)
	defaults := trafficPolicy("shop", "d", "{kind: Namespace, name: shop}", atRandom+", "+slowly)
	consumer := trafficPolicy("other", "c", webOutside, atRandom)
	split := httpOn("web", `{backendRefs: [{name: v1, port: 80, weight: 1}, `+
		`{name: v2, port: 81, weight: 1}]}`)
	for _, c := range []struct {
		name, policies, key, namespace, want string
	}{
		{"no policy", "", frontend, "other", "web=ewma"},
		{"a Service's", producer, frontend, "other", "web=round_robin by p"},
		{"for callers in its own namespace, too", producer, frontend, "shop",
			"web=round_robin by p"},
		{"by name", producer, "web.shop:80", "other", "web=round_robin by p"},
		{"a Namespace's", defaults, frontend, "other", "web=random+slow_start by d"},
		{"of both, section by section", defaults + producer, frontend, "other",
			"web=round_robin+slow_start by p by d"},
		{"a port's before", trafficPolicy("shop", "port",
			"{kind: Service, name: web, sectionName: http}", "loadBalancer: {type: LeastRequest}") +
			defaults + producer, frontend, "other", "web=least_request+slow_start by port by d"},
		{"another port's", trafficPolicy("shop", "port",
			"{kind: Service, name: web, sectionName: admin}", roundRobin), frontend, "other",
			"web=ewma"},
		{"another Service's", trafficPolicy("shop", "p", "{kind: Service, name: db}", roundRobin),
			frontend, "other", "web=ewma"},
		{"the oldest of two", of("2021", producer) +
			of("2020", trafficPolicy("shop", "z", webTarget, atRandom)), frontend, "other",
			"web=random by z"},
		{"a consumer's, as a whole", consumer + producer + defaults, frontend, "other",
			"web/other=random by c"},
		{"and not for others", consumer + producer, frontend, "third", "web=round_robin by p"},
		{"nor for the Service's own namespace", consumer, frontend, "shop", "web=ewma"},
		{"a consumer's of a Namespace", trafficPolicy("other", "c",
			"{kind: Namespace, name: shop}", atRandom), frontend, "other", "web/other=random by c"},
		{"what a namespace says of its own Services", trafficPolicy("other", "c",
			"{kind: Namespace, name: other}", atRandom), frontend, "other", "web=ewma"},
		{"a consumer's without a word on clusters", trafficPolicy("other", "c", webOutside,
			"retryBudget: {}") + producer, frontend, "other", "web/other=ewma"},
		{"a pod's address", producer, "10.1.0.2:8080", "other", "10.1.0.2:8080=ewma"},
		{"a headless Service", trafficPolicy("shop", "p", "{kind: Service, name: db}", roundRobin),
			"db.shop:5432", "other", "db.shop.svc.cluster.local:5432=ewma"},
		{"the backends of a route", split + "---" +
			trafficPolicy("shop", "p", "{kind: Service, name: v1}", roundRobin) +
			trafficPolicy("other", "c", "{kind: Service, name: v2, namespace: shop}", atRandom),
			frontend, "other", "v1=round_robin by p " +
				"v2.shop.svc.cluster.local:81/other=random by c web=ewma"},
	} {
		key := authority(c.key)
		if strings.HasPrefix(c.key, "10.") {
			key = address(c.key)
		}
		reg := registryOf(t, cluster, versions, c.policies)
		if got := usesFor(reg, key, c.namespace); got != c.want {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
}

// A variant of a cluster is what a route's backends name; the endpoints are those of the plain one,
// and so is what metrics show. Whoever keeps the route may ask for it by its name.
func TestAVariantSharesTheEndpoints(t *testing.T) {
	reg := registryOf(t, cluster, trafficPolicy("other", "c", webOutside, atRandom))
	var names []string
	var route *api.Route
	var variant *api.Cluster
	for _, r := range sentTo(reg, authority("web.shop"), "other") {
		names = append(names, kindName(r.id.kind)+" "+r.id.name)
		if m := r.snapshot.GetRoute(); m != nil {
			route = m
		}
		if c := r.snapshot.GetCluster(); c != nil {
			variant = c
		}
	}
	want := []string{"route authority/web.shop", "cluster " + webName + "/other",
		"endpoints " + webName}
	if !slices.Equal(names, want) {
		t.Errorf("sent are %q, want %q", names, want)
	}
	if variant.GetName() != webName || variant.GetVariant() != "other" ||
		route.GetBackends()[0].Cluster != webName+"/other" || route.GetAuthority() != webName {
		t.Errorf("the cluster is %v, the route %v", variant, route)
	}
	testMesh().read(reg, func(v *view) {
		named := v.compute(caller{namespace: "other"}.question(authority("web.shop"))).refs
		kept := v.compute(question{kept: webName + "/other"})
		if !slices.Equal(kept.refs, named) {
			t.Errorf("it is %+v by its name, %+v as a backend", kept.refs, named)
		}
		gone := v.compute(question{kept: "gone.shop.svc.cluster.local:80/other"})
		if len(gone.refs) != 1 ||
			v.mesh.resourceName(gone.refs[0]) != "gone.shop.svc.cluster.local:80/other" {
			t.Errorf("a variant of what is not there is %+v", gone)
		}
		if a := v.compute(question{kept: webName + "/Other/x"}); a.invalid == "" {
			t.Error("a variant for a namespace that cannot be is not refused")
		}
	})
}

// A BackendTrafficPolicy's retry budget beats that of a profile, which says so.
func TestARetryBudgetOfAPolicyBeatsAProfiles(t *testing.T) {
	const profile = `
apiVersion: tulle.dev/v1alpha1
kind: ServiceProfile
metadata: {name: web.shop.svc.cluster.local, namespace: shop}
spec: {retryBudget: {retryRatio: 0.7}}`
	mine := strings.Replace(profile, "namespace: shop", "namespace: other", 1)
	mine = strings.Replace(mine, "0.7", "0.6", 1)
	producer := trafficPolicy("shop", "p", webTarget, "retryBudget: {retryRatio: 0.3}")
	consumer := trafficPolicy("other", "c", webOutside, "retryBudget: {retryRatio: 0.4}")
	for _, c := range []struct {
		name     string
		texts    []string
		want     float64
		policies []string
	}{
		{"a profile's", []string{profile}, 0.7, []string{"web.shop.svc.cluster.local"}},
		{"a policy's", []string{profile, producer}, 0.3,
			[]string{"web.shop.svc.cluster.local", "p"}},
		{"a policy's before the caller's own profile's", []string{mine, producer}, 0.3,
			[]string{"web.shop.svc.cluster.local", "p"}},
		{"a consumer's policy's", []string{profile, producer, consumer}, 0.4,
			[]string{"web.shop.svc.cluster.local", "c"}},
		{"nobody's", nil, 0.2, nil},
	} {
		reg := registryOf(t, append([]string{cluster}, c.texts...)...)
		r := sentTo(reg, authority("web.shop"), "other")[0]
		if got := r.snapshot.GetRoute().GetRetryBudget().GetRetryRatio(); got != c.want {
			t.Errorf("%s: the ratio is %v, want %v", c.name, got, c.want)
		}
		var by []string
		for _, ref := range r.policies {
			by = append(by, ref.Name.Name)
		}
		if !slices.Equal(by, c.policies) {
			t.Errorf("%s: it is made from %q, want %q", c.name, by, c.policies)
		}
	}
}

// Whoever asked about a cluster, or about a route to it, is answered anew when a policy of it
// comes, changes, moves and goes; and nobody else is.
func TestTrafficPoliciesTouchWhatTheyAreOn(t *testing.T) {
	reg := registryOf(t, cluster, versions)
	w := newWatcher()
	h := newHub(reg, testMesh())
	service := registry.Name{Namespace: "shop", Name: "web"}
	web := h.watch(question{cluster: clusterRef{service: service, port: 80}}, w)
	route := h.watch(question{address: "10.96.0.10:80", namespace: "other"}, w)
	v1 := h.watch(question{cluster: clusterRef{
		service: registry.Name{Namespace: "shop", Name: "v1"}, port: 80}}, w)
	for _, c := range []*cell{web, route, v1} {
		defer h.release(c, w)
	}
	owner := reg.Owner("test")
	on := func(target, section string) []registry.Object {
		target = "{kind: Service, name: " + target + "}"
		return objectsOf(t, trafficPolicy("shop", "p", target, section))
	}
	all := objectsOf(t, trafficPolicy("shop", "d", "{kind: Namespace, name: shop}", atRandom))
	for _, step := range []struct {
		name string
		do   registry.Change
		v1   bool // concerns it too
		want string
	}{
		{"a policy comes", registry.Change{Set: on("web", roundRobin)}, false,
			"web=round_robin by p"},
		{"it changes", registry.Change{Set: on("web", atRandom)}, false, "web=random by p"},
		{"it moves to another Service", registry.Change{Set: on("v1", atRandom)}, true, "web=ewma"},
		{"and back", registry.Change{Set: on("web", atRandom)}, true, "web=random by p"},
		{"it goes", registry.Change{Delete: on("web", atRandom)}, false, "web=ewma"},
		{"the namespace's comes", registry.Change{Set: all}, true, "web=random by d"},
		{"and goes", registry.Change{Delete: all}, true, "web=ewma"},
	} {
		reg.TakeTouched()
		owner.Apply(step.do)
		touched := reg.TakeTouched()
		stale := h.stale(touched.Rest)
		for c := range h.stale(touched.Lost) {
			stale[c] = struct{}{}
		}
		for c, want := range map[*cell]bool{web: true, route: true, v1: step.v1} {
			if _, told := stale[c]; told != want {
				t.Errorf("%s: %+v is answered anew: %v", step.name, c.question, told)
			}
			h.compute(c)
		}
		if got := usesFor(reg, address("10.96.0.10:80"), "other"); got != step.want {
			t.Errorf("%s: got %q, want %q", step.name, got, step.want)
		}
	}
	reg.TakeTouched()
	owner.Apply(registry.Change{Set: objectsOf(t, httpOn("web", ""))})
	if _, told := h.stale(reg.TakeTouched().Rest)[web]; told {
		t.Error("a cluster is computed anew for a route")
	}
}

// Callers that get policies of their own are sent the variant, and not the endpoints again.
func TestAVariantComesAndGoes(t *testing.T) {
	s := startServer(t, cluster+`---
{apiVersion: v1, kind: Service, metadata: {name: lib, namespace: lib}, `+
		`spec: {clusterIP: 10.96.3.1, ports: [{port: 80}]}}
`)
	close(s.gate.open)
	const lib = "lib.lib.svc.cluster.local:80"
	c := s.proxy(t)
	c.subscribe(authority("lib.lib"))
	c.wants("Cluster "+lib, "Endpoints "+lib, "Route authority/lib.lib")
	mine := func(target string) []registry.Object {
		return objectsOf(t, trafficPolicy("shop", "c", target, slowly))
	}
	s.apply(t, mine("{kind: Service, name: lib, namespace: lib}")...)
	c.wants("Cluster "+lib+"/shop", "Route authority/lib.lib", "Cluster "+lib+" removed")
	s.apply(t, mine("{kind: Service, name: nobody, namespace: lib}")...)
	c.wants("Cluster "+lib, "Route authority/lib.lib", "Cluster "+lib+"/shop removed")
}
