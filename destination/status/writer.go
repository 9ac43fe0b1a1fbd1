package status

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/go-logr/logr"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/klog/v2"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/tulle-mesh/tulle/destination/crd"
	"github.com/tulle-mesh/tulle/destination/kube"
	"github.com/tulle-mesh/tulle/destination/registry"
	"github.com/tulle-mesh/tulle/identity/names"
)

const (
	// Lease is the name of the object by which replicas agree who writes.
	Lease = names.Destination
	// fieldManager is who owns the conditions that are ours, for server-side apply.
	fieldManager = names.Destination

	writeTimeout = 10 * time.Second

	// A leader that vanished is followed after leaseDuration; one that ends gives the Lease back.
	leaseDuration = 15 * time.Second
	renewDeadline = 10 * time.Second
	retryPeriod   = 2 * time.Second

	// confirmAfter is how soon the registry must have seen what was written. What it has not seen
	// by then is written again.
	confirmAfter = time.Minute
)

// Writer writes statuses while it leads.
type Writer struct {
	Client    kubernetes.Interface
	Dynamic   dynamic.Interface
	Namespace string // of the Lease: the control plane's
	Identity  string // of this replica: its pod's name
	Log       *slog.Logger
}

// Watch calls set with the latest report of each policy whenever that may have changed, until the
// context ends.
type Watch func(ctx context.Context, set func(*Report))

// Run leads whenever no other replica does, until the context ends. While it leads, it writes what
// watch reports.
func (w *Writer) Run(ctx context.Context, watch Watch) error {
	ctx = klog.NewContext(ctx, logr.FromSlogHandler(w.Log.Handler())) // the elector's own log
	for ctx.Err() == nil {
		started := make(chan context.Context, 1)
		elector, err := leaderelection.NewLeaderElector(w.election(started))
		if err != nil {
			return fmt.Errorf("elect who writes status: %w", err)
		}
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			elector.Run(ctx)
		}()
		select {
		case lead := <-started: // which ends before the elector does
			w.Log.Info("this replica writes the status of policies", "identity", w.Identity)
			w.lead(lead, watch)
		case <-ended:
		}
		<-ended
	}
	return nil
}

func (w *Writer) election(started chan<- context.Context) leaderelection.LeaderElectionConfig {
	return leaderelection.LeaderElectionConfig{
		Name: Lease, ReleaseOnCancel: true,
		LeaseDuration: leaseDuration, RenewDeadline: renewDeadline, RetryPeriod: retryPeriod,
		Lock: &resourcelock.LeaseLock{
			LeaseMeta:  metav1.ObjectMeta{Namespace: w.Namespace, Name: Lease},
			Client:     w.Client.CoordinationV1(),
			LockConfig: resourcelock.ResourceLockConfig{Identity: w.Identity},
		},
		Callbacks: leaderelection.LeaderCallbacks{
			// It has room for the one context, so the elector's goroutine for this ends at once.
			OnStartedLeading: func(ctx context.Context) { started <- ctx },
			OnStoppedLeading: func() {},
		},
	}
}

// term is one time of leading: what is to be written, and in which order.
type term struct {
	*Writer
	queue workqueue.TypedRateLimitingInterface[registry.PolicyRef]

	mu   sync.Mutex // guards want
	want map[registry.PolicyRef]*Report
}

func (w *Writer) lead(ctx context.Context, watch Watch) {
	limiter := workqueue.DefaultTypedControllerRateLimiter[registry.PolicyRef]()
	t := &term{
		Writer: w, want: map[registry.PolicyRef]*Report{},
		queue: workqueue.NewTypedRateLimitingQueue(limiter),
	}
	stop := context.AfterFunc(ctx, t.queue.ShutDown)
	defer stop()
	var watching sync.WaitGroup
	watching.Go(func() { watch(ctx, t.set) })
	t.work(ctx)
	watching.Wait()
}

// set never blocks. A policy that says already what it should is left alone.
func (t *term) set(r *Report) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !r.Differs {
		delete(t.want, r.Ref)
		return
	}
	t.want[r.Ref] = r
	t.queue.Add(r.Ref)
}

func (t *term) wanted(ref registry.PolicyRef) *Report {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.want[ref]
}

// work writes until the queue is shut down.
func (t *term) work(ctx context.Context) {
	for {
		ref, shutdown := t.queue.Get()
		if shutdown {
			return
		}
		if err := t.write(ctx, ref); err != nil && ctx.Err() == nil {
			level := slog.LevelWarn
			if apierrors.IsConflict(err) {
				level = slog.LevelDebug // another controller has written first
			}
			t.Log.Log(ctx, level, "write the status of a policy; will try again",
				"kind", ref.Kind, "name", ref.Name, "error", err)
			t.queue.AddRateLimited(ref)
		} else {
			t.queue.Forget(ref)
			if t.wanted(ref) != nil {
				t.queue.AddAfter(ref, confirmAfter)
			}
		}
		t.queue.Done(ref)
	}
}

// write writes what is wanted of one policy.
func (t *term) write(ctx context.Context, ref registry.PolicyRef) error {
	report := t.wanted(ref)
	kind := kube.FindPolicyKind(ref.Kind)
	if report == nil || kind == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	in := t.Dynamic.Resource(kind.Resource).Namespace(ref.Name.Namespace)
	var err error
	switch {
	case kind.Resource.Group == gatewayv1.GroupName && ref.Kind != crd.BackendTLSPolicy:
		err = routeParents.patch(ctx, in, report)
	case ref.Kind == crd.Kind:
		err = apply(ctx, in, kind, report)
	default:
		err = policyAncestors.patch(ctx, in, report)
	}
	if apierrors.IsNotFound(err) {
		return nil // deleted meanwhile
	}
	return err
}

// apply writes what is wanted by server-side apply, which leaves to other controllers the
// conditions that are theirs.
func apply(
	ctx context.Context, in dynamic.ResourceInterface, kind *kube.Kind, report *Report,
) error {
	object, err := report.object(kind.APIVersion())
	if err != nil {
		return err
	}
	_, err = in.ApplyStatus(ctx, report.Ref.Name.Name, object,
		metav1.ApplyOptions{FieldManager: fieldManager, Force: true})
	return err
}

// object is the report as an object for server-side apply: what it does not name is not ours.
func (r *Report) object(apiVersion string) (*unstructured.Unstructured, error) {
	conditions := make([]any, 0, len(r.Want.Conditions))
	for _, c := range r.Want.Conditions {
		if c.LastTransitionTime.IsZero() {
			c.LastTransitionTime = metav1.Now()
		}
		content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(&c)
		if err != nil {
			return nil, fmt.Errorf("encode a condition: %w", err)
		}
		conditions = append(conditions, content)
	}
	status := map[string]any{"conditions": conditions}
	for field, n := range r.Want.Counts {
		status[field] = int64(n)
	}
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": apiVersion, "kind": r.Ref.Kind,
		"metadata": map[string]any{"namespace": r.Ref.Name.Namespace, "name": r.Ref.Name.Name},
		"status":   status,
	}}, nil
}
