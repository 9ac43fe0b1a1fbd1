//go:build e2e

package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// routed are the routes of a namespace's Service server: by path to another namespace's server, by
// header to its own, a redirect, a rewrite, and a backend that nobody is.
const routed = `apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: server}
spec:
  parentRefs: [{group: "", kind: Service, name: server, port: 80}]
  rules:
  - matches: [{path: {type: PathPrefix, value: /there}}]
    backendRefs: [{name: server, namespace: e2e-cli, port: 80}]
  - matches: [{path: {type: PathPrefix, value: /}, headers: [{name: X-Kind, value: one}]}]
    filters:
    - type: RequestHeaderModifier
      requestHeaderModifier: {set: [{name: X-Kind, value: two}], remove: [X-Secret]}
    - type: ResponseHeaderModifier
      responseHeaderModifier: {add: [{name: X-Route, value: header}]}
    backendRefs: [{name: server, port: 80}]
  - matches: [{path: {type: PathPrefix, value: /old}}]
    filters:
    - type: RequestRedirect
      requestRedirect:
        hostname: example.org
        statusCode: 301
        path: {type: ReplacePrefixMatch, replacePrefixMatch: /new}
  - matches: [{path: {type: PathPrefix, value: /strip}}]
    filters:
    - {type: URLRewrite, urlRewrite: {path: {type: ReplacePrefixMatch, replacePrefixMatch: /}}}
    backendRefs: [{name: server, port: 80}]
  - matches: [{path: {type: Exact, value: /nobody}}]
    backendRefs: [{name: nobody, port: 80}]
`

// The kinds of Gateway API are obeyed once they are there, and Services without a route are as they
// were.
func TestAnHTTPRouteIsObeyed(t *testing.T) {
	ready(t)
	ns := ownNamespace(t)
	installGatewayAPI(t)
	shell(t, "meshctl inject"+domainFlag()+" testdata/app.yaml | kubectl apply -n "+ns+" -f -")
	rolledOut(t, ns, "deployment/server")
	url := "http://server." + ns
	if a := call(t, byHook, url+"/any"); a.Status != 200 {
		t.Errorf("without a route: %+v", a)
	}
	feed(t, routed, "kubectl", "-n", ns, "apply", "-f", "-")
	eventually(t, time.Minute, func() error {
		if a := call(t, byHook, url+"/any"); a.Status != 404 {
			return fmt.Errorf("where no rule matches: %+v", a)
		}
		return nil
	})
	here, there := podOf(t, ns, "app=server"), podOf(t, byCLI, "app=server")
	for _, c := range []struct {
		path   string
		header string
		want   string // status, pod, path and X-Kind as the application saw them, Location, X-Route
	}{
		{path: "/there/x", want: "200 " + there + " /there/x"},
		{path: "/thereabouts", want: "404"},
		{path: "/x", header: "X-Kind: one", want: "200 " + here + " /x two header"},
		{path: "/old/x?q=1", want: "301 http://example.org/new/x?q=1"},
		{path: "/strip/x", want: "200 " + here + " /x"},
		{path: "/strip", want: "200 " + here + " /"},
		{path: "/nobody", want: "500"},
	} {
		a := call(t, byHook, url+c.path, append([]string{"-header", "X-Other: y"},
			flagOf("-header", c.header)...)...)
		got := strings.Join(strings.Fields(strings.Join([]string{fmt.Sprint(a.Status), a.Echo.Pod,
			a.Echo.Path, a.sent("X-Kind"), a.header("Location"), a.header("X-Route")}, " ")), " ")
		if got != c.want {
			t.Errorf("%s %s: got %q, want %q: %+v", c.path, c.header, got, c.want, a)
		}
	}
	wantRouteCondition(t, ns, "Accepted", "True Accepted")
	wantRouteCondition(t, ns, "ResolvedRefs", "False BackendNotFound")
	run(t, "kubectl", "-n", ns, "delete", "httproute", "server")
	eventually(t, 10*time.Second, func() error {
		if a := call(t, byHook, url+"/any"); a.Status != 200 {
			return fmt.Errorf("after the route went: %+v", a)
		}
		return nil
	})
}

