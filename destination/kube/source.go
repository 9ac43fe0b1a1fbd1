package kube

import (
	"context"
	"fmt"
	"log/slog"
	"reflect"
	"sync"
	"sync/atomic"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/dynamic/dynamicinformer"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"

	"github.com/tulle-mesh/tulle/destination/registry"
)

// ownerName is what the registry knows the cluster's objects by.
const ownerName = "kubernetes"

// Source fills a registry from a cluster, through one informer for each of Kinds, or for one of
// them.
type Source struct {
	Client  kubernetes.Interface
	Dynamic dynamic.Interface // for kinds without a typed client
	Log     *slog.Logger
	Only    string // the one kind to watch, by its name; empty: all of Kinds

	mu    sync.Mutex // guards kinds
	kinds []*watched
}

// watched is a kind while its informer runs.
type watched struct {
	kind     Kind
	informer cache.SharedIndexInformer
	handler  cache.ResourceEventHandlerRegistration
	failure  atomic.Pointer[failure]
	last     atomic.Int64 // when its newest event arrived, in Unix nanoseconds
}

// failure is why a watch failed, and how far it had come. It is over when the watch comes further.
type failure struct {
	err     error
	version string
}

// problem is nil while the kind can be watched, or nobody knows better.
func (w *watched) problem() error {
	f := w.failure.Load()
	if f == nil || f.version != w.informer.LastSyncResourceVersion() {
		return nil
	}
	return f.err
}

// absent says whether the cluster does not have the kind, and need not.
func (w *watched) absent() bool {
	return w.kind.Optional && apierrors.IsNotFound(w.problem())
}

// read says whether all that there is of the kind has been read.
func (w *watched) read() bool { return w.handler.HasSynced() || w.absent() }

// Run watches the cluster until the context ends.
func (s *Source) Run(ctx context.Context, reg *registry.Registry, synced func()) error {
	typed := informers.NewSharedInformerFactory(s.Client, 0) // a resync would repeat what is known
	untyped := dynamicinformer.NewDynamicSharedInformerFactory(s.Dynamic, 0)
	all, err := s.inform(typed, untyped, reg.Owner(ownerName))
	if err != nil {
		return err
	}
	typed.Start(ctx.Done())
	untyped.Start(ctx.Done())
	defer typed.Shutdown()
	defer untyped.Shutdown()
	handlers := make([]cache.InformerSynced, 0, len(all))
	for _, w := range all {
		handlers = append(handlers, w.read)
	}
	if cache.WaitForCacheSync(ctx.Done(), handlers...) {
		synced()
	}
	<-ctx.Done()
	return nil
}

// inform makes an informer for each kind, none of which is started.
func (s *Source) inform(
	typed informers.SharedInformerFactory, untyped dynamicinformer.DynamicSharedInformerFactory,
	owner *registry.Owner,
) ([]*watched, error) {
	var all []*watched
	for _, kind := range Kinds() {
		if s.Only != "" && s.Only != kind.Kind {
			continue
		}
		generic, err := typed.ForResource(kind.Resource)
		if err != nil {
			generic = untyped.ForResource(kind.Resource) // client-go has no type for it: ours
		}
		w := &watched{kind: kind, informer: generic.Informer()}
		if err := s.watch(w, owner); err != nil {
			return nil, fmt.Errorf("watch %s: %w", kind.Resource.Resource, err)
		}
		all = append(all, w)
	}
	s.mu.Lock()
	s.kinds = all
	s.mu.Unlock()
	return all, nil
}

// watch makes an informer keep records, and give them to the registry.
func (s *Source) watch(w *watched, owner *registry.Owner) (err error) {
	err = w.informer.SetWatchErrorHandlerWithContext(
		func(ctx context.Context, _ *cache.Reflector, err error) {
			if ctx.Err() != nil {
				return
			}
			s.failed(w, err)
		})
	if err != nil {
		return err
	}
	if err := w.informer.SetTransform(w.kind.record); err != nil {
		return err
	}
	w.handler, err = w.informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(obj any) { w.apply(owner, nil, objectOf(obj)) },
		UpdateFunc: func(old, obj any) { w.apply(owner, objectOf(old), objectOf(obj)) },
		DeleteFunc: func(obj any) { w.apply(owner, objectOf(obj), nil) },
	})
	return err
}

