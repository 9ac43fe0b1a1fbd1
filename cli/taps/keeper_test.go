package taps

import (
	"context"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	dynamicfake "k8s.io/client-go/dynamic/fake"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/tulle-mesh/tulle/destination/crd"
	"github.com/tulle-mesh/tulle/viz"
)

// made is a session as the API server has it, of the cluster without a namespace.
func made(namespace, name, hash string, at time.Time) *unstructured.Unstructured {
	kind := crd.TapSessionKind
	if namespace == "" {
		kind = crd.ClusterTapSessionKind
	}
	object, err := runtime.DefaultUnstructuredConverter.ToUnstructured(&crd.TapSession{
		TypeMeta: metav1.TypeMeta{APIVersion: crd.APIVersion, Kind: kind},
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name,
			CreationTimestamp: metav1.NewTime(at)},
		Spec: crd.TapSessionSpec{NonceHash: hash},
	})
	if err != nil {
		panic(err)
	}
	return &unstructured.Unstructured{Object: object}
}

func newDynamic(objects ...runtime.Object) *dynamicfake.FakeDynamicClient {
	return dynamicfake.NewSimpleDynamicClientWithCustomListKinds(runtime.NewScheme(),
		map[schema.GroupVersionResource]string{
			crd.TapSessionResource():        "TapSessionList",
			crd.ClusterTapSessionResource(): "ClusterTapSessionList",
		}, objects...)
}

// told is what viz was told last.
type told struct {
	mu  sync.Mutex // guards all
	all []viz.Session
}

func (o *told) set(all []viz.Session) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.all = all
}

func (o *told) names() (names []string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, s := range o.all {
		names = append(names, s.Namespace+"/"+s.Name)
	}
	return names
}

// keeps runs a Keeper until f returns.
func keeps(t *testing.T, client *dynamicfake.FakeDynamicClient, f func(*told)) {
	k := New(fake.NewClientset(), client, slog.New(slog.DiscardHandler))
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	var seen told
	go func() { done <- k.Run(ctx, seen.set) }()
	defer func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}()
	settle()
	f(&seen)
}

// settle gives informers the time that they take.
func settle() {
	time.Sleep(time.Second)
	synctest.Wait()
}

func TestSessionsComeAndGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		hash := crd.TapNonceHash("one")
		client := newDynamic(made("shop", "a", hash, began), made("shop", "bad", "xyz", began))
		keeps(t, client, func(seen *told) {
			if got := seen.names(); !slices.Equal(got, []string{"shop/a"}) {
				t.Errorf("at first there are %v", got)
			}
			all := client.Resource(crd.ClusterTapSessionResource())
			_, err := all.Create(t.Context(), made("", "b", hash, time.Now()),
				metav1.CreateOptions{})
			if err != nil {
				t.Fatal(err)
			}
			settle()
			if got := seen.names(); !slices.Equal(got, []string{"shop/a", "/b"}) {
				t.Errorf("then there are %v", got)
			}
			err = client.Resource(crd.TapSessionResource()).Namespace("shop").Delete(t.Context(),
				"a", metav1.DeleteOptions{})
			if err != nil {
				t.Fatal(err)
			}
			settle()
			if got := seen.names(); !slices.Equal(got, []string{"/b"}) {
				t.Errorf("one has gone, and there are %v", got)
			}
		})
	})
}

// A session ends by itself, and what is over is deleted, whoever made it.
func TestSessionsAreOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := newDynamic(made("shop", "a", crd.TapNonceHash("one"), time.Now()),
			made("", "b", crd.TapNonceHash("two"), time.Now().Add(-crd.TapSessionLifetime)))
		keeps(t, client, func(seen *told) {
			if got := seen.names(); !slices.Equal(got, []string{"shop/a"}) {
				t.Errorf("at first there are %v", got)
			}
			time.Sleep(crd.TapSessionLifetime - 2*time.Second)
			if got := seen.names(); len(got) != 1 {
				t.Errorf("before its time there are %v", got)
			}
			settle()
			if got := seen.names(); len(got) != 0 {
				t.Errorf("in the end there are %v", got)
			}
			for _, resource := range []schema.GroupVersionResource{crd.TapSessionResource(),
				crd.ClusterTapSessionResource()} {
				left, err := client.Resource(resource).List(t.Context(), metav1.ListOptions{})
				if err != nil || len(left.Items) != 0 {
					t.Errorf("%d %s are left, %v", len(left.Items), resource.Resource, err)
				}
			}
		})
	})
}

