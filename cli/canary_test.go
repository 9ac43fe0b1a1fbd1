package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/tulle-mesh/tulle/cli/canary"
	"github.com/tulle-mesh/tulle/viz"
)

// routeServer is an API server with one HTTPRoute, and a mesh that accepts what it becomes.
type routeServer struct {
	mu      sync.Mutex // guards what follows
	weights [2]int
	changes int
	changed func() // may be nil
}

func (s *routeServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.URL.Path != "/apis/gateway.networking.k8s.io/v1/namespaces/shop/httproutes/web" {
		http.NotFound(w, r)
		return
	}
	if r.Method == http.MethodPatch {
		s.patch(r)
	}
	w.Header().Set("Content-Type", "application/json")
	fmt.Fprintf(w, `{"apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute",
"metadata": {"name": "web", "namespace": "shop", "generation": %[1]d},
"spec": {"parentRefs": [{"group": "", "kind": "Service", "name": "web"}],
"rules": [{"backendRefs": [{"name": "web-v1", "port": 80, "weight": %[2]d},
{"name": "web-v2", "port": 80, "weight": %[3]d}]}]},
"status": {"parents": [{"controllerName": "tulle.dev/mesh", "parentRef": {"name": "web"},
"conditions": [{"type": "Accepted", "status": "True", "observedGeneration": %[1]d}]}]}}`,
		s.changes+1, s.weights[0], s.weights[1])
}

func (s *routeServer) patch(r *http.Request) {
	var operations []struct {
		Op, Path string
		Value    any
	}
	json.NewDecoder(r.Body).Decode(&operations) // what is not understood changes nothing
	for _, o := range operations {
		var rule, backend int
		if n, _ := fmt.Sscanf(o.Path, "/spec/rules/%d/backendRefs/%d/weight", &rule,
			&backend); n == 2 && o.Op == "add" {
			s.weights[backend] = int(o.Value.(float64))
		}
	}
	s.changes++
	if s.changed != nil {
		s.changed()
	}
}

// start serves the route to whoever uses the default kubeconfig.
func (s *routeServer) start(t *testing.T) {
	t.Helper()
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	path := filepath.Join(t.TempDir(), "config")
	text := fmt.Sprintf(`{"apiVersion": "v1", "kind": "Config", "current-context": "c",
"clusters": [{"name": "c", "cluster": {"server": %q}}],
"contexts": [{"name": "c", "context": {"cluster": "c", "user": "", "namespace": "shop"}}]}`,
		server.URL)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("KUBECONFIG", path)
}

// The whole way, but for the time between checks: cli/canary's tests have a clock for that.
func TestCanaryIsRolledBackByCtrlC(t *testing.T) {
	addr, _ := fixed(t)
	ctx, cancel := context.WithCancel(t.Context())
	s := &routeServer{weights: [2]int{1, 0}, changed: cancel}
	s.start(t)
	out, errs, status := meshctl(ctx, "canary", "httproute/web", "--viz-addr", addr)
	if status != exitFindings || errs != "" {
		t.Errorf("status %d, %q", status, errs)
	}
	for _, want := range []string{
		"web-v2 has 10 % of the calls of httproute/web; it is checked every 30s",
		"interrupted", "rolled back: web-v1 has 100 %",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	if s.weights != [2]int{100, 0} || s.changes != 2 {
		t.Errorf("weights %v after %d changes", s.weights, s.changes)
	}
}

func TestCanaryThatIsPromotedAlready(t *testing.T) {
	addr, _ := fixed(t)
	s := &routeServer{weights: [2]int{0, 100}}
	s.start(t)
	out, errs, status := meshctl(t.Context(), "canary", "httproute/web", "--viz-addr", addr,
		"-o", "json")
	var line struct {
		Route, Backend, Phase string
		Weight                int
	}
	if err := json.Unmarshal([]byte(out), &line); err != nil || status != exitOK || errs != "" {
		t.Fatalf("status %d, %q, %v: %s", status, errs, err, out)
	}
	if line.Route != "httproute/web" || line.Backend != "web-v2" || line.Phase != "Promoted" ||
		line.Weight != 100 || s.changes != 0 {
		t.Errorf("%+v after %d changes", line, s.changes)
	}
}

func TestCanaryRefusesNonsense(t *testing.T) {
	t.Setenv("KUBECONFIG", filepath.Join(t.TempDir(), "none"))
	for args, want := range map[string]string{
		"":                                "accepts 1 arg",
		"web":                             `"web" is no route: write httproute/NAME`,
		"deploy/web":                      `"deploy/web" is no route`,
		"httproute/":                      "is no route",
		"httproute/web --step 0":          "--step 0",
		"httproute/web --max 5":           "--max 5",
		"httproute/web --interval 1s":     "--interval 1s: use 10s to 1h",
		"httproute/web -o yaml":           "unknown output format",
		"httproute/web --min-requests -1": "invalid argument",
	} {
		_, errs, status := meshctl(t.Context(), append([]string{"canary"},
			strings.Fields(args)...)...)
		if status != exitUsage || !strings.Contains(errs, want) {
			t.Errorf("%q: status %d, %q; want %q", args, status, errs, want)
		}
	}
}

func TestCanaryAsksVizForBothVersions(t *testing.T) {
	addr, asked := fixed(t)
	s := &routeServer{weights: [2]int{90, 10}}
	s.start(t)
	c := &canaryCommand{vizApp: &vizApp{app: &app{config: configFlags()}}, interval: viz.MinWindow}
	c.addr = addr
	in, err := c.routes("httproutes")
	if err != nil {
		t.Fatal(err)
	}
	route, err := canary.Find(t.Context(), in, "web", canary.Choice{})
	if err != nil {
		t.Fatal(err)
	}
	link, err := c.link(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer link.close()
	stable, fresh, err := c.measure(t.Context(), link, route)
	if err != nil {
		t.Fatal(err)
	}
	if got := signalsText(stable); got != "600 requests, 70.93 % ok, p99 12346 ms" {
		t.Errorf("the old version: %s", got)
	}
	if got := signalsText(fresh); got != "no requests" {
		t.Errorf("the new version: %s", got)
	}
	const want = "/api/backends?namespace=shop&resource=service%2Fweb&window=10s"
	if got := asked(); len(got) != 1 || got[0] != want {
		t.Errorf("asked %v, want %s", got, want)
	}
}
