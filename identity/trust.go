package identity

import (
	"context"
	"fmt"
	"log/slog"
	"sync"

	core "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	listers "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/workqueue"

	"github.com/tulle-mesh/tulle/identity/names"
)

const (
	// trustWorkers write ConfigMaps at once: a root added to 1,000 namespaces is everywhere within
	// seconds.
	trustWorkers = 4
)

// trust keeps a ConfigMap with today's roots in every namespace.
type trust struct {
	client    kubernetes.Interface
	authority *authority
	log       *slog.Logger

	namespaces listers.NamespaceLister
	maps       listers.ConfigMapLister
	queue      workqueue.TypedRateLimitingInterface[string] // of namespaces; a name is in it once
}

// run works until the context ends.
func (t *trust) run(ctx context.Context) error {
	if err := t.authority.hasIssuer(ctx); err != nil {
		return nil
	}
	t.queue = workqueue.NewTypedRateLimitingQueue(
		workqueue.DefaultTypedControllerRateLimiter[string]())
	defer t.queue.ShutDown()
	stop, err := t.watch(ctx)
	if err != nil {
		return err
	}
	defer stop()
	var workers sync.WaitGroup
	for range trustWorkers {
		workers.Go(func() { t.work(ctx) })
	}
	t.follow(ctx)
	t.queue.ShutDown()
	workers.Wait()
	return nil
}

// follow queues every namespace when the roots change.
func (t *trust) follow(ctx context.Context) {
	last := ""
	for {
		changed := t.authority.source.BundlesChanged()
		if now := t.authority.trusted(); now != last {
			last = now
			t.queueAll()
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return
		}
	}
}

func (t *trust) queueAll() {
	all, err := t.namespaces.List(labels.Everything())
	if err != nil {
		t.log.Error("cannot list namespaces", "err", err)
	}
	for _, ns := range all {
		t.queue.Add(ns.Name)
	}
}

func (t *trust) watch(ctx context.Context) (stop func(), err error) {
	all := informers.NewSharedInformerFactoryWithOptions(t.client, 0, informers.WithTransform(trim))
	ours := informers.NewSharedInformerFactoryWithOptions(
		t.client, 0, informers.WithTransform(trim),
		informers.WithTweakListOptions(named(names.TrustConfigMap)))
	t.namespaces, t.maps = all.Core().V1().Namespaces().Lister(),
		ours.Core().V1().ConfigMaps().Lister()
	synced, err := t.handle(all.Core().V1().Namespaces().Informer(),
		ours.Core().V1().ConfigMaps().Informer())
	if err != nil {
		return nil, err
	}
	all.Start(ctx.Done())
	ours.Start(ctx.Done())
	cache.WaitForCacheSync(ctx.Done(), synced...)
	return func() { all.Shutdown(); ours.Shutdown() }, nil
}

func (t *trust) handle(namespaces, maps cache.SharedIndexInformer) ([]cache.InformerSynced, error) {
	_, err := namespaces.AddEventHandler(handler(func(o meta.Object) { t.queue.Add(o.GetName()) }))
	if err != nil {
		return nil, fmt.Errorf("watch namespaces: %w", err)
	}
	_, err = maps.AddEventHandler(handler(func(o meta.Object) { t.queue.Add(o.GetNamespace()) }))
	if err != nil {
		return nil, fmt.Errorf("watch ConfigMaps: %w", err)
	}
	return []cache.InformerSynced{namespaces.HasSynced, maps.HasSynced}, nil
}

func handler(touched func(meta.Object)) cache.ResourceEventHandlerFuncs {
	on := func(o any) {
		if gone, ok := o.(cache.DeletedFinalStateUnknown); ok {
			o = gone.Obj
		}
		if object, ok := o.(meta.Object); ok {
			touched(object)
		}
	}
	return cache.ResourceEventHandlerFuncs{AddFunc: on, UpdateFunc: func(_, o any) {
		on(o)
	}, DeleteFunc: on}
}

// trim drops the managed fields of cached objects: identity never reads them.
func trim(o any) (any, error) {
	if object, ok := o.(meta.Object); ok {
		object.SetManagedFields(nil)
	}
	return o, nil
}

func (t *trust) work(ctx context.Context) {
	for {
		ns, stopped := t.queue.Get()
		if stopped {
			return
		}
		t.reconcileOrRetry(ctx, ns)
		t.queue.Done(ns)
	}
}

func (t *trust) reconcileOrRetry(ctx context.Context, ns string) {
	err := t.reconcile(ctx, ns)
	if err == nil || ctx.Err() != nil {
		t.queue.Forget(ns)
		return
	}
	t.log.Warn("cannot keep the trust bundle", "namespace", ns, "configmap", names.TrustConfigMap,
		"err", err)
	t.queue.AddRateLimited(ns)
}

// reconcile makes one namespace's ConfigMap right. It changes nothing in it but its own key and
// label.
func (t *trust) reconcile(ctx context.Context, name string) error {
	ns, err := t.namespaces.Get(name)
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return err
	}
	if ns.DeletionTimestamp != nil || ns.Status.Phase == core.NamespaceTerminating {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	have, err := t.maps.ConfigMaps(name).Get(names.TrustConfigMap)
	if apierrors.IsNotFound(err) {
		return t.create(ctx, name)
	}
	if err != nil {
		return err
	}
	return t.update(ctx, have.DeepCopy())
}

func (t *trust) create(ctx context.Context, ns string) error {
	m := &core.ConfigMap{ObjectMeta: meta.ObjectMeta{Name: names.TrustConfigMap, Namespace: ns}}
	set(m, t.authority.trusted())
	_, err := t.client.CoreV1().ConfigMaps(ns).Create(ctx, m, meta.CreateOptions{})
	// Another replica was faster, and its ConfigMap comes by the watch; or the namespace is going
	// away.
	if apierrors.IsAlreadyExists(err) || apierrors.HasStatusCause(
		err, core.NamespaceTerminatingCause) {
		return nil
	}
	return err
}

func (t *trust) update(ctx context.Context, m *core.ConfigMap) error {
	text := t.authority.trusted()
	if m.Data[names.TrustKey] == text && m.Labels[managedByLabel] == names.Mesh {
		return nil
	}
	set(m, text)
	_, err := t.client.CoreV1().ConfigMaps(m.Namespace).Update(ctx, m, meta.UpdateOptions{})
	if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		return nil // deleted or changed just now: the watch says so, and this namespace comes again
	}
	return err
}

func set(m *core.ConfigMap, text string) {
	if m.Data == nil {
		m.Data = map[string]string{}
	}
	if m.Labels == nil {
		m.Labels = map[string]string{}
	}
	m.Data[names.TrustKey], m.Labels[managedByLabel] = text, names.Mesh
}
