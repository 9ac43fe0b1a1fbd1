package destination

import (
	"slices"
	"testing"

	"github.com/tulle-mesh/tulle/destination/api"
	"github.com/tulle-mesh/tulle/destination/crd"
	"github.com/tulle-mesh/tulle/destination/registry"
)

// The pods of a Service go by the policies of its own namespace, the port's before the Service's
// and that before the Namespace's.
func TestConcurrencyOfAPort(t *testing.T) {
	most := func(n string) string {
		return "adaptiveConcurrency: {maxRequests: " + n + "}"
	}
	const webPort = "{kind: Service, name: web, sectionName: http}"
	const shop = "{kind: Namespace, name: shop}"
	for _, tt := range []struct {
		name string
		more []string
		port uint32
		want uint32 // 0: none
		by   string
	}{
		{"no policy", nil, 8080, 0, ""},
		{"of something else", []string{trafficPolicy("shop", "a", webTarget, roundRobin)}, 8080, 0,
			""},
		{"a Service's", []string{trafficPolicy("shop", "a", webTarget, most("7"))}, 8080, 7, "a"},
		{"a port's before", []string{trafficPolicy("shop", "a", webTarget, most("7")),
			trafficPolicy("shop", "b", webPort, most("8"))}, 8080, 8, "b"},
		{"a Namespace's", []string{trafficPolicy("shop", "a", shop, most("7"))}, 8080, 7, "a"},
		{"what the Service's does not say", []string{trafficPolicy("shop", "a", shop, most("7")),
			trafficPolicy("shop", "b", webTarget, roundRobin)}, 8080, 7, "a"},
		{"a caller's", []string{trafficPolicy("other", "a", webOutside, most("7"))}, 8080, 0, ""},
		{"a port that no Service leads to",
			[]string{trafficPolicy("shop", "a", webTarget, most("7"))}, 9999, 0, ""},
		{"an opaque port", []string{trafficPolicy("shop", "a", webTarget, most("7")),
			"{apiVersion: v1, kind: Namespace, metadata: {name: shop, " +
				"annotations: {tulle.dev/opaque-ports: \"80,8080\"}}}"}, 8080, 0, ""},
	} {
		reg := registryOf(t, append([]string{cluster}, tt.more...)...)
		var got *api.Concurrency
		var by []registry.PolicyRef
		testMesh().read(reg, func(v *view) {
			r := v.compute(question{namespace: "shop", pod: "web-1", port: tt.port})
			got, by = r.resources[0].snapshot.GetInbound().GetConcurrency(), r.resources[0].policies
		})
		if got.GetMaxRequests() != tt.want || (got == nil) != (tt.want == 0) {
			t.Errorf("%s: %v, want at most %d", tt.name, got, tt.want)
		}
		ref := registry.PolicyRef{Kind: crd.BackendTrafficPolicyKind,
			Name: registry.Name{Namespace: "shop", Name: tt.by}}
		if tt.by != "" && !slices.Equal(by, []registry.PolicyRef{ref}) {
			t.Errorf("%s: it is of %v, want of %v", tt.name, by, ref)
		}
	}
}
