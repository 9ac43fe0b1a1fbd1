package canary

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	dynamicfake "k8s.io/client-go/dynamic/fake"
	clienttesting "k8s.io/client-go/testing"
	"sigs.k8s.io/yaml"

	"github.com/tulle-mesh/tulle/destination/crd"
)

const webRoute = `
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: web, namespace: shop, generation: 1, annotations: {theirs: kept}}
spec:
  parentRefs:
  - {group: "", kind: Service, name: web, port: 80}
  rules:
  - name: beta
    backendRefs: [{name: web-v2, port: 80}]
  - name: all
    timeouts: {request: 2s}
    backendRefs:
    - {name: web-v1, port: 80, weight: 1}
    - {name: web-v2, port: 8080, weight: 0, filters: [{type: theirs}]}
`

// cluster is an API server with routes, and a mesh that accepts them.
type cluster struct {
	t       *testing.T
	client  *dynamicfake.FakeDynamicClient
	refuses string // why the mesh does not obey; "": it does
	silent  bool   // it says nothing
	patched int
}

func newCluster(t *testing.T, route string) *cluster {
	t.Helper()
	c := &cluster{t: t, client: dynamicfake.NewSimpleDynamicClientWithCustomListKinds(
		runtime.NewScheme(), map[schema.GroupVersionResource]string{
			crd.GatewayResource(crd.HTTPRoutes): "HTTPRouteList",
		})}
	object := &unstructured.Unstructured{}
	if err := yaml.Unmarshal([]byte(route), &object.Object); err != nil {
		t.Fatal(err)
	}
	if err := c.client.Tracker().Create(crd.GatewayResource(crd.HTTPRoutes), object,
		object.GetNamespace()); err != nil {
		t.Fatal(err)
	}
	c.client.PrependReactor("patch", crd.HTTPRoutes, c.patch)
	return c
}

func (c *cluster) routes() dynamic.ResourceInterface {
	return c.client.Resource(crd.GatewayResource(crd.HTTPRoutes)).Namespace("shop")
}

// patch applies a patch as the API server and destination do: a new generation, and a status that
// has seen it.
func (c *cluster) patch(action clienttesting.Action) (bool, runtime.Object, error) {
	c.patched++
	patch := action.(clienttesting.PatchActionImpl)
	if patch.PatchOptions.FieldManager != fieldManager {
		c.t.Errorf("field manager %q", patch.PatchOptions.FieldManager)
	}
	_, object, err := clienttesting.ObjectReaction(c.client.Tracker())(action)
	if err != nil {
		return true, nil, apierrors.NewGenericServerResponse(422, "patch", schema.GroupResource{},
			"web", err.Error(), 0, false)
	}
	route := object.(*unstructured.Unstructured)
	route.SetGeneration(route.GetGeneration() + 1)
	if !c.silent {
		c.accept(route)
	}
	return true, route, c.client.Tracker().Update(crd.GatewayResource(crd.HTTPRoutes), route,
		"shop")
}

func (c *cluster) accept(route *unstructured.Unstructured) {
	status, reason := "True", "Accepted"
	if c.refuses != "" {
		status, reason = "False", c.refuses
	}
	condition := func(generation int64) []any {
		return []any{map[string]any{"type": "Accepted", "status": status, "reason": reason,
			"observedGeneration": generation, "message": "because",
			"lastTransitionTime": "2026-01-01T00:00:00Z"}}
	}
	parents := []any{
		map[string]any{"controllerName": "example.org/other", "parentRef": map[string]any{
			"name": "gateway"}, "conditions": condition(route.GetGeneration() + 7)},
		map[string]any{"controllerName": "tulle.dev/mesh", "parentRef": map[string]any{
			"name": "web"}, "conditions": condition(route.GetGeneration())},
	}
	if err := unstructured.SetNestedSlice(route.Object, parents, "status", "parents"); err != nil {
		c.t.Error(err)
	}
}

