package destination

import (
	"fmt"
	"strings"
	"testing"

	"github.com/tulle-mesh/tulle/destination/crd"
	"github.com/tulle-mesh/tulle/destination/registry"
)

func harming(name, rest string) string {
	return fmt.Sprintf(`
apiVersion: tulle.dev/v1alpha1
kind: FaultInjection
metadata: {name: %s, namespace: shop}
spec:
  abort: {status: 503, percent: 1}
  until: "2030-01-31T12:00:00Z"
  %s
---`, name, rest)
}

// Every request to a Service's port is harmed, by whichever rule it goes, of the callers that are
// meant; nobody's where proxies see no HTTP.
func TestFaultsOfAService(t *testing.T) {
	const of = "targetRefs: [{kind: Service, name: web}]"
	split := httpOn("web", `{matches: [{path: {value: /a}}], backendRefs: [{name: v1, port: 80}]}`)
	annotated := strings.Replace(cluster, "metadata: {name: web, namespace: shop}",
		`metadata: {name: web, namespace: shop, annotations: {tulle.dev/opaque-ports: "80"}}`, 1)
	cart := "spiffe://cluster.local/ns/other/sa/cart"
	for _, c := range []struct {
		name, cluster, objects, want string
		refused                      string
	}{
		{"of no rule", cluster, harming("f", of), "1 []", ""},
		{"beside rules", cluster, harming("f", of) + split, "1 [] 1 []", ""},
		{"two", cluster, harming("f", of) + harming("g", of), "2 [] []", ""},
		{"of some callers", cluster, harming("f", of+
			"\n  from: [{namespace: other, serviceAccount: cart}]"), "1 [" + cart + "]", ""},
		{"of others' callers", cluster, harming("f", of+"\n  from: [{namespace: third}]"), "", ""},
		{"of a port", cluster, harming("f",
			"targetRefs: [{kind: Service, name: web, sectionName: http}]"), "1 []", ""},
		{"of another port", cluster, harming("f",
			"targetRefs: [{kind: Service, name: web, sectionName: admin}]"), "",
			"the fault applies to nothing: Service shop/web has no such TCP port"},
		{"of another Service", cluster, harming("f", "targetRefs: [{kind: Service, name: none}]"),
			"", "the fault applies to nothing: there is no Service shop/none"},
		{"an opaque port", annotated, harming("f", of), "",
			"the fault applies to nothing: of port 80 of Service shop/web: " +
				"its port is declared to be opaque"},
	} {
		reg := registryOf(t, c.cluster, versions, c.objects)
		testMesh().read(reg, func(v *view) {
			a := v.compute(caller{namespace: "other"}.question(authority("web.shop")))
			var got []string
			for _, r := range a.resources[0].snapshot.GetRoute().GetHttp() {
				if len(r.Faults) > 0 {
					got = append(got, fmt.Sprint(len(r.Faults)))
				}
				for _, f := range r.Faults {
					got = append(got, fmt.Sprint(f.Callers))
				}
			}
			if got := strings.Join(got, " "); got != c.want {
				t.Errorf("%s: %q, want %q", c.name, got, c.want)
			}
			ref := registry.PolicyRef{Kind: crd.FaultInjectionKind,
				Name: registry.Name{Namespace: "shop", Name: "f"}}
			said := v.report(ref).Want.Parents[0].Conditions[0]
			want := c.refused
			if want == "" {
				want = "requests are harmed until 2030-01-31 12:00:00 UTC"
			}
			if said.Message != want || (said.Status == "True") != (c.refused == "") {
				t.Errorf("%s: %s, %q", c.name, said.Status, said.Message)
			}
		})
	}
}
