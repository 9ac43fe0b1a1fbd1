package destination

import (
	"fmt"
	"strings"
	"testing"

	"github.com/tulle-mesh/tulle/destination/crd"
	"github.com/tulle-mesh/tulle/destination/kube"
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

// harmedBy is a rule that a fault harms.
func harmedBy(path, fault string) string {
	return "{matches: [{path: {value: " + path + "}}], filters: [{type: ExtensionRef, " +
		"extensionRef: {group: tulle.dev, kind: FaultInjection, name: " + fault + "}}], " +
		"backendRefs: [{name: v1, port: 80}]}"
}

// A fault that a rule refers to harms what goes by that rule, once. Where it is not there, or
// cannot be used, the rule answers with an error, and the route says so.
func TestFaultsOfARule(t *testing.T) {
	const other = `{matches: [{path: {value: /b}}], backendRefs: [{name: v1, port: 80}]}`
	const missing, invalid = "there is no FaultInjection shop/f",
		"FaultInjection shop/f cannot be used: spec: Required value: set delay, abort, or both"
	rules := httpOn("web", harmedBy("/a", "f")+", "+other)
	grpc := strings.ReplaceAll(routeOn("web", "GRPCRoute", "shop", "r", harmedBy("", "f")),
		"matches: [{path: {value: }}], ", "")
	nothing := strings.Replace(harming("f", ""), "abort: {status: 503, percent: 1}", "", 1)
	for _, c := range []struct{ name, objects, want, unresolved string }{
		{"one", harming("f", "") + rules, "v1:1 v1:0 404:0", ""},
		{"of the Service, too", harming("f", "targetRefs: [{kind: Service, name: web}]") + rules,
			"v1:1 v1:1 404:1", ""},
		{"and another of the Service",
			harming("f", "") + harming("g", "targetRefs: [{kind: Service, name: web}]") + rules,
			"v1:2 v1:1 404:1", ""},
		{"of other callers", harming("f", "from: [{namespace: third}]") + rules,
			"v1:0 v1:0 404:0", ""},
		{"none", rules, "500:0 v1:0 404:0", missing},
		{"none, of gRPC", grpc, "503:0", missing},
		{"one that does nothing", nothing + rules, "500:0 v1:0 404:0", invalid},
	} {
		reg := registryOf(t, cluster, versions)
		apply(reg, unjudged(t, c.objects)...)
		testMesh().read(reg, func(v *view) {
			a := v.compute(caller{namespace: "other"}.question(authority("web.shop")))
			var got []string
			for _, r := range a.resources[0].snapshot.GetRoute().GetHttp() {
				where, _, _ := strings.Cut(r.Backends[0].Cluster, ".")
				if answer := r.Backends[0].Answer; answer != 0 {
					where = fmt.Sprint(answer)
				}
				got = append(got, fmt.Sprint(where, ":", len(r.Faults)))
			}
			if got := strings.Join(got, " "); got != c.want {
				t.Errorf("%s: %q, want %q", c.name, got, c.want)
			}
		})
		wantResolved(t, reg, c.name, c.unresolved)
	}
}

// unjudged reads objects as a cluster's are: what is wrong in them is in their status.
func unjudged(t *testing.T, text string) (out []registry.Object) {
	t.Helper()
	for _, obj := range typedObjects(t, text) {
		kind := obj.GetObjectKind().GroupVersionKind()
		found := kube.FindKind(kind.GroupVersion().String(), kind.Kind)
		out = append(out, found.Convert(obj.(kube.Object)))
	}
	return out
}

// wantResolved looks at what a route says of what it refers to: a problem, or none.
func wantResolved(t *testing.T, reg *registry.Registry, name, problem string) {
	t.Helper()
	testMesh().read(reg, func(v *view) {
		for _, p := range v.PoliciesOn(registry.Name{Namespace: "shop", Name: "web"},
			crd.HTTPRoute, crd.GRPCRoute) {
			said := v.report(p.Ref()).Want.Parents[0].Conditions[1]
			fine := said.Status == "True"
			if fine != (problem == "") || !strings.Contains(said.Message, problem) {
				t.Errorf("%s: the route says %s, %q", name, said.Status, said.Message)
			}
		}
	})
}

// A fault names the routes that refer to it, and says of those that no Service goes by that it does
// nothing there.
func TestAFaultSaysWhoseItIs(t *testing.T) {
	reg := registryOf(t, cluster, versions, harming("f", ""), httpOn("web", harmedBy("/a", "f")),
		routeOn("none", "GRPCRoute", "shop", "g", strings.Replace(harmedBy("", "f"),
			"matches: [{path: {value: }}], ", "", 1)),
		routeOn("web", "HTTPRoute", "other", "mine", harmedBy("/a", "f")))
	testMesh().read(reg, func(v *view) {
		var got []string
		for _, p := range v.report(faultRef("shop", "f")).Want.Parents {
			got = append(got, fmt.Sprint(*p.ParentRef.Group, "/", *p.ParentRef.Kind, " ",
				p.ParentRef.Name, ": ", p.Conditions[0].Status, " ", p.Conditions[0].Message))
		}
		const group = "gateway.networking.k8s.io/"
		want := group + "GRPCRoute g: False the fault applies to nothing: no Service goes by " +
			"GRPCRoute shop/g\n" +
			group + "HTTPRoute r: True requests are harmed until 2030-01-31 12:00:00 UTC"
		if got := strings.Join(got, "\n"); got != want {
			t.Errorf("got\n%s\nwant\n%s", got, want)
		}
	})
}

// Who asked about a Service is answered anew when the fault that a rule refers to comes or goes,
// and so is whoever asked what the fault and the route should say.
func TestAFaultOfARuleTouchesItsRoute(t *testing.T) {
	reg := registryOf(t, cluster, versions)
	h, w := newHub(reg, testMesh()), newWatcher()
	route := objectsOf(t, httpOn("web", harmedBy("/a", "f")))
	fault := objectsOf(t, harming("f", ""))
	cells := map[string]*cell{
		"the caller": h.watch(question{address: "10.96.0.10:80", namespace: "other"}, w),
		"the route":  h.watch(question{report: route[0].(*registry.Policy).Ref()}, w),
		"the fault":  h.watch(question{report: faultRef("shop", "f")}, w),
	}
	owner := reg.Owner("test")
	for i, step := range []struct {
		name string
		do   registry.Change
	}{
		{"the fault comes", registry.Change{Set: fault}},
		{"the route comes", registry.Change{Set: route}},
		{"the fault goes", registry.Change{Delete: fault}},
		{"it comes back", registry.Change{Set: fault}},
		{"the route goes", registry.Change{Delete: route}},
	} {
		reg.TakeTouched()
		owner.Apply(step.do)
		touched := reg.TakeTouched()
		stale := h.stale(touched.Rest)
		for one := range h.stale(touched.Lost) {
			stale[one] = struct{}{}
		}
		for who, c := range cells {
			needs := i > 0 || who == "the fault" // at first nobody refers to it
			if _, told := stale[c]; needs && !told {
				t.Errorf("%s: %s is not told", step.name, who)
			}
			h.compute(c)
		}
	}
	for _, c := range cells {
		h.release(c, w)
	}
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
