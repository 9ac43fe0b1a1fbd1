package kube

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	dynamicfake "k8s.io/client-go/dynamic/fake"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	"github.com/tulle-mesh/tulle/destination/crd"
	"github.com/tulle-mesh/tulle/destination/registry"
)

func newDynamic() *dynamicfake.FakeDynamicClient {
	return dynamicfake.NewSimpleDynamicClientWithCustomListKinds(runtime.NewScheme(),
		map[schema.GroupVersionResource]string{
			crd.ServiceProfileResource():        "ServiceProfileList",
			crd.BackendTrafficPolicyResource():  "BackendTrafficPolicyList",
			crd.RateLimitPolicyResource():       "RateLimitPolicyList",
			crd.FaultInjectionResource():        "FaultInjectionList",
			crd.TelemetryPolicyResource():       "TelemetryPolicyList",
			crd.ServiceLevelObjectiveResource(): "ServiceLevelObjectiveList",
			crd.GatewayResource(crd.HTTPRoutes): "HTTPRouteList",
			crd.GatewayResource(crd.GRPCRoutes): "GRPCRouteList",
			crd.GatewayResource(crd.TLSRoutes):  "TLSRouteList",
			crd.GatewayResource(crd.TCPRoutes):  "TCPRouteList",

			crd.GatewayResource(crd.BackendTLSPolicies): "BackendTLSPolicyList",
		})
}

func start(t *testing.T, s *Source) (reg *registry.Registry, synced <-chan struct{}) {
	t.Helper()
	reg = registry.New()
	s.Log = slog.New(slog.DiscardHandler)
	ctx, cancel := context.WithCancel(context.Background())
	read, done := make(chan struct{}), make(chan error, 1)
	go func() { done <- s.Run(ctx, reg, func() { close(read) }) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return reg, read
}

func await(t *testing.T, what string, c <-chan struct{}) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(10 * time.Second):
		t.Fatal(what + " does not come")
	}
}

// What is missing is named: where the CustomResourceDefinition is not installed, nothing else says
// why destination never becomes ready.
func TestMissingKindsAreNamed(t *testing.T) {
	client := newDynamic()
	failed := make(chan struct{}, 100)
	client.PrependReactor("list", crd.Resource,
		func(clienttesting.Action) (bool, runtime.Object, error) {
			failed <- struct{}{}
			return true, nil, errors.New("the server could not find the requested resource")
		})
	s := &Source{Client: fake.NewClientset(), Dynamic: client}
	start(t, s)
	for range 2 { // the second time, the first failure has been told
		await(t, "a list of profiles", failed)
	}
	deadline := time.Now().Add(10 * time.Second)
	for {
		err := s.Missing()
		if err != nil &&
			strings.Contains(err.Error(), "serviceprofiles.tulle.dev cannot be read") &&
			strings.Contains(err.Error(), "could not find the requested resource") {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("missing: %v", err)
		}
		await(t, "a list of profiles", failed)
	}
}

func TestNothingIsMissingInTheEnd(t *testing.T) {
	s := &Source{Client: fake.NewClientset(), Dynamic: newDynamic()}
	_, synced := start(t, s)
	await(t, "the end of reading", synced)
	if err := s.Missing(); err != nil {
		t.Error(err)
	}
}

