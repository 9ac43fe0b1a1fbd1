package objectives

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/tulle-mesh/tulle/destination/files"
	"github.com/tulle-mesh/tulle/test/await"
	"github.com/tulle-mesh/tulle/viz/slo"
)

const checkout = `apiVersion: tulle.dev/v1alpha1
kind: ServiceLevelObjective
metadata: {name: checkout, namespace: shop}
spec:
  targetRef: {kind: Service, name: checkout}
  route: pay
  objective: "99.9"
  latency: 250ms
`

var wanted = slo.Objective{Namespace: "shop", Name: "checkout", Service: "checkout", Route: "pay",
	Target: 0.999, Window: 30 * 24 * time.Hour, Latency: 250 * time.Millisecond}

// put writes a file as an editor does that is careful: at once.
func put(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path+".tmp", []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".tmp", path); err != nil {
		t.Fatal(err)
	}
}

// Viz is told what there is, and of each edit; what cannot be used changes nothing.
func TestObjectivesAreFollowed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "slo.yaml")
	put(t, path, checkout)
	ctx, cancel := context.WithCancel(t.Context())
	told, done := make(chan []slo.Objective, 10), make(chan error, 1)
	go func() {
		source := &files.Source{Dir: filepath.Dir(path), Log: slog.New(slog.DiscardHandler)}
		done <- Follow(ctx, source, func(all []slo.Objective) { told <- all })
	}()
	next := func(want ...slo.Objective) {
		t.Helper()
		got := await.Receive(t, "objectives", told)
		if len(got) != len(want) || len(want) > 0 && !reflect.DeepEqual(got, want) {
			t.Errorf("told %+v, want %+v", got, want)
		}
	}
	next(wanted)
	put(t, path, strings.Replace(checkout, "99.9", "100", 1)) // the last good one stays
	put(t, path, strings.Replace(checkout, "99.9", "95", 1))
	edited := wanted
	edited.Target = 0.95
	next(edited)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	next()
	cancel()
	if err := await.Receive(t, "the end", done); err != nil {
		t.Error(err)
	}
}

func TestObjectivesOutOfFiles(t *testing.T) {
	path := filepath.Join(t.TempDir(), "slo.yaml")
	put(t, path, "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n---\n"+checkout)
	if all, err := Read([]string{path}); err != nil || !reflect.DeepEqual(all,
		[]slo.Objective{wanted}) {
		t.Errorf("%+v %v", all, err)
	}
	put(t, path, strings.Replace(checkout, `"99.9"`, "99.9", 1))
	if _, err := Read([]string{path, path + "s"}); err == nil ||
		!strings.Contains(err.Error(), path+":7: ") || !strings.Contains(err.Error(), "no such") {
		t.Errorf("it says %v", err)
	}
}
