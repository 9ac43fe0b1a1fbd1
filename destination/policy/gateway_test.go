package policy

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/tulle-mesh/tulle/destination/api"
	"github.com/tulle-mesh/tulle/destination/crd"
)

// written is a route as a test writes it. Its parent is Service shop/web, unless the spec says
// otherwise.
type written struct {
	kind, namespace, name string
	age                   int
	spec                  string
}

func (w written) read(t *testing.T) Route {
	t.Helper()
	spec := w.spec
	if !strings.Contains(spec, "parentRefs") {
		spec = `parentRefs: [{group: "", kind: Service, namespace: shop, name: web}], ` + spec
	}
	text := fmt.Sprintf("{apiVersion: gateway.networking.k8s.io/v1, kind: %s, "+
		"metadata: {namespace: %s, name: %s}, spec: {%s}}", w.kind, w.namespace, w.name, spec)
	docs, err := crd.Documents("route.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	object := map[string]any{
		crd.HTTPRoute: new(gatewayv1.HTTPRoute), crd.GRPCRoute: new(gatewayv1.GRPCRoute),
		crd.TLSRoute: new(gatewayv1.TLSRoute), crd.TCPRoute: new(gatewayv1.TCPRoute),
	}[w.kind]
	if err := docs[0].Decode(object); err != nil {
		t.Fatal(err)
	}
	route, ok := FromRoute(object, time.Unix(int64(1000-w.age), 0), "cluster.local")
	if !ok {
		t.Fatalf("%s is no route", w.kind)
	}
	return route
}

func httpRoute(name string, age int, spec string) written {
	return written{crd.HTTPRoute, "shop", name, age, spec}
}

func grpcRoute(name string, age int, spec string) written {
	return written{crd.GRPCRoute, "shop", name, age, spec}
}

func readHTTP(t *testing.T, spec string) Route { return httpRoute("r", 0, spec).read(t) }

// web80 is the port that the routes of these tests are asked about.
var web80 = Parent{Host: "web.shop.svc.cluster.local", Port: 80, PortName: "http"}

// shown is a match in few words.
func shown(m *api.Match) string {
	switch m := m.GetMatch().(type) {
	case *api.Match_Method:
		return m.Method
	case *api.Match_Path:
		switch p := m.Path.Path.(type) {
		case *api.PathMatch_Exact:
			return "=" + p.Exact
		case *api.PathMatch_Prefix:
			return p.Prefix + "..."
		case *api.PathMatch_Regex:
			return "~" + p.Regex
		}
	case *api.Match_Header:
		return m.Header.Name + ":" + m.Header.GetExact() + m.Header.GetRegex()
	case *api.Match_Query:
		return m.Query.Name + "=" + m.Query.GetExact() + m.Query.GetRegex()
	case *api.Match_All:
		var all []string
		for _, one := range m.All.Matches {
			all = append(all, shown(one))
		}
		return strings.Join(all, " ")
	}
	return "any"
}

// where is where a rule's requests go.
func where(backends []Backend) string {
	var out []string
	for _, b := range backends {
		to := strings.TrimSuffix(b.Host, ".svc.cluster.local")
		if b.Port != 0 {
			to += fmt.Sprintf(":%d", b.Port)
		}
		if b.Answer != 0 {
			to = fmt.Sprint(b.Answer)
		}
		if b.Weight != 1 {
			to += fmt.Sprintf("*%d", b.Weight)
		}
		out = append(out, to)
	}
	return strings.Join(out, ",")
}

func rulesOf(p *Policy) (out []string) {
	for i := range p.Rules {
		r := &p.Rules[i]
		out = append(out, fmt.Sprintf("%s.%s %s -> %s", r.Origin.Name, r.Name, shown(r.Match),
			where(r.Backends)))
	}
	return out
}

