package identity

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	authentication "k8s.io/api/authentication/v1"
	core "k8s.io/api/core/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
)

// A refusal is an event on the pod that was refused; of a caller that proved nothing, on identity
// itself, whatever it claims to be.
func TestRefusalsBecomeEvents(t *testing.T) {
	reviews := map[string]authentication.TokenReviewStatus{goodToken: reviewed(nil), "bad": {}}
	r := start(t, cluster(reviews), time.Hour)
	posted, err := r.client.CoreV1().Events("").Watch(t.Context(), meta.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer posted.Stop()
	conn, csr := r.dial(t), request(t, newKey(t), nil)
	for token, want := range map[string]core.ObjectReference{
		goodToken: {APIVersion: "v1", Kind: "Pod", Namespace: "shop", Name: "web-7d9f",
			UID: "0123"},
		"bad": {APIVersion: "apps/v1", Kind: "Deployment", Namespace: "tulle",
			Name: "tulle-identity"},
	} {
		if _, err := certify(t, conn, byToken(token, apiID.String(), csr)); err == nil {
			t.Fatal("not refused")
		}
		e := nextEvent(t, posted)
		if e.InvolvedObject != want || e.Namespace != want.Namespace ||
			e.Reason != "CertificateRefused" || e.Type != core.EventTypeWarning {
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
func TestEqualEventsAreOneWithACount(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := follow(t, cluster(nil))
		defer f.stop()
		e := f.events
		for range 3 {
			e.warn(e.caller(attested{}), "CertificateRefused", "no")
			pass(time.Second)
		}
		got := f.posted(t)
		if len(got) != 1 || got[0].Count != 3 || got[0].Message != "no" {
			t.Errorf("posted %+v", got)
		}
	})
}

func TestEventsAboutOneObjectAreLimitedAndLeaveRoomForOthers(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := follow(t, cluster(nil))
		defer f.stop()
		e := f.events
		for i := range 1000 {
			text := fmt.Sprint(i) + strings.Repeat("x", 2*maxEventText)
			e.warn(e.caller(attested{}), "CertificateRefused", text)
			pass(100 * time.Millisecond)
		}
		web := attested{ID: spiffeid.RequireFromString("spiffe://cluster.local/ns/shop/sa/web"),
			Pod: "web-1"}
		e.warn(e.caller(web), "CertificateRefused", "no")
		pass(time.Second)
		ofPod, writes := 0, 0
		for _, event := range f.posted(t) {
			if len(event.Message) > 1024 {
				t.Errorf("a message of %d bytes", len(event.Message))
			}
			if event.InvolvedObject.Kind == "Pod" {
				ofPod++
				continue
			}
			writes += int(event.Count)
		}
		if ofPod != 1 || writes > eventsPerObject {
			t.Errorf("%d writes about identity, and %d about the pod", writes, ofPod)
		}
	})
}

// The API server forgets events after an hour; their count goes on.
func TestAnEventThatWasForgottenIsWrittenAgain(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := follow(t, cluster(nil))
		defer f.stop()
		for range 2 {
			f.events.warn(f.events.caller(attested{}), "CertificateRefused", "no")
			pass(time.Second)
			if got := f.posted(t); len(got) != 1 {
				t.Fatalf("posted %+v", got)
			}
			for _, event := range f.posted(t) {
				if err := f.client.CoreV1().Events(event.Namespace).Delete(t.Context(), event.Name,
					meta.DeleteOptions{}); err != nil {
					t.Fatal(err)
				}
			}
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
			if family.GetName() == "tulle_identity_issuer_expiry_timestamp_seconds" &&
				m.GetGauge().GetValue() < float64(time.Now().Unix()) {
				t.Error("the issuer's expiry is not told")
			}
		}
	}
	if got["OK"] != 1 || got["Unauthenticated"] != 1 {
		t.Errorf("counted %v", got)
	}
}
