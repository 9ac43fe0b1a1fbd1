package identity

import (
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	authentication "k8s.io/api/authentication/v1"
	core "k8s.io/api/core/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
)

// A refusal is an event on the pod that was refused; of a caller that proved nothing, on identity itself, whatever it
// claims to be.
func TestRefusalsBecomeEvents(t *testing.T) {
	r := start(t, cluster(map[string]authentication.TokenReviewStatus{goodToken: reviewed(nil), "bad": {}}), time.Hour)
	posted, err := r.client.CoreV1().Events("").Watch(t.Context(), meta.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer posted.Stop()
	conn, csr := r.dial(t), request(t, newKey(t), nil)
	for token, want := range map[string]core.ObjectReference{
		goodToken: {APIVersion: "v1", Kind: "Pod", Namespace: "shop", Name: "web-7d9f", UID: "0123"},
		"bad":     {APIVersion: "apps/v1", Kind: "Deployment", Namespace: "tulle", Name: "tulle-identity"},
	} {
		if _, err := certify(t, conn, byToken(token, apiID.String(), csr)); err == nil {
			t.Fatal("not refused")
		}
		e := nextEvent(t, posted)
		if e.InvolvedObject != want || e.Namespace != want.Namespace || e.Reason != "CertificateRefused" || e.Type != core.EventTypeWarning {
			t.Errorf("event %+v", e)
		}
		if strings.Contains(e.Message, goodToken) {
			t.Errorf("the event shows the token: %s", e.Message)
		}
	}
}

func nextEvent(t *testing.T, w watch.Interface) *core.Event {
	t.Helper()
	select {
	case change := <-w.ResultChan():
		return change.Object.(*core.Event)
	case <-timeout(t).Done():
		t.Fatal("no event")
		return nil
	}
}

// Whoever is refused in a loop must not fill the API server.
func TestEventsAreLimited(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := follow(t, cluster(nil))
		defer f.stop()
		pass(time.Second)
		e := newEvents(f.client, "tulle", quiet)
		for range 1000 {
			e.warn(e.caller(attested{}), "CertificateRefused", strings.Repeat("x", 2*maxEventText))
		}
		if n := len(e.queue); n > eventBurst {
			t.Errorf("%d events at once", n)
		}
		if event := <-e.queue; len(event.Message) > maxEventText {
			t.Errorf("a message of %d bytes", len(event.Message))
		}
	})
}

func TestAnsweredCounts(t *testing.T) {
	r := start(t, cluster(nil), time.Hour)
	r.answered(attested{}, nil)
	r.answered(attested{}, status.Error(codes.Unauthenticated, "no"))
	families, err := r.health.Metrics.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, family := range families {
		for _, m := range family.GetMetric() {
			if family.GetName() == "tulle_identity_certify_total" {
				got[m.GetLabel()[0].GetValue()] = m.GetCounter().GetValue()
			}
			if family.GetName() == "tulle_identity_issuer_expiry_timestamp_seconds" && m.GetGauge().GetValue() < float64(time.Now().Unix()) {
				t.Error("the issuer's expiry is not told")
			}
		}
	}
	if got["OK"] != 1 || got["Unauthenticated"] != 1 {
		t.Errorf("counted %v", got)
	}
}
