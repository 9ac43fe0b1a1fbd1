package identity

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	core "k8s.io/api/core/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes/fake"
	kubetest "k8s.io/client-go/testing"

	"github.com/tulle-mesh/tulle/identity/names"
	"github.com/tulle-mesh/tulle/identity/spiffe"
)

// following runs a replica's store, trust and events in a synctest bubble, on client-go's fake,
// until stop.
type following struct {
	authority *authority
	client    *fake.Clientset
	events    *events
	stop      func()
}

func follow(t *testing.T, client *fake.Clientset) *following {
	a := &authority{trustDomain: td, namespace: "tulle", clusterDomain: "cluster.local",
		life: time.Hour, source: spiffe.NewSource()}
	e := newEvents(client, "tulle", quiet)
	s := &store{client: client, namespace: "tulle", authority: a, events: e, log: quiet}
	tr := &trust{client: client, authority: a, log: quiet}
	ctx, cancel := context.WithCancel(t.Context())
	var all sync.WaitGroup
	for _, run := range []func(context.Context) error{e.run, s.run, tr.run} {
		all.Go(func() {
			if err := run(ctx); err != nil {
				t.Error(err)
			}
		})
	}
	return &following{authority: a, client: client, events: e,
		stop: func() { cancel(); all.Wait() }}
}

// bubble is a test on a fake clock: a minute's re-read takes no time.
func bubble(t *testing.T, f func(t *testing.T)) { synctest.Test(t, f) }

func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func (f *following) secret(t *testing.T) *core.Secret {
	t.Helper()
	s, err := f.client.CoreV1().Secrets("tulle").Get(t.Context(), names.IssuerSecret,
		meta.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func (f *following) storeIssuer(t *testing.T, m material) {
	t.Helper()
	s := f.secret(t)
	s.Data = map[string][]byte{core.TLSCertKey: m.chain, core.TLSPrivateKeyKey: m.key,
		caKey: m.roots}
	_, err := f.client.CoreV1().Secrets("tulle").Update(t.Context(), s, meta.UpdateOptions{})
	if err != nil {
		t.Fatal(err)
	}
}

// posted are the events posted so far.
func (f *following) posted(t *testing.T) []core.Event {
	t.Helper()
	list, err := f.client.CoreV1().Events("").List(t.Context(), meta.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return list.Items
}

// reasons are those of the events posted so far.
func (f *following) reasons(t *testing.T) string {
	t.Helper()
	var all []string
	for _, e := range f.posted(t) {
		all = append(all, e.Reason+" on "+e.InvolvedObject.Kind)
	}
	slices.Sort(all)
	return strings.Join(all, ", ")
}

func TestFirstStartMakesAnIssuer(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := follow(t, fake.NewClientset())
		defer f.stop()
		pass(time.Second)
		s := f.secret(t)
		if s.Type != core.SecretTypeTLS || s.Labels[managedByLabel] != names.Mesh {
			t.Errorf("type %s, labels %v", s.Type, s.Labels)
		}
		i := f.authority.issuer.Load()
		if i == nil || string(s.Data[caKey]) != f.authority.trusted() {
			t.Fatal("not what is used")
		}
		again := follow(t, f.client)
		defer again.stop()
		pass(time.Hour)
		if !again.authority.issuer.Load().cert.Equal(i.cert) ||
			!f.authority.issuer.Load().cert.Equal(i.cert) {
			t.Error("a second replica, or time, made another issuer")
		}
	})
}

// Two replicas find nothing at the same moment. The loser must use what the winner stored.
func TestReplicasRaceForTheFirstIssuer(t *testing.T) {
	bubble(t, func(t *testing.T) {
		client := fake.NewClientset()
		var winner *issuer
		once := sync.Once{}
		react := func(kubetest.Action) (bool, runtime.Object, error) {
			once.Do(func() {
				m, err := makeIssuer(td)
				if err != nil {
					t.Error(err)
				}
				winner, _ = parseIssuer(td, m)
				client.Tracker().Add(&core.Secret{
					ObjectMeta: meta.ObjectMeta{Name: names.IssuerSecret, Namespace: "tulle"},
					Data: map[string][]byte{
						core.TLSCertKey: m.chain, core.TLSPrivateKeyKey: m.key, caKey: m.roots,
					},
				})
			})
			return false, nil, nil
		}
		client.PrependReactor("create", "secrets", react)
		f := follow(t, client)
		defer f.stop()
		pass(time.Second)
		if i := f.authority.issuer.Load(); i == nil || !i.cert.Equal(winner.cert) {
			t.Error("the loser uses its own issuer")
		}
		if got := f.reasons(t); got != "" {
			t.Errorf("it had signed with its own before: %s", got)
		}
	})
}

func TestIssuerIsRotatedAndKept(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := follow(t, fake.NewClientset())
		defer f.stop()
		pass(time.Second)
		old := f.secret(t).Data
		root := newRoot(t)
		next := issue(t, caTemplate(), root, newKey(t))
		overlap := materialOf(t, []*pair{next}, root)
		overlap.roots = append(overlap.roots, old[caKey]...)

		f.storeIssuer(t, overlap)
		pass(time.Second)
		i := f.authority.issuer.Load()
		if !i.cert.Equal(next.cert) || len(f.authority.source.Bundles()[td]) != 2 {
			t.Fatal("the new issuer is not used")
		}
		if got := f.reasons(t); got != "IssuerUpdated on Secret" {
			t.Errorf("events: %s", got)
		}

		f.storeIssuer(t,
			material{chain: overlap.chain, key: old[core.TLSPrivateKeyKey], roots: overlap.roots})
		pass(time.Hour)
		if got := f.reasons(t); f.authority.issuer.Load() != i ||
			got != "IssuerUpdateSkipped on Secret, IssuerUpdated on Secret" {
			t.Errorf("an invalid update; events: %s", got)
		}

		if err := f.client.CoreV1().Secrets("tulle").Delete(t.Context(), names.IssuerSecret,
			meta.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		pass(time.Hour)
		list, _ := f.client.CoreV1().Secrets("tulle").List(t.Context(), meta.ListOptions{})
		if f.authority.issuer.Load() != i || len(list.Items) != 0 {
			t.Error("a deleted issuer was replaced")
		}
		if got := f.reasons(t); !strings.Contains(got, "IssuerMissing") {
			t.Errorf("events: %s", got)
		}
	})
}

