package contract

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2/hpack"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/tulle-mesh/tulle/destination/api"
	"github.com/tulle-mesh/tulle/destination/crd"
	"github.com/tulle-mesh/tulle/destination/files"
	"github.com/tulle-mesh/tulle/destination/policy"
	"github.com/tulle-mesh/tulle/destination/registry"
	"github.com/tulle-mesh/tulle/proxy/config"
	"github.com/tulle-mesh/tulle/proxy/route"
	"github.com/tulle-mesh/tulle/test/await"
)

// onEcho is a route on Service echo, as the Gateway API's conformance suite for meshes has it.
func onEcho(t *testing.T, kind, rules string) *route.Route {
	t.Helper()
	docs, err := crd.Documents("route.yaml", []byte(
		"{apiVersion: gateway.networking.k8s.io/v1, kind: "+kind+", "+
			"metadata: {name: r, namespace: mesh}, "+
			"spec: {parentRefs: [{group: '', kind: Service, name: echo}], rules: ["+rules+"]}}"))
	if err != nil {
		t.Fatal(err)
	}
	var read policy.Route
	if kind == crd.GRPCRoute {
		var in gatewayv1.GRPCRoute
		err = docs[0].Decode(&in)
		read = policy.FromGRPCRoute(&in, time.Time{}, "cluster.local")
	} else {
		var in gatewayv1.HTTPRoute
		err = docs[0].Decode(&in)
		read = policy.FromHTTPRoute(&in, time.Time{}, "cluster.local")
	}
	if err != nil {
		t.Fatal(err)
	}
	return compiled(t, read)
}

// compiled is what a proxy makes of a route that destination has read.
func compiled(t *testing.T, read policy.Route) *route.Route {
	t.Helper()
	p := policy.Merge([]policy.Route{read},
		policy.Parent{Host: "echo.mesh.svc.cluster.local", Port: 80}, "mesh")
	m := &api.Route{
		Resolution: api.Resolution_RESOLUTION_FOUND, Protocol: api.Protocol_PROTOCOL_DETECT,
		Http: p.HTTP(func(all []policy.Backend) (out []*api.Backend) {
			for _, b := range all {
				name, _, _ := strings.Cut(b.Host, ".")
				out = append(out, &api.Backend{
					Cluster: name, Weight: uint32(b.Weight), Answer: b.Answer, Filters: b.Filters,
				})
			}
			return out
		}),
	}
	r, err := route.Compile(m, route.NewBudget(nil))
	if err != nil {
		t.Fatalf("a proxy cannot use it: %v\n%v", err, m)
	}
	return r
}

// asked is a request: a method, a path, and fields as "name:value".
func asked(text string) []hpack.HeaderField {
	words := strings.Fields(text)
	req := []hpack.HeaderField{{Name: ":method", Value: words[0]}, {Name: ":path", Value: words[1]},
		{Name: ":authority", Value: "echo"}}
	for _, field := range words[2:] {
		name, value, _ := strings.Cut(field, ":")
		req = append(req, hpack.HeaderField{Name: name, Value: value})
	}
	return req
}