// The order of rules within a parent is the Gateway API's, whatever the order they are written in.
func TestOrderOfHTTPRules(t *testing.T) {
	rule := func(matches ...string) string {
		return "{matches: [" + strings.Join(matches, ", ") +
			"], backendRefs: [{name: v1, port: 80}]}"
	}
	rules := func(all ...string) string { return "rules: [" + strings.Join(all, ", ") + "]" }
	const (
		root    = `{path: {value: /}}`
		short   = `{path: {type: PathPrefix, value: /a}}`
		long    = `{path: {type: PathPrefix, value: /a/b}}`
		slash   = `{path: {type: PathPrefix, value: /c/}}`
		exact   = `{path: {type: Exact, value: /a}}`
		regex   = `{path: {type: RegularExpression, value: "/a/[0-9]+"}}`
		method  = `{method: GET}`
		one     = `{headers: [{name: X, value: "1"}]}`
		two     = `{headers: [{name: X, value: "1"}, {name: Z, value: "2"}]}`
		query   = `{queryParams: [{name: q, value: "1"}]}`
		queries = `{queryParams: [{name: q, value: "1"}, {name: p, value: "2"}]}`
		same    = `{headers: [{name: X, value: "1"}, {name: x, value: "2"}]}`
	)
	for _, c := range []struct {
		name   string
		routes []written
		want   string
	}{
		{"no match is every request", []written{httpRoute("r", 0, rules(rule()))}, "r.0 any"},
		{"no rule is one for every request", []written{httpRoute("r", 0, "")}, "r.0 any"},
		{"the prefix / is every request", []written{httpRoute("r", 0, rules(rule(root)))},
			"r.0 any"},
		{"what no rule matches is not found", []written{httpRoute("r", 0, rules(rule(short)))},
			"r.0 /a...; r.unmatched any"},
		{"exact, regular, prefix", []written{httpRoute("r", 0,
			rules(rule(root), rule(short), rule(long), rule(regex), rule(exact)))},
			"r.4 =/a; r.3 ~/a/[0-9]+; r.2 /a/b...; r.1 /a...; r.0 any"},
		{"the longest prefix", []written{httpRoute("r", 0,
			rules(rule(short), rule(long)))}, "r.1 /a/b...; r.0 /a...; r.unmatched any"},
		{"a slash at the end does not count", []written{httpRoute("r", 0,
			rules(rule(short), rule(slash)))}, "r.0 /a...; r.1 /c...; r.unmatched any"},
		{"method, headers, queries", []written{httpRoute("r", 0,
			rules(rule(query), rule(queries), rule(one), rule(two), rule(method), rule()))},
			"r.4 GET; r.3 x:1 z:2; r.2 x:1; r.1 q=1 p=2; r.0 q=1; r.5 any"},
		{"the path beats everything", []written{httpRoute("r", 0, rules(rule(method),
			rule(two), rule(short)))},
			"r.2 /a...; r.0 GET; r.1 x:1 z:2; r.unmatched any"},
		{"a match is a rule of its own", []written{httpRoute("r", 0,
			rules(rule(root, one), rule(long)))}, "r.1 /a/b...; r.0 x:1; r.0 any"},
		{"of equal names the first counts", []written{httpRoute("r", 0, rules(rule(same)))},
			"r.0 x:1; r.unmatched any"},
		{"then the oldest route", []written{httpRoute("a", 1, rules(rule(short))),
			httpRoute("b", 2, rules(rule(short)))}, "b.0 /a...; a.0 /a...; b.unmatched any"},
		{"then by name", []written{httpRoute("b", 1, rules(rule(short))),
			httpRoute("a", 1, rules(rule(short)))}, "a.0 /a...; b.0 /a...; a.unmatched any"},
		{"then as written", []written{httpRoute("a", 1, rules(rule(one), rule(one)))},
			"a.0 x:1; a.1 x:1; a.unmatched any"},
		{"three routes are one", []written{httpRoute("a", 3, rules(rule())),
			httpRoute("b", 2, rules(rule(exact))), httpRoute("c", 1, rules(rule(long)))},
			"b.0 =/a; c.0 /a/b...; a.0 any"},
		{"the host is matched as requests have it", []written{httpRoute("r", 0,
			rules(rule(`{headers: [{name: Host, value: a.example}]}`)))},
			"r.0 :authority:a.example; r.unmatched any"},
		{"names of rules", []written{httpRoute("r", 0, `rules: [{name: first}, {}]`)},
			"r.first any; r.1 any"},
	} {
		var routes []Route
		for _, w := range c.routes {
			routes = append(routes, w.read(t))
		}
		var got []string
		for _, text := range rulesOf(Merge(routes, web80, "other")) {
			rule, _, _ := strings.Cut(text, " -> ")
			got = append(got, rule)
		}
		if got := strings.Join(got, "; "); got != c.want {
			t.Errorf("%s:\n got %s\nwant %s", c.name, got, c.want)
		}
	}
}

