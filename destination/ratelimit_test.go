package destination

import (
	"fmt"
	"strings"
	"testing"

	"github.com/tulle-mesh/tulle/destination/api"
	"github.com/tulle-mesh/tulle/destination/crd"
	"github.com/tulle-mesh/tulle/destination/kube"
	"github.com/tulle-mesh/tulle/destination/registry"
)

// limiting is a policy of a namespace's, about Services of which each is NAME or NAME:PORTNAME, and
// routes, KIND/NAME or KIND/NAME:RULE.
func limiting(namespace, name, targets, rest string) string {
	var refs []string
	for _, target := range strings.Fields(targets) {
		target, section, named := strings.Cut(target, ":")
		if named {
			section = ", sectionName: " + section
		}
		kind := "kind: Service"
		if of, route, ok := strings.Cut(target, "/"); ok {
			kind, target = "group: gateway.networking.k8s.io, kind: "+of, route
		}
		refs = append(refs, "{"+kind+", name: "+target+section+"}")
	}
	return fmt.Sprintf("{apiVersion: tulle.dev/v1alpha1, kind: RateLimitPolicy, "+
		"metadata: {namespace: %s, name: %s}, spec: {targetRefs: [%s], %s}}",
		namespace, name, strings.Join(refs, ", "), rest)
}

// before is another Service of shop's before port 8080 of web-1.
func before(name string, port int) string {
	return fmt.Sprintf("{apiVersion: v1, kind: Service, metadata: {namespace: shop, name: %[1]s}, "+
		"spec: {clusterIP: 10.96.0.77, ports: [{name: p, port: %[2]d}]}}\n---\n"+
		"{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {name: %[1]s-a, "+
		"namespace: shop, labels: {kubernetes.io/service-name: %[1]s}}, addressType: IPv4, "+
		"ports: [{name: p, port: 8080}], endpoints: [{addresses: [10.1.0.1], conditions: "+
		"{ready: true}, targetRef: {kind: Pod, namespace: shop, name: web-1}}]}", name, port)
}

// webSlice is shop/web's slice with these pods, of which those in upper case are not ready.
func webSlice(pods string) string {
	var eps []string
	for i, pod := range pods {
		ready := pod < 'A' || pod > 'Z'
		eps = append(eps, fmt.Sprintf("{addresses: [10.1.0.%d], conditions: {ready: %v}, "+
			"targetRef: {kind: Pod, namespace: shop, name: web-%c}}", i+1, ready, pod))
	}
	return "{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {name: web-a, " +
		"namespace: shop, labels: {kubernetes.io/service-name: web}}, addressType: IPv4, " +
		"ports: [{name: http, port: 8080, protocol: TCP}], endpoints: [" +
		strings.Join(eps, ", ") + "]}"
}

// limitsAt writes what a pod's proxy is told of a port, one limit after the other, and what the
// answer depends on.
func limitsAt(
	reg *registry.Registry, pod string, port uint32,
) (text string, depends map[registry.Topic]struct{}) {
	var out []string
	testMesh().read(reg, func(v *view) {
		q := question{namespace: "shop", pod: pod, port: port}
		for _, l := range v.compute(q).resources[0].snapshot.GetInbound().GetRateLimits() {
			one := fmt.Sprintf("%s/%s %d in %d ms", l.Origin.Name, l.Origin.Rule, l.Requests,
				l.WindowMs)
			if l.Burst > 0 {
				one += fmt.Sprintf(" burst %d", l.Burst)
			}
			if l.DryRun {
				one += " dry"
			}
			for _, k := range l.Keys {
				one += " by " + strings.Join(strings.Fields(k.String()), "")
			}
			if l.Match != nil {
				one += " if " + strings.Join(strings.Fields(l.Match.String()), "")
			}
			out = append(out, one)
		}
		depends = v.Topics()
	})
	return strings.Join(out, "; "), depends
}

