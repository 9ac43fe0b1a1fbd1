package files

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/fsnotify/fsnotify"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tulle-mesh/tulle/destination/crd"
	"github.com/tulle-mesh/tulle/destination/kube"
	"github.com/tulle-mesh/tulle/destination/policy"
	"github.com/tulle-mesh/tulle/destination/registry"
)

// Source fills a registry from a directory of YAML documents. It is watched. A file that is wrong
// is reported with its line, and its last good content stays.
type Source struct {
	Dir string
	Log *slog.Logger

	good map[string][]object          // by file
	now  map[objectID]registry.Object // what the registry has been given
}

// object is a document that has been read, in the registry's form.
type object struct {
	id    objectID
	value registry.Object
}

type objectID struct{ kind, namespace, name string }

const (
	// settleTime is how long a directory must be quiet: editors and renames make several events of
	// one change.
	settleTime = 20 * time.Millisecond
	// pollTime finds what inotify missed: its queue overflowed, or the file system has none.
	pollTime = 10 * time.Second
	// maxFile bounds one file: a mistake such as a binary in the directory must not fill the
	// memory.
	maxFile = 32 << 20
)

// Run reads the directory, and again whenever something in it changes. The first reading must be
// without fault.
func (f *Source) Run(ctx context.Context, reg *registry.Registry, synced func()) error {
	watcher, err := fsnotify.NewWatcher()
	if err != nil {
		return fmt.Errorf("watch %s: %w", f.Dir, err)
	}
	defer watcher.Close()
	if err := watcher.Add(f.Dir); err != nil {
		return fmt.Errorf("watch %s: %w", f.Dir, err)
	}
	f.good, f.now = map[string][]object{}, map[objectID]registry.Object{}
	owner := reg.Owner("files " + f.Dir)
	if err := f.load(owner); err != nil {
		return fmt.Errorf("read %s: %w", f.Dir, err)
	}
	synced()
	return f.follow(ctx, owner, watcher)
}

// Missing is nil: Run fails where the directory cannot be read.
func (f *Source) Missing() error { return nil }

func (f *Source) follow(
	ctx context.Context, owner *registry.Owner, watcher *fsnotify.Watcher,
) error {
	poll := time.NewTicker(pollTime)
	defer poll.Stop()
	var last string
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-poll.C:
		case err := <-watcher.Errors:
			f.Log.Warn("watch files", "dir", f.Dir, "error", err)
		case <-watcher.Events:
			settle(ctx, watcher)
		}
		last = f.report(f.load(owner), last)
	}
}

// settle waits for a quiet moment, but not for ever.
func settle(ctx context.Context, watcher *fsnotify.Watcher) {
	limit := time.After(10 * settleTime)
	for {
		select {
		case <-watcher.Events:
		case <-time.After(settleTime):
			return
		case <-limit:
			return
		case <-ctx.Done():
			return
		}
	}
}

// report logs a problem once, however often the directory is read.
func (f *Source) report(err error, last string) string {
	if err == nil {
		return ""
	}
	if err.Error() != last {
		f.Log.Error("the last good content stays in use", "error", err)
	}
	return err.Error()
}

// load reads every file and applies what is good. The error names every file that is not.
func (f *Source) load(owner *registry.Owner) error {
	entries, err := os.ReadDir(f.Dir)
	if err != nil {
		return err
	}
	var problems []error
	seen := map[string]bool{}
	for _, entry := range entries {
		if !isYAML(entry.Name()) {
			continue
		}
		seen[entry.Name()] = true
		objects, err := readFile(filepath.Join(f.Dir, entry.Name()))
		if errors.Is(err, os.ErrNotExist) {
			delete(seen, entry.Name()) // renamed just now
			continue
		}
		if err != nil {
			problems = append(problems, err)
			continue
		}
		f.good[entry.Name()] = objects
	}
	for name := range f.good {
		if !seen[name] {
			delete(f.good, name)
		}
	}
	problems = append(problems, f.apply(owner))
	return errors.Join(problems...)
}

func isYAML(name string) bool {
	switch filepath.Ext(name) {
	case ".yaml", ".yml", ".json":
		return !strings.HasPrefix(name, ".") // what an editor keeps beside
	}
	return false
}