func TestOrderOfGRPCRules(t *testing.T) {
	const spec = `rules: [{matches: [{}]}, {matches: [{method: {method: Get}}]},
{matches: [{headers: [{name: X, value: "1"}]}]},
{matches: [{method: {service: a.B}}]}, {matches: [{method: {service: a.B, method: Get}}]},
{matches: [{method: {service: a.B}, headers: [{name: X, value: "1"}]}]},
{matches: [{method: {type: RegularExpression, service: "a.*", method: "G|H"}}]}]`
	want := []string{
		"r.6 ~/(?:a.*)/(?:G|H) -> 503", "r.4 =/a.B/Get -> 503", "r.5 /a.B... x:1 -> 503",
		"r.3 /a.B... -> 503", "r.1 ~/[^/]+/(?:Get) -> 503", "r.2 x:1 -> 503", "r.0 any -> 503",
	}
	route := grpcRoute("r", 0, spec).read(t)
	got := rulesOf(Merge([]Route{route}, web80, "other"))
	slices.Sort(got[:2]) // three characters of a service each, and three of a method
	slices.Sort(want[:2])
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	headers := grpcRoute("r", 0, `rules: [{matches: [{headers: [{name: x, value: "1"}]}],
backendRefs: [{name: v1, port: 7070}]}]`).read(t)
	if got := strings.Join(rulesOf(Merge([]Route{headers}, web80, "other")), "; "); got !=
		"r.0 x:1 -> v1.shop:7070; r.unmatched any -> 404" {
		t.Errorf("a match of headers alone is %s", got)
	}
}

