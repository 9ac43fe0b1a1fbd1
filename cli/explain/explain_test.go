package explain

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"

	"github.com/tulle-mesh/tulle/destination"
	"github.com/tulle-mesh/tulle/destination/api"
	"github.com/tulle-mesh/tulle/destination/files"
	"github.com/tulle-mesh/tulle/destination/registry"
	"github.com/tulle-mesh/tulle/identity/spiffe"
	"github.com/tulle-mesh/tulle/test/await"
)

// object is a pod or a service of the mesh that is asked about.
func pod(name, app, ip, more string) string {
	return fmt.Sprintf(`
apiVersion: v1
kind: Pod
metadata:
  name: %[1]s
  namespace: shop
  labels: {app: %[2]s, tulle.dev/mesh: tulle, pod-template-hash: h}
  ownerReferences:
  - {apiVersion: apps/v1, kind: ReplicaSet, name: %[2]s-h, uid: x, controller: true}
  annotations: {%[4]s}
spec:
  serviceAccountName: %[2]s
  initContainers: [{name: tulle-proxy, image: p, restartPolicy: Always}]
  containers: [{name: app, image: i, ports: [{name: http, containerPort: 8080}]}]
status: {phase: Running, podIP: %[3]s, podIPs: [{ip: %[3]s}]}
---`, name, app, ip, more)
}

func service(name, ip, more string) string {
	return fmt.Sprintf(`
apiVersion: v1
kind: Service
metadata: {name: %s, namespace: shop%s}
spec:
  {clusterIP: %s, clusterIPs: [%[3]s], selector: {app: %[1]s},
   ports: [{name: http, port: 80, targetPort: 8080}]}
---`, name, more, ip)
}

func slice(service string, members ...string) string {
	var b strings.Builder
	fmt.Fprintf(&b, `
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: %s-a, namespace: shop, labels: {kubernetes.io/service-name: %[1]s}}
addressType: IPv4
ports: [{name: http, port: 8080, protocol: TCP}]
endpoints:
`, service)
	for _, m := range members {
		name, ip, _ := strings.Cut(m, " ")
		fmt.Fprintf(&b, "- {addresses: [%s], conditions: {ready: true}, targetRef: {kind: Pod, "+
			"namespace: shop, name: %s}}\n", ip, name)
	}
	return b.String() + "---"
}

// shop calls checkout, of which there are two versions as Services of their own; the second one has
// no pods. Legacy has no proxy.
var shop = `
{apiVersion: v1, kind: Namespace, metadata: {name: shop}}
---
{apiVersion: networking.k8s.io/v1, kind: ServiceCIDR, metadata: {name: kubernetes}, ` +
	`spec: {cidrs: [10.96.0.0/16]}}
---` + pod("web-1", "web", "10.1.0.1", "") + pod("checkout-1", "checkout", "10.1.0.2", "") +
	service("v1", "10.96.0.2", "") + service("v2", "10.96.0.3", "") +
	slice("v1", "checkout-1 10.1.0.2") + slice("checkout", "checkout-1 10.1.0.2") +
	strings.NewReplacer("tulle.dev/mesh: tulle, ", "", "name: tulle-proxy", "name: other").
		Replace(pod("legacy-1", "legacy", "10.1.0.9", ""))

var checkout = service("checkout", "10.96.0.1", "")

// ask is a real destination that has read the documents.
func ask(t *testing.T, documents string) func(url.Values) *Told {
	t.Helper()
	dir, log := t.TempDir(), slog.New(slog.DiscardHandler)
	if err := os.WriteFile(filepath.Join(dir, "all.yaml"), []byte(documents), 0o600); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	d := destination.New(destination.Config{
		Mesh: destination.Mesh{TrustDomain: spiffeid.RequireTrustDomainFromString("cluster.local"),
			ClusterDomain: "cluster.local"},
		Source:   destination.Sources{&files.Source{Dir: dir, Log: log}},
		Identity: spiffe.NewSource(), Log: log,
	})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- d.Serve(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		<-done
	})
	await.True(t, "destination to have read its files", func() bool { return d.Ready() == nil })
	return func(query url.Values) *Told {
		r := httptest.NewRequest(http.MethodGet, "/resources?"+query.Encode(), nil)
		r.Host = "localhost"
		w := httptest.NewRecorder()
		d.Diagnostics().ServeHTTP(w, r)
		text, _ := io.ReadAll(w.Body)
		if w.Code != http.StatusOK {
			t.Fatalf("%s: %d %s", query.Encode(), w.Code, text)
		}
		told, err := Read(text)
		if err != nil {
			t.Fatal(err)
		}
		return told
	}
}

