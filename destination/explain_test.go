package destination

import (
	"fmt"
	"strings"
	"testing"
)

// Whoever asks about a Service is told of every object that is about it, and why some have no say.
func TestExplain(t *testing.T) {
	const profile = `
apiVersion: tulle.dev/v1alpha1
kind: ServiceProfile
metadata: {name: web.shop.svc.cluster.local, namespace: shop}
spec: {routes: [{name: p, condition: {%s}}]}
---`
	get := fmt.Sprintf(profile, "method: GET")
	route := func(service string) string {
		return httpOn(service, `{backendRefs: [{name: v1, port: 80}]}`)
	}
	annotated := strings.Replace(cluster, "metadata: {name: web, namespace: shop}",
		`metadata: {name: web, namespace: shop, annotations: {tulle.dev/opaque-ports: "80"}}`, 1)
	for _, c := range []struct{ name, cluster, objects, authority, want string }{
		{"nothing", cluster, "", "web.shop", ""},
		{"both", cluster, get + route("web"), "web.shop",
			"ServiceProfile true its rules give way to those of HTTPRoute shop/r; its retry" +
				" budget and opaque ports count; HTTPRoute true the rules are its"},
		{"an opaque port", annotated, get + route("web"), "web.shop",
			"HTTPRoute false its port is declared to be opaque;" +
				" ServiceProfile true the rules are its"},
		{"a headless Service", cluster, route("db"), "db.shop:5432",
			"HTTPRoute false it is headless: whoever calls it has chosen a pod"},
		{"connections to an opaque port", annotated, get + route("web") + "---" +
			carriedOn("TCPRoute", "web", "shop", "t", "{name: v1, port: 80}"), "web.shop",
			"HTTPRoute false its port is declared to be opaque;" +
				" ServiceProfile true its rules give way to those of TCPRoute shop/t; its retry" +
				" budget and opaque ports count; TCPRoute true the rules are its"},
		{"a pod by its name", cluster, route("db"), "db-0.db.shop:5432",
			"HTTPRoute false a pod that is chosen by its name is not routed elsewhere"},
		{"another Service", cluster, route("web"), "v1.shop", ""},
		{"no Service", cluster, route("web"), "none.shop", ""},
	} {
		reg := registryOf(t, c.cluster, versions, c.objects)
		testMesh().read(reg, func(v *view) {
			var got []string
			for _, e := range v.explain(authority(c.authority), "other") {
				got = append(got, fmt.Sprint(e.Kind, " ", e.Used, " ", e.Why))
			}
			if got := strings.Join(got, "; "); got != c.want {
				t.Errorf("%s:\n got %s\nwant %s", c.name, got, c.want)
			}
		})
	}
}

