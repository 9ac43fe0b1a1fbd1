package destination

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tulle-mesh/tulle/destination/consul"
	"github.com/tulle-mesh/tulle/destination/files"
	"github.com/tulle-mesh/tulle/destination/kube"
	"github.com/tulle-mesh/tulle/destination/registry"
	"github.com/tulle-mesh/tulle/test/await"
)

// catalog is a Consul with the services that a test says.
type catalog struct {
	mu       sync.Mutex
	index    uint64
	services map[string]string // the address of the one instance of each
	changed  chan struct{}     // closed at each change
}

func (c *catalog) set(name, address string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.services[name] = address
	if address == "" {
		delete(c.services, name)
	}
	c.index++
	close(c.changed)
	c.changed = make(chan struct{})
}

func (c *catalog) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	last, _ := strconv.ParseUint(r.URL.Query().Get("index"), 10, 64)
	for {
		index, body, changed := c.state(r.URL.Path)
		if index > last {
			w.Header().Set("X-Consul-Index", strconv.FormatUint(index, 10))
			_ = json.NewEncoder(w).Encode(body) // who asked may be gone
			return
		}
		select {
		case <-changed:
		case <-r.Context().Done():
			return
		}
	}
}

func (c *catalog) state(path string) (index uint64, body any, changed <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	name, ok := strings.CutPrefix(path, "/v1/health/service/")
	if !ok {
		names := map[string][]string{}
		for name := range c.services {
			names[name] = nil
		}
		return c.index, names, c.changed
	}
	instances := []any{}
	if addr := c.services[name]; addr != "" {
		instances = append(instances, map[string]any{
			"Node":    map[string]any{"Node": "n", "Address": addr, "Datacenter": "dc1"},
			"Service": map[string]any{"ID": name, "Port": 9090},
		})
	}
	return c.index, instances, c.changed
}

// startCatalog is a Consul, and the source that reads it.
func startCatalog(t *testing.T) (*catalog, Source) {
	t.Helper()
	c := &catalog{index: 1, services: map[string]string{}, changed: make(chan struct{})}
	server := httptest.NewServer(c)
	t.Cleanup(server.Close)
	source, err := consul.New(consul.Config{Address: server.URL, Namespace: "consul",
		TrustDomain: testMesh().TrustDomain, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	return c, source
}

// fill is the registry that a source fills until the test ends.
func fill(t *testing.T, source Source) *registry.Registry {
	t.Helper()
	reg := registry.New()
	ctx, cancel := context.WithCancel(context.Background())
	synced, done := make(chan struct{}), make(chan error, 1)
	go func() { done <- source.Run(ctx, reg, func() { close(synced) }) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	await.Receive(t, "everything has been read", synced)
	if err := source.Missing(); err != nil {
		t.Errorf("missing: %v", err)
	}
	return reg
}

func untilAnswered(t *testing.T, reg *registry.Registry, name, want string) {
	t.Helper()
	mesh := testMesh()
	mesh.Zones = []string{consul.Zone}
	await.True(t, name+" is "+want, func() bool {
		return ask(reg, mesh, authority(name), stranger) == want
	})
}

const webInFile = `
apiVersion: v1
kind: Service
metadata: {name: web, namespace: consul}
spec: {clusterIP: 10.96.0.50, ports: [{port: 80}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: web-a, namespace: consul, labels: {kubernetes.io/service-name: web}}
addressType: IPv4
ports: [{port: 8080}]
endpoints: [{addresses: [192.0.2.7]}]`

// Files and Consul, side by side.
func TestFilesAndConsul(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "web.yaml")
	if err := os.WriteFile(file, []byte(webInFile), 0o600); err != nil {
		t.Fatal(err)
	}
	c, source := startCatalog(t)
	c.set("web", "10.7.0.1")
	reg := fill(t, Sources{&files.Source{Dir: dir, Log: slog.New(slog.DiscardHandler)}, source})
	untilAnswered(t, reg, "web.service.consul",
		"FOUND web.consul.svc.cluster.local:80[10.7.0.1:9090 192.0.2.7:8080]")
	untilAnswered(t, reg, "web.service.consul:90", "NOT_FOUND")
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	untilAnswered(t, reg, "web.service.consul:90",
		"FOUND web.consul.svc.cluster.local:80[10.7.0.1:9090]")
	c.set("web", "")
	untilAnswered(t, reg, "web.service.consul", "NOT_FOUND")
}

// Kubernetes and Consul, side by side.
func TestKubernetesAndConsul(t *testing.T) {
	k := startKubernetes(t)
	for _, obj := range typedObjects(t, webInFile) {
		if err := k.typed.Tracker().Add(obj); err != nil {
			t.Fatal(err)
		}
	}
	c, source := startCatalog(t)
	c.set("web", "10.7.0.1")
	sources := Sources{&kube.Source{Client: k.typed, Dynamic: k.dynamic,
		Log: slog.New(slog.DiscardHandler)}, source}
	reg := fill(t, sources)
	untilAnswered(t, reg, "10.96.0.50:80",
		"FOUND web.consul.svc.cluster.local:80[10.7.0.1:9090 192.0.2.7:8080]")
	var names []string
	for _, w := range sources.Watches() {
		names = append(names, w.Resource)
	}
	if got := fmt.Sprint(names); !strings.Contains(got, "pods ") ||
		!strings.HasSuffix(got, " catalog.consul health.consul]") {
		t.Errorf("watches of %s", got)
	}
	c.set("web", "10.7.0.2")
	untilAnswered(t, reg, "10.96.0.50:80",
		"FOUND web.consul.svc.cluster.local:80[10.7.0.2:9090 192.0.2.7:8080]")
	err := k.typed.CoreV1().Services("consul").Delete(t.Context(), "web", metav1.DeleteOptions{})
	if err != nil {
		t.Fatal(err)
	}
	untilAnswered(t, reg, "10.96.0.50:80", "NOT_FOUND")
	untilAnswered(t, reg, "web.consul", // the slice, made by hand, is still there
		"FOUND web.consul.svc.cluster.local:80[10.7.0.2:9090 192.0.2.7:8080]")
}

// failingSource cannot be read.
type failingSource struct{}

func (failingSource) Run(ctx context.Context, _ *registry.Registry, _ func()) error {
	<-ctx.Done()
	return nil
}
func (failingSource) Missing() error { return fmt.Errorf("nothing can be read") }

// Nothing has been read before all sources have.
func TestAllSourcesAreWaitedFor(t *testing.T) {
	_, source := startCatalog(t)
	all := Sources{source, failingSource{}}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- all.Run(ctx, registry.New(), func() { t.Error("one source is not read yet") })
	}()
	await.True(t, "the one source has been read", func() bool { return source.Missing() == nil })
	if err := all.Missing(); err == nil || !strings.Contains(err.Error(), "nothing can be") {
		t.Errorf("missing: %v", err)
	}
	cancel()
	if err := await.Receive(t, "the sources end", done); err != nil {
		t.Error(err)
	}
}
