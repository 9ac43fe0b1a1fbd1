package identity

import (
	"context"
	"crypto/rand"
	"log/slog"
	"strings"
	"time"

	"golang.org/x/time/rate"
	core "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/record"

	"github.com/tulle-mesh/tulle/identity/names"
	"github.com/tulle-mesh/tulle/identity/spiffe"
)

const (
	// Events are for people, and each costs the API server a write. About one object 25 are written
	// at once, and then one in five minutes; about all objects together eventsPerSecond.
	eventsPerSecond  = 5
	eventBurst       = 25
	eventsPerObject  = 25
	objectPerSecond  = 1.0 / 300
	rememberedEvents = 1024 // objects, by which events are limited and counted
	eventQueue       = 64   // more waiting than this are dropped; the log has them
	eventTimeout     = 5 * time.Second
	// maxEventText, in bytes, is Kubernetes' own bound less what the correlator writes before it.
	maxEventText = 1024 - 32
	component    = names.Identity
)

// events posts to Kubernetes, for whoever runs `kubectl describe` or `kubectl get events`. Equal
// events are one event with a count. They are joined and limited by client-go's correlator; its
// recorder is not used, for that starts goroutines for each event, without a bound and without a
// way to wait for them, and callers without any identity cause events.
type events struct {
	client     kubernetes.Interface
	namespace  string
	correlator *record.EventCorrelator
	limit      *rate.Limiter
	queue      chan *record.EventCorrelateResult
	log        *slog.Logger
}

func newEvents(client kubernetes.Interface, namespace string, log *slog.Logger) *events {
	return &events{
		client: client, namespace: namespace, log: log,
		correlator: record.NewEventCorrelatorWithOptions(record.CorrelatorOptions{
			LRUCacheSize: rememberedEvents, BurstSize: eventsPerObject, QPS: objectPerSecond,
		}),
		limit: rate.NewLimiter(eventsPerSecond, eventBurst),
		queue: make(chan *record.EventCorrelateResult, eventQueue),
	}
}

// warn posts a warning. It never blocks.
func (e *events) warn(about core.ObjectReference, reason, text string) {
	e.post(about, core.EventTypeWarning, reason, text)
}

// post queues an event, or drops it where there are too many. It never blocks.
func (e *events) post(about core.ObjectReference, kind, reason, text string) {
	now := meta.Now()
	joined, err := e.correlator.EventCorrelate(&core.Event{
		ObjectMeta: meta.ObjectMeta{
			Name: component + "." + strings.ToLower(rand.Text()), Namespace: about.Namespace,
		},
		InvolvedObject: about, Type: kind, Reason: reason,
		Message: text[:min(len(text), maxEventText)],
		Source:  core.EventSource{Component: component}, FirstTimestamp: now, LastTimestamp: now,
		Count: 1,
	})
	if err != nil || joined.Skip || !e.limit.Allow() {
		return
	}
	select {
	case e.queue <- joined:
	default:
	}
}

// run posts what is queued until the context ends.
func (e *events) run(ctx context.Context) error {
	for {
		select {
		case event := <-e.queue:
			e.write(ctx, event)
		case <-ctx.Done():
			return nil
		}
	}
}

func (e *events) write(ctx context.Context, joined *record.EventCorrelateResult) {
	ctx, cancel := context.WithTimeout(ctx, eventTimeout)
	defer cancel()
	event := joined.Event
	all := e.client.CoreV1().Events(event.Namespace)
	err := error(nil)
	if joined.Patch != nil {
		_, err = all.Patch(ctx, event.Name, types.StrategicMergePatchType, joined.Patch,
			meta.PatchOptions{})
	}
	// An event lives for an hour in the API server, and its count may go on after that.
	if joined.Patch == nil || apierrors.IsNotFound(err) {
		event.ResourceVersion = ""
		_, err = all.Create(ctx, event, meta.CreateOptions{})
	}
	if err != nil {
		e.log.Warn("cannot post an event", "reason", event.Reason, "err", err)
	}
}

// caller is what an event about a refusal is about: the pod where one was attested. Otherwise
// nobody knows who called, and what the caller claims must not choose the namespace that the event
// is written to.
func (e *events) caller(who attested) core.ObjectReference {
	ns, _, err := spiffe.Workload(who.ID)
	if err != nil || who.Pod == "" {
		return core.ObjectReference{APIVersion: "apps/v1", Kind: "Deployment",
			Namespace: e.namespace, Name: component}
	}
	return core.ObjectReference{APIVersion: "v1", Kind: "Pod", Namespace: ns, Name: who.Pod,
		UID: types.UID(who.PodUID)}
}