func TestRateLimitsOfAPort(t *testing.T) {
	const one = "limits: [{name: one, requests: 10, window: 1s, mode: PerReplica}]"
	const plain = "a/one 10 in 1000 ms"
	many := func(n int) string {
		var all []string
		for i := range n {
			all = append(all, fmt.Sprintf("{name: l%d, requests: 1, window: 1s}", i))
		}
		return "limits: [" + strings.Join(all, ", ") + "]"
	}
	for _, tt := range []struct {
		name string
		more []string
		port uint32
		want string
	}{
		{"no policy", nil, 8080, ""},
		{"a Service's", []string{limiting("shop", "a", "web", one)}, 8080, plain},
		{"a port's", []string{limiting("shop", "a", "web:http", one)}, 8080, plain},
		{"another port's", []string{limiting("shop", "a", "web:dns", one)}, 8080, ""},
		{"a port that no Service leads to", []string{limiting("shop", "a", "web", one)}, 9999, ""},
		{"another Service's", []string{limiting("shop", "a", "db", one)}, 8080, ""},
		{"of several", []string{limiting("shop", "a", "db web", one)}, 8080, plain},
		{"another namespace's", []string{limiting("other", "a", "web", one)}, 8080, ""},
		{"two policies", []string{limiting("shop", "b", "web", one),
			limiting("shop", "a", "web", one)}, 8080, plain + "; b/one 10 in 1000 ms"},
		{"one that is named twice", []string{limiting("shop", "a", "web web:http", one)}, 8080,
			plain},
		{"more than a proxy takes", []string{limiting("shop", "a", "web", one),
			limiting("shop", "b", "web", many(16)), limiting("shop", "c", "web", one)}, 8080,
			plain + "; c/one 10 in 1000 ms"},
		{"an opaque port", []string{limiting("shop", "a", "web", one),
			"{apiVersion: v1, kind: Namespace, metadata: {name: shop, " +
				"annotations: {tulle.dev/opaque-ports: \"80,8080\"}}}"}, 8080, ""},
		{"a port that is opaque by its number",
			[]string{limiting("shop", "a", "sql", one), before("sql", 3306)}, 8080, ""},
		{"one of two Services before a port",
			[]string{limiting("shop", "a", "web other", one), before("other", 81)}, 8080, plain},
		{"all that there is to say", []string{limiting("shop", "a", "web",
			"dryRun: true, limits: ["+
				"{name: one, requests: 60, window: 1m, burst: 5, mode: PerReplica, "+
				"by: [{identity: {}}, {header: X-User}, {path: {}}, {header: Host}], "+
				"match: {path: {type: Exact, value: /a}, method: POST, "+
				"headers: [{name: X-Kind, value: b}]}}]")}, 8080,
			"a/one 60 in 60000 ms burst 5 dry by identity:{} by header:\"x-user\" by path:{} " +
				"by header:\":authority\" if all:{matches:{path:{exact:\"/a\"}}" +
				"matches:{method:\"POST\"}matches:{header:{name:\"x-kind\"exact:\"b\"}}}"},
		{"a match of everything", []string{limiting("shop", "a", "web", "limits: [{name: one, "+
			"requests: 10, window: 1s, mode: PerReplica, match: {path: {value: /}}}]")}, 8080,
			plain},
	} {
		reg := registryOf(t, append([]string{cluster}, tt.more...)...)
		if got, _ := limitsAt(reg, "web-1", tt.port); got != tt.want {
			t.Errorf("%s:\n got %s\nwant %s", tt.name, got, tt.want)
		}
	}
}

