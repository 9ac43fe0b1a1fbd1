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