// A proxy finds for each request of the conformance suite the backend that the suite expects; "" is
// the fixed answer to what no rule matches.
func TestRoutesOfTheConformanceSuite(t *testing.T) {
	v1, v2 := "backendRefs: [{name: v1, port: 8080}]", "backendRefs: [{name: v2, port: 8080}]"
	for _, c := range []struct{ name, kind, rules, requests string }{
		{"MeshHTTPRouteMatching", crd.HTTPRoute,
			`{matches: [{path: {value: /}}, {headers: [{name: version, value: one}]}], ` + v1 + `},
{matches: [{path: {value: /v2}}, {headers: [{name: version, value: two}]}], ` + v2 + `}`,
			`GET / = v1, GET /example = v1, GET / version:one = v1, GET /v2 = v2,
GET /v2/example = v2, GET / version:two = v2, GET /v2/ = v2, GET /v2example = v1,
GET /foo/v2/example = v1`},
		{"MeshHTTPRouteQueryParamMatching", crd.HTTPRoute,
			`{matches: [{queryParams: [{name: animal, value: whale}]}], ` + v1 + `},
{matches: [{queryParams: [{name: animal, value: dolphin}]}], ` + v2 + `},
{matches: [{path: {value: /path1}, queryParams: [{name: animal, value: whale}]}], ` + v1 + `},
{matches: [{headers: [{name: version, value: one}],
  queryParams: [{name: animal, value: whale}]}], ` + v2 + `},
{matches: [{path: {value: /path3}, queryParams: [{name: animal, value: shark}]},
  {path: {value: /path4}, headers: [{name: version, value: three}],
  queryParams: [{name: animal, value: kraken}]}], ` + v1 + `},
{matches: [{path: {value: /path5}}], ` + v1 + `},
{matches: [{queryParams: [{name: animal, value: hydra}]}], ` + v2 + `}`,
			`GET /?animal=whale = v1, GET /?animal=dolphin = v2,
GET /?animal=whale&otherparam=irrelevant = v1, GET /?animal=dolphin&color=blue = v2,
GET /?color=blue = , GET /?animal=dog = , GET /?animal=whaledolphin = , GET / = ,
GET /path1?animal=whale = v1, GET /?animal=whale version:one = v2,
GET /path3?animal=shark = v1, GET /path4?animal=kraken version:three = v1,
GET /?animal=shark = , GET /path4?animal=kraken = , GET /path5?animal=hydra = v1`},
		{"MeshTrafficSplit", crd.HTTPRoute,
			`{matches: [{path: {type: Exact, value: /v1}}], ` + v1 + `},
{matches: [{path: {type: Exact, value: /v2}}], ` + v2 + `}`,
			`GET /v1 = v1, GET /v2 = v2, GET /v2/ = , GET / = `},
		{"methods", crd.HTTPRoute,
			`{matches: [{method: POST}], ` + v1 + `}, {matches: [{method: GET}], ` + v2 + `}`,
			`POST / = v1, GET / = v2, PUT / = , get / = `},
		{"hosts", crd.HTTPRoute, `{matches: [{headers: [{name: Host, value: echo}]}], ` + v1 + `}`,
			`GET / = v1`},
		{"regular expressions", crd.HTTPRoute, `{` + v2 + `},
{matches: [{path: {type: RegularExpression, value: "/[a-c]+"}}], ` + v1 + `}`,
			`GET /abc = v1, GET /abc/d = v2, GET /x/abc = v2`},
		{"GRPCExactMethodMatching", crd.GRPCRoute,
			`{matches: [{method: {service: a.Echo, method: Echo}}], ` + v1 + `},
{matches: [{method: {service: a.Echo, method: EchoTwo}}], ` + v2 + `}`,
			`POST /a.Echo/Echo = v1, POST /a.Echo/EchoTwo = v2, POST /a.Echo/EchoThree = ,
POST /a.EchoTwo/Echo = `},
		{"GRPCHeaderMatching", crd.GRPCRoute,
			`{matches: [{headers: [{name: version, value: one}]}], ` + v1 + `},
{matches: [{headers: [{name: version, value: two}]}], ` + v2 + `}`,
			`POST /a.Echo/Echo version:one = v1, POST /a.Echo/Echo version:two = v2,
POST /a.Echo/Echo version:three = , POST /a.Echo/Echo = `},
		{"methods of a service", crd.GRPCRoute,
			`{matches: [{method: {service: a.Echo}}], ` + v1 + `},
{matches: [{method: {method: Get}}], ` + v2 + `}`,
			`POST /a.Echo/Get = v1, POST /a.EchoTwo/Get = v2, POST /a.EchoTwo/Gets = `},
	} {
		r := onEcho(t, c.kind, c.rules)
		for line := range strings.SplitSeq(c.requests, ",") {
			request, want, _ := strings.Cut(line, " = ")
			backend := r.Find(asked(request)).Backends.Pick()
			if want = strings.TrimSpace(want); backend.Cluster != want {
				t.Errorf("%s: %s goes to %q, want %q", c.name, request, backend.Cluster, want)
			}
		}
	}
}

// What destination lets a route say of retries a proxy takes, to the last of its bounds.
func TestRetriesThatARouteMayHave(t *testing.T) {
	for _, text := range []string{
		"{}", "{attempts: 0}", "{attempts: 99, codes: [400, 599], backoff: 1m}",
		"{codes: [500, 502, 503, 504, 429], backoff: 1ms}",
	} {
		for _, method := range []string{"GET", "POST", "CONNECT"} {
			r := onEcho(t, crd.HTTPRoute, "{matches: [{method: "+method+"}], retry: "+text+
				", backendRefs: [{name: v1, port: 8080}]}")
			u := r.Find(asked(method + " /"))
			if u == r.Fallback || u.Retry == strings.Contains(text, "attempts: 0") {
				t.Errorf("%s of %s: a proxy retries: %v", text, method, u.Retry)
			}
			if u.Retry && !u.Retries.Covers(method) {
				t.Errorf("%s of %s: a proxy retries others", text, method)
			}
		}
	}
}