// edit changes the route as somebody else would.
func (c *cluster) edit(change func(map[string]any)) {
	c.t.Helper()
	gvr := crd.GatewayResource(crd.HTTPRoutes)
	object, err := c.client.Tracker().Get(gvr, "shop", "web")
	if err != nil {
		c.t.Fatal(err)
	}
	route := object.(*unstructured.Unstructured).DeepCopy()
	change(route.Object)
	if err := c.client.Tracker().Update(gvr, route, "shop"); err != nil {
		c.t.Fatal(err)
	}
}

func (c *cluster) find(choice Choice) *Route {
	c.t.Helper()
	r, err := Find(c.t.Context(), c.routes(), "web", choice)
	if err != nil {
		c.t.Fatal(err)
	}
	return r
}

// backends is what the second rule's backends are now.
func (c *cluster) backends() string {
	c.t.Helper()
	object, err := c.client.Tracker().Get(crd.GatewayResource(crd.HTTPRoutes), "shop", "web")
	if err != nil {
		c.t.Fatal(err)
	}
	rules, _, _ := unstructured.NestedSlice(object.(*unstructured.Unstructured).Object, "spec",
		"rules")
	text, err := yaml.Marshal(rules[1].(map[string]any)["backendRefs"])
	if err != nil {
		c.t.Fatal(err)
	}
	return string(text)
}

func TestTheTwoVersions(t *testing.T) {
	r := newCluster(t, webRoute).find(Choice{})
	if r.Service != (Backend{"shop", "web", 0}) || r.Stable != (Backend{"shop", "web-v1", 80}) ||
		r.Canary != (Backend{"shop", "web-v2", 8080}) {
		t.Errorf("%+v", r)
	}
	for name, want := range map[string]bool{
		"web-v2.shop.svc.cluster.local:8080": true, "web-v2.shop.svc.corp.test:8080": true,
		"web-v2.shop.svc.cluster.local:80": false, "web-v2.bank.svc.cluster.local:8080": false,
		"a.web-v2.shop.svc.cluster.local:8080": false, "10.1.2.3:8080": false,
	} {
		if r.Canary.Has(name) != want {
			t.Errorf("%s: %v", name, !want)
		}
	}
	turned := newCluster(t, webRoute).find(Choice{Rule: "1", Canary: "web-v1"})
	if turned.Canary.Name != "web-v1" || turned.Stable.Name != "web-v2" {
		t.Errorf("%+v", turned)
	}
}

func TestRoutesThatAreNoCanary(t *testing.T) {
	for _, c := range []struct {
		old, new string
		choice   Choice
		want     string
	}{
		{choice: Choice{Rule: "beta"}, want: `0 rules with two backends that are called "beta"`},
		{choice: Choice{Canary: "web-v3"}, want: "the backends web-v1 and web-v2, and not web-v3"},
		{old: "{name: web-v2, port: 8080,", new: "{name: web-v1, port: 80,", want: "both backends"},
		{old: "  - name: beta\n", new: "  - backendRefs: [{name: a}, {name: b}]\n  - name: beta\n",
			want: "2 rules with two backends"},
		{old: `group: "", kind: Service, `, want: "0 Services as parents"},
		{old: "name: web, namespace", new: "name: other, namespace", want: "not found"},
	} {
		cluster := newCluster(t, strings.Replace(webRoute, c.old, c.new, 1))
		_, err := Find(t.Context(), cluster.routes(), "web", c.choice)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: %v", c.want, err)
		}
	}
}

func TestOnlyTheWeightsChange(t *testing.T) {
	c := newCluster(t, webRoute)
	r := c.find(Choice{})
	if err := r.Set(t.Context(), 0, 10); err != nil {
		t.Fatal(err)
	}
	const want = `- name: web-v1
  port: 80
  weight: 90
- filters:
  - type: theirs
  name: web-v2
  port: 8080
  weight: 10
`
	if got := c.backends(); got != want {
		t.Errorf("backends:\n%s\nwant\n%s", got, want)
	}
	if weight, err := r.Weight(t.Context()); weight != 10 || err != nil {
		t.Errorf("%d %%, %v", weight, err)
	}
	if err := r.Set(t.Context(), 0, 20); !errors.Is(err, ErrTaken) || c.patched != 1 {
		t.Errorf("with other weights than expected: %v, %d patches", err, c.patched)
	}
}