// Beside the routes it is told of what says how the Service's endpoints are used, who is limited
// and who is harmed: which field of which object counts, and for what.
func TestExplainPolicies(t *testing.T) {
	use := func(name, namespace, target, spec string) string {
		return fmt.Sprintf(`
apiVersion: tulle.dev/v1alpha1
kind: BackendTrafficPolicy
metadata: {name: %s, namespace: %s}
spec: {targetRefs: [%s], %s}
---`, name, namespace, target, spec)
	}
	const (
		service   = "{kind: Service, name: web}"
		shop      = "{kind: Namespace, name: shop}"
		elsewhere = "{kind: Service, name: web, namespace: shop}"
		balancer  = "loadBalancer: {type: Random}"
		outliers  = "outlierDetection: {consecutiveFailures: 3}"
		slow      = "slowStart: {window: 1s}"
		budget    = "retryBudget: {retryRatio: 0.5, minRetriesPerSecond: 1, ttl: 1s}"
	)
	port := func(name string) string {
		return "{kind: Service, name: web, sectionName: " + name + "}"
	}
	limit := func(more string) string {
		return fmt.Sprintf(`
apiVersion: tulle.dev/v1alpha1
kind: RateLimitPolicy
metadata: {name: l, namespace: shop}
spec: {targetRefs: [%s], limits: [{name: all, requests: 5, window: 1s}]%s}
---`, service, more)
	}
	fault := func(from string) string {
		return fmt.Sprintf(`
apiVersion: tulle.dev/v1alpha1
kind: FaultInjection
metadata: {name: f, namespace: shop}
spec: {targetRefs: [%s], abort: {status: 503}, until: "2030-01-31T12:00:00Z"%s}
---`, service, from)
	}
	for _, c := range []struct{ name, objects, want string }{
		{"one", use("a", "shop", service, balancer),
			"BackendTrafficPolicy shop/a true for all ports of Service shop/web: " +
				"loadBalancer counts"},
		{"a Service's before the Namespace's, field by field",
			use("a", "shop", service, balancer+", "+outliers) +
				use("b", "shop", shop, balancer+", "+slow+", "+budget),
			"BackendTrafficPolicy shop/a true for all ports of Service shop/web: " +
				"loadBalancer, outlierDetection count; " +
				"BackendTrafficPolicy shop/b true for all Services of Namespace shop: " +
				"slowStart, retryBudget count; " +
				"loadBalancer is that of BackendTrafficPolicy shop/a"},
		{"nothing of it",
			use("a", "shop", service, balancer) + use("b", "shop", shop, balancer),
			"BackendTrafficPolicy shop/a true for all ports of Service shop/web: " +
				"loadBalancer counts; " +
				"BackendTrafficPolicy shop/b false for all Services of Namespace shop: " +
				"loadBalancer is that of BackendTrafficPolicy shop/a"},
		{"two about the same",
			use("a", "shop", service, balancer) + use("b", "shop", service, slow),
			"BackendTrafficPolicy shop/a true for all ports of Service shop/web: " +
				"loadBalancer counts; BackendTrafficPolicy shop/b false " +
				"BackendTrafficPolicy shop/a comes first, and is about the same"},
		{"the caller's own",
			use("a", "shop", service, balancer) + use("b", "other", elsewhere, slow),
			"BackendTrafficPolicy other/b true for all ports of Service shop/web: slowStart " +
				"counts; BackendTrafficPolicy shop/a false callers in other go by what is in " +
				"their own namespace"},
		{"a port's", use("a", "shop", port("http"), balancer) +
			use("b", "shop", port("grpc"), slow) + use("c", "shop", service, slow),
			"BackendTrafficPolicy shop/a true for port http of Service shop/web: loadBalancer " +
				"counts; BackendTrafficPolicy shop/b false it is about other ports; " +
				"BackendTrafficPolicy shop/c true for all ports of Service shop/web: " +
				"slowStart counts"},
		{"a limit", limit(""), "RateLimitPolicy shop/l true the pods' proxies count its limits: " +
			"all"},
		{"a dry run", limit(", dryRun: true"), "RateLimitPolicy shop/l true the pods' proxies " +
			"count its limits: all; it is a dry run, and nothing is refused"},
		{"a fault", fault(""), "FaultInjection shop/f true requests are harmed until " +
			"2030-01-31 12:00:00 UTC"},
		{"a fault for others", fault(", from: [{namespace: shop}]"),
			"FaultInjection shop/f false it is about callers in other namespaces than other"},
		{"a backend's", use("a", "shop", "{kind: Service, name: v1}", outliers+", "+budget) +
			httpOn("web", `{backendRefs: [{name: v1, port: 80}]}`),
			"HTTPRoute shop/r true the rules are its; BackendTrafficPolicy shop/a true " +
				"of backend v1.shop.svc.cluster.local:80: for all ports of Service shop/v1: " +
				"outlierDetection counts"},
	} {
		var got []string
		testMesh().read(registryOf(t, cluster, versions, c.objects), func(v *view) {
			key := authority("web.shop")
			refs := v.compute(caller{namespace: "other"}.question(key)).refs
			all := append(v.explain(key, "other"), v.explainBackends(key, refs, "other")...)
			for _, e := range all {
				got = append(got, fmt.Sprintf("%s %s/%s %v %s",
					e.Kind, e.Namespace, e.Name, e.Used, e.Why))
			}
		})
		if got := strings.Join(got, "; "); got != c.want {
			t.Errorf("%s:\n got %s\nwant %s", c.name, got, c.want)
		}
	}
}