// What destination lets a route change of a header, a proxy takes; what a proxy refuses, with the
// whole of what is said of a service, destination refuses before.
func TestHeadersThatARouteMayChange(t *testing.T) {
	for _, name := range []string{
		"x-a", "X-A", "authorization", "content-type", "cookie", "tulle", "l5d-x", "via",
		"connection", "Proxy-Connection", "keep-alive", "te", "trailer", "transfer-encoding",
		"upgrade", "http2-settings", "Content-Length", "host", "tulle-client-id", "Tulle-x",
		":path", "a b", "a:b", "\u00e9", "tulle_client_id", "tulle_error",
	} {
		for _, value := range []string{
			"v", "", "a b", " a", "a ", "a\tb", "a\x01b", "a\x7f", "\u00e9",
		} {
			of := gatewayv1.HTTPHeader{Name: gatewayv1.HTTPHeaderName(name), Value: value}
			in := gatewayv1.HTTPRoute{}
			in.Spec.Rules = []gatewayv1.HTTPRouteRule{{Filters: []gatewayv1.HTTPRouteFilter{{
				Type: gatewayv1.HTTPRouteFilterRequestHeaderModifier,
				RequestHeaderModifier: &gatewayv1.HTTPHeaderFilter{
					Set: []gatewayv1.HTTPHeader{of},
				},
			}}}}
			read := policy.FromHTTPRoute(&in, time.Time{}, "cluster.local")
			_, err := route.Compile(&api.Route{
				Resolution: api.Resolution_RESOLUTION_FOUND,
				Protocol:   api.Protocol_PROTOCOL_DETECT,
				Http: []*api.HTTPRule{{Filters: []*api.Filter{{Filter: &api.Filter_RequestHeaders{
					RequestHeaders: &api.HeaderModifier{
						Set: []*api.Header{{Name: name, Value: value}},
					},
				}}}}},
			}, route.NewBudget(nil))
			if (err == nil) != (len(read.Dropped) == 0) {
				t.Errorf("%q: %q: destination says %v, a proxy %v", name, value, read.Dropped, err)
			}
		}
	}
}

// A proxy tells the caller of a redirect what the route means, by a table of the conformance
// suite's routes: Service port, request, and where the caller is sent.
func TestRedirectsOfTheConformanceSuite(t *testing.T) {
	to := func(redirect string) string {
		return `{matches: [{path: {value: /old}}], filters: [{type: RequestRedirect, ` +
			`requestRedirect: {` + redirect + `}}]}`
	}
	prefix := func(by string) string {
		return `path: {type: ReplacePrefixMatch, replacePrefixMatch: ` + by + `}`
	}
	for _, c := range []struct {
		rule, dialed, path string
		status             int
		want               string
	}{
		{to("hostname: example.org"), "80", "/old?q=1", 302, "http://example.org/old?q=1"},
		{to("hostname: example.org"), "8080", "/old", 302, "http://example.org:8080/old"},
		{to("statusCode: 301, hostname: example.org"), "80", "/old", 301,
			"http://example.org/old"},
		{to("statusCode: 303"), "80", "/old/x", 303, "http://echo/old/x"},
		{to("scheme: https"), "8080", "/old", 302, "https://echo/old"},
		{to("scheme: https, port: 8443, statusCode: 308"), "80", "/old", 308,
			"https://echo:8443/old"},
		{to("port: 8083, statusCode: 307"), "80", "/old", 307, "http://echo:8083/old"},
		{to("path: {type: ReplaceFullPath, replaceFullPath: /new}"), "80", "/old/lemon?q", 302,
			"http://echo/new?q"},
		{to(prefix("/new")), "80", "/old/lemon", 302, "http://echo/new/lemon"},
		{to(prefix("/new/")), "80", "/old", 302, "http://echo/new"},
		{to(prefix("/")), "80", "/old/", 302, "http://echo/"},
		{to(prefix(`""`)), "80", "/old", 302, "http://echo/"},
		{to(prefix(`""`)), "80", "/old/lemon", 302, "http://echo/lemon"},
	} {
		r := onEcho(t, crd.HTTPRoute, c.rule)
		req := asked("GET " + c.path)
		redirect := r.Find(req).Redirect
		if redirect == nil {
			t.Fatalf("%s: no redirect", c.rule)
		}
		got := redirect.Location(req, "echo.mesh.svc.cluster.local:"+c.dialed)
		if redirect.Status != c.status || got != c.want {
			t.Errorf("%s: %d to %s, want %d to %s", c.rule, redirect.Status, got, c.status, c.want)
		}
	}
}

