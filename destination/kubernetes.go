package destination

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"reflect"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/dynamic/dynamicinformer"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"

	"github.com/tulle-mesh/tulle/destination/crd"
	"github.com/tulle-mesh/tulle/destination/kube"
)

// Kubernetes is a cluster, through informers. It writes the status of ServiceProfiles too.
type Kubernetes struct {
	Client  kubernetes.Interface
	Dynamic dynamic.Interface
	Log     *slog.Logger
}

// Run watches the cluster until the context ends.
func (k *Kubernetes) Run(ctx context.Context, state *State, synced func()) error {
	typed := kube.Informers(k.Client)
	ours := dynamicinformer.NewDynamicSharedInformerFactory(k.Dynamic, 0)
	statuses := newStatusWriter(k.Dynamic, k.Log)
	all := []cache.SharedIndexInformer{
		typed.Core().V1().Namespaces().Informer(), typed.Core().V1().Nodes().Informer(),
		typed.Core().V1().Services().Informer(), typed.Core().V1().Pods().Informer(),
		typed.Discovery().V1().EndpointSlices().Informer(),
	}
	handlers := make([]cache.InformerSynced, 0, len(all)+1)
	for _, informer := range all {
		registered, err := k.feed(informer, k.toState(state))
		if err != nil {
			return err
		}
		handlers = append(handlers, registered)
	}
	profiles := ours.ForResource(crd.ServiceProfileResource()).Informer()
	registered, err := k.feed(profiles, k.profileToState(state, statuses))
	if err != nil {
		return err
	}
	typed.Start(ctx.Done())
	ours.Start(ctx.Done())
	defer typed.Shutdown()
	defer ours.Shutdown()
	if cache.WaitForCacheSync(ctx.Done(), append(handlers, registered)...) {
		synced()
	}
	statuses.run(ctx)
	return nil
}

// sink takes an informer's events: what an object was, and what it is. Either may be nil. It must not block.
type sink func(old, obj metav1.Object)

// feed gives an informer's events to a sink and tells when it has been given all there were.
func (k *Kubernetes) feed(informer cache.SharedIndexInformer, to sink) (cache.InformerSynced, error) {
	err := informer.SetWatchErrorHandlerWithContext(func(ctx context.Context, _ *cache.Reflector, err error) {
		if ctx.Err() == nil {
			k.Log.Warn("watch Kubernetes: what is known stays in use", "error", err)
		}
	})
	if err != nil {
		return nil, fmt.Errorf("watch Kubernetes: %w", err)
	}
	registered, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(obj any) { to(nil, object(obj)) },
		UpdateFunc: func(old, obj any) { to(object(old), object(obj)) },
		DeleteFunc: func(obj any) { to(object(obj), nil) },
	})
	if err != nil {
		return nil, fmt.Errorf("watch Kubernetes: %w", err)
	}
	return registered.HasSynced, nil
}

// object unwraps the last known state of an object whose deletion was missed.
func object(obj any) metav1.Object {
	if tombstone, ok := obj.(cache.DeletedFinalStateUnknown); ok {
		obj = tombstone.Obj
	}
	o, _ := obj.(metav1.Object)
	return o
}

func (k *Kubernetes) toState(state *State) sink {
	return func(old, obj metav1.Object) {
		change := Change{}
		switch {
		case obj == nil && old == nil, obj != nil && old != nil && isSame(old, obj):
			return
		case obj == nil:
			change.Delete = []metav1.Object{old}
		default:
			change.Set = []metav1.Object{obj}
		}
		if err := state.Apply(change); err != nil {
			k.Log.Error("apply a change of the cluster", "error", err)
		}
	}
}

// isSame finds the updates that change nothing we keep: kubelets report on every node and pod all the time.
func isSame(old, obj metav1.Object) bool {
	switch o := old.(type) {
	case *corev1.Pod:
		before := *o
		before.ResourceVersion = obj.GetResourceVersion()
		return reflect.DeepEqual(&before, obj)
	case *corev1.Node:
		before := *o
		before.ResourceVersion = obj.GetResourceVersion()
		return reflect.DeepEqual(&before, obj)
	}
	return false
}

// profileToState also judges each profile. One that the API server took and that is wrong nevertheless is treated as
// absent, and its status says why.
func (k *Kubernetes) profileToState(state *State, statuses *statusWriter) sink {
	apply := k.toState(state)
	return func(old, obj metav1.Object) {
		if obj == nil {
			apply(&crd.ServiceProfile{ObjectMeta: metav1.ObjectMeta{Namespace: old.GetNamespace(), Name: old.GetName()}}, nil)
			statuses.forget(nameOf(old))
			return
		}
		profile, err := profileOf(obj)
		if err != nil {
			apply(profile, nil)
		} else {
			apply(nil, profile)
		}
		statuses.write(judge(profile, err))
	}
}

// profileOf always returns a profile, if only with its name.
func profileOf(obj metav1.Object) (*crd.ServiceProfile, error) {
	profile := &crd.ServiceProfile{}
	u, ok := obj.(*unstructured.Unstructured)
	if !ok {
		return profile, errors.New("not an object of ours")
	}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(u.Object, profile); err != nil {
		name := metav1.ObjectMeta{Namespace: obj.GetNamespace(), Name: obj.GetName(), Generation: obj.GetGeneration()}
		return &crd.ServiceProfile{ObjectMeta: name}, err
	}
	profile.Default()
	return profile, profile.Validate().ToAggregate()
}
