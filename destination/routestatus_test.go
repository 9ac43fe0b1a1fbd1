package destination

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	clienttesting "k8s.io/client-go/testing"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/tulle-mesh/tulle/destination/crd"
)

// routesOf are the routes of a kind in namespace shop.
func (k *k8s) routesOf(resource string) dynamic.ResourceInterface {
	return k.dynamic.Resource(crd.GatewayResource(resource)).Namespace("shop")
}

// putRoute creates a route, or updates it and counts the edit.
func (k *k8s) putRoute(resource, text string) {
	k.t.Helper()
	k.put(k.routesOf(resource), text)
}

func (k *k8s) put(in dynamic.ResourceInterface, text string) {
	k.t.Helper()
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(typedObjects(k.t, text)[0])
	if err != nil {
		k.t.Fatal(err)
	}
	u := &unstructured.Unstructured{Object: content}
	has, err := in.Get(k.t.Context(), u.GetName(), metav1.GetOptions{})
	if err != nil {
		u.SetGeneration(1)
		_, err = in.Create(k.t.Context(), u, metav1.CreateOptions{})
	} else {
		u.SetGeneration(has.GetGeneration() + 1)
		u.Object["status"] = has.Object["status"]
		_, err = in.Update(k.t.Context(), u, metav1.UpdateOptions{})
	}
	if err != nil {
		k.t.Fatal(err)
	}
}

// parents waits until all that a route says of its parents is in the lines, one for each parent:
// CONTROLLER SERVICE[:PORT] and then TYPE=STATUS(REASON) of each condition but Programmed.
func (k *k8s) parents(resource, name string, want ...string) gatewayv1.RouteStatus {
	k.t.Helper()
	ctx, cancel := context.WithTimeout(k.t.Context(), 10*time.Second)
	defer cancel()
	watch, err := k.routesOf(resource).Watch(ctx, metav1.ListOptions{})
	if err != nil {
		k.t.Fatal(err)
	}
	defer watch.Stop()
	for {
		status, got := k.said(ctx, resource, name)
		if got == strings.Join(want, "\n") {
			return status
		}
		select {
		case <-watch.ResultChan():
		case <-ctx.Done():
			k.t.Fatalf("got\n%s\nwant\n%s", got, strings.Join(want, "\n"))
		}
	}
}

func (k *k8s) said(ctx context.Context, resource, name string) (gatewayv1.RouteStatus, string) {
	k.t.Helper()
	u, err := k.routesOf(resource).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		k.t.Fatal(err)
	}
	var route gatewayv1.HTTPRoute // of a GRPCRoute the status is the same
	content := map[string]any{"status": u.Object["status"]}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(content, &route); err != nil {
		k.t.Fatal(err)
	}
	var lines []string
	for _, p := range route.Status.Parents {
		line := string(p.ControllerName) + " " + string(p.ParentRef.Name)
		if p.ParentRef.Port != nil {
			line += fmt.Sprintf(":%d", *p.ParentRef.Port)
		}
		for _, c := range p.Conditions {
			if c.Type != "Programmed" {
				line += fmt.Sprintf(" %s=%s(%s)", c.Type, c.Status, c.Reason)
			}
			if p.ControllerName == "tulle.dev/mesh" && c.ObservedGeneration != u.GetGeneration() {
				line += fmt.Sprintf(" of edit %d", c.ObservedGeneration)
			}
		}
		lines = append(lines, line)
	}
	return route.Status.RouteStatus, strings.Join(lines, "\n")
}

const accepted = " Accepted=True(Accepted) ResolvedRefs=True(ResolvedRefs)"

func parentRefs(refs, rules string) string {
	return "{apiVersion: gateway.networking.k8s.io/v1, kind: HTTPRoute, " +
		"metadata: {name: r, namespace: shop}, spec: {parentRefs: [" + refs + "], rules: [" +
		rules + "]}}"
}