// A backend is asked for what the route says, with the fields that it says.
func TestRewritesOfTheConformanceSuite(t *testing.T) {
	to := func(rewrite string) string {
		return `{matches: [{path: {value: /old}}], filters: [{type: URLRewrite, urlRewrite: {` +
			rewrite + `}}, {type: RequestHeaderModifier, requestHeaderModifier: {` +
			`set: [{name: X-Set, value: set}], add: [{name: X-Add, value: add}], ` +
			`remove: [X-Remove]}}], backendRefs: [{name: v1, port: 80}]}`
	}
	prefix := func(by string) string {
		return to(`path: {type: ReplacePrefixMatch, replacePrefixMatch: ` + by + `}`)
	}
	for _, c := range []struct{ rule, path, want string }{
		{prefix("/new"), "/old/two?q", "/new/two?q echo"},
		{prefix("/new/"), "/old/", "/new/ echo"},
		{prefix("/"), "/old/three", "/three echo"},
		{prefix("/"), "/old", "/ echo"},
		{prefix(`""`), "/old", "/ echo"},
		{to("path: {type: ReplaceFullPath, replaceFullPath: /one}"), "/old/two", "/one echo"},
		{to("hostname: one.example.org"), "/old/two", "/old/two one.example.org"},
	} {
		req := asked("GET " + c.path + " x-set:before x-add:before x-remove:before")
		rule := onEcho(t, crd.HTTPRoute, c.rule).Find(req)
		var path, host, fields string
		for _, f := range route.Edit(rule.Filters, false, req) {
			switch f.Name {
			case ":path":
				path = f.Value
			case ":authority":
				host = f.Value
			case ":method":
			default:
				fields += f.Name + "=" + f.Value + " "
			}
		}
		if got := path + " " + host; got != c.want {
			t.Errorf("%s: a backend is asked for %s, want %s", c.rule, got, c.want)
		}
		if fields != "x-add=before x-set=set x-add=add " {
			t.Errorf("%s: a backend sees %s", c.rule, fields)
		}
	}
}

// What destination lets a redirect or a rewrite say, a proxy takes.
func TestPathsAndHostsThatARouteMayName(t *testing.T) {
	quoted := func(s string) string { return strconv.Quote(s) }
	for _, text := range []string{
		"/", "", "/a", "a", "//a", "/a//b", "/a?b", "/a#b", "/a b", "/%20", "/ä", "*", "/\x7f",
		"example.org", "EXAMPLE.org", "a:80", "*.example.org", "10.0.0.1", "[::1]", "a_b",
		"/" + strings.Repeat("a", 1024), strings.Repeat("a", 254),
	} {
		for _, filter := range []string{
			`{type: URLRewrite, urlRewrite: {hostname: ` + quoted(text) + `}}`,
			`{type: RequestRedirect, requestRedirect: {hostname: ` + quoted(text) + `}}`,
			`{type: URLRewrite, urlRewrite: {path: {type: ReplaceFullPath, replaceFullPath: ` +
				quoted(text) + `}}}`,
			`{type: URLRewrite, urlRewrite: {path: {type: ReplacePrefixMatch, ` +
				`replacePrefixMatch: ` + quoted(text) + `}}}`,
			`{type: RequestRedirect, requestRedirect: {path: {type: ReplacePrefixMatch, ` +
				`replacePrefixMatch: ` + quoted(text) + `}}}`,
		} {
			onEcho(t, crd.HTTPRoute, `{filters: [`+filter+`]}`)
		}
		if strings.HasPrefix(text, "/") {
			onEcho(t, crd.HTTPRoute, `{matches: [{path: {value: `+quoted(text)+`}}], `+
				`filters: [{type: URLRewrite, urlRewrite: {path: {type: ReplacePrefixMatch, `+
				`replacePrefixMatch: /b}}}]}`)
		}
	}
}