// explained is the way of a request, a line for each step.
func explained(t *testing.T, documents, from, to string, r Request) (lines []string, p *Path) {
	t.Helper()
	destination := ask(t, documents)
	who, name, _ := strings.Cut(from, "=")
	query := url.Values{"namespace": {"shop"}, who: {name}, "authority": {to}}
	r.Authority = to
	p, err := Explain(Question{
		Key:     &api.Key{Key: &api.Key_Authority{Authority: to}},
		Request: r, Told: destination(query), Now: time.Date(2029, 1, 1, 0, 0, 0, 0, time.UTC),
		Inbound: func(pod registry.Name, port uint32) (*Told, error) {
			return destination(url.Values{"namespace": {pod.Namespace}, "pod": {pod.Name},
				"inboundPort": {strconv.Itoa(int(port))}}), nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range p.Steps {
		line := s.Stage + ": " + s.Says
		for _, o := range s.By {
			line += " | " + o.String()
		}
		if f := s.Fails; f != nil {
			line += fmt.Sprintf(" ! %s %d %g", f.Reason, f.Status, f.Share)
		}
		lines = append(lines, line)
	}
	return lines, p
}

func policyOn(kind, name, spec string) string {
	return fmt.Sprintf(`
apiVersion: tulle.dev/v1alpha1
kind: %s
metadata: {name: %s, namespace: shop}
spec: {targetRefs: [{kind: Service, name: checkout}], %s}
---`, kind, name, spec)
}

func profile(spec string) string {
	return fmt.Sprintf(`
apiVersion: tulle.dev/v1alpha1
kind: ServiceProfile
metadata: {name: checkout.shop.svc.cluster.local, namespace: shop}
spec: {%s}
---`, spec)
}

func routeOf(kind, rules string) string {
	return fmt.Sprintf(`
apiVersion: gateway.networking.k8s.io/v1
kind: %s
metadata: {name: r, namespace: shop}
spec: {parentRefs: [{group: "", kind: Service, name: checkout}], %s}
---`, kind, rules)
}

// scene is a request, and what is to be said of it.
type scene struct {
	name, objects, from, to string
	request                 Request
	want                    []string // parts of lines, in their order
	fails                   int
}

var get, post = Request{Method: "GET", Path: "/"}, Request{Method: "POST", Path: "/order?x=1"}

var scenes = []scene{
	{"nothing is said", checkout, "workload=deployment/web", "checkout.shop.svc:80", get, []string{
		"discovery: it is checkout.shop.svc.cluster.local:80 | Service shop/checkout, spec.ports",
		"protocol: nobody has declared", "route: there are no rules",
		"backend: it goes to checkout.shop.svc.cluster.local:80, which has 1 endpoint",
		"balancer: of two endpoints at random",
		"mtls: mutual TLS 1.3: the caller proves spiffe://cluster.local/ns/shop/sa/web, and" +
			" deployment/checkout must prove spiffe://cluster.local/ns/shop/sa/checkout | Pod" +
			" shop/checkout-1, spec.serviceAccountName",
		"authorization: deployment/checkout takes callers of the mesh, and those without"}, 0},
	{"a service account", checkout, "account=batch", "checkout:80", get, []string{
		"the caller proves spiffe://cluster.local/ns/shop/sa/batch"}, 0},
	{"no such name", checkout, "pod=web-1", "chekout:80", get, []string{
		"discovery: nothing in the cluster is known as chekout:80: no Service has this name ! " +
			"no_route 503 1"}, 1},
	{"no such port", checkout, "pod=web-1", "checkout:81", get, []string{
		"the Service has no such TCP port ! no_route 503 1"}, 1},
	{"outside", checkout, "pod=web-1", "example.com:443", get, []string{
		"discovery: it is outside the mesh"}, 0},
	{"a pod's address", checkout, "pod=web-1", "10.1.0.2:8080", get, []string{
		"one pod's own address, which is neither routed nor balanced elsewhere | Pod " +
			"shop/checkout-1, status.podIPs"}, 0},
	{"no endpoints", checkout, "pod=web-1", "v2:80", get, []string{
		"backend: no endpoint of v2.shop.svc.cluster.local:80 is ready ! no_endpoints 503 1"}, 1},
	{"an HTTPRoute", checkout + routeOf("HTTPRoute", `rules: [{matches: [{path: {value: /cart}}],
  backendRefs: [{name: v1, port: 80}]}, {matches: [{path: {value: /order}, method: POST}],
  timeouts: {request: 2s}, backendRefs: [{name: v1, port: 80}]}]`), "pod=web-1", "checkout:80",
		post, []string{
			"route: this is the first rule that is for it | HTTPRoute shop/r, spec.rules[1]",
			"timeouts: 2s for the request, its tries included | HTTPRoute shop/r, " +
				"spec.rules[1].timeouts",
			"backend: it goes to v1.shop.svc.cluster.local:80"}, 0},
	{"no rule of an HTTPRoute", checkout + routeOf("HTTPRoute", `rules: [{matches: [{path:
  {value: /cart}}], backendRefs: [{name: v1, port: 80}]}]`), "pod=web-1", "checkout:80", post,
		[]string{"the route itself answers 404, and asks nobody", " ! no_route 404 1"}, 1},
	{"a header of an HTTPRoute", checkout + routeOf("HTTPRoute", `rules: [{matches: [{headers:
  [{name: X-User, value: ann}]}], backendRefs: [{name: v1, port: 80}]}]`), "pod=web-1",
		"checkout:80", Request{Method: "GET", Path: "/", Headers: []Header{{"x-user", "ann"}}},
		[]string{"HTTPRoute shop/r, spec.rules[0]", "it goes to v1.shop"}, 0},
	{"a backend that is not there", checkout + routeOf("HTTPRoute", `rules: [{backendRefs:
  [{name: none, port: 80}]}]`), "pod=web-1", "checkout:80", get,
		[]string{"the route itself answers 500", " ! route_answer 500 1"}, 1},
	{"a redirect", checkout + routeOf("HTTPRoute", `rules: [{filters: [{type: RequestRedirect,
  requestRedirect: {hostname: other.example}}]}]`), "pod=web-1", "checkout:80", get,
		[]string{"filters: the caller is told to make its request elsewhere: " +
			"http://other.example"}, 0},
	{"a profile", checkout + profile(`routes: [{name: order, condition: {method: POST}, timeout:
  300ms, isRetryable: true}], retryBudget: {retryRatio: 0.5, minRetriesPerSecond: 3, ttl: 10s}`),
		"pod=web-1", "checkout:80", post, []string{
			"route: this is the first rule that is for it | ServiceProfile " +
				"shop/checkout.shop.svc.cluster.local, spec.routes[order]",
			"timeouts: 300ms", "spec.routes[order].timeout", "retries: up to 5 tries in all",
			"spec.routes[order].isRetryable", "a budget of 50 % of the requests, and 3 a second |" +
				" ServiceProfile shop/checkout.shop.svc.cluster.local, spec.retryBudget"}, 0},
	{"a canary without pods", checkout + profile(`dstOverrides: [{authority:
  v1.shop.svc.cluster.local, weight: 90}, {authority: v2.shop.svc.cluster.local, weight: 10}]`),
		"pod=web-1", "checkout:80", get, []string{
			"spec.dstOverrides", "backend: 90 % of it go to v1.shop.svc.cluster.local:80",
			"no endpoint of v2.shop.svc.cluster.local:80 is ready ! no_endpoints 503 0.1"}, 1},
	{"a fault", checkout + policyOn("FaultInjection", "f", `abort: {status: 503, percent: 10},
  until: "2030-01-01T00:00:00Z"`), "pod=web-1", "checkout:80", get, []string{
		"faults: 10 % are answered with 503 on purpose, until 2030-01-01T00:00:00Z | " +
			"FaultInjection shop/f ! fault_injected 503 0.1"}, 1},
	{"a fault for others", checkout + policyOn("FaultInjection", "f", `abort: {status: 503},
  from: [{namespace: shop, serviceAccount: other}], until: "2030-01-01T00:00:00Z"`), "pod=web-1",
		"checkout:80", get, []string{"backend: it goes"}, 0},
	{"a BackendTrafficPolicy", checkout + policyOn("BackendTrafficPolicy", "b", `loadBalancer:
  {type: RoundRobin}, circuitBreaker: {maxRequests: 7}, outlierDetection: {consecutiveFailures: 3},
  slowStart: {window: 30s}`), "pod=web-1", "checkout:80", get, []string{
		"balancer: the endpoints in turn | BackendTrafficPolicy shop/b, spec.loadBalancer",
		"over 30s | BackendTrafficPolicy shop/b, spec.slowStart",
		"are ejected for a while | BackendTrafficPolicy shop/b, spec.outlierDetection",
		"limits: each caller's proxy has at most 7 requests under way | BackendTrafficPolicy " +
			"shop/b, spec.circuitBreaker"}, 0},
	{"a rate limit", checkout + policyOn("RateLimitPolicy", "l", `limits: [{name: posts, requests:
  5, window: 1s, match: {method: POST}}, {name: all, requests: 50, window: 1s}]`), "pod=web-1",
		"checkout:80", get, []string{
			"rate limits: at most 50 requests in 1s for each pod | RateLimitPolicy shop/l, " +
				"spec.limits[name=all]"}, 0},
	{"an opaque port", service("checkout", "10.96.0.1",
		`, annotations: {tulle.dev/opaque-ports: "80"}`), "pod=web-1", "checkout:80", get, []string{
		"protocol: the connection is carried unread: rules about requests do not count | Service" +
			" shop/checkout, metadata.annotations[tulle.dev/opaque-ports]"}, 0},
	{"a declared protocol", strings.Replace(checkout, "port: 80,",
		"port: 80, appProtocol: kubernetes.io/h2c,", 1), "pod=web-1", "checkout:80", get, []string{
		"protocol: the port speaks HTTP/2 | Service shop/checkout, spec.ports[80].appProtocol"}, 0},
	{"a TLSRoute", checkout + routeOf("TLSRoute", `hostnames: [a.example], rules: [{backendRefs:
  [{name: v1, port: 80}]}]`), "pod=web-1", "checkout:80", Request{ServerName: "a.example"},
		[]string{"TLSRoute shop/r, spec.rules[0]", "it goes to v1.shop"}, 0},
	{"HTTP where a TLSRoute is", checkout + routeOf("TLSRoute", `hostnames: [a.example], rules:
  [{backendRefs: [{name: v1, port: 80}]}]`), "pod=web-1", "checkout:80", get, []string{
		"take nothing but the application's own TLS ! bad_request"}, 1},
	{"no proxy", checkout, "workload=deployment/legacy", "checkout:80", get, []string{
		"capture: the caller has no proxy", "mtls: plaintext: the caller has no proxy",
		"authorization: deployment/checkout takes callers of the mesh, and those without"}, 0},
	{"strict", strings.Replace(checkout, "---", "", 1) + `---
{apiVersion: v1, kind: Namespace, metadata: {name: shop, annotations: {tulle.dev/mode: strict}}}
---`, "workload=deployment/web", "checkout:80", get, []string{
		"authorization: deployment/checkout takes callers of the mesh only | Namespace shop, " +
			"metadata.annotations[tulle.dev/mode]"}, 0},
	{"strict, and no proxy", checkout + `
{apiVersion: v1, kind: Namespace, metadata: {name: shop, annotations: {tulle.dev/mode: strict}}}
---`, "pod=legacy-1", "checkout:80", get, []string{
		"authorization: deployment/checkout refuses it: this workload takes calls from the mesh " +
			"only (mode: strict) | Namespace shop, metadata.annotations[tulle.dev/mode] ! denied" +
			" 403 1"}, 1},
}

// Whatever decides about a request is named: the object, and its field.
func TestEveryDecidingObjectIsNamed(t *testing.T) {
	for _, c := range scenes {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			documents := shop
			if strings.Contains(c.objects, "kind: Namespace, metadata: {name: shop,") {
				_, documents, _ = strings.Cut(shop, "---")
			}
			lines, p := explained(t, documents+c.objects, c.from, c.to, c.request)
			rest := strings.Join(lines, "\n")
			for _, want := range c.want {
				_, after, found := strings.Cut(rest, want)
				if !found {
					t.Fatalf("nothing says, in its place, %q:\n%s", want, strings.Join(lines, "\n"))
				}
				rest = after
			}
			if n := len(p.Failures()); n != c.fails {
				t.Errorf("%d failures, want %d:\n%s", n, c.fails, strings.Join(lines, "\n"))
			}
			for _, s := range p.Failures() {
				if s.Fails.Next == "" {
					t.Errorf("%s: nothing says what to do", s.Says)
				}
			}
		})
	}
}

// What a fault for others says must not be said.
func TestAFaultForOthersIsNotSaid(t *testing.T) {
	lines, _ := explained(t, shop+checkout+policyOn("FaultInjection", "f", `abort: {status: 503},
  from: [{namespace: shop, serviceAccount: other}], until: "2030-01-01T00:00:00Z"`), "pod=web-1",
		"checkout:80", Request{Method: "GET", Path: "/"})
	if text := strings.Join(lines, "\n"); strings.Contains(text, StageFaults+":") {
		t.Errorf("it is about other callers:\n%s", text)
	}
}