// A cluster before Kubernetes 1.33 has no ServiceCIDRs, and only where somebody has installed the
// Gateway API are there routes: all else is read, and nothing looks broken. Where they only cannot
// be read, they are missed.
func TestAnOptionalKindMayBeAbsent(t *testing.T) {
	absent := notInstalled()
	for _, c := range []struct {
		resource, group string
		err             error
	}{
		{"servicecidrs", "networking.k8s.io", absent},
		{"httproutes", "gateway.networking.k8s.io", absent},
		{"servicecidrs", "networking.k8s.io",
			apierrors.NewForbidden(schema.GroupResource{Resource: "servicecidrs"}, "", nil)},
		{"grpcroutes", "gateway.networking.k8s.io",
			apierrors.NewForbidden(schema.GroupResource{Resource: "grpcroutes"}, "", nil)},
	} {
		client, untyped := fake.NewClientset(), newDynamic()
		failed := make(chan struct{}, 100)
		fail := func(clienttesting.Action) (bool, runtime.Object, error) {
			failed <- struct{}{}
			return true, nil, c.err
		}
		client.PrependReactor("list", c.resource, fail)
		untyped.PrependReactor("list", c.resource, fail)
		s := &Source{Client: client, Dynamic: untyped}
		_, synced := start(t, s)
		for range 2 { // the second time, the first failure has been told
			await(t, "a list of "+c.resource, failed)
		}
		if !apierrors.IsNotFound(c.err) {
			missing(t, s, c.resource+"."+c.group+" cannot be read")
			continue
		}
		await(t, "the end of reading", synced)
		if err := s.Missing(); err != nil {
			t.Errorf("missing: %v", err)
		}
		nothingFails(t, s)
	}
}

// notInstalled is what the API server says of a kind that it does not have.
func notInstalled() error {
	return apierrors.NewGenericServerResponse(404, "list", schema.GroupResource{}, "", "", 0, true)
}

// nothingFails says which kinds are said to fail.
func nothingFails(t *testing.T, s *Source) {
	t.Helper()
	for _, w := range s.Watches() {
		if w.Failing {
			t.Errorf("%s is said to fail", w.Resource)
		}
	}
}

// Who installs the Gateway API while destination runs has its routes obeyed.
func TestAKindMayComeLater(t *testing.T) {
	client := newDynamic()
	var installed atomic.Bool
	failed := make(chan struct{}, 100)
	client.PrependReactor("list", crd.HTTPRoutes,
		func(clienttesting.Action) (bool, runtime.Object, error) {
			if installed.Load() {
				return false, nil, nil
			}
			failed <- struct{}{}
			return true, nil, notInstalled()
		})
	reg, _ := start(t, &Source{Client: fake.NewClientset(), Dynamic: client})
	await(t, "a list of routes", failed) // soon: later ones are further and further apart
	route := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute",
		"metadata": map[string]any{"namespace": "shop", "name": "r"},
		"spec": map[string]any{"parentRefs": []any{
			map[string]any{"group": "", "kind": "Service", "name": "web"},
			map[string]any{"name": "gate"},
		}},
		"status": map[string]any{"parents": []any{
			map[string]any{"controllerName": "a.example/z",
				"parentRef": map[string]any{"name": "w"}},
			map[string]any{"controllerName": "tulle.dev/mesh",
				"parentRef": map[string]any{"name": "web"}},
		}},
	}}
	if _, err := client.Resource(crd.GatewayResource(crd.HTTPRoutes)).Namespace("shop").Create(
		t.Context(), route, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	installed.Store(true)
	await(t, "the route", reg.Changed())
	reg.Read(func(v *registry.View) {
		all := v.PoliciesOn(registry.Name{Namespace: "shop", Name: "web"})
		if len(all) != 1 || all[0].Kind != "HTTPRoute" || len(all[0].Targets) != 1 {
			t.Fatalf("on shop/web are %+v", all)
		}
		ours := all[0].Reported.Parents
		if len(ours) != 1 || ours[0].ParentRef.Name != "web" {
			t.Errorf("the route says of us %+v", ours)
		}
	})
}

// missing waits until a source says that this is missing.
func missing(t *testing.T, s *Source, want string) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	deadline := time.Now().Add(10 * time.Second)
	for {
		err := s.Missing()
		if err != nil && strings.Contains(err.Error(), want) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("missing: %v", err)
		}
		<-tick.C
	}
}

