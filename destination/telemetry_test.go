package destination

import (
	"fmt"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"

	"github.com/tulle-mesh/tulle/destination/api"
	"github.com/tulle-mesh/tulle/destination/crd"
	"github.com/tulle-mesh/tulle/destination/registry"
)

// telling is a TelemetryPolicy of shop's, made on a day of January.
func telling(name string, day int, spec string) string {
	return fmt.Sprintf(`
apiVersion: tulle.dev/v1alpha1
kind: TelemetryPolicy
metadata: {name: %s, namespace: shop, creationTimestamp: "2026-01-%02dT00:00:00Z"}
spec: {%s}
---`, name, day, spec)
}

const (
	ofShop = "targetRefs: [{kind: Namespace, name: shop}]"
	ofWeb  = ofShop + ", selector: {matchLabels: {app: web}}"
	asText = ", accessLog: {format: Text}"
	asJSON = ", accessLog: {}"
)

// podOf is a pod of shop's with a label.
func podOf(app, annotation string) string {
	return fmt.Sprintf(`
apiVersion: v1
kind: Pod
metadata: {name: %s-1, namespace: shop, labels: {app: %s}, annotations: {%s}}
spec: {serviceAccountName: %s, containers: [{name: app}]}
status: {phase: Running}
---`, app, app, annotation, app)
}

// A proxy is told what the nearest policy says: an annotation before all of them, one that selects
// its pod before one about all of the namespace, the older before the younger.
func TestWhichTelemetryPolicyCounts(t *testing.T) {
	const note = "tulle.dev/access-log: none"
	for _, c := range []struct {
		name, objects, want string
	}{
		{"none", podOf("web", ""), ""},
		{"of the namespace", podOf("web", "") + telling("a", 1, ofShop+asJSON),
			"format:FORMAT_JSON"},
		{"a nearer one", podOf("web", "") + telling("a", 1, ofShop+asJSON) +
			telling("b", 2, ofWeb+asText), "format:FORMAT_TEXT"},
		{"another's pods", podOf("cart", "") + telling("a", 2, ofShop+asJSON) +
			telling("b", 1, ofWeb+asText), "format:FORMAT_JSON"},
		{"the older one", podOf("web", "") + telling("a", 2, ofShop+asJSON) +
			telling("b", 1, ofShop+asText), "format:FORMAT_TEXT"},
		{"one that says nothing of it", podOf("web", "") + telling("a", 2, ofShop+asJSON) +
			telling("b", 1, ofWeb+", tracing: {}"), "format:FORMAT_JSON"},
		{"an annotation", podOf("web", note) + telling("a", 1, ofShop+asJSON),
			"format:FORMAT_NONE"},
		{"off", podOf("web", "") + telling("a", 1, ofShop+asJSON) +
			telling("b", 1, ofWeb+", accessLog: {mode: Disabled}"), "format:FORMAT_NONE"},
		{"of another namespace", podOf("web", "") +
			telling("a", 1, "targetRefs: [{kind: Namespace, name: other}]"+asJSON), ""},
		{"all that may be said", podOf("web", "") + telling("a", 1, ofShop+
			", accessLog: {filter: Failures, sampleRate: {numerator: 1, denominator: 1000}, "+
			"linesPerSecond: 50}"), "format:FORMAT_JSON failures_only:true sample_numerator:1 " +
			"sample_denominator:1000 lines_per_second:50"},
		{"per cent", podOf("web", "") + telling("a", 1, ofShop+
			", accessLog: {sampleRate: {numerator: 5}}"),
			"format:FORMAT_JSON sample_numerator:5 sample_denominator:100"},
	} {
		reg := registryOf(t, c.objects)
		testMesh().read(reg, func(v *view) {
			pod := "web-1"
			if v.Workload(registry.Name{Namespace: "shop", Name: pod}) == nil {
				pod = "cart-1"
			}
			a := v.compute(question{self: true, namespace: "shop", pod: pod})
			want := &api.AccessLog{}
			if err := prototext.Unmarshal([]byte(c.want), want); err != nil {
				t.Fatal(err)
			}
			got := &api.AccessLog{}
			if len(a.resources) > 0 {
				got = a.resources[0].snapshot.GetConfig().GetAccessLog()
			}
			if !proto.Equal(got, want) {
				t.Errorf("%s: told %v, want %v", c.name, got, want)
			}
		})
	}
}

