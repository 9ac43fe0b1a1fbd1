package destination

import (
	"context"
	"encoding/json"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	dynamicfake "k8s.io/client-go/dynamic/fake"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	"github.com/tulle-mesh/tulle/destination/crd"
	"github.com/tulle-mesh/tulle/destination/kube"
	"github.com/tulle-mesh/tulle/destination/registry"
	"github.com/tulle-mesh/tulle/destination/status"
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

// typedObjects reads documents as Kubernetes' own types.
func typedObjects(t *testing.T, text string) (out []runtime.Object) {
	t.Helper()
	docs, err := crd.Documents("test.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	for i := range docs {
		obj := kube.FindKind(docs[i].APIVersion, docs[i].Kind).New()
		if err := docs[i].Decode(obj); err != nil {
			t.Fatal(err)
		}
		out = append(out, obj)
	}
	return out
}

// k8s is an API server, and a destination that reads it.
type k8s struct {
	t *testing.T
	*Destination
	stop    func()
	typed   *fake.Clientset
	dynamic *dynamicfake.FakeDynamicClient
}

func startKubernetes(t *testing.T) *k8s {
	t.Helper()
	k := &k8s{t: t, typed: fake.NewClientset(typedObjects(t, cluster)...)}
	k.dynamic = dynamicfake.NewSimpleDynamicClientWithCustomListKinds(runtime.NewScheme(),
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
	k.dynamic.PrependReactor("patch", crd.Resource, applyStatus(k.dynamic))
	k.Destination, k.stop = k.replica("one")
	return k
}

// replica is one more destination, until the test ends or stop is called.
func (k *k8s) replica(name string) (d *Destination, stop func()) {
	k.t.Helper()
	log := slog.New(slog.DiscardHandler)
	d = New(Config{
		Mesh: *testMesh(), Log: log,
		Source: &kube.Source{Client: k.typed, Dynamic: k.dynamic, Log: log},
		Status: &status.Writer{Client: k.typed, Dynamic: k.dynamic, Namespace: "tulle",
			Identity: name, Log: log},
	})
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		if err := d.cfg.Source.Run(ctx, d.registry, func() { close(d.synced) }); err != nil {
			k.t.Error(err)
		}
	})
	running.Go(func() { d.hub.run(ctx) })
	running.Go(func() {
		if err := d.writeStatus(ctx); err != nil {
			k.t.Error(err)
		}
	})
	stop = sync.OnceFunc(func() {
		cancel()
		running.Wait()
	})
	k.t.Cleanup(stop)
	select {
	case <-d.synced:
	case <-time.After(10 * time.Second):
		k.t.Fatal("not synced: ", d.cfg.Source.Missing())
	}
	return d, stop
}

// applyStatus does server-side apply as far as a status needs it, which the fake client does not:
// conditions are merged by type, other fields are set.
func applyStatus(client *dynamicfake.FakeDynamicClient) clienttesting.ReactionFunc {
	return func(action clienttesting.Action) (bool, runtime.Object, error) {
		patch := action.(clienttesting.PatchAction)
		if patch.GetPatchType() != types.ApplyPatchType || patch.GetSubresource() != "status" {
			return false, nil, nil
		}
		obj, err := client.Tracker().Get(patch.GetResource(), patch.GetNamespace(), patch.GetName())
		if err != nil {
			return true, nil, err
		}
		var applied struct{ Status crd.ServiceProfileStatus }
		if err := json.Unmarshal(patch.GetPatch(), &applied); err != nil {
			return true, nil, err
		}
		u := obj.(*unstructured.Unstructured).DeepCopy()
		has := &crd.ServiceProfile{}
		if content, ok := u.Object["status"].(map[string]any); ok {
			err := runtime.DefaultUnstructuredConverter.FromUnstructured(content, &has.Status)
			if err != nil {
				return true, nil, err
			}
		}
		for _, c := range applied.Status.Conditions {
			meta.SetStatusCondition(&has.Status.Conditions, c)
		}
		has.Status.Routes, has.Status.Retryable = applied.Status.Routes, applied.Status.Retryable
		u.Object["status"], err = runtime.DefaultUnstructuredConverter.ToUnstructured(&has.Status)
		if err != nil {
			return true, nil, err
		}
		return true, u, client.Tracker().Update(patch.GetResource(), u, patch.GetNamespace())
	}
}