// Updates that change nothing we keep touch nothing: kubelets report on every pod all the time.
func TestUpdatesThatChangeNothingAreQuiet(t *testing.T) {
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web-1",
		ResourceVersion: "1"}}
	client := fake.NewClientset(pod)
	s := &Source{Client: client, Dynamic: newDynamic()}
	reg, synced := start(t, s)
	await(t, "the end of reading", synced)
	reg.TakeTouched()
	select {
	case <-reg.Changed():
	default:
	}

	quiet := pod.DeepCopy()
	quiet.ResourceVersion = "2"
	quiet.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady}}
	loud := quiet.DeepCopy()
	loud.ResourceVersion = "3"
	loud.Status.Phase = corev1.PodFailed
	for _, next := range []*corev1.Pod{quiet, loud} {
		if _, err := client.CoreV1().Pods("shop").UpdateStatus(t.Context(), next,
			metav1.UpdateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	await(t, "a change", reg.Changed())
	reg.Read(func(v *registry.View) {
		if w := v.Workload(registry.Name{Namespace: "shop", Name: "web-1"}); w == nil || !w.Ended {
			t.Errorf("after the first change that counts the pod is %+v", w)
		}
	})
}

// How old the newest event of each kind is, can be seen.
func TestAgeOfEventsIsShown(t *testing.T) {
	before := time.Now()
	s := &Source{Client: fake.NewClientset(&corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n1"}}),
		Dynamic: newDynamic()}
	_, synced := start(t, s)
	await(t, "the end of reading", synced)
	watches := map[string]registry.Watch{}
	for _, w := range s.Watches() {
		watches[w.Resource] = w
	}
	if got := watches["nodes"].Last; got.Before(before) {
		t.Errorf("nodes were last heard of at %v", got)
	}
	if w, ok := watches["serviceprofiles.tulle.dev"]; !ok || !w.Last.IsZero() {
		t.Errorf("profiles were last heard of at %v, though there are none", w.Last)
	}
	if w, ok := watches["pods"]; !ok || w.Failing {
		t.Errorf("pods fail: %v, %v", w.Failing, ok)
	}
}

// Selectors can be evaluated against whatever the registry keeps.
func TestLabelsAreKept(t *testing.T) {
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "web-1",
		Labels: map[string]string{"app": "web", "tier": "front"}}}
	w := convertPod(pod)
	for text, want := range map[string]bool{
		"app=web": true, "app in (web, db),tier": true, "app!=web": false, "!tier": false,
		"other": false,
	} {
		selector, err := labels.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		if got := selector.Matches(w.Labels); got != want {
			t.Errorf("%s matches: %v", text, got)
		}
	}
}

// A row of Kinds is all that a kind needs, so each must be whole.
func TestKindsAreWhole(t *testing.T) {
	for _, k := range Kinds() {
		if FindKind(k.APIVersion(), k.Kind).Resource != k.Resource {
			t.Errorf("%s is not found by its name", k.Kind)
		}
		obj := k.New()
		obj.SetName("a")
		converted := k.Convert(obj)
		if got := fmt.Sprint(converted.Key()); got != "/a" {
			t.Errorf("%s becomes %s", k.Kind, got)
		}
		kept, err := k.record(obj)
		if err != nil {
			t.Fatal(err)
		}
		if again, err := k.record(kept); err != nil || again != kept {
			t.Errorf("%s: a record that is converted again is %v, %v", k.Kind, again, err)
		}
	}
}

// Who needs one kind asks for no other: it may not read them.
func TestOneKindAlone(t *testing.T) {
	client, untyped := fake.NewClientset(), newDynamic()
	s := &Source{Client: client, Dynamic: untyped, Only: crd.ServiceLevelObjectiveKind}
	_, synced := start(t, s)
	await(t, "the end of reading", synced)
	all := slices.Concat(client.Actions(), untyped.Actions())
	for _, a := range all {
		if a.GetResource() != crd.ServiceLevelObjectiveResource() {
			t.Errorf("it asks for %s", a.GetResource())
		}
	}
	if len(all) == 0 || len(s.Watches()) != 1 {
		t.Errorf("it asks %d times, and watches %v", len(all), s.Watches())
	}
}