// What has become of a policy is in its status, and which proxies have it is counted for the one
// that they were told of.
func TestTheStatusOfTelemetryPolicies(t *testing.T) {
	for _, c := range []struct {
		name, objects, want string
		ok                  bool
	}{
		{"in use", telling("a", 1, ofShop+asJSON), "the policy is in use", true},
		{"with tracing", telling("a", 1, ofShop+asJSON+", tracing: {}"),
			"the policy is in use" + noCollector, true},
		{"of another namespace", telling("a", 1, "targetRefs: [{kind: Namespace, name: other}]"+
			asJSON), "the policy applies to nothing: it is in namespace shop, and about pods of " +
			"its own namespace only", false},
		{"beaten", telling("a", 2, ofWeb+asJSON) + telling("b", 1, ofWeb+asText),
			"TelemetryPolicy shop/b is older, and about the same", false},
		{"beside one about more", telling("a", 2, ofWeb+asJSON) + telling("b", 1, ofShop+asText),
			"the policy is in use", true},
		{"beside one about something else", telling("a", 2, ofShop+asJSON) +
			telling("b", 1, ofShop+", tracing: {}"), "the policy is in use", true},
		{"with a collector", telling("a", 1, ofShop+
			", tracing: {provider: {address: 'a.b:4317'}}"), "the policy is in use", true},
	} {
		reg := registryOf(t, podOf("web", ""), c.objects)
		testMesh().read(reg, func(v *view) {
			ref := registry.PolicyRef{Kind: crd.TelemetryPolicyKind,
				Name: registry.Name{Namespace: "shop", Name: "a"}}
			said := v.report(ref).Want.Parents[0].Conditions[0]
			if said.Message != c.want || (said.Status == "True") != c.ok {
				t.Errorf("%s: %s, %q", c.name, said.Status, said.Message)
			}
			a := v.compute(question{self: true, namespace: "shop", pod: "web-1"})
			if c.name == "in use" && (len(a.resources) != 1 ||
				len(a.resources[0].policies) != 1 || a.resources[0].policies[0] != ref) {
				t.Errorf("%s: made of %v", c.name, a.resources)
			}
		})
	}
}

// A policy says where its pods' spans go, and which: in place of what the mesh says, or beside it.
func TestATelemetryPolicySaysWhatIsTraced(t *testing.T) {
	mesh := &api.Tracing{Endpoint: "otel:4318", Protocol: api.Transport_TRANSPORT_HTTP,
		Ratio: 1000, SpansPerSecond: 7}
	for _, c := range []struct {
		name, spec string
		mesh       *api.Tracing
		want       string
	}{
		{"nothing of it", asJSON, mesh,
			`endpoint:"otel:4318" protocol:TRANSPORT_HTTP ratio:1000 spans_per_second:7`},
		{"not at all", ", tracing: {mode: Disabled}", mesh, ""},
		{"no collector", ", tracing: {samplingRate: {numerator: 5}}", nil,
			`ratio:50000 spans_per_second:1000`},
		{"nothing but that it is", ", tracing: {}", nil, `ratio:10000 spans_per_second:1000`},
		{"how many", ", tracing: {samplingRate: {numerator: 5}}", mesh,
			`endpoint:"otel:4318" protocol:TRANSPORT_HTTP ratio:50000 spans_per_second:7`},
		{"where", ", tracing: {provider: {address: 'a.b:4317'}, keepFailed: true}", nil,
			`endpoint:"a.b:4317" protocol:TRANSPORT_GRPC ratio:10000 keep_failed:true ` +
				`spans_per_second:1000`},
		{"what is slow", ", tracing: {keepSlow: 250ms}", mesh, `endpoint:"otel:4318" ` +
			`protocol:TRANSPORT_HTTP ratio:1000 keep_failed:true slow_ms:250 spans_per_second:7`},
	} {
		reg := registryOf(t, podOf("web", "")+telling("a", 1, ofWeb+c.spec))
		m := testMesh()
		m.Tracing = c.mesh
		m.read(reg, func(v *view) {
			config, err := v.config(registry.Name{Namespace: "shop", Name: "web-1"})
			got := ""
			if m := config.GetTracing(); m != nil {
				got = strings.Join(strings.Fields(prototext.MarshalOptions{}.Format(m)), " ")
			}
			if got != c.want || err != nil {
				t.Errorf("%s:\n got %s, %v\nwant %s", c.name, got, err, c.want)
			}
			if err := config.GetTracing().Check(); c.want != "" && err != nil {
				t.Errorf("%s: %v", c.name, err)
			}
		})
	}
}