// shared copies what comes to a namespace's Service server to another's, and says which pages may
// have the answers.
const shared = `apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: server}
spec:
  parentRefs: [{group: "", kind: Service, name: server, port: 80}]
  rules:
  - filters:
    - type: RequestMirror
      requestMirror: {backendRef: {name: server, namespace: e2e-cli, port: 80}}
    - type: CORS
      cors: {allowOrigins: ["https://*.example.org"], allowMethods: [PUT]}
    backendRefs: [{name: server, port: 80}]
`

// A route's mirror has a copy of each request, and pages of other origins are told what it says.
func TestAnHTTPRouteMirrorsAndShares(t *testing.T) {
	ready(t)
	ns := ownNamespace(t)
	installGatewayAPI(t)
	shell(t, "meshctl inject testdata/app.yaml | kubectl apply -n "+ns+" -f -")
	rolledOut(t, ns, "deployment/server")
	feed(t, shared, "kubectl", "-n", ns, "apply", "-f", "-")
	url := "http://server." + ns + "/any"
	const page, allowed = "Origin: https://a.example.org", "Access-Control-Allow-Origin"
	eventually(t, time.Minute, func() error {
		a := call(t, byHook, url, "-header", page)
		if a.Status != 200 || a.header(allowed) != "https://a.example.org" {
			return fmt.Errorf("a request of a page: %+v", a)
		}
		return nil
	})
	asked := []string{"-method", "OPTIONS", "-header", "Access-Control-Request-Method: PUT"}
	if a := call(t, byHook, url, append(asked, "-header", page)...); a.Status != 204 ||
		a.header("Access-Control-Allow-Methods") != "PUT" {
		t.Errorf("a preflight request: %+v", a)
	}
	if a := call(t, byHook, url, append(asked, "-header", "Origin: https://example.com")...); a.
		Status != 403 || a.header(allowed) != "" {
		t.Errorf("a preflight request of another page: %+v", a)
	}
	before, here := copies(t), podOf(t, ns, "app=server")
	if a := call(t, byHook, url, "-n", "20"); a.Status != 200 || a.Echo.Pod != here {
		t.Errorf("a request that is copied: %+v", a)
	}
	eventually(t, 10*time.Second, func() error {
		if n := copies(t) - before; n != 20 {
			return fmt.Errorf("%d of 20 copies were answered", n)
		}
		return nil
	})
	wantRouteCondition(t, ns, "ResolvedRefs", "True ResolvedRefs")
}

// copies is how many that the proxy of the client of a namespace has sent were answered.
func copies(t *testing.T) (n int) {
	t.Helper()
	ip := ipOf(t, byHook, podOf(t, byHook, "app=client"))
	for line := range strings.Lines(call(t, byCLI, "http://"+ip+":4191/metrics").Body) {
		fmt.Sscanf(line, `tulle_mirrors_total{reason="answered"} %d`, &n)
	}
	return n
}

func flagOf(name, value string) []string {
	if value == "" {
		return nil
	}
	return []string{name, value}
}

// installGatewayAPI adds the kinds of Gateway API for the rest of the test.
func installGatewayAPI(t *testing.T) {
	t.Helper()
	dir := strings.TrimSpace(run(t, "go", "list", "-m", "-f", "{{.Dir}}",
		"sigs.k8s.io/gateway-api"))
	for _, kind := range []string{"httproutes", "grpcroutes", "tlsroutes", "tcproutes"} {
		file := dir + "/config/crd/standard/gateway.networking.k8s.io_" + kind + ".yaml"
		run(t, "kubectl", "apply", "--server-side", "-f", file)
		// until it is gone: the next test may add it again
		t.Cleanup(func() { run(t, "kubectl", "delete", "--timeout=1m", "-f", file) })
		eventually(t, 30*time.Second, func() error {
			_, err := try("", "kubectl", "get", kind+".gateway.networking.k8s.io")
			return err
		})
	}
}

func wantRouteCondition(t *testing.T, ns, kind, want string) {
	t.Helper()
	wantConditionOf(t, ns, "httproute", kind, want)
}

// wantConditionOf waits for a condition of the route that is called server.
func wantConditionOf(t *testing.T, ns, route, kind, want string) {
	t.Helper()
	path := `jsonpath={range .status.parents[*].conditions[?(@.type=="` + kind + `")]}` +
		`{.status} {.reason}{end}`
	eventually(t, 30*time.Second, func() error {
		out, err := try("", "kubectl", "-n", ns, "get", route, "server", "-o", path)
		if err == nil && out != want {
			err = fmt.Errorf("%s is %q, want %q", kind, out, want)
		}
		return err
	})
}