// A limit of a route holds at the pods behind the Services that the route is attached to, for what
// falls to its rules.
func TestRateLimitsOfARoute(t *testing.T) {
	const one = "limits: [{name: one, requests: 10, window: 1s, mode: PerReplica}]"
	const posts = "limits: [{name: one, requests: 10, window: 1s, mode: PerReplica, " +
		"match: {method: POST}}]"
	const plain = "a/one 10 in 1000 ms"
	const x, y = `path:{prefix:"/x"}`, `path:{prefix:"/y"}`
	const to = "backendRefs: [{name: web, port: 80}]"
	const rules = "{name: x, matches: [{path: {value: /x}}], " + to + "}, " +
		"{name: put, matches: [{path: {value: /y}}, {method: PUT}], " + to + "}, " +
		"{name: rest, " + to + "}"
	route := httpOn("web", rules)
	for _, tt := range []struct {
		name, more, targets, limits string
		want                        string
	}{
		{"all of it", route, "HTTPRoute/r", one, plain},
		{"one rule", route, "HTTPRoute/r:x", one, plain + " if " + x},
		{"a rule of two matches", route, "HTTPRoute/r:put", one,
			plain + " if all:{matches:{not:{" + x + "}}matches:{any:{matches:{" + y +
				`}matches:{method:"PUT"}}}}`},
		{"what is left to a rule", route, "HTTPRoute/r:rest", one, plain +
			" if all:{matches:{not:{" + x + "}}matches:{not:{" + y +
			`}}matches:{not:{method:"PUT"}}}`},
		{"two of three rules", route, "HTTPRoute/r:x HTTPRoute/r:rest", one, plain +
			" if any:{matches:{" + x + "}matches:{all:{matches:{not:{" + y +
			`}}matches:{not:{method:"PUT"}}}}}`},
		{"a match of its own", route, "HTTPRoute/r:x", posts, plain +
			` if all:{matches:{method:"POST"}matches:{` + x + "}}"},
		{"beside the Service", route, "HTTPRoute/r:x web", one, plain},
		{"no such rule", route, "HTTPRoute/r:none", one, ""},
		{"no such route", route, "HTTPRoute/none", one, ""},
		{"a Service of that name", route, "HTTPRoute/web", one, ""},
		{"another kind", route, "GRPCRoute/r", one, ""},
		{"of gRPC", routeOn("web", "GRPCRoute", "shop", "g", "{matches: [{method: "+
			"{service: a.B, method: C}}], "+to+"}"), "GRPCRoute/g", one,
			plain + ` if path:{exact:"/a.B/C"}`},
		{"a caller's", routeOn("web", "HTTPRoute", "other", "r", rules), "HTTPRoute/r", one, ""},
		{"on another Service", httpOn("db", rules), "HTTPRoute/r", one, ""},
	} {
		reg := registryOf(t, cluster, tt.more, limiting("shop", "a", tt.targets, tt.limits))
		if got, _ := limitsAt(reg, "web-1", 8080); got != tt.want {
			t.Errorf("%s:\n got %s\nwant %s", tt.name, got, tt.want)
		}
	}
}

// Whoever is told of a route's limit is told anew when the policy or the route changes.
func TestALimitFollowsItsRoute(t *testing.T) {
	const one = "limits: [{name: one, requests: 10, window: 1s, mode: PerReplica}]"
	rules := func(path string) string {
		return httpOn("web", "{matches: [{path: {value: "+path+"}}], "+
			"backendRefs: [{name: web, port: 80}]}")
	}
	reg := registryOf(t, cluster)
	for _, tt := range []struct{ now, want string }{
		{rules("/x"), ""},
		{limiting("shop", "a", "HTTPRoute/r", one), `a/one 10 in 1000 ms if path:{prefix:"/x"}`},
		{rules("/y"), `a/one 10 in 1000 ms if path:{prefix:"/y"}`},
		{limiting("shop", "a", "HTTPRoute/other", one), ""},
	} {
		before, depends := limitsAt(reg, "web-1", 8080)
		reg.TakeTouched()
		apply(reg, objectsOf(t, tt.now)...)
		got, _ := limitsAt(reg, "web-1", 8080)
		if got != tt.want {
			t.Errorf("after %s:\n got %s\nwant %s", tt.now, got, tt.want)
		}
		if got != before && !touches(reg.TakeTouched(), depends) {
			t.Errorf("nobody is told of %s", tt.now)
		}
	}
}

