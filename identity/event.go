package identity

import (
	"context"
	"crypto/rand"
	"log/slog"
	"strings"
	"time"

	"golang.org/x/time/rate"
	core "k8s.io/api/core/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"

	"github.com/tulle-mesh/tulle/identity/spiffe"
)

const (
	// Events are for people, and cost the API server a write each: whoever is refused in a loop must not fill it.
	eventsPerSecond = 0.2
	eventBurst      = 25
	eventQueue      = 64 // more waiting than this are dropped; the log has them
	eventTimeout    = 5 * time.Second
	maxEventText    = 1024 // Kubernetes' own bound
	component       = "tulle-identity"
)

// events posts to Kubernetes, for whoever runs `kubectl describe` or `kubectl get events`.
type events struct {
	client    kubernetes.Interface
	namespace string
	limit     *rate.Limiter
	queue     chan *core.Event
	log       *slog.Logger
}

func newEvents(client kubernetes.Interface, namespace string, log *slog.Logger) *events {
	return &events{
		client: client, namespace: namespace, log: log,
		limit: rate.NewLimiter(eventsPerSecond, eventBurst), queue: make(chan *core.Event, eventQueue),
	}
}

// warn never blocks.
func (e *events) warn(about core.ObjectReference, reason, text string) {
	e.post(about, core.EventTypeWarning, reason, text)
}

func (e *events) post(about core.ObjectReference, kind, reason, text string) {
	if !e.limit.Allow() {
		return
	}
	now := meta.Now()
	event := &core.Event{
		ObjectMeta:     meta.ObjectMeta{Name: component + "." + strings.ToLower(rand.Text()), Namespace: about.Namespace},
		InvolvedObject: about, Type: kind, Reason: reason, Message: text[:min(len(text), maxEventText)],
		Source: core.EventSource{Component: component}, FirstTimestamp: now, LastTimestamp: now, Count: 1,
	}
	select {
	case e.queue <- event:
	default:
	}
}

// run posts what is queued until the context ends.
func (e *events) run(ctx context.Context) error {
	for {
		select {
		case event := <-e.queue:
			e.create(ctx, event)
		case <-ctx.Done():
			return nil
		}
	}
}

func (e *events) create(ctx context.Context, event *core.Event) {
	ctx, cancel := context.WithTimeout(ctx, eventTimeout)
	defer cancel()
	if _, err := e.client.CoreV1().Events(event.Namespace).Create(ctx, event, meta.CreateOptions{}); err != nil {
		e.log.Warn("cannot post an event", "reason", event.Reason, "err", err)
	}
}

// caller is what an event about a refusal is about: the pod where one was attested. Otherwise nobody knows who called,
// and what the caller claims must not choose the namespace that the event is written to.
func (e *events) caller(who attested) core.ObjectReference {
	ns, _, err := spiffe.Workload(who.ID)
	if err != nil || who.Pod == "" {
		return core.ObjectReference{APIVersion: "apps/v1", Kind: "Deployment", Namespace: e.namespace, Name: component}
	}
	return core.ObjectReference{APIVersion: "v1", Kind: "Pod", Namespace: ns, Name: who.Pod, UID: types.UID(who.PodUID)}
}
