package identity

import (
	"testing"
	"time"

	core "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/tulle-mesh/tulle/identity/names"
)

func namespace(name string) *core.Namespace {
	return &core.Namespace{ObjectMeta: meta.ObjectMeta{Name: name}}
}

// holds says whether a namespace's ConfigMap is as it should be.
func (f *following) holds(t *testing.T, ns string) bool {
	t.Helper()
	m, err := f.client.CoreV1().ConfigMaps(ns).Get(t.Context(), names.TrustConfigMap,
		meta.GetOptions{})
	if apierrors.IsNotFound(err) {
		return false
	}
	if err != nil {
		t.Fatal(err)
	}
	return m.Data[names.TrustKey] == f.authority.trusted() && m.Labels[managedByLabel] == names.Mesh
}

func TestTrustIsInEveryNamespace(t *testing.T) {
	bubble(t, func(t *testing.T) {
		leaving := namespace("leaving")
		leaving.Status.Phase = core.NamespaceTerminating
		f := follow(t, fake.NewClientset(namespace("tulle"), namespace("shop"), leaving))
		defer f.stop()
		pass(time.Second)
		if !f.holds(t, "tulle") || !f.holds(t, "shop") {
			t.Error("not in every namespace")
		}
		if f.holds(t, "leaving") {
			t.Error("made in a namespace that is going away")
		}
		if _, err := f.client.CoreV1().Namespaces().Create(t.Context(), namespace("late"),
			meta.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		pass(time.Second)
		if !f.holds(t, "late") {
			t.Error("not in a new namespace")
		}
	})
}

func TestTrustIsRepaired(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := follow(t, fake.NewClientset(namespace("shop")))
		defer f.stop()
		pass(time.Second)
		maps := f.client.CoreV1().ConfigMaps("shop")
		edited := &core.ConfigMap{
			ObjectMeta: meta.ObjectMeta{Name: names.TrustConfigMap, Namespace: "shop",
				Labels: map[string]string{"team": "web"}},
			Data: map[string]string{names.TrustKey: "mine", "note": "keep"},
		}
		if _, err := maps.Update(t.Context(), edited, meta.UpdateOptions{}); err != nil {
			t.Fatal(err)
		}
		pass(time.Second)
		got, err := maps.Get(t.Context(), names.TrustConfigMap, meta.GetOptions{})
		if err != nil || !f.holds(t, "shop") || got.Data["note"] != "keep" ||
			got.Labels["team"] != "web" {
			t.Errorf("after an edit: %v %v, %v", got.Data, got.Labels, err)
		}
		if err := maps.Delete(t.Context(), names.TrustConfigMap, meta.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		pass(time.Second)
		if !f.holds(t, "shop") {
			t.Error("not made again after it was deleted")
		}
	})
}

func TestTrustFollowsTheRoots(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := follow(t, fake.NewClientset(namespace("shop")))
		defer f.stop()
		pass(time.Second)
		before := f.authority.trusted()
		root := newRoot(t)
		m := materialOf(t, []*pair{root}, root)
		m.roots = append(m.roots, before...)
		f.storeIssuer(t, m)
		pass(time.Second)
		if f.authority.trusted() == before || !f.holds(t, "shop") {
			t.Error("the ConfigMap holds yesterday's roots")
		}
	})
}