// A watch that misses a change is made up for by reading again.
func TestMissedChangeIsReadAgain(t *testing.T) {
	bubble(t, func(t *testing.T) {
		client := fake.NewClientset()
		client.PrependWatchReactor("secrets", func(kubetest.Action) (bool, watch.Interface, error) {
			return true, watch.NewFake(), nil
		})
		f := follow(t, client)
		defer f.stop()
		pass(time.Second)
		first := f.authority.issuer.Load()
		root := newRoot(t)
		f.storeIssuer(t, materialOf(t, []*pair{root}, root))
		pass(time.Second)
		if f.authority.issuer.Load() != first {
			t.Fatal("the watch works: this test shows nothing")
		}
		pass(rereadEvery)
		if i := f.authority.issuer.Load(); !i.cert.Equal(root.cert) {
			t.Error("the change was missed")
		}
	})
}

func TestAPIServerComesLate(t *testing.T) {
	bubble(t, func(t *testing.T) {
		client := fake.NewClientset()
		var mu sync.Mutex
		away := errors.New("connection refused")
		client.PrependReactor("*", "secrets", func(kubetest.Action) (bool, runtime.Object, error) {
			mu.Lock()
			defer mu.Unlock()
			return away != nil, nil, away
		})
		f := follow(t, client)
		defer f.stop()
		pass(10 * time.Second)
		err := f.authority.ready()
		if err == nil || !strings.Contains(err.Error(), "connection refused") {
			t.Errorf("ready: %v", err)
		}
		mu.Lock()
		away = nil
		mu.Unlock()
		pass(rereadSoon)
		if f.authority.issuer.Load() == nil {
			t.Error("no issuer after the API server came")
		}
	})
}