// What destination lets a filter for CORS say, a proxy takes.
func TestCORSThatARouteMaySay(t *testing.T) {
	for _, text := range []string{
		"*", "", "a", "http://a", "http://A.b:80", "http://a:0", "https://*", "https://*.a",
		"https://*:81", "https://a*", "null", "http://[::1]", "G T", "x_y", "\u00e9", "Host",
	} {
		for _, field := range []string{
			"allowOrigins", "allowMethods", "allowHeaders", "exposeHeaders",
		} {
			onEcho(t, crd.HTTPRoute, `{filters: [{type: CORS, cors: {`+field+`: [`+
				strconv.Quote(text)+`]}}]}`)
		}
	}
}

// What destination lets a mirror say, a proxy takes.
func TestMirrorsThatARouteMaySay(t *testing.T) {
	for _, share := range []string{
		"percent: -1", "percent: 0", "percent: 1", "percent: 100", "percent: 101",
		"fraction: {numerator: 0}", "fraction: {numerator: 1, denominator: 2147483647}",
		"fraction: {numerator: 3, denominator: 2}", "fraction: {numerator: 1, denominator: 0}", "",
	} {
		for _, kind := range []string{crd.HTTPRoute, crd.GRPCRoute} {
			r := onEcho(t, kind, `{filters: [{type: RequestMirror, requestMirror: {backendRef: `+
				`{name: v2, port: 80}, `+share+`}}], backendRefs: [{name: v1, port: 80}]}`)
			if share == "" && len(r.Find(asked("GET /")).Mirrors) != 1 {
				t.Errorf("%s: no mirror", kind)
			}
		}
	}
}

// A route that is applied is a proxy's within its stream, and no longer once it is gone.
func TestARouteReachesProxies(t *testing.T) {
	w := newTown(t)
	w.apply(`
{apiVersion: v1, kind: Service, metadata: {name: web, namespace: shop},
 spec: {clusterIP: 10.96.9.1, ports: [{port: 80}]}}
---
{apiVersion: v1, kind: Service, metadata: {name: v1, namespace: shop},
 spec: {clusterIP: 10.96.9.2, ports: [{port: 80}]}}`)
	s := w.session(w.addr, config.DefaultLimits())
	w.service("copy", "192.0.2.9")
	target := s.to("web")
	goes := func(path string) string {
		a := target.Now()
		if a == nil {
			return "nowhere yet"
		}
		rule := a.Find(asked("GET " + path))
		b := rule.Backends.Pick()
		if rule.Redirect != nil {
			return "redirect " + strconv.Itoa(rule.Redirect.Status)
		}
		return strings.TrimSuffix(b.Cluster, ".shop.svc.cluster.local:80") +
			strings.TrimPrefix(strconv.Itoa(b.Answer), "0")
	}
	await.True(t, "web is known", func() bool { return goes("/") == "web" })
	const text = `
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: r, namespace: shop}
spec:
  parentRefs: [{group: "", kind: Service, name: web}]
  rules:
  - {matches: [{path: {value: /v1}}], backendRefs: [{name: v1, port: 80}]}
  - {matches: [{path: {value: /none}}], backendRefs: [{name: none, port: 80}]}
  - matches: [{path: {value: /copied}}]
    filters:
    - {type: RequestMirror, requestMirror: {backendRef: {name: none, port: 80}}}
    - {type: RequestMirror, requestMirror: {backendRef: {name: copy, port: 80}}}
    backendRefs: [{name: v1, port: 80}]
  - {matches: [{path: {value: /old}}], filters: [{type: RequestRedirect, requestRedirect: {}}]}
`
	w.apply(text)
	await.True(t, "the route is used", func() bool { return goes("/v1/x") == "v1" })
	a := target.Now()
	if m := a.Find(asked("GET /copied")).Mirrors; len(m) != 1 ||
		a.Members[m[0].Index].Name != "copy.shop.svc.cluster.local:80" {
		t.Errorf("requests are copied to %v", m)
	}
	await.True(t, "the mirror's endpoints are here", func() bool {
		set := a.Members[a.Find(asked("GET /copied")).Mirrors[0].Index].Current()
		return set != nil && len(set.All) == 1
	})
	for path, want := range map[string]string{
		"/none": "500", "/old": "redirect 302", "/": "404", "/v12": "404",
	} {
		if got := goes(path); got != want {
			t.Errorf("%s: %s, want %s", path, got, want)
		}
	}
	objects, err := files.Parse("test.yaml", []byte(text))
	check(t, err)
	w.owner.Apply(registry.Change{Delete: objects})
	await.True(t, "the route is gone", func() bool { return goes("/v1/x") == "web" })
}
