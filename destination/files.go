package destination

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
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tulle-mesh/tulle/destination/crd"
)

// Files is a directory of YAML documents: Service, EndpointSlice, Pod, Node, Namespace, ServiceProfile, as on Kubernetes.
// It is watched. A file that is wrong is reported with its line, and its last good content stays.
type Files struct {
	Dir string
	Log *slog.Logger

	good map[string][]metav1.Object // by file
	now  map[objectID]metav1.Object // what the state has been given
}

type objectID struct{ kind, namespace, name string }

const (
	// filesSettle is how long a directory must be quiet: editors and renames make several events of one change.
	filesSettle = 20 * time.Millisecond
	// filesPoll finds what inotify missed: its queue overflowed, or the file system has none.
	filesPoll = 10 * time.Second
	// maxFile bounds one file: a mistake such as a binary in the directory must not fill the memory.
	maxFile = 32 << 20
)

// Run reads the directory, and again whenever something in it changes. The first reading must be without fault.
func (f *Files) Run(ctx context.Context, state *State, synced func()) error {
	watcher, err := fsnotify.NewWatcher()
	if err != nil {
		return fmt.Errorf("watch %s: %w", f.Dir, err)
	}
	defer watcher.Close()
	if err := watcher.Add(f.Dir); err != nil {
		return fmt.Errorf("watch %s: %w", f.Dir, err)
	}
	f.good, f.now = map[string][]metav1.Object{}, map[objectID]metav1.Object{}
	if err := f.load(state); err != nil {
		return fmt.Errorf("read %s: %w", f.Dir, err)
	}
	synced()
	return f.follow(ctx, state, watcher)
}

func (f *Files) follow(ctx context.Context, state *State, watcher *fsnotify.Watcher) error {
	poll := time.NewTicker(filesPoll)
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
		last = f.report(f.load(state), last)
	}
}

// settle waits for a quiet moment, but not for ever.
func settle(ctx context.Context, watcher *fsnotify.Watcher) {
	limit := time.After(10 * filesSettle)
	for {
		select {
		case <-watcher.Events:
		case <-time.After(filesSettle):
			return
		case <-limit:
			return
		case <-ctx.Done():
			return
		}
	}
}

// report logs a problem once, however often the directory is read.
func (f *Files) report(err error, last string) string {
	if err == nil {
		return ""
	}
	if err.Error() != last {
		f.Log.Error("the last good content stays in use", "error", err)
	}
	return err.Error()
}

// load reads every file and applies what is good. The error names every file that is not.
func (f *Files) load(state *State) error {
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
	problems = append(problems, f.apply(state))
	return errors.Join(problems...)
}

func isYAML(name string) bool {
	switch filepath.Ext(name) {
	case ".yaml", ".yml", ".json":
		return !strings.HasPrefix(name, ".") // what an editor keeps beside
	}
	return false
}

// apply gives the state the difference between the files and what it has. An object that two files have is the first's, by
// name of the file.
func (f *Files) apply(state *State) error {
	var problems []error
	next, from := map[objectID]metav1.Object{}, map[objectID]string{}
	for _, name := range slices.Sorted(maps.Keys(f.good)) {
		for _, obj := range f.good[name] {
			id := idOf(obj)
			if next[id] != nil {
				problems = append(problems, fmt.Errorf("%s: %s %s/%s is in %s already", filepath.Join(f.Dir, name), id.kind, id.namespace, id.name, from[id]))
				continue
			}
			next[id], from[id] = obj, name
		}
	}
	var change Change
	for id, obj := range f.now {
		if next[id] == nil {
			change.Delete = append(change.Delete, obj)
		}
	}
	for id, obj := range next {
		if !reflect.DeepEqual(f.now[id], obj) {
			change.Set = append(change.Set, obj)
		}
	}
	f.now = next
	return errors.Join(append(problems, state.Apply(change))...)
}

func idOf(obj metav1.Object) objectID {
	return objectID{reflect.TypeOf(obj).Elem().Name(), obj.GetNamespace(), obj.GetName()}
}

func readFile(path string) ([]metav1.Object, error) {
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
		// An editor that writes in place truncates first. Were this taken as it is, everything in it would be gone for a moment.
		return nil, fmt.Errorf("%s: is empty: remove the file to remove what was in it", path)
	}
	docs, err := crd.Documents(path, data)
	if err != nil {
		return nil, err
	}
	var out []metav1.Object
	var problems []error
	for i := range docs {
		obj, err := decode(&docs[i])
		problems = append(problems, err)
		out = append(out, obj)
	}
	return out, errors.Join(problems...)
}

// newObject makes what a file may hold beside profiles, and nil for what it may not.
func newObject(apiVersion, kind string) metav1.Object {
	switch apiVersion + "/" + kind {
	case "v1/Service":
		return &corev1.Service{}
	case "v1/Pod":
		return &corev1.Pod{}
	case "v1/Node":
		return &corev1.Node{}
	case "v1/Namespace":
		return &corev1.Namespace{}
	case "discovery.k8s.io/v1/EndpointSlice":
		return &discoveryv1.EndpointSlice{}
	}
	return nil
}

func decode(doc *crd.Document) (metav1.Object, error) {
	if doc.Kind == crd.Kind {
		profile, err := doc.ServiceProfile()
		if err != nil {
			return nil, err
		}
		return inNamespace(profile), nil
	}
	obj := newObject(doc.APIVersion, doc.Kind)
	if obj == nil {
		return nil, &crd.FileError{File: doc.File, Line: doc.Line, Err: fmt.Errorf(
			"%s %s is not used here: Service, EndpointSlice, Pod, Node, Namespace and ServiceProfile are", doc.APIVersion, doc.Kind)}
	}
	if err := doc.Decode(obj); err != nil {
		return nil, err
	}
	if obj.GetName() == "" {
		return nil, &crd.FileError{File: doc.File, Line: doc.Line, Err: errors.New("metadata.name must be set")}
	}
	return inNamespace(obj), nil
}

// inNamespace does what kubectl does with an object that names no namespace.
func inNamespace(obj metav1.Object) metav1.Object {
	switch obj.(type) {
	case *corev1.Node, *corev1.Namespace:
		return obj
	}
	if obj.GetNamespace() == "" {
		obj.SetNamespace(metav1.NamespaceDefault)
	}
	return obj
}