// apply gives the registry the difference between the files and what it has. An object that two
// files have is the first's, by name of the file.
func (f *Source) apply(owner *registry.Owner) error {
	var problems []error
	next, from := map[objectID]registry.Object{}, map[objectID]string{}
	for _, name := range slices.Sorted(maps.Keys(f.good)) {
		for _, obj := range f.good[name] {
			id := obj.id
			if next[id] != nil {
				problems = append(problems, fmt.Errorf("%s: %s %s/%s is in %s already",
					filepath.Join(f.Dir, name), id.kind, id.namespace, id.name, from[id]))
				continue
			}
			next[id], from[id] = obj.value, name
		}
	}
	owner.Apply(difference(f.now, next))
	f.now = next
	return errors.Join(problems...)
}

func difference(now, next map[objectID]registry.Object) (change registry.Change) {
	for id, obj := range now {
		if next[id] == nil {
			change.Delete = append(change.Delete, obj)
		}
	}
	for id, obj := range next {
		if !reflect.DeepEqual(now[id], obj) {
			change.Set = append(change.Set, obj)
		}
	}
	return change
}

func readFile(path string) ([]object, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.Size() > maxFile || !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s: must be a file of at most %d MiB", path, maxFile>>20)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	if len(data) == 0 {
		// An editor that writes in place truncates first. Were this taken as it is, everything in
		// it would be gone for a moment.
		return nil, fmt.Errorf("%s: is empty: remove the file to remove what was in it", path)
	}
	return parseObjects(path, data)
}

// Parse reads the documents of a file, as Source does. Errors name the file and the line.
func Parse(file string, data []byte) ([]registry.Object, error) {
	objects, err := parseObjects(file, data)
	out := make([]registry.Object, 0, len(objects))
	for _, obj := range objects {
		out = append(out, obj.value)
	}
	return out, err
}

func parseObjects(file string, data []byte) ([]object, error) {
	docs, err := crd.Documents(file, data)
	if err != nil {
		return nil, err
	}
	var out []object
	var problems []error
	for i := range docs {
		obj, err := decode(&docs[i])
		problems = append(problems, err)
		out = append(out, obj)
	}
	if err := errors.Join(problems...); err != nil {
		return nil, err
	}
	return out, nil
}

// decode reads a document of one of kube's kinds, in the same strict way as the API server.
func decode(doc *crd.Document) (object, error) {
	kind := kube.FindKind(doc.APIVersion, doc.Kind)
	if kind == nil {
		return object{}, &crd.FileError{File: doc.File, Line: doc.Line, Err: unknownKind(doc)}
	}
	typed, err := decodeTyped(doc, kind)
	if err != nil {
		return object{}, err
	}
	if typed.GetName() == "" {
		err := errors.New("metadata.name must be set")
		return object{}, &crd.FileError{File: doc.File, Line: doc.Line, Err: err}
	}
	if kind.Namespaced && typed.GetNamespace() == "" {
		typed.SetNamespace(metav1.NamespaceDefault) // as kubectl does
	}
	id := objectID{kind.Kind, typed.GetNamespace(), typed.GetName()}
	return object{id, kind.Convert(typed)}, nil
}

func decodeTyped(doc *crd.Document, kind *kube.Kind) (kube.Object, error) {
	switch kind.Kind { // ours are validated, with lines
	case crd.Kind:
		return doc.ServiceProfile()
	case crd.BackendTrafficPolicyKind:
		return doc.BackendTrafficPolicy()
	case crd.RateLimitPolicyKind:
		return doc.RateLimitPolicy()
	case crd.FaultInjectionKind:
		return doc.FaultInjection()
	case crd.TelemetryPolicyKind:
		return doc.TelemetryPolicy()
	case crd.ServiceLevelObjectiveKind:
		return doc.ServiceLevelObjective()
	}
	obj := kind.New()
	if err := doc.Decode(obj); err != nil {
		return nil, err
	}
	return obj, checkRoute(doc, obj)
}

// checkRoute refuses a route of the Gateway API of which something cannot be obeyed: a file has no
// status to say so in.
func checkRoute(doc *crd.Document, obj kube.Object) error {
	route, _ := policy.FromRoute(obj, time.Time{}, "")
	var problems []error
	for _, p := range slices.Concat(route.Dropped, route.Unresolved) {
		problems = append(problems, &crd.FileError{File: doc.File, Line: doc.Line, Err: &p})
	}
	return errors.Join(problems...)
}

func unknownKind(doc *crd.Document) error {
	var used []string
	for _, k := range kube.Kinds() {
		if k.Kind == doc.Kind {
			return fmt.Errorf("apiVersion of a %s must be %s, not %s",
				k.Kind, k.APIVersion(), doc.APIVersion)
		}
		used = append(used, k.Kind)
	}
	return fmt.Errorf("%s %s is not used here: %s are",
		doc.APIVersion, doc.Kind, strings.Join(used, ", "))
}
