package taps

import (
	"context"
	"crypto/rand"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/tulle-mesh/tulle/destination/crd"
	"github.com/tulle-mesh/tulle/identity/names"
	"github.com/tulle-mesh/tulle/viz"
)

const (
	// EventReason is what an Event of a tap is found by.
	EventReason = "Tapped"
	// eventsPerSecond are written, after eventBurst at once: each costs the API server a write. A
	// tap waits for its own.
	eventsPerSecond = 5
	eventBurst      = 25
	// maxEventText, in bytes, is Kubernetes' own bound.
	maxEventText = 1024
)

// objects are what a tap may be of, as Kubernetes calls them.
var objects = map[string]struct{ version, kind string }{
	"deployment": {"apps/v1", "Deployment"}, "statefulset": {"apps/v1", "StatefulSet"},
	"daemonset": {"apps/v1", "DaemonSet"}, "replicaset": {"apps/v1", "ReplicaSet"},
	"job": {"batch/v1", "Job"}, "cronjob": {"batch/v1", "CronJob"},
	"pod": {"v1", "Pod"}, "service": {"v1", "Service"},
}

// Tapped writes an Event about a tap that begins: on the one object that it is of, or else on its
// session. Whose session it is the API server's audit log says.
func (k *Keeper) Tapped(ctx context.Context, t viz.Tapping) error {
	if err := k.limit.Wait(ctx); err != nil {
		return fmt.Errorf("too many taps begin: try again in a moment: %w", err)
	}
	session, about := sessionRef(&t.Session), sessionRef(&t.Session)
	if o, ok := objects[t.Kind]; ok {
		about = corev1.ObjectReference{APIVersion: o.version, Kind: o.kind, Namespace: t.Namespace,
			Name: t.Name}
	}
	text := fmt.Sprintf("requests are watched, by %s %s", session.Kind, t.Session.Name)
	if t.Conditions != "" {
		text += ": " + t.Conditions
	}
	now := metav1.Now()
	event := &corev1.Event{
		ObjectMeta: metav1.ObjectMeta{Name: names.Viz + "." + strings.ToLower(rand.Text()),
			Namespace: about.Namespace},
		InvolvedObject: about, Related: &session, Type: corev1.EventTypeNormal, Reason: EventReason,
		Message: strings.ToValidUTF8(text[:min(len(text), maxEventText)], ""),
		Source:  corev1.EventSource{Component: names.Viz}, FirstTimestamp: now, LastTimestamp: now,
		Count: 1,
	}
	if event.Namespace == "" { // where Kubernetes has those about what is in no namespace
		event.Namespace = metav1.NamespaceDefault
	}
	_, err := k.client.CoreV1().Events(event.Namespace).Create(ctx, event, metav1.CreateOptions{})
	if err != nil {
		return fmt.Errorf("write an Event: %w", err)
	}
	return nil
}

func sessionRef(s *viz.Session) corev1.ObjectReference {
	kind := crd.TapSessionKind
	if s.Namespace == "" {
		kind = crd.ClusterTapSessionKind
	}
	return corev1.ObjectReference{APIVersion: crd.APIVersion, Kind: kind, Namespace: s.Namespace,
		Name: s.Name, UID: types.UID(s.UID)}
}