// Without a weight a backend has the Gateway API's, which is 1.
func TestWeightsThatNobodyWrote(t *testing.T) {
	c := newCluster(t, strings.NewReplacer(", weight: 1}", "}", ", weight: 0,", ",").
		Replace(webRoute))
	r := c.find(Choice{})
	if weight, err := r.Weight(t.Context()); weight != 50 || err != nil {
		t.Errorf("%d %%, %v", weight, err)
	}
	if err := r.Set(t.Context(), 50, 60); err != nil {
		t.Error(err)
	}
	if weight, err := r.Weight(t.Context()); weight != 60 || err != nil {
		t.Errorf("%d %%, %v", weight, err)
	}
}

// Somebody writes between the reading and the patch: what they wrote is not overwritten if it is
// the weights, and does no harm if it is something else.
func TestOthersWriteMeanwhile(t *testing.T) {
	c := newCluster(t, webRoute)
	r := c.find(Choice{})
	once := func(change func(map[string]any)) {
		done := false
		c.client.PrependReactor("patch", crd.HTTPRoutes,
			func(clienttesting.Action) (bool, runtime.Object, error) {
				if !done {
					done = true
					c.edit(change)
				}
				return false, nil, nil
			})
	}
	once(func(route map[string]any) {
		unstructured.SetNestedField(route, "theirs", "metadata", "labels", "new")
	})
	if err := r.Set(t.Context(), 0, 10); err != nil {
		t.Errorf("a label: %v", err)
	}
	once(func(route map[string]any) {
		rules, _, _ := unstructured.NestedSlice(route, "spec", "rules")
		refs := rules[1].(map[string]any)["backendRefs"].([]any)
		refs[0].(map[string]any)["weight"] = int64(55)
		unstructured.SetNestedSlice(route, rules, "spec", "rules")
	})
	if err := r.Set(t.Context(), 10, 20); !errors.Is(err, ErrTaken) {
		t.Errorf("the weights: %v", err)
	}
	if got := c.backends(); !strings.Contains(got, "weight: 55") {
		t.Errorf("they were overwritten:\n%s", got)
	}
}

func TestABusyServerIsAskedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, webRoute)
		r := c.find(Choice{})
		busy := 3
		c.client.PrependReactor("patch", crd.HTTPRoutes,
			func(clienttesting.Action) (bool, runtime.Object, error) {
				busy--
				return busy >= 0, nil, apierrors.NewTooManyRequestsError("later")
			})
		if err := r.Set(t.Context(), 0, 10); err != nil || busy >= 0 {
			t.Errorf("%v; busy %d", err, busy)
		}
		c.client.PrependReactor("patch", crd.HTTPRoutes,
			func(clienttesting.Action) (bool, runtime.Object, error) {
				busy = 100
				return true, nil, apierrors.NewForbidden(schema.GroupResource{}, "web",
					errors.New("no"))
			})
		begin := time.Now()
		if err := r.Set(t.Context(), 10, 20); !apierrors.IsForbidden(err) ||
			time.Since(begin) > 0 {
			t.Errorf("forbidden: %v after %s", err, time.Since(begin))
		}
	})
}

func TestItWaitsForTheMesh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, webRoute)
		r := c.find(Choice{})
		c.silent = true
		begin := time.Now()
		time.AfterFunc(5*time.Second, func() {
			c.edit(func(route map[string]any) {
				c.accept(&unstructured.Unstructured{Object: route})
			})
		})
		if err := r.Set(t.Context(), 0, 10); err != nil ||
			time.Since(begin) < 5*time.Second {
			t.Errorf("%v after %s", err, time.Since(begin))
		}
		ctx, cancel := context.WithTimeout(t.Context(), settleTimeout)
		defer cancel()
		// what is there is of the generation before
		err := r.Set(ctx, 10, 20)
		if err == nil || !strings.Contains(err.Error(), "no word of tulle.dev/mesh on generation") {
			t.Errorf("%v", err)
		}
		c.silent, c.refuses = false, "UnsupportedValue"
		err = r.Set(t.Context(), 20, 30)
		if err == nil || !strings.Contains(err.Error(), "UnsupportedValue: because") {
			t.Errorf("%v", err)
		}
	})
}
