package files

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tulle-mesh/tulle/destination/registry"
)

// logs collects what is logged, and tells when there is more.
type logs struct {
	mu   sync.Mutex
	text bytes.Buffer
	more chan struct{}
}

func (l *logs) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case l.more <- struct{}{}:
	default:
	}
	return l.text.Write(p)
}

func (l *logs) wait(t *testing.T, want string) {
	t.Helper()
	deadline := time.After(5 * time.Second)
	for {
		l.mu.Lock()
		text := l.text.String()
		l.mu.Unlock()
		if strings.Contains(text, want) {
			return
		}
		select {
		case <-l.more:
		case <-deadline:
			t.Fatalf("logged %q, want %q in it", text, want)
		}
	}
}

// folder is a directory that a Files source watches.
type folder struct {
	t        *testing.T
	dir      string
	registry *registry.Registry
	log      *logs
}

func watchFolder(t *testing.T, files map[string]string) *folder {
	t.Helper()
	f := &folder{t, t.TempDir(), registry.New(), &logs{more: make(chan struct{}, 1)}}
	for name, text := range files {
		f.write(name, text)
	}
	ctx, cancel := context.WithCancel(context.Background())
	synced, done := make(chan struct{}), make(chan error, 1)
	source := &Source{Dir: f.dir, Log: slog.New(slog.NewTextHandler(f.log, nil))}
	go func() { done <- source.Run(ctx, f.registry, func() { close(synced) }) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	select {
	case <-synced:
	case <-time.After(5 * time.Second):
		t.Fatal("not synced")
	}
	f.registry.TakeTouched()
	return f
}

// write replaces a file as careful editors do: beside, then renamed over it.
func (f *folder) write(name, text string) {
	f.t.Helper()
	beside := filepath.Join(f.dir, "."+name+".swp")
	if err := os.WriteFile(beside, []byte(text), 0o600); err != nil {
		f.t.Fatal(err)
	}
	if err := os.Rename(beside, filepath.Join(f.dir, name)); err != nil {
		f.t.Fatal(err)
	}
}

// changed waits for the state to be told something, within the second that an edit may take.
func (f *folder) changed() {
	f.t.Helper()
	select {
	case <-f.registry.Changed():
	case <-time.After(time.Second):
		f.t.Fatal("the edit took longer than a second")
	}
}

// has lists the services.
func (f *folder) has() string {
	var out []string
	f.registry.Read(func(v *registry.View) {
		for _, name := range []string{"a", "b", "c"} {
			if svc := v.Service(registry.Name{Namespace: "default", Name: name}); svc != nil {
				out = append(out, name+"="+svc.Addresses[0].String())
			}
		}
	})
	return strings.Join(out, " ")
}

func service(name, ip string) string {
	return "apiVersion: v1\nkind: Service\nmetadata:\n  name: " + name + "\nspec:\n  clusterIP: " +
		ip + "\n"
}

func TestFilesFollowEdits(t *testing.T) {
	f := watchFolder(t,
		map[string]string{"one.yaml": service("a", "10.0.0.1"), "notes.txt": "not: [yaml"})
	f.changed() // the first reading
	for _, step := range []struct {
		name string
		do   func()
		want string
	}{
		{"edit", func() { f.write("one.yaml", service("a", "10.0.0.2")) }, "a=10.0.0.2"},
		{"new file", func() {
			f.write("two.yml", service("b", "10.0.0.3")+"---\n"+service("c", "10.0.0.4"))
		}, "a=10.0.0.2 b=10.0.0.3 c=10.0.0.4"},
		{"write in place", func() {
			if err := os.WriteFile(filepath.Join(f.dir, "two.yml"),
				[]byte(service("b", "10.0.0.3")), 0o600); err != nil {
				t.Fatal(err)
			}
		}, "a=10.0.0.2 b=10.0.0.3"},
		{"remove", func() {
			if err := os.Remove(filepath.Join(f.dir, "one.yaml")); err != nil {
				t.Fatal(err)
			}
		}, "b=10.0.0.3"},
		{"move an object to another file", func() {
			err := os.Rename(filepath.Join(f.dir, "two.yml"), filepath.Join(f.dir, "three.yaml"))
			if err != nil {
				t.Fatal(err)
			}
			f.write("four.yaml", service("c", "10.0.0.9"))
		}, "b=10.0.0.3 c=10.0.0.9"},
	} {
		step.do()
		for f.has() != step.want {
			f.changed() // a reading may come between two halves of a step
		}
		t.Log(step.name)
	}
}

func TestBadEditKeepsTheLastGoodContent(t *testing.T) {
	f := watchFolder(t, map[string]string{"one.yaml": service("a", "10.0.0.1"),
		"two.yaml": service("b", "10.0.0.2")})
	f.changed()
	for _, c := range []struct{ text, want string }{
		{service("a", "10.0.0.1") + "  portz: []\n", `one.yaml:7: unknown field \"spec.portz\"`},
		{"", "one.yaml: is empty"},
		{"apiVersion: v1\nkind: Service\n metadata: x\n", "one.yaml:3: "},
		{"apiVersion: v1\nkind: Secret\nmetadata: {name: x}\n",
			"one.yaml:1: v1 Secret is not used here"},
		{"apiVersion: v1\nkind: Service\n", "one.yaml:1: metadata.name must be set"},
		{"apiVersion: tulle.dev/v1alpha1\nkind: ServiceProfile\n" +
			"metadata: {name: a.default.svc.cluster.local}\nspec:\n  routes:\n  - name: x\n" +
			"    condition: {method: GET}\n    timeout: soon\n",
			"one.yaml:8: spec.routes[0].timeout"},
		{"apiVersion: tulle.dev/v1alpha1\nkind: BackendTrafficPolicy\nmetadata: {name: a}\n" +
			"spec:\n  targetRefs: [{kind: Service, name: a}]\n  slowStart:\n    window: soon\n",
			"one.yaml:7: spec.slowStart.window"},
		{"apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {name: a}\n" +
			"spec:\n  rules: [{filters: [{type: ExternalAuth}]}]\n",
			"one.yaml:1: rule 0: filter ExternalAuth is not supported"},
		{service("a", "10.0.0.1") + "---\n" + service("b", "10.9.9.9"),
			"two.yaml: Service default/b is in one.yaml already"},
	} {
		f.write("one.yaml", c.text)
		f.log.wait(t, c.want)
	}
	// the last of them was a good file: it wins by name, and the other's copy waits
	f.changed()
	if got := f.has(); got != "a=10.0.0.1 b=10.9.9.9" {
		t.Errorf("has %q", got)
	}
	f.write("one.yaml", "}")
	f.log.wait(t, "one.yaml:1: ")
	if got := f.has(); got != "a=10.0.0.1 b=10.9.9.9" {
		t.Errorf("a bad edit left %q", got)
	}
}

func TestFilesMustBeGoodAtFirst(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "x.yaml"), []byte("a: b"), 0o600); err != nil {
		t.Fatal(err)
	}
	err := (&Source{Dir: dir, Log: slog.New(slog.DiscardHandler)}).Run(t.Context(), registry.New(),
		func() { t.Error("synced") })
	if err == nil || !strings.Contains(err.Error(), "x.yaml:1: apiVersion and kind must be set") {
		t.Errorf("error is %v", err)
	}
	if err := (&Source{Dir: dir + "/none"}).Run(t.Context(), registry.New(), nil); err == nil {
		t.Error("a directory that does not exist is watched")
	}
}
