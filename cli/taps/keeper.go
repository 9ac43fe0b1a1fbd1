// Package taps keeps who may tap, as the API server has it: keeper.go brings TapSessions to viz,
// which knows no Kubernetes, and deletes those that are over; event.go writes down who is watched.
//
// It refuses a session that has lasted crd.TapSessionLifetime, whatever the API server has, and
// what a namespace has beyond maxSessions: the oldest count, so that nobody ends another's tap by
// making many.
//
// Keeper.Run owns its informers, and ends when its context does. Tapped may be called from any
// goroutine.
package taps

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"golang.org/x/time/rate"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/dynamic/dynamicinformer"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"

	"github.com/tulle-mesh/tulle/destination/crd"
	"github.com/tulle-mesh/tulle/viz"
)

const (
	// maxSessions of one namespace count, and of the cluster's own as many.
	maxSessions = 128
	// sweepEvery is how often what is over is looked for, at least.
	sweepEvery = time.Minute
	// sweepMost are deleted at a time, within sweepTimeout: what is left has its turn.
	sweepMost    = 64
	sweepTimeout = 10 * time.Second
)

// Keeper tells who may tap.
type Keeper struct {
	client  kubernetes.Interface
	dynamic dynamic.Interface
	log     *slog.Logger
	limit   *rate.Limiter // of events
}

// New makes a Keeper that asks by these clients.
func New(client kubernetes.Interface, untyped dynamic.Interface, log *slog.Logger) *Keeper {
	return &Keeper{client: client, dynamic: untyped, log: log,
		limit: rate.NewLimiter(eventsPerSecond, eventBurst)}
}

// kept is a kind of session while it is watched.
type kept struct {
	resource schema.GroupVersionResource
	store    cache.Store
}

// Run tells set all sessions that are good, once they have been read and after each change, until
// the context ends.
func (k *Keeper) Run(ctx context.Context, set func([]viz.Session)) error {
	factory := dynamicinformer.NewDynamicSharedInformerFactory(k.dynamic, 0)
	changed := make(chan struct{}, 1)
	var kinds []kept
	var read []cache.InformerSynced
	for _, resource := range []schema.GroupVersionResource{crd.TapSessionResource(),
		crd.ClusterTapSessionResource()} {
		informer := factory.ForResource(resource).Informer()
		handler, err := k.watch(informer, resource, changed)
		if err != nil {
			return fmt.Errorf("watch %s: %w", resource.Resource, err)
		}
		kinds = append(kinds, kept{resource, informer.GetStore()})
		read = append(read, handler.HasSynced)
	}
	factory.Start(ctx.Done())
	defer factory.Shutdown()
	if !cache.WaitForCacheSync(ctx.Done(), read...) {
		return nil
	}
	k.follow(ctx, kinds, changed, set)
	return nil
}

// follow tells of changes, and of sessions that end because it is time.
func (k *Keeper) follow(
	ctx context.Context, kinds []kept, changed <-chan struct{}, set func([]viz.Session),
) {
	for {
		good, over, next := sorted(kinds, time.Now())
		set(good)
		k.sweep(ctx, over)
		again := time.NewTimer(next)
		select {
		case <-changed:
		case <-again.C:
		case <-ctx.Done():
		}
		again.Stop()
		if ctx.Err() != nil {
			return
		}
	}
}

// watch has an informer keep sessions, and say when they change.
func (k *Keeper) watch(
	informer cache.SharedIndexInformer, resource schema.GroupVersionResource, changed chan struct{},
) (cache.ResourceEventHandlerRegistration, error) {
	err := informer.SetWatchErrorHandlerWithContext(
		func(ctx context.Context, _ *cache.Reflector, err error) {
			if ctx.Err() == nil {
				k.log.Warn("watch Kubernetes: what is known stays in use",
					"resource", resource.Resource, "error", err)
			}
		})
	if err == nil {
		err = informer.SetTransform(session)
	}
	if err != nil {
		return nil, err
	}
	tell := func() {
		select {
		case changed <- struct{}{}:
		default:
		}
	}
	return informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc: func(any) { tell() }, UpdateFunc: func(any, any) { tell() },
		DeleteFunc: func(any) { tell() },
	})
}

// session is a cache.TransformFunc: of what the API server has, what is of use here. client-go may
// give it what it has returned before.
func session(obj any) (any, error) {
	u, ok := obj.(runtime.Unstructured)
	if !ok {
		return obj, nil
	}
	var whole crd.TapSession
	err := runtime.DefaultUnstructuredConverter.FromUnstructured(u.UnstructuredContent(), &whole)
	m := &whole.ObjectMeta
	return &crd.TapSession{Spec: whole.Spec, ObjectMeta: metav1.ObjectMeta{
		Name: m.Name, Namespace: m.Namespace, UID: m.UID, ResourceVersion: m.ResourceVersion,
		CreationTimestamp: m.CreationTimestamp}}, err
}

// ended is a session that is over.
type ended struct {
	*crd.TapSession
	resource schema.GroupVersionResource
}

// sorted tells the sessions that are good, the oldest first, from those that are over, and says
// after how long that is another matter.
func sorted(kinds []kept, now time.Time) (good []viz.Session, over []ended, next time.Duration) {
	next = sweepEvery
	var all []*crd.TapSession
	for _, kind := range kinds {
		for _, obj := range kind.store.List() {
			s, ok := obj.(*crd.TapSession)
			if !ok {
				continue
			}
			left := s.CreationTimestamp.Add(crd.TapSessionLifetime).Sub(now)
			if left <= 0 {
				over = append(over, ended{s, kind.resource})
				continue
			}
			next = min(next, left)
			all = append(all, s)
		}
	}
	slices.SortFunc(all, func(a, b *crd.TapSession) int {
		return cmp.Or(a.CreationTimestamp.Compare(b.CreationTimestamp.Time),
			cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
	return usable(all), over, next
}

// usable are those that say what they must, as many of each namespace as count.
func usable(all []*crd.TapSession) (good []viz.Session) {
	of := map[string]int{}
	for _, s := range all {
		hash, err := s.Spec.Hash()
		if err != nil || of[s.Namespace] >= maxSessions {
			continue
		}
		of[s.Namespace]++
		good = append(good, viz.Session{Namespace: s.Namespace, Name: s.Name, UID: string(s.UID),
			Hash: hash})
	}
	return good
}

// sweep deletes what is over: whoever made it may be gone. Where there are several of us, the first
// does it.
func (k *Keeper) sweep(ctx context.Context, over []ended) {
	ctx, cancel := context.WithTimeout(ctx, sweepTimeout)
	defer cancel()
	for _, s := range over[:min(len(over), sweepMost)] {
		err := k.of(s).Delete(ctx, s.Name, metav1.DeleteOptions{
			Preconditions: &metav1.Preconditions{UID: &s.UID}})
		if err != nil && !apierrors.IsNotFound(err) && ctx.Err() == nil {
			k.log.Warn("delete a TapSession that is over", "namespace", s.Namespace, "name", s.Name,
				"err", err)
		}
	}
}

// of is a client for a session's kind, where it is.
func (k *Keeper) of(s ended) dynamic.ResourceInterface {
	if s.Namespace == "" {
		return k.dynamic.Resource(s.resource)
	}
	return k.dynamic.Resource(s.resource).Namespace(s.Namespace)
}
