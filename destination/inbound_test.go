package destination

import (
	"fmt"
	"testing"

	"k8s.io/apimachinery/pkg/types"
)

func TestInbound(t *testing.T) {
	const profile = `
{apiVersion: tulle.dev/v1alpha1, ` +
		`kind: ServiceProfile, metadata: {name: web.shop.svc.cluster.local, namespace: shop}, ` +
		`spec: {routes: [{name: r, isRetryable: true, timeout: 1s, condition: {method: GET}}]}}`
	cases := []struct {
		name, more, pod string
		port            uint32
		want            string
	}{
		{"plain", "", "web-1", 8080,
			"PERMISSIVE DETECT web [/end /grpc.health.v1.Health/Check /healthz] [] CHOSEN"},
		{"routes for metrics only", profile, "web-1", 8080,
			"PERMISSIVE DETECT web [/end /grpc.health.v1.Health/Check /healthz] [r] CHOSEN"},
		{"a port that nothing names", "", "web-1", 9999, "PERMISSIVE DETECT  [] [] DIALED"},
		{"a port that a service names, and the pod does not", "", "web-2", 8080,
			"PERMISSIVE DETECT web [] [] CHOSEN"},
		{"a port that the pod names, without a name for it", "{apiVersion: v1, kind: Pod, " +
			"metadata: {name: web-2, namespace: shop}, spec: {containers: [{name: a, " +
			"image: i, ports: [{containerPort: 9090}]}]}}", "web-2", 9090,
			"PERMISSIVE DETECT  [] [] CHOSEN"},
		{"a port of a service that selects the pod, by number", `
{apiVersion: v1, kind: Service, metadata: {name: s, namespace: shop}, ` +
			`spec: {selector: {app: two}, ports: [{port: 80, targetPort: 9090}]}}` + two,
			"two", 9090, "PERMISSIVE DETECT  [] [] CHOSEN"},
		{"a port of a service that selects the pod, without a target", `
{apiVersion: v1, kind: Service, metadata: {name: s, namespace: shop}, ` +
			`spec: {selector: {app: two, tier: front}, ports: [{port: 9090}]}}` + two,
			"two", 9090, "PERMISSIVE DETECT  [] [] CHOSEN"},
		{"another port of it", `
{apiVersion: v1, kind: Service, metadata: {name: s, namespace: shop}, ` +
			`spec: {selector: {app: two}, ports: [{port: 9090, targetPort: 80}]}}` + two,
			"two", 9090, "PERMISSIVE DETECT  [] [] DIALED"},
		{"a service that selects other pods", `
{apiVersion: v1, kind: Service, metadata: {name: s, namespace: shop}, ` +
			`spec: {selector: {app: two, tier: back}, ports: [{port: 9090}]}}` + two,
			"two", 9090, "PERMISSIVE DETECT  [] [] DIALED"},
		{"a service that selects nothing", `
{apiVersion: v1, kind: Service, metadata: {name: s, namespace: shop}, ` +
			`spec: {ports: [{port: 9090}]}}` + two,
			"two", 9090, "PERMISSIVE DETECT  [] [] DIALED"},
		{"a service of another namespace", `
{apiVersion: v1, kind: Service, metadata: {name: s, namespace: evil}, ` +
			`spec: {selector: {app: two}, ports: [{port: 9090}]}}` + two,
			"two", 9090, "PERMISSIVE DETECT  [] [] DIALED"},
		{"a UDP port that the pod names", "{apiVersion: v1, kind: Pod, " +
			"metadata: {name: web-2, namespace: shop}, spec: {containers: [{name: a, " +
			"image: i, ports: [{containerPort: 9090, protocol: UDP}]}]}}", "web-2", 9090,
			"PERMISSIVE DETECT  [] [] DIALED"},
		{"a port that a slice of another namespace claims", `
{apiVersion: v1, kind: Service, metadata: {name: w, namespace: evil}, ` +
			`spec: {clusterIP: 10.96.0.16, ports: [{port: 80}]}}
---
{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, ` +
			`metadata: {name: w, namespace: evil, labels: {kubernetes.io/service-name: w}}, ` +
			`addressType: IPv4, ports: [{port: 9999}], endpoints: [{addresses: [10.1.0.1], ` +
			`targetRef: {kind: Pod, name: web-1, namespace: shop}}]}`, "web-1", 9999,
			"PERMISSIVE DETECT  [] [] DIALED"},
		{"what the service's appProtocol says", "", "db-0", 5432,
			"PERMISSIVE OPAQUE db [] [] CHOSEN"},
		{"strict by the namespace", "{apiVersion: v1, kind: Namespace, metadata: {name: shop, " +
			"annotations: {tulle.dev/mode: strict}}}", "web-2", 80,
			"STRICT DETECT  [] [] DIALED"},
		{"strict by the namespace, no pod attested", "{apiVersion: v1, kind: Namespace, " +
			"metadata: {name: shop, annotations: {tulle.dev/mode: strict}}}", "", 80,
			"STRICT DETECT  [] [] DIALED"},
		{"a mode that does not exist", "{apiVersion: v1, kind: Namespace, metadata: {name: shop, " +
			"annotations: {tulle.dev/mode: stric}}}", "web-2", 80,
			"STRICT DETECT  [] [] DIALED"},
		{"opaque by the pod",
			"{apiVersion: v1, kind: Pod, metadata: {name: web-2, namespace: shop, annotations: " +
				"{tulle.dev/opaque-ports: \"8080\"}}, spec: {containers: [{name: a, image: i}]}}",
			"web-2", 8080, "PERMISSIVE OPAQUE web [] [] CHOSEN"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			testMesh().read(registryOf(t, cluster, c.more), func(v *view) {
				in, err := v.inbound(c.port, types.NamespacedName{Namespace: "shop", Name: c.pod})
				if err != nil {
					t.Fatal(err)
				}
				var paths, routes []string
				for _, p := range in.Probes {
					paths = append(paths, p.Path)
				}
				for _, r := range in.Http {
					routes = append(routes, r.Origin.Rule)
					if r.Retry != nil || r.Timeouts != nil {
						t.Error("an inbound rule retries or times out")
					}
				}
				if got := fmt.Sprintf("%s %s %s %s %s %s", short(in.Mode), short(in.Protocol),
					in.Service.GetService(), paths, routes, short(in.Reach)); got != c.want {
					t.Errorf("got %q, want %q", got, c.want)
				}
			})
		})
	}
}

const two = `
---
{apiVersion: v1, kind: Pod, metadata: {name: two, namespace: shop, ` +
	`labels: {app: two, tier: front}}, spec: {containers: [{name: a, image: i}]}}`
