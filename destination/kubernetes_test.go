package destination

import (
	"context"
	"encoding/json"
	"log/slog"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	dynamicfake "k8s.io/client-go/dynamic/fake"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/tulle-mesh/tulle/destination/crd"
)

// untyped is a profile as the API server gives it.
func untyped(t *testing.T, profile *crd.ServiceProfile) *unstructured.Unstructured {
	t.Helper()
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(profile)
	if err != nil {
		t.Fatal(err)
	}
	return &unstructured.Unstructured{Object: content}
}

type k8s struct {
	t       *testing.T
	state   *State
	typed   *fake.Clientset
	dynamic *dynamicfake.FakeDynamicClient
}

func startKubernetes(t *testing.T) *k8s {
	t.Helper()
	k := &k8s{t: t, state: NewState()}
	var typed []runtime.Object
	for _, obj := range objectsOf(t, cluster) {
		typed = append(typed, obj.(runtime.Object))
	}
	k.typed = fake.NewClientset(typed...)
	k.dynamic = dynamicfake.NewSimpleDynamicClientWithCustomListKinds(runtime.NewScheme(),
		map[schema.GroupVersionResource]string{crd.ServiceProfileResource(): "ServiceProfileList"})
	ctx, cancel := context.WithCancel(context.Background())
	synced, done := make(chan struct{}), make(chan error, 1)
	source := &Kubernetes{Client: k.typed, Dynamic: k.dynamic, Log: slog.New(slog.DiscardHandler)}
	go func() { done <- source.Run(ctx, k.state, func() { close(synced) }) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	select {
	case <-synced:
	case <-time.After(10 * time.Second):
		t.Fatal("not synced")
	}
	return k
}

// until waits for the state to answer as wanted.
func (k *k8s) until(want string) {
	k.t.Helper()
	deadline := time.After(10 * time.Second)
	for {
		got := ask(k.state, testMesh(), address("10.96.0.10:80"), caller{namespace: "other"})
		if got == want {
			return
		}
		select {
		case <-k.state.changed:
		case <-deadline:
			k.t.Fatalf("\n got %s\nwant %s", got, want)
		}
	}
}

func TestKubernetesFeedsTheState(t *testing.T) {
	k := startKubernetes(t)
	k.until("FOUND " + web)
	ctx := t.Context()
	if err := k.typed.CoreV1().Pods("shop").Delete(ctx, "web-1", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	k.until("FOUND web.shop.svc.cluster.local:80[" + web2 + "]")

	slices := k.typed.DiscoveryV1().EndpointSlices("shop")
	slice, err := slices.Get(ctx, "web-a", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	yes := true
	slice = slice.DeepCopy()
	slice.Endpoints[1].Conditions = discoveryv1.EndpointConditions{Ready: &yes, Terminating: &yes}
	if _, err := slices.Update(ctx, slice, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	k.until("FOUND web.shop.svc.cluster.local:80[]")
	if err := k.typed.CoreV1().Services("shop").Delete(ctx, "web", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	k.until("NOT_FOUND")
}

// accepted waits for the condition in a profile's status.
func (k *k8s) accepted(name string, want metav1.ConditionStatus, text string) crd.ServiceProfileStatus {
	k.t.Helper()
	profiles := k.dynamic.Resource(crd.ServiceProfileResource()).Namespace("shop")
	ctx, cancel := context.WithTimeout(k.t.Context(), 10*time.Second)
	defer cancel()
	watch, err := profiles.Watch(ctx, metav1.ListOptions{})
	if err != nil {
		k.t.Fatal(err)
	}
	defer watch.Stop()
	for {
		u, err := profiles.Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			k.t.Fatal(err)
		}
		status, c := statusOf(k.t, u)
		if c != nil && c.Status == want && strings.Contains(c.Message, text) && c.ObservedGeneration == u.GetGeneration() {
			return status
		}
		select {
		case <-watch.ResultChan():
		case <-ctx.Done():
			k.t.Fatalf("condition is %v, want %s with %q", c, want, text)
		}
	}
}

func statusOf(t *testing.T, u *unstructured.Unstructured) (status crd.ServiceProfileStatus, accepted *metav1.Condition) {
	t.Helper()
	data, err := json.Marshal(u.Object["status"])
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, &status); err != nil {
		t.Fatal(err)
	}
	return status, meta.FindStatusCondition(status.Conditions, crd.ConditionAccepted)
}

func TestProfilesAreJudged(t *testing.T) {
	k := startKubernetes(t)
	const name = "web.shop.svc.cluster.local"
	profiles := k.dynamic.Resource(crd.ServiceProfileResource()).Namespace("shop")
	profile, err := profileOf(untyped(t, objectsOf(t, `
{apiVersion: tulle.dev/v1alpha1, kind: ServiceProfile, metadata: {name: web.shop.svc.cluster.local, namespace: shop, generation: 1}, spec: {opaquePorts: [80],
routes: [{name: a, condition: {method: GET}, isRetryable: true}, {name: b, condition: {method: POST}}]}}`)[0].(*crd.ServiceProfile)))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := profiles.Create(t.Context(), untyped(t, profile), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	k.until(strings.ReplaceAll(strings.Replace("FOUND "+web, "FOUND", "FOUND OPAQUE", 1), web1+" "+web2, web1+" OPAQUE "+web2+" OPAQUE"))
	if s := k.accepted(name, metav1.ConditionTrue, "in use"); s.Routes != 2 || s.Retryable != 1 {
		t.Errorf("status is %v", s)
	}

	broken := untyped(t, profile)
	broken.SetGeneration(2)
	if err := unstructured.SetNestedSlice(broken.Object, []any{map[string]any{"authority": "x", "weight": "0"}}, "spec", "dstOverrides"); err != nil {
		t.Fatal(err)
	}
	if _, err := profiles.Update(t.Context(), broken, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	k.until("FOUND " + web)
	k.accepted(name, metav1.ConditionFalse, "at least one weight must be above 0")

	garbage := untyped(t, profile)
	garbage.SetGeneration(3)
	garbage.Object["spec"] = map[string]any{"routes": "none"}
	if _, err := profiles.Update(t.Context(), garbage, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	k.accepted(name, metav1.ConditionFalse, "the profile is ignored: ")
	if err := profiles.Delete(t.Context(), name, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	k.until("FOUND " + web)
}

func TestJudgeIsQuietWhereNothingChanges(t *testing.T) {
	profile := &crd.ServiceProfile{ObjectMeta: metav1.ObjectMeta{Generation: 4}}
	_, first := judge(profile, nil)
	if first == nil {
		t.Fatal("a new profile gets no status")
	}
	profile.Status = *first
	if _, again := judge(profile, nil); again != nil {
		t.Errorf("written again: %v", again)
	}
	profile.Generation++
	if _, next := judge(profile, nil); next == nil {
		t.Error("a new generation gets no status")
	}
}

func TestUpdatesThatChangeNothingAreQuiet(t *testing.T) {
	pod := objectsOf(t, cluster)[4].(*corev1.Pod)
	later := pod.DeepCopy()
	later.ResourceVersion = "2"
	if !isSame(pod, later) {
		t.Error("a new resource version counts")
	}
	later.Status.Phase = corev1.PodFailed
	if isSame(pod, later) {
		t.Error("a new phase does not count")
	}
}