// Consumers' routes replace producers' as a whole, and of two kinds one alone counts.
func TestWhichRoutesCount(t *testing.T) {
	const to = `rules: [{matches: [{path: {value: %s}}], backendRefs: [{name: v1, port: 80}]}]`
	producer := httpRoute("p", 1, fmt.Sprintf(to, "/p"))
	consumer := httpRoute("c", 0, fmt.Sprintf(to, "/c"))
	consumer.namespace = "client"
	grpc := grpcRoute("g", 0, "rules: [{}]")
	port := func(of string) string {
		return `parentRefs: [{group: core, kind: Service, name: web, ` + of + `}], ` +
			fmt.Sprintf(to, "/x")
	}
	profile := route("shop", "a", 9, "profile")
	profile.Budget = &Budget{Ratio: 0.7}
	profile.Default = []Backend{{Host: "canary", Weight: 1}}
	for _, c := range []struct {
		name   string
		routes []written
		caller string
		want   string
	}{
		{"the producer's", []written{producer}, "client", "p.0 p.unmatched"},
		{"the consumer's alone", []written{producer, consumer}, "client", "c.0 c.unmatched"},
		{"the caller at home", []written{producer}, "shop", "p.0 p.unmatched"},
		{"GRPCRoute before HTTPRoute", []written{producer, grpc}, "client", "g.0"},
		{"a consumer's HTTPRoute before a producer's GRPCRoute",
			[]written{consumer, grpc}, "client", "c.0 c.unmatched"},
		{"of this port", []written{httpRoute("r", 0, port("port: 80"))}, "client",
			"r.0 r.unmatched"},
		{"of another port", []written{httpRoute("r", 0, port("port: 81"))}, "client", "a.profile"},
		{"of this port by name", []written{httpRoute("r", 0, port("sectionName: http"))},
			"client", "r.0 r.unmatched"},
		{"of another by name", []written{httpRoute("r", 0, port("sectionName: grpc"))}, "client",
			"a.profile"},
		{"of both", []written{httpRoute("r", 0, port("sectionName: http, port: 80"))}, "client",
			"r.0 r.unmatched"},
		{"of two that differ", []written{httpRoute("r", 0, port("sectionName: http, port: 81"))},
			"client", "a.profile"},
		{"of a Gateway of the name", []written{httpRoute("r", 0,
			`parentRefs: [{name: web}], rules: []`)}, "client", "a.profile"},
		{"of a ServiceImport of the name", []written{httpRoute("r", 0,
			`parentRefs: [{group: multicluster.x-k8s.io, kind: ServiceImport, name: web}]`)},
			"client", "a.profile"},
	} {
		routes := []Route{profile}
		for _, w := range c.routes {
			routes = append(routes, w.read(t))
		}
		p := Merge(routes, web80, c.caller)
		var got []string
		for _, r := range p.Rules {
			got = append(got, r.Origin.Name+"."+r.Name)
		}
		if got := strings.Join(got, " "); got != c.want {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
		if closed := c.want != "a.profile"; (len(p.DefaultBackends()) == 0) != closed ||
			p.RetryBudget().RetryRatio != 0.7 {
			t.Errorf("%s: the profile's share is %v, %v", c.name, p.DefaultBackends(),
				p.RetryBudget())
		}
	}
}

func TestBackendsOfRoutes(t *testing.T) {
	for _, c := range []struct{ name, kind, refs, want, unresolved string }{
		{"one", "", `{name: v1, port: 80}`, "v1.shop:80", ""},
		{"weights", "", `{name: v1, port: 80, weight: 70}, {name: v2, port: 80, weight: 30}`,
			"v1.shop:80*70,v2.shop:80*30", ""},
		{"another namespace's", "", `{name: v1, namespace: other, port: 80}`, "v1.other:80", ""},
		{"group core", "", `{group: core, kind: Service, name: v1, port: 80}`, "v1.shop:80", ""},
		{"none", "", "", "500", ""},
		{"a weight of 0", "", `{name: v1, port: 80}, {name: v2, port: 80, weight: 0}`,
			"v1.shop:80", ""},
		{"all weights 0", "", `{name: v1, port: 80, weight: 0}`, "500", ""},
		{"another kind", "", `{name: v1, port: 80, weight: 3},
{group: g.example, kind: Bucket, name: b, weight: 2}`, "v1.shop:80*3,500*2",
			"InvalidKind b is a Bucket.g.example: backends are Services"},
		{"gRPC, none", crd.GRPCRoute, "", "503", ""},
		{"gRPC, another kind", crd.GRPCRoute, `{kind: Bucket, name: b}`, "503",
			"InvalidKind b is a Bucket: backends are Services"},
	} {
		w := httpRoute("r", 0, "rules: [{backendRefs: ["+c.refs+"]}]")
		if c.kind != "" {
			w.kind = c.kind
		}
		r := w.read(t)
		if got := where(r.Rules[0].Backends); got != c.want {
			t.Errorf("%s: got %s, want %s", c.name, got, c.want)
		}
		var unresolved string
		for _, p := range r.Unresolved {
			unresolved += p.Reason + " " + p.Text
		}
		if unresolved != c.unresolved || !r.Obeyed || len(r.Dropped) > 0 {
			t.Errorf("%s: unresolved %q, want %q; dropped %v", c.name, unresolved, c.unresolved,
				r.Dropped)
		}
	}
	zero := readHTTP(t,
		`rules: [{backendRefs: [{name: v3, port: 1, weight: 0}, {name: v1, port: 80}]}]`)
	if want := []Ref{{"v3.shop.svc.cluster.local", 1},
		{"v1.shop.svc.cluster.local", 80}}; !slices.Equal(zero.Refs, want) {
		t.Errorf("the route refers to %v", zero.Refs)
	}
}

// What cannot be done is not done by half: such a rule answers with an error, and says why.
func TestWhatIsNotObeyed(t *testing.T) {
	const backend = `backendRefs: [{name: v1, port: 80}]`
	for _, c := range []struct{ rule, reason, text string }{
		{`filters: [{type: RequestMirror}]`, "UnsupportedValue", "a mirror of nothing"},
		{`filters: [{type: RequestMirror, requestMirror: {backendRef: {name: v2, port: 80}, ` +
			`percent: 101}}]`, "UnsupportedValue", "a mirror of 101 of 100 requests"},
		{`filters: [{type: RequestMirror, requestMirror: {backendRef: {name: v2, port: 80}, ` +
			`fraction: {numerator: 1, denominator: 0}}}]`, "UnsupportedValue", "1 of 0 requests"},
		{`filters: [{type: RequestMirror, requestMirror: {backendRef: {name: v2, port: 80}, ` +
			`percent: 1, fraction: {numerator: 1}}}]`, "UnsupportedValue",
			"of a percent and of a fraction"},
		{`filters: [{type: CORS}]`, "UnsupportedValue", "a filter CORS that says nothing"},
		{`filters: [{type: CORS, cors: {allowOrigins: ["https://a", "ftp://b"]}}]`,
			"UnsupportedValue", `origin "ftp://b" does not begin with`},
		{`filters: [{type: CORS, cors: {allowMethods: ["GET PUT"]}}]`, "UnsupportedValue",
			`"GET PUT" is no method`},
		{`filters: [{type: CORS, cors: {maxAge: -1}}]`, "UnsupportedValue", "maxAge -1"},
		{`filters: [{type: CORS, cors: {}}, {type: CORS, cors: {}}]`, "IncompatibleFilters",
			"CORS is there more than once"},
		{`filters: [{type: ExternalAuth}]`, "UnsupportedValue",
			"filter ExternalAuth is not supported"},
		{`filters: [{type: Tomorrow}]`, "UnsupportedValue", "filter Tomorrow is not supported"},
		{`filters: [{type: RequestRedirect, requestRedirect: {}},
{type: URLRewrite, urlRewrite: {}}]`, "IncompatibleFilters", "RequestRedirect is alone"},
		{`filters: [{type: URLRewrite, urlRewrite: {path: {type: ReplacePrefixMatch, ` +
			`replacePrefixMatch: /b}}}], matches: [{path: {type: Exact, value: /a}}]`,
			"IncompatibleFilters", "needs a match of type PathPrefix"},
		{`filters: [{type: URLRewrite, urlRewrite: {path: {type: ReplaceFullPath, ` +
			`replaceFullPath: "/a?b"}}}]`, "UnsupportedValue", "which must be escaped"},
		{`filters: [{type: RequestHeaderModifier, requestHeaderModifier: {remove: [Host]}}]`,
			"UnsupportedValue", "to change header Host is not supported"},
		{`filters: [{type: RequestHeaderModifier, requestHeaderModifier: ` +
			`{set: [{name: tulle-client-id, value: me}]}}]`, "UnsupportedValue",
			"to change header tulle-client-id"},
		{`filters: [{type: RequestRedirect, requestRedirect: {statusCode: 304}}]`,
			"UnsupportedValue", "status 304"},
		{`retry: {attempts: -1}`, "UnsupportedValue", "retry.attempts is -1, not 0 to 99"},
		{`retry: {attempts: 100}`, "UnsupportedValue", "retry.attempts is 100, not 0 to 99"},
		{`retry: {codes: [503, 399]}`, "UnsupportedValue", "retry.codes has 399, which is not"},
		{`retry: {codes: [600]}`, "UnsupportedValue", "retry.codes has 600, which is not"},
		{`retry: {backoff: 1.5s}`, "UnsupportedValue", `retry.backoff "1.5s" must be`},
		{`retry: {backoff: 0s}`, "UnsupportedValue", "retry.backoff is 0s, not 1ms to 1m0s"},
		{`retry: {backoff: 61s}`, "UnsupportedValue", "retry.backoff is 61s, not 1ms to 1m0s"},
		{`sessionPersistence: {}`, "UnsupportedValue", "sessionPersistence is not supported"},
		{`timeouts: {request: 1.5s}`, "UnsupportedValue", `timeouts.request "1.5s" must be`},
		{`timeouts: {backendRequest: "1"}`, "UnsupportedValue", `timeouts.backendRequest "1"`},
	} {
		rule := "{" + c.rule
		if !strings.Contains(c.rule, "Redirect") {
			rule += ", " + backend
		}
		r := readHTTP(t, "rules: ["+rule+"}, {matches: [{path: {value: /ok}}], "+backend+"}]")
		if got := where(r.Rules[0].Backends); got != "500" || r.Rules[0].Filters != nil ||
			r.Rules[0].Mirrors != nil || r.Rules[0].Timeout+r.Rules[0].Try != 0 ||
			r.Rules[0].Retry != nil {
			t.Errorf("%s: the rule is %s, %v", c.rule, got, r.Rules[0])
		}
		if len(r.Dropped) != 1 || r.Dropped[0].Reason != c.reason ||
			!strings.Contains(r.Dropped[0].Text, c.text) || !r.Obeyed {
			t.Errorf("%s: dropped is %v", c.rule, r.Dropped)
		}
		if got := where(r.Rules[1].Backends); got != "v1.shop:80" {
			t.Errorf("%s: the other rule goes to %s", c.rule, got)
		}
	}
	r := readHTTP(t, `rules: [{filters: [{type: RequestMirror}]}]`)
	if r.Obeyed || len(r.Dropped) != 1 {
		t.Errorf("a route of nothing that can be obeyed: %v, %v", r.Obeyed, r.Dropped)
	}
}

// A filter of a kind that is not there fails its rule, but the route is accepted (GEP-1364).
func TestExtensionsThatAreNotThere(t *testing.T) {
	r := readHTTP(t, `rules: [{filters: [{type: ExtensionRef, extensionRef: `+
		`{group: g.example, kind: Cache, name: c}}], backendRefs: [{name: v1, port: 80}]}]`)
	if got := where(r.Rules[0].Backends); got != "500" || !r.Obeyed || len(r.Dropped) > 0 ||
		len(r.Unresolved) != 1 || r.Unresolved[0].Reason != crd.ReasonInvalidKind {
		t.Errorf("goes to %s; unresolved %v, dropped %v", got, r.Unresolved, r.Dropped)
	}
}

// A rule may refer to FaultInjections, a backend not; whether they are there is not known here.
func TestExtensions(t *testing.T) {
	const filter = `filters: [{type: ExtensionRef, extensionRef: ` +
		`{group: tulle.dev, kind: FaultInjection, name: %s}}]`
	a, b := fmt.Sprintf(filter, "a"), fmt.Sprintf(filter, "b")
	for _, kind := range []string{crd.HTTPRoute, crd.GRPCRoute} {
		rules := "rules: [{" + a + "}, {" + b + "}, {" + a + "}, {}]"
		r := written{kind, "shop", "r", 0, rules}.read(t)
		var got []string
		for i := range r.Rules {
			got = append(got, strings.Join(r.Rules[i].Extensions, ","))
		}
		if got := strings.Join(got, " "); got != "a b a " || len(r.Dropped) > 0 ||
			strings.Join(r.Extensions, " ") != "a b" {
			t.Errorf("%s: %q; all are %v, dropped %v", kind, got, r.Extensions, r.Dropped)
		}
		r = written{kind, "shop", "r", 0,
			"rules: [{backendRefs: [{name: v1, port: 80, " + a + "}]}]"}.read(t)
		if r.Obeyed || len(r.Dropped) != 1 || len(r.Rules[0].Extensions) > 0 ||
			r.Dropped[0].Text != "rule 0: a filter ExtensionRef of a backend is not supported" {
			t.Errorf("%s: of a backend: %+v, dropped %v", kind, r.Rules, r.Dropped)
		}
	}
	r := readHTTP(t, "rules: [{filters: [{type: ExtensionRef}]}]")
	if len(r.Dropped) != 1 || r.Obeyed {
		t.Errorf("a reference to nothing: dropped %v", r.Dropped)
	}
}

// A match that cannot be understood matches nothing, and takes no other with it.
func TestMatchesThatAreNotUnderstood(t *testing.T) {
	for _, match := range []string{
		`{path: {type: RegularExpression, value: "("}}`, `{path: {type: Suffix, value: /a}}`,
		`{path: {value: a}}`, `{headers: [{type: RegularExpression, name: a, value: "("}]}`,
		`{headers: [{type: Near, name: a, value: b}]}`,
		`{queryParams: [{type: RegularExpression, name: a, value: "("}]}`,
		`{queryParams: [{type: Near, name: a, value: b}]}`,
	} {
		r := readHTTP(t, "rules: [{matches: ["+match+
			", {path: {value: /b}}], backendRefs: [{name: v1, port: 80}]}]")
		if len(r.Rules) != 1 || shown(r.Rules[0].Match) != "/b..." ||
			where(r.Rules[0].Backends) != "v1.shop:80" || len(r.Dropped) != 1 || !r.Obeyed {
			t.Errorf("%s: %v, dropped %v", match, r.Rules, r.Dropped)
		}
		r = readHTTP(t, "rules: [{matches: ["+match+"]}]")
		p := Merge([]Route{r}, web80, "other")
		if got := strings.Join(rulesOf(p), "; "); got != "r.unmatched any -> 404" || r.Obeyed {
			t.Errorf("%s alone: %s", match, got)
		}
	}
}

func TestFilters(t *testing.T) {
	const prefix = `matches: [{path: {value: /old}}]`
	for _, c := range []struct{ filter, want string }{
		{`{type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: A, value: "1"}],
add: [{name: b, value: "2"}], remove: [c]}}`,
			`request_headers:{set:{name:"A" value:"1"} add:{name:"b" value:"2"} remove:"c"}`},
		{`{type: ResponseHeaderModifier, responseHeaderModifier: {remove: [c]}}`,
			`response_headers:{remove:"c"}`},
		{`{type: RequestRedirect, requestRedirect: {hostname: example.org}}`,
			`redirect:{host:"example.org" status:302}`},
		{`{type: RequestRedirect, requestRedirect: {scheme: https, port: 8443, statusCode: 308}}`,
			`redirect:{scheme:"https" port:8443 status:308}`},
		{`{type: RequestRedirect, requestRedirect: {path: {type: ReplaceFullPath, ` +
			`replaceFullPath: /new}}}`, `redirect:{path:{full:"/new"} status:302}`},
		{`{type: RequestRedirect, requestRedirect: {path: {type: ReplacePrefixMatch, ` +
			`replacePrefixMatch: /new}}}`,
			`redirect:{path:{prefix:{matched:"/old" replacement:"/new"}} status:302}`},
		{`{type: URLRewrite, urlRewrite: {hostname: a.example, path: {type: ReplacePrefixMatch, ` +
			`replacePrefixMatch: ""}}}`,
			`rewrite:{host:"a.example" path:{prefix:{matched:"/old"}}}`},
		{`{type: URLRewrite, urlRewrite: {path: {type: ReplaceFullPath, replaceFullPath: /}}}`,
			`rewrite:{path:{full:"/"}}`},
		{`{type: CORS, cors: {}}`, `cors:{max_age_seconds:5}`},
		{`{type: CORS, cors: {allowOrigins: ["https://*.a.com", "http://b:81"], ` +
			`allowMethods: ["*"], allowHeaders: [X-A, x-b], exposeHeaders: [x-c], ` +
			`allowCredentials: true, maxAge: 60}}`,
			`cors:{allow_origins:"https://*.a.com" allow_origins:"http://b:81" ` +
				`allow_methods:"*" allow_headers:"X-A" allow_headers:"x-b" ` +
				`expose_headers:"x-c" max_age_seconds:60 allow_credentials:true}`},
	} {
		r := readHTTP(t, "rules: [{"+prefix+", filters: ["+c.filter+"]}]")
		if len(r.Rules[0].Filters) != 1 {
			t.Fatalf("%s: dropped %v", c.filter, r.Dropped)
		}
		got := strings.Join(strings.Fields(r.Rules[0].Filters[0].String()), " ")
		if got != c.want {
			t.Errorf("%s:\n got %s\nwant %s", c.filter, got, c.want)
		}
	}
	of := readHTTP(t, `rules: [{backendRefs: [{name: v1, port: 80, filters: [
{type: RequestHeaderModifier, requestHeaderModifier: {remove: [c]}}]}]}]`)
	if b := of.Rules[0].Backends[0]; len(b.Filters) != 1 || len(of.Rules[0].Filters) != 0 {
		t.Errorf("a backend's filters are %v", b.Filters)
	}
}

func TestTimeoutsOfRoutes(t *testing.T) {
	for _, c := range []struct {
		text         string
		request, try time.Duration
	}{
		{`{request: 500ms}`, 500 * time.Millisecond, 0},
		{`{request: 1m30s, backendRequest: 2s}`, 90 * time.Second, 2 * time.Second},
		{`{request: 0s}`, 0, 0}, {`{backendRequest: 100ms200ms300ms}`, 0, 600 * time.Millisecond},
	} {
		r := readHTTP(t, `rules: [{timeouts: `+c.text+`, backendRefs: [{name: v1, port: 80}]}]`)
		p := Merge([]Route{r}, web80, "other")
		if p.Rules[0].Timeout != c.request || p.Rules[0].Try != c.try {
			t.Errorf("%s: %v", c.text, p.Rules[0].Rule)
		}
		m := p.HTTP(func([]Backend) []*api.Backend { return nil })[0].Timeouts
		if m.GetRequestMs() != uint64(c.request.Milliseconds()) ||
			m.GetTryMs() != uint64(c.try.Milliseconds()) {
			t.Errorf("%s: on the wire %v", c.text, m)
		}
	}
}

// The service's own proxies are told of rules, but not of what is no rule's.
func TestUnmatchedIsNoName(t *testing.T) {
	r := readHTTP(t, `rules: [{name: a, matches: [{path: {value: /a}}]}]`)
	p := Merge([]Route{r}, web80, "other")
	if named := p.Named(); len(named) != 1 || named[0].Origin.Rule != "a" ||
		named[0].Origin.Kind != crd.HTTPRoute || named[0].Origin.Group != gatewayv1.GroupName {
		t.Errorf("the service is told %v", named)
	}
}
