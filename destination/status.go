package destination

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/util/workqueue"

	"github.com/tulle-mesh/tulle/destination/crd"
)

const (
	statusTimeout = 10 * time.Second
	maxMessage    = 1024 // of a condition; the API server takes 32 KiB, and nobody reads that
)

// judge returns the status that a profile should have, or nil where it has it.
func judge(profile *crd.ServiceProfile, problem error) (types.NamespacedName, *crd.ServiceProfileStatus) {
	accepted := metav1.Condition{
		Type: crd.ConditionAccepted, Status: metav1.ConditionTrue, Reason: crd.ReasonAccepted,
		Message: "the profile is in use", ObservedGeneration: profile.Generation,
	}
	next := &crd.ServiceProfileStatus{Conditions: append([]metav1.Condition(nil), profile.Status.Conditions...)}
	if problem != nil {
		accepted.Status, accepted.Reason = metav1.ConditionFalse, crd.ReasonInvalid
		text := "the profile is ignored: " + problem.Error()
		accepted.Message = text[:min(len(text), maxMessage)]
	}
	next.Routes = int32(len(profile.Spec.Routes))
	for i := range profile.Spec.Routes {
		if profile.Spec.Routes[i].IsRetryable {
			next.Retryable++
		}
	}
	changed := meta.SetStatusCondition(&next.Conditions, accepted)
	if !changed && next.Routes == profile.Status.Routes && next.Retryable == profile.Status.Retryable {
		return nameOf(profile), nil
	}
	return nameOf(profile), next
}

// statusWriter writes the latest status of each profile, apart from the informers, which must not wait for the API
// server. Every replica does: the second to come finds nothing to change.
type statusWriter struct {
	client dynamic.Interface
	log    *slog.Logger
	queue  workqueue.TypedRateLimitingInterface[types.NamespacedName]

	mu   sync.Mutex // guards want
	want map[types.NamespacedName]*crd.ServiceProfileStatus
}

func newStatusWriter(client dynamic.Interface, log *slog.Logger) *statusWriter {
	return &statusWriter{
		client: client, log: log, want: map[types.NamespacedName]*crd.ServiceProfileStatus{},
		queue: workqueue.NewTypedRateLimitingQueue(workqueue.DefaultTypedControllerRateLimiter[types.NamespacedName]()),
	}
}

// write never blocks. A nil status means that the profile has the right one.
func (w *statusWriter) write(name types.NamespacedName, status *crd.ServiceProfileStatus) {
	if status == nil {
		w.forget(name)
		return
	}
	w.mu.Lock()
	w.want[name] = status
	w.mu.Unlock()
	w.queue.Add(name)
}

func (w *statusWriter) forget(name types.NamespacedName) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.want, name)
}

func (w *statusWriter) wanted(name types.NamespacedName) *crd.ServiceProfileStatus {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.want[name]
}

// run writes until the context ends.
func (w *statusWriter) run(ctx context.Context) {
	stop := context.AfterFunc(ctx, w.queue.ShutDown)
	defer stop()
	for {
		name, shutdown := w.queue.Get()
		if shutdown {
			return
		}
		if err := w.patch(ctx, name); err != nil {
			w.log.Warn("write a profile's status; will try again", "profile", name, "error", err)
			w.queue.AddRateLimited(name)
		} else {
			w.queue.Forget(name)
		}
		w.queue.Done(name)
	}
}

func (w *statusWriter) patch(ctx context.Context, name types.NamespacedName) error {
	status := w.wanted(name)
	if status == nil {
		return nil
	}
	patch, err := json.Marshal(map[string]any{"status": status})
	if err != nil {
		return fmt.Errorf("encode: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, statusTimeout)
	defer cancel()
	_, err = w.client.Resource(crd.ServiceProfileResource()).Namespace(name.Namespace).
		Patch(ctx, name.Name, types.MergePatchType, patch, metav1.PatchOptions{}, "status")
	if apierrors.IsNotFound(err) {
		return nil // deleted meanwhile
	}
	return err
}