// What the mesh says of a route is beside what others say, of its own parents alone, and written
// only where it is new.
func TestStatusOfRoutes(t *testing.T) {
	k := startKubernetes(t)
	const (
		gateway = "{name: gate}"
		web     = `{group: "", kind: Service, name: web}`
		none    = `{group: "", kind: Service, name: none}`
		port    = `{group: core, kind: Service, name: web, port: 81}`
		db      = `{group: "", kind: Service, name: db}`
		fine    = "{backendRefs: [{name: web, port: 80}]}"
	)
	k.putRoute(crd.HTTPRoutes, parentRefs(gateway+", "+web, fine))
	k.parents(crd.HTTPRoutes, "r", "tulle.dev/mesh web"+accepted)

	theirs := []any{
		map[string]any{"controllerName": "a.example/z", "parentRef": map[string]any{"name": "gate"},
			"conditions": []any{}},
	}
	u, err := k.routesOf(crd.HTTPRoutes).Get(t.Context(), "r", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	ours, _, err := unstructured.NestedSlice(u.Object, "status", "parents")
	if err == nil {
		err = unstructured.SetNestedSlice(u.Object, append(theirs, ours...), "status", "parents")
	}
	if err == nil {
		_, err = k.routesOf(crd.HTTPRoutes).Update(t.Context(), u, metav1.UpdateOptions{})
	}
	if err != nil {
		t.Fatal(err)
	}
	before := k.writes()
	k.putRoute(crd.HTTPRoutes, parentRefs(
		strings.Join([]string{web, gateway, none, port, db}, ", "), fine))
	k.parents(crd.HTTPRoutes, "r", "a.example/z gate", "tulle.dev/mesh web"+accepted,
		"tulle.dev/mesh none Accepted=False(NoMatchingParent) ResolvedRefs=True(ResolvedRefs)",
		"tulle.dev/mesh web:81 Accepted=False(NoMatchingParent) ResolvedRefs=True(ResolvedRefs)",
		"tulle.dev/mesh db Accepted=False(NoMatchingParent) ResolvedRefs=True(ResolvedRefs)")
	if n := k.writes() - before; n != 1 {
		t.Errorf("%d writes of one edit", n)
	}

	k.putRoute(crd.HTTPRoutes, parentRefs(gateway+", "+web, `{filters: [{type: ExternalAuth}]}, `+
		`{backendRefs: [{name: web, port: 80}, {name: gone, port: 80}]}`))
	status := k.parents(crd.HTTPRoutes, "r", "a.example/z gate", "tulle.dev/mesh web "+
		"Accepted=True(Accepted) ResolvedRefs=False(BackendNotFound) "+
		"PartiallyInvalid=True(UnsupportedValue)")
	for kind, want := range map[string]string{
		"ResolvedRefs":     "no Service with such a port is called gone.shop.svc.cluster.local:80",
		"PartiallyInvalid": "Dropped Rule: rule 0: filter ExternalAuth is not supported",
	} {
		c := meta.FindStatusCondition(status.Parents[1].Conditions, kind)
		if !strings.Contains(c.Message, want) {
			t.Errorf("%s: %q, want %q in it", kind, c.Message, want)
		}
	}
	k.putRoute(crd.HTTPRoutes, parentRefs(web, `{filters: [{type: ExternalAuth}]}`))
	k.parents(crd.HTTPRoutes, "r", "a.example/z gate", "tulle.dev/mesh web "+
		"Accepted=False(UnsupportedValue) ResolvedRefs=True(ResolvedRefs)")
	for ref, reason := range map[string]string{
		"{name: web, port: 80}":   "True(ResolvedRefs)",
		"{name: gone, port: 80}":  "False(BackendNotFound)",
		"{name: web, port: 79}":   "False(BackendNotFound)",
		"{kind: Bucket, name: b}": "False(InvalidKind)",
	} {
		k.putRoute(crd.HTTPRoutes, parentRefs(web, `{filters: [{type: RequestMirror, `+
			`requestMirror: {backendRef: `+ref+`}}], backendRefs: [{name: web, port: 80}]}`))
		k.parents(crd.HTTPRoutes, "r", "a.example/z gate",
			"tulle.dev/mesh web Accepted=True(Accepted) ResolvedRefs="+reason)
	}
	k.putRoute(crd.HTTPRoutes, parentRefs(web, `{backendRefs: [{name: db, port: 5432}]}`))
	k.parents(crd.HTTPRoutes, "r", "a.example/z gate", "tulle.dev/mesh web "+
		"Accepted=True(Accepted) ResolvedRefs=False(UnsupportedProtocol)")
	k.putRoute(crd.HTTPRoutes, parentRefs(gateway, fine))
	k.parents(crd.HTTPRoutes, "r", "a.example/z gate")
}

// Of two kinds one has a port, until it goes. A profile says that a route has taken its place.
func TestStatusOfWhoLost(t *testing.T) {
	k := startKubernetes(t)
	const profile = "web.shop.svc.cluster.local"
	k.create(profile, "spec: {}")
	k.accepted(profile, metav1.ConditionTrue, "the profile is in use")
	fine := parentRefs(`{group: "", kind: Service, name: web}`,
		"{backendRefs: [{name: web, port: 80}]}")
	k.putRoute(crd.HTTPRoutes, fine)
	k.parents(crd.HTTPRoutes, "r", "tulle.dev/mesh web"+accepted)
	k.accepted(profile, metav1.ConditionTrue,
		"its routes are not: port 80 has those of HTTPRoute shop/r")
	k.putRoute(crd.GRPCRoutes, strings.Replace(fine, "HTTPRoute", "GRPCRoute", 1))
	k.parents(crd.GRPCRoutes, "r", "tulle.dev/mesh web"+accepted)
	k.parents(crd.HTTPRoutes, "r", "tulle.dev/mesh web Accepted=False(Conflicted) "+
		"ResolvedRefs=True(ResolvedRefs)")
	err := k.routesOf(crd.GRPCRoutes).Delete(t.Context(), "r", metav1.DeleteOptions{})
	if err != nil {
		t.Fatal(err)
	}
	k.parents(crd.HTTPRoutes, "r", "tulle.dev/mesh web"+accepted)
}

// A status that somebody else writes at the same time is read again. A route of no Service is left
// alone.
func TestStatusOfRoutesIsNotOverwritten(t *testing.T) {
	k := startKubernetes(t)
	patches := make(chan string, 10)
	k.dynamic.PrependReactor("patch", crd.HTTPRoutes,
		func(action clienttesting.Action) (bool, runtime.Object, error) {
			patches <- string(action.(clienttesting.PatchAction).GetPatch())
			if len(patches) > 1 {
				return false, nil, nil
			}
			return true, nil, apierrors.NewConflict(
				schema.GroupResource{Resource: crd.HTTPRoutes}, "r", errors.New("too late"))
		})
	const fine = "{backendRefs: [{name: web, port: 80}]}"
	k.putRoute(crd.HTTPRoutes, strings.Replace(parentRefs("{name: gate}", fine), "name: r,",
		"name: gateways,", 1))
	k.putRoute(crd.HTTPRoutes, parentRefs(`{group: "", kind: Service, name: web}`, fine))
	k.parents(crd.HTTPRoutes, "r", "tulle.dev/mesh web"+accepted)
	if len(patches) != 2 {
		t.Errorf("%d patches, want one that is refused, and another", len(patches))
	}
	if patch := <-patches; !strings.Contains(patch, `"resourceVersion":`) {
		t.Errorf("the patch says no version: %s", patch)
	}
}