// until waits for the state to answer as wanted.
func (k *k8s) until(want string) {
	k.t.Helper()
	deadline := time.After(10 * time.Second)
	w := newWatcher()
	c := k.hub.watch(question{address: "10.96.0.10:80", namespace: "other"}, w)
	defer k.hub.release(c, w)
	service := registry.Name{Namespace: "shop", Name: "web"}
	endpoints := k.hub.watch(question{cluster: clusterRef{service: service, port: 80}}, w)
	defer k.hub.release(endpoints, w)
	for {
		got := ask(k.registry, testMesh(), address("10.96.0.10:80"), caller{namespace: "other"})
		if got == want {
			return
		}
		select {
		case <-w.wake:
		case <-deadline:
			k.t.Fatalf("\n got %s\nwant %s", got, want)
		}
	}
}

func TestKubernetesFeedsTheState(t *testing.T) {
	k := startKubernetes(t)
	k.until("FOUND " + web)
	ctx := t.Context()
	if err := k.typed.CoreV1().Pods("shop").Delete(ctx, "web-1",
		metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	k.until("FOUND web.shop.svc.cluster.local:80[" + web2 + "]")

	slices := k.typed.DiscoveryV1().EndpointSlices("shop")
	slice, err := slices.Get(ctx, "web-a", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	yes, no := true, false
	slice = slice.DeepCopy()
	slice.Endpoints[1].Conditions = discoveryv1.EndpointConditions{Ready: &no, Terminating: &yes}
	if _, err := slices.Update(ctx, slice, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	k.until("FOUND web.shop.svc.cluster.local:80[]")
	if err := k.typed.CoreV1().Services("shop").Delete(ctx, "web",
		metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	k.until("NOT_FOUND")
}

// accepted waits for the condition in a profile's status.
func (k *k8s) accepted(
	name string, want metav1.ConditionStatus, text string,
) crd.ServiceProfileStatus {
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
		if c != nil && c.Status == want && strings.Contains(c.Message, text) &&
			c.ObservedGeneration == u.GetGeneration() {
			return status
		}
		select {
		case <-watch.ResultChan():
		case <-ctx.Done():
			k.t.Fatalf("condition is %v, want %s with %q", c, want, text)
		}
	}
}

func statusOf(
	t *testing.T, u *unstructured.Unstructured,
) (status crd.ServiceProfileStatus, accepted *metav1.Condition) {
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
	profile := typedObjects(t, `
{apiVersion: tulle.dev/v1alpha1, kind: ServiceProfile, `+
		`metadata: {name: web.shop.svc.cluster.local, namespace: shop, generation: 1}, `+
		`spec: {opaquePorts: [80],
routes: [{name: a, condition: {method: GET}, isRetryable: true}, `+
		`{name: b, condition: {method: POST}}]}}`)[0].(*crd.ServiceProfile)
	if _, err := profiles.Create(t.Context(), untyped(t, profile),
		metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	k.until(strings.ReplaceAll(strings.Replace("FOUND "+web, "FOUND", "FOUND OPAQUE", 1),
		web1+" "+web2, web1+" OPAQUE "+web2+" OPAQUE"))
	if s := k.accepted(name, metav1.ConditionTrue, "in use"); s.Routes != 2 || s.Retryable != 1 {
		t.Errorf("status is %v", s)
	}

	broken := untyped(t, profile)
	broken.SetGeneration(2)
	weightless := []any{map[string]any{"authority": "x", "weight": "0"}}
	err := unstructured.SetNestedSlice(broken.Object, weightless, "spec", "dstOverrides")
	if err != nil {
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

// A policy that applies to nothing says so, until there is something for it to apply to.
func TestProfileOfNobodySaysSo(t *testing.T) {
	k := startKubernetes(t)
	for name, want := range map[string]string{
		"web": "\"web\" is not a service's full DNS name, such as " +
			"web.shop.svc.cluster.local",
		"late.shop.svc.cluster.local":    "no service is called late.shop.svc.cluster.local",
		"db-0.db.shop.svc.cluster.local": "name it after the service, db.shop.svc.cluster.local",
	} {
		k.create(name, "spec: {}")
		s := k.accepted(name, metav1.ConditionFalse, want)
		if s.Conditions[0].Reason != status.ReasonTargetNotFound {
			t.Errorf("%s: %v", name, s.Conditions)
		}
	}
	late := typedObjects(t, `{apiVersion: v1, kind: Service, `+
		`metadata: {name: late, namespace: shop}, `+
		`spec: {clusterIP: 10.96.0.44, ports: [{port: 80}]}}`)[0]
	if err := k.typed.Tracker().Add(late); err != nil {
		t.Fatal(err)
	}
	k.accepted("late.shop.svc.cluster.local", metav1.ConditionTrue, "in use")
}

// A backend that is not there is named, and what others say of the profile stays.
func TestMissingBackendsAreNamed(t *testing.T) {
	k := startKubernetes(t)
	const name = "web.shop.svc.cluster.local"
	k.create(name, `
spec: {dstOverrides: [{authority: "db.shop:5432", weight: 1}, `+
		`{authority: nobody.shop, weight: 1}, {authority: unused.shop, weight: 0}]}
status: {conditions: [{type: Seen, status: "True", reason: Theirs, `+
		`message: by another controller, lastTransitionTime: "2026-01-01T00:00:00Z"}]}`)
	k.accepted(name, metav1.ConditionTrue, "in use")
	conditions := k.status(name).Conditions
	if c := meta.FindStatusCondition(conditions, status.ResolvedRefs); c == nil ||
		c.Status != metav1.ConditionFalse ||
		!strings.HasSuffix(c.Message, "not there: nobody.shop") {
		t.Errorf("%s is %v", status.ResolvedRefs, c)
	}
	if c := meta.FindStatusCondition(conditions, "Seen"); c == nil {
		t.Error("another controller's condition is gone")
	}
}

// Of two replicas one writes, whatever the other would; the other goes on when the first ends.
func TestOneReplicaWritesStatus(t *testing.T) {
	k := startKubernetes(t)
	k.create("web.shop.svc.cluster.local", "spec: {}")
	k.accepted("web.shop.svc.cluster.local", metav1.ConditionTrue, "in use")
	other, _ := k.replica("two")
	k.create("db.shop.svc.cluster.local", "spec: {}")
	k.accepted("db.shop.svc.cluster.local", metav1.ConditionTrue, "in use")
	if n := k.writes(); n != 2 {
		t.Errorf("%d writes of two statuses", n)
	}
	if n := other.hub.size(); n != 0 {
		t.Errorf("a replica that does not write watches %d answers", n)
	}

	k.stop()
	k.create("early.shop.svc.cluster.local", "spec: {}")
	k.accepted("early.shop.svc.cluster.local", metav1.ConditionFalse, "no service")
}

func (k *k8s) writes() (n int) {
	for _, action := range k.dynamic.Actions() {
		if action.GetVerb() == "patch" {
			n++
		}
	}
	return n
}

// create makes a profile in namespace shop.
func (k *k8s) create(name, rest string) {
	k.t.Helper()
	text := "apiVersion: tulle.dev/v1alpha1\nkind: ServiceProfile\nmetadata: {name: " + name +
		", namespace: shop, generation: 1}\n" + rest
	profile := typedObjects(k.t, text)[0].(*crd.ServiceProfile)
	_, err := k.dynamic.Resource(crd.ServiceProfileResource()).Namespace("shop").
		Create(k.t.Context(), untyped(k.t, profile), metav1.CreateOptions{})
	if err != nil {
		k.t.Fatal(err)
	}
}

func (k *k8s) status(name string) crd.ServiceProfileStatus {
	k.t.Helper()
	profiles := k.dynamic.Resource(crd.ServiceProfileResource()).Namespace("shop")
	u, err := profiles.Get(k.t.Context(), name, metav1.GetOptions{})
	if err != nil {
		k.t.Fatal(err)
	}
	s, _ := statusOf(k.t, u)
	return s
}