// A shared limit is divided among the pods that are ready, as they come and go. It is asked anew
// when they do, and one that is not shared is not.
func TestSharesOfARateLimit(t *testing.T) {
	const shared = "limits: [{name: all, requests: 10, window: 1s, burst: 4}, " +
		"{name: few, requests: 2, window: 1m, mode: Shared}]"
	reg := registryOf(t, cluster, limiting("shop", "a", "web", shared))
	each := registryOf(t, cluster, limiting("shop", "a", "web",
		"limits: [{name: all, requests: 10, window: 1s, mode: PerReplica}]"))
	for _, tt := range []struct {
		pods       string
		all, burst uint64
		few        uint64
	}{
		{"1", 10, 4, 2}, {"1a", 5, 2, 1}, {"1ab", 3, 1, 1}, {"1aB", 5, 2, 1}, {"1AB", 10, 4, 2},
		{"1ab", 3, 1, 1}, {"1abcdefghijklm", 1, 1, 1}, {"1", 10, 4, 2},
	} {
		text, depends := limitsAt(reg, "web-1", 8080)
		_, eachDepends := limitsAt(each, "web-1", 8080)
		reg.TakeTouched()
		each.TakeTouched()
		apply(reg, objectsOf(t, webSlice(tt.pods))...)
		apply(each, objectsOf(t, webSlice(tt.pods))...)
		want := fmt.Sprintf("a/all %d in 1000 ms burst %d; a/few %d in 60000 ms", tt.all, tt.burst,
			tt.few)
		got, _ := limitsAt(reg, "web-1", 8080)
		if got != want {
			t.Errorf("%s: got %s, want %s", tt.pods, got, want)
		}
		if got != text && !touches(reg.TakeTouched(), depends) {
			t.Errorf("%s: nobody is told that %s is %s now", tt.pods, text, got)
		}
		if touches(each.TakeTouched(), eachDepends) {
			t.Errorf("%s: what is not shared is asked anew", tt.pods)
		}
	}
}

func touches(touched registry.Touched, depends map[registry.Topic]struct{}) bool {
	for topic := range depends {
		_, lost := touched.Lost[topic]
		_, rest := touched.Rest[topic]
		if lost || rest {
			return true
		}
	}
	return false
}