// failed notes that a watch has failed. A cluster that does not have a kind says so again and
// again.
func (s *Source) failed(w *watched, err error) {
	before := w.absent()
	w.failure.Store(&failure{err: err, version: w.informer.LastSyncResourceVersion()})
	switch resource := w.kind.Resource.GroupResource(); {
	case !w.absent():
		s.Log.Warn("watch Kubernetes: what is known stays in use",
			"resource", resource, "error", err)
	case !before:
		s.Log.Info("this cluster does not have a kind, and is used without", "resource", resource)
	}
}

// apply passes an event on: what an object was, and what it is. Either may be nil. An update that
// changes nothing we keep ends here: kubelets report on every node and pod all the time.
func (w *watched) apply(owner *registry.Owner, old, obj registry.Object) {
	w.last.Store(time.Now().UnixNano())
	switch {
	case obj != nil && old != nil && reflect.DeepEqual(old, obj):
	case obj != nil:
		owner.Apply(registry.Change{Set: []registry.Object{obj}})
	case old != nil:
		owner.Apply(registry.Change{Delete: []registry.Object{old}})
	}
}

// record is what an informer keeps of an object: what client-go needs, and the registry's form.
type record struct {
	metav1.ObjectMeta // name, namespace and resource version, nothing else
	object            registry.Object
}

// GetObjectKind and DeepCopyObject make record a runtime.Object, which some of client-go's checks
// want. A record never changes, so it is its own copy.
func (r *record) GetObjectKind() schema.ObjectKind { return schema.EmptyObjectKind }

// DeepCopyObject returns r.
func (r *record) DeepCopyObject() runtime.Object { return r }

// record is a cache.TransformFunc. client-go may give it what it has returned before.
func (k *Kind) record(obj any) (any, error) {
	switch obj := obj.(type) {
	case *record, cache.DeletedFinalStateUnknown:
		return obj, nil
	case metav1.Object:
		return &record{
			ObjectMeta: metav1.ObjectMeta{
				Name: obj.GetName(), Namespace: obj.GetNamespace(),
				ResourceVersion: obj.GetResourceVersion(),
			},
			object: k.convert(obj),
		}, nil
	}
	return obj, nil
}

// convert returns the object in the registry's form. One that is not as its kind should be, though
// the API server took it, is a policy that cannot be used, and says why.
func (k *Kind) convert(obj metav1.Object) registry.Object {
	typed, err := k.typed(obj)
	if err == nil {
		return k.Convert(typed)
	}
	return &registry.Policy{
		Meta: convertMeta(obj), Kind: k.Kind, Generation: obj.GetGeneration(), Problem: err.Error(),
	}
}

// objectOf unwraps a record, or the last known one of an object whose deletion was missed.
func objectOf(obj any) registry.Object {
	if tombstone, ok := obj.(cache.DeletedFinalStateUnknown); ok {
		obj = tombstone.Obj
	}
	if r, ok := obj.(*record); ok {
		return r.object
	}
	return nil
}

// Missing names the kinds that have not been read yet, and why where that is known. It is nil once
// all have been.
func (s *Source) Missing() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, w := range s.kinds {
		if w.read() {
			continue
		}
		name := w.kind.Resource.GroupResource()
		if err := w.problem(); err != nil {
			return fmt.Errorf("%s cannot be read: %w", name, err)
		}
		return fmt.Errorf("%s have not been read yet", name)
	}
	return nil
}

// Watches says how the watch of each kind stands.
func (s *Source) Watches() (out []registry.Watch) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, w := range s.kinds {
		one := registry.Watch{Resource: w.kind.Resource.GroupResource().String(),
			Failing: w.problem() != nil && !w.absent()}
		if last := w.last.Load(); last != 0 {
			one.Last = time.Unix(0, last)
		}
		out = append(out, one)
	}
	return out
}