// Who makes many has as many as count, the oldest, and takes no other namespace's.
func TestSessionsOfANamespaceAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		now := time.Now()
		objects := []runtime.Object{made("shop", "last", crd.TapNonceHash("shop"), now)}
		for i := range maxSessions + 1 {
			name := strconv.Itoa(i)
			objects = append(objects, made("evil", name, crd.TapNonceHash(name),
				now.Add(time.Duration(i-maxSessions)*time.Second)))
		}
		keeps(t, newDynamic(objects...), func(seen *told) {
			got := seen.names()
			if len(got) != maxSessions+1 || got[0] != "evil/0" ||
				!slices.Contains(got, "shop/last") || slices.Contains(got, "evil/128") {
				t.Errorf("there are %d: %v", len(got), got)
			}
		})
	})
}

func TestAnEventOfATap(t *testing.T) {
	session := viz.Session{Namespace: "shop", Name: "tap-x", UID: "1"}
	for name, tt := range map[string]struct {
		tap       viz.Tapping
		namespace string
		about     string
		text      string
	}{
		"a workload": {viz.Tapping{Session: session, Kind: "deployment", Name: "web",
			Namespace: "shop", Conditions: "status=500-599"}, "shop", "apps/v1 Deployment shop/web",
			"requests are watched, by TapSession tap-x: status=500-599"},
		"a namespace": {viz.Tapping{Session: session}, "shop",
			"tulle.dev/v1alpha1 TapSession shop/tap-x", "watched, by TapSession tap-x"},
		"everything": {viz.Tapping{Session: viz.Session{Name: "tap-y"}}, "default",
			"tulle.dev/v1alpha1 ClusterTapSession /tap-y", "watched, by ClusterTapSession tap-y"},
		"much": {viz.Tapping{Session: session, Conditions: strings.Repeat("ä", maxEventText)},
			"shop", "tulle.dev/v1alpha1 TapSession shop/tap-x", "tap-x: ä"},
	} {
		client := fake.NewClientset()
		k := New(client, newDynamic(), slog.New(slog.DiscardHandler))
		if err := k.Tapped(t.Context(), tt.tap); err != nil {
			t.Fatal(err)
		}
		list, err := client.CoreV1().Events(tt.namespace).List(t.Context(), metav1.ListOptions{})
		if err != nil || len(list.Items) != 1 {
			t.Fatalf("%s: %d events, %v", name, len(list.Items), err)
		}
		e := list.Items[0]
		about := e.InvolvedObject
		got := about.APIVersion + " " + about.Kind + " " + about.Namespace + "/" + about.Name
		if got != tt.about || !strings.Contains(e.Message, tt.text) || e.Reason != EventReason ||
			e.Type != corev1.EventTypeNormal || len(e.Message) > maxEventText ||
			e.Related.Name != tt.tap.Session.Name {
			t.Errorf("%s: about %s: %+v", name, got, e)
		}
	}
}

// Events cost the API server writes: who begins taps without end waits, and is refused in the end.
func TestEventsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := fake.NewClientset()
		k := New(client, newDynamic(), slog.New(slog.DiscardHandler))
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		n := 0
		for k.Tapped(ctx, viz.Tapping{Session: viz.Session{Namespace: "shop", Name: "x"}}) == nil {
			n++
		}
		if n < eventBurst || n > eventBurst+2*eventsPerSecond {
			t.Errorf("%d are written in a second", n)
		}
	})
}