// What a policy is told of itself, at each of its targets.
func TestStatusOfRateLimits(t *testing.T) {
	const one = "limits: [{name: one, requests: 10, window: 1s}]"
	const inUse = "True(Accepted) the policy is in use"
	const nothing = "False(TargetNotFound) the policy applies to nothing: "
	var many []string
	for i := range 16 {
		many = append(many, fmt.Sprintf("{name: l%d, requests: 1, window: 1s}", i))
	}
	for _, tt := range []struct {
		name string
		more []string
		want string
	}{
		{"in use", []string{limiting("shop", "p", "web", one)}, "Service web " + inUse},
		{"a dry run", []string{limiting("shop", "p", "web", "dryRun: true, "+one)},
			"Service web " + inUse + ", and refuses nothing, for it is a dry run"},
		{"of some targets", []string{limiting("shop", "p", "web:http none web:admin", one)},
			"Service web:http " + inUse + "\nService none " + nothing +
				"there is no Service shop/none\nService web:admin " + nothing +
				"Service shop/web has no such TCP port"},
		{"of a route", []string{limiting("shop", "p", "HTTPRoute/r HTTPRoute/r:x HTTPRoute/r:none "+
			"HTTPRoute/none", one), httpOn("web", "{name: x, matches: [{path: {value: /x}}], "+
			"backendRefs: [{name: web, port: 80}]}")},
			"HTTPRoute r " + inUse + "\nHTTPRoute r:x " + inUse + "\nHTTPRoute r:none " + nothing +
				"HTTPRoute shop/r has no rule that is called none\nHTTPRoute none " + nothing +
				"there is no HTTPRoute shop/none"},
		{"of a route that is nowhere in use", []string{limiting("shop", "p", "HTTPRoute/r", one),
			httpOn("db", "{backendRefs: [{name: web, port: 80}]}")},
			"HTTPRoute r " + nothing + "of port 5432 of Service shop/db: " +
				"its port is declared to be opaque"},
		{"of a route to elsewhere", []string{limiting("shop", "p", "HTTPRoute/r", one),
			httpOn("none", "{backendRefs: [{name: web, port: 80}]}")},
			"HTTPRoute r " + nothing + "HTTPRoute shop/r is attached to no Service of its own " +
				"namespace"},
		{"of a port that is not HTTP", []string{limiting("shop", "p", "db", one)},
			"Service db " + nothing + "of port 5432 of Service shop/db: " +
				"its port is declared to be opaque"},
		{"beyond what proxies take", []string{limiting("shop", "p", "web", one),
			limiting("shop", "a", "web", "limits: ["+strings.Join(many, ", ")+"]")},
			"Service web False(Conflicted) port 80 of Service shop/web has 16 limits by " +
				"policies whose names come before, and may have 16"},
	} {
		reg := registryOf(t, append([]string{cluster}, tt.more...)...)
		if got := saidOf(reg, "p"); got != tt.want {
			t.Errorf("%s:\n got %s\nwant %s", tt.name, got, tt.want)
		}
	}
	reg := registryOf(t, cluster)
	broken := &crd.RateLimitPolicy{}
	broken.Namespace, broken.Name = "shop", "p"
	broken.Spec.TargetRefs = []crd.ServiceReference{{Kind: "Service", Name: "web"}}
	apply(reg, kube.FindPolicyKind(crd.RateLimitPolicyKind).Convert(broken))
	const want = "Service web False(Invalid) the policy is ignored: spec.limits: Required value: " +
		"must have at least 1"
	if got := saidOf(reg, "p"); got != want {
		t.Errorf("one that cannot be used:\n got %s\nwant %s", got, want)
	}
	if got, _ := limitsAt(reg, "web-1", 8080); got != "" {
		t.Errorf("one that cannot be used is: %s", got)
	}
}

// saidOf is what the status of shop's policy of a name should say of Accepted, a line a target.
func saidOf(reg *registry.Registry, name string) string {
	ref := registry.PolicyRef{Kind: crd.RateLimitPolicyKind,
		Name: registry.Name{Namespace: "shop", Name: name}}
	var lines []string
	testMesh().read(reg, func(v *view) {
		for _, a := range v.report(ref).Want.Parents {
			c := a.Conditions[0]
			lines = append(lines, fmt.Sprintf("%s %s(%s) %s", refText(&a.ParentRef), c.Status,
				c.Reason, c.Message))
		}
	})
	return strings.Join(lines, "\n")
}

// A proxy that has not what a limit needs keeps what it had, and the policy says so.
func TestAProxyWithoutRateLimits(t *testing.T) {
	s := startServer(t, cluster, limiting("shop", "p", "web",
		"limits: [{name: one, requests: 10, window: 1s}]"))
	close(s.gate.open)
	key := &api.Key{Key: &api.Key_InboundPort{InboundPort: 8080}}
	c := s.proxy(t)
	c.subscribe(key)
	if why := c.next().GetInvalid().GetReason(); !strings.Contains(why, api.CapabilityRateLimit) {
		t.Errorf("an old proxy is told %q", why)
	}
	able := s.dial(t, s.root.source(t, "spiffe://cluster.local/ns/shop/sa/web", "web-1"))
	able.hello(api.CapabilityRateLimit)
	able.resume()
	able.subscribe(key)
	for _, r := range able.next().GetResources().GetResources() {
		if in := r.GetInbound(); len(in.GetRateLimits()) != 1 || in.RateLimits[0].Requests != 5 {
			t.Errorf("a proxy is told %v", r)
		}
	}
}
