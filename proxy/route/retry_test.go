package route

import (
	"strings"
	"testing"
	"time"

	"github.com/tulle-mesh/tulle/destination/api"
)

// What a rule says of retries is understood whole, or refused.
func TestRetriesAreChecked(t *testing.T) {
	for _, tt := range []struct {
		name  string
		retry *api.Retry
		err   string
	}{
		{"nothing", &api.Retry{}, ""},
		{"all of it", &api.Retry{MaxTries: 100, Statuses: []uint32{400, 599}, Listed: true,
			GrpcStatuses: []uint32{1, 16}, BackoffMs: 60_000, Methods: []string{"GET", "X-y"}}, ""},
		{"too many tries", &api.Retry{MaxTries: 101}, "101 tries, more than 100"},
		{"no error", &api.Retry{Statuses: []uint32{399}}, "status 399"},
		{"no status", &api.Retry{Statuses: []uint32{600}}, "status 600"},
		{"gRPC's OK", &api.Retry{GrpcStatuses: []uint32{0}}, "gRPC's status 0"},
		{"no status of gRPC's", &api.Retry{GrpcStatuses: []uint32{17}}, "gRPC's status 17"},
		{"a long pause", &api.Retry{BackoffMs: 60_001}, "after 1m0.001s, more than 1m0s"},
		{"no method", &api.Retry{Methods: []string{""}}, `"", which is no method`},
		{"what a method has not", &api.Retry{Methods: []string{"A B"}}, "which is no method"},
		{"what is newer", newer(&api.Retry{}), "Retry has a field"},
	} {
		_, err := Compile(found(&api.HTTPRule{Retry: tt.retry}), NewBudget(nil))
		if (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.err)
		}
	}
}

// Without a list failures are tried again, of every method; with one, what is in it.
func TestWhatIsTriedAgain(t *testing.T) {
	retries := func(m *api.Retry) *Retries {
		return &compile(t, found(&api.HTTPRule{Retry: m})).rules[0].Retries
	}
	marked := retries(&api.Retry{})
	listed := retries(&api.Retry{Listed: true, Statuses: []uint32{503, 404}, BackoffMs: 20,
		GrpcStatuses: []uint32{14, 16}, Methods: []string{"GET"}})
	for status, want := range map[int][2]bool{
		200: {false, false}, 404: {false, true}, 500: {true, false}, 503: {true, true},
	} {
		failed := status >= 500
		got := [2]bool{marked.Answer(status, failed), listed.Answer(status, failed)}
		if got != want {
			t.Errorf("%d is tried again: %v, want %v", status, got, want)
		}
	}
	for status, want := range map[int][2]bool{
		0: {false, false}, 7: {false, false}, 13: {true, false}, 14: {true, true},
		16: {false, true},
	} {
		failed := status == 7 || status == 13 || status == 14
		if got := [2]bool{marked.GRPC(status, failed), listed.GRPC(status, failed)}; got != want {
			t.Errorf("gRPC's %d is tried again: %v, want %v", status, got, want)
		}
	}
	if !marked.Covers("POST") || listed.Covers("POST") || listed.Covers("get") ||
		!listed.Covers("GET") || listed.Backoff != 20*time.Millisecond {
		t.Error("the methods are not those of the list")
	}
	r := compile(t, found(&api.HTTPRule{Retry: &api.Retry{Listed: true, Methods: []string{"GET"}}}))
	if r.OnlyNames(); r.rules[0].Retry || !r.rules[0].Retries.Covers("POST") {
		t.Error("the service's own proxy retries")
	}
}
