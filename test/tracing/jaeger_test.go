//go:build real

package tracing

import (
	"cmp"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/tulle-mesh/tulle/cli/dev"
	"github.com/tulle-mesh/tulle/test/await"
	"github.com/tulle-mesh/tulle/test/loopback"
	"github.com/tulle-mesh/tulle/test/output"
	"github.com/tulle-mesh/tulle/viz"
)

var jaegerBinary = flag.String("jaeger", "../../bin/jaeger", "Jaeger, as make bin/jaeger builds it")

// jaegerConfig is Jaeger's own for all in one process, with other ports.
const jaegerConfig = `
service:
  extensions: [jaeger_storage, jaeger_query]
  pipelines:
    traces: {receivers: [otlp], processors: [batch], exporters: [jaeger_storage_exporter]}
  telemetry:
    metrics: {level: none}
    logs: {level: warn}
extensions:
  jaeger_query:
    storage: {traces: memory}
    http: {endpoint: QUERY}
    grpc: {endpoint: QUERYGRPC}
  jaeger_storage: {backends: {memory: {memory: {max_traces: 10000}}}}
receivers:
  otlp: {protocols: {grpc: {endpoint: OTLPGRPC}, http: {endpoint: OTLPHTTP}}}
processors:
  batch: {timeout: 200ms}
exporters:
  jaeger_storage_exporter: {trace_storage: memory}
`

// jaeger is one, with an empty memory.
type jaeger struct {
	t                 *testing.T
	query, grpc, http string
}

func startJaeger(t *testing.T) *jaeger {
	t.Helper()
	j := &jaeger{t: t, query: loopback.Free(), grpc: loopback.Free(), http: loopback.Free()}
	file := filepath.Join(t.TempDir(), "jaeger.yaml")
	text := strings.NewReplacer("QUERYGRPC", loopback.Free(), "QUERY", j.query, "OTLPGRPC", j.grpc,
		"OTLPHTTP", j.http).Replace(jaegerConfig)
	check(t, os.WriteFile(file, []byte(text), 0o600))
	var said output.Tail
	cmd := exec.Command(*jaegerBinary, "--config", file)
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		t.Fatalf("%v (make bin/jaeger builds it)", err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait() // killed: an error
		if t.Failed() {
			t.Logf("Jaeger says\n%s", said.String())
		}
	})
	await.True(t, "Jaeger answers", func() bool {
		resp, err := http.Get("http://" + j.query + "/api/services")
		if err != nil {
			return false
		}
		defer resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	})
	return j
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// jaegerTrace is one as Jaeger's API has it.
type jaegerTrace struct {
	TraceID string
	Spans   []struct {
		SpanID, OperationName, ProcessID string
		References                       []struct{ RefType, SpanID string }
		StartTime                        int64
		Tags                             []struct {
			Key   string
			Value any
		}
		Warnings []string
	}
	Processes map[string]struct{ ServiceName string }
}

// traces are those that a service has a span in.
func (j *jaeger) traces(service string) []jaegerTrace {
	j.t.Helper()
	resp, err := http.Get("http://" + j.query + "/api/traces?" + url.Values{
		"service": {service}, "limit": {"500"}, "lookback": {"1h"}}.Encode())
	check(j.t, err)
	defer resp.Body.Close()
	var answer struct{ Data []jaegerTrace }
	check(j.t, json.NewDecoder(resp.Body).Decode(&answer))
	return answer.Data
}

// line is a span, and below which it is.
type line struct {
	id, parent, text string
	start            int64
}

// drawn is a tree, a line for each span; children come in the order of their beginnings. A parent
// that is missing makes another root.
func drawn(lines []line) string {
	slices.SortStableFunc(lines, func(a, b line) int { return cmp.Compare(a.start, b.start) })
	known := map[string]bool{"": false}
	for _, l := range lines {
		known[l.id] = true
	}
	var b strings.Builder
	var below func(parent string, depth int)
	below = func(parent string, depth int) {
		for _, l := range lines {
			if l.parent == parent || depth == 0 && !known[l.parent] {
				b.WriteString(strings.Repeat("  ", depth) + l.text + "\n")
				below(l.id, depth+1)
			}
		}
	}
	below("", 0)
	return b.String()
}

func (t *jaegerTrace) draw() string {
	var lines []line
	for _, s := range t.Spans {
		tags := map[string]any{}
		for _, tag := range s.Tags {
			tags[tag.Key] = tag.Value
		}
		l := line{id: s.SpanID, start: s.StartTime, text: fmt.Sprint(
			t.Processes[s.ProcessID].ServiceName, " ", tags["span.kind"], " ", s.OperationName,
			" ", tags["http.response.status_code"])}
		if n := tags["http.request.resend_count"]; n != nil {
			l.text += fmt.Sprint(" resent ", n)
		}
		for _, r := range s.References {
			if r.RefType == "CHILD_OF" {
				l.parent = r.SpanID
			}
		}
		lines = append(lines, l)
	}
	return drawn(lines)
}

// oneRetry is a request for stock whose first try failed.
const oneRetry = `load client GET 200
  web server GET 200
    web client GET 200
      checkout server GET 200
        checkout client GET stock 200
          checkout client GET stock 503
            inventory server GET stock 503
          checkout client GET stock 200 resent 1
            inventory server GET stock 200
`

const shop = `
namespace: shop
profiles: profiles
tracing: {endpoint: "ENDPOINT", protocol: PROTOCOL}
services:
  web: {command: [BIN/demo, web], calls: [checkout]}
  checkout: {command: [BIN/demo, checkout], calls: [inventory]}
  inventory: {command: [BIN/demo, inventory], replicas: 2}
  load: {command: [BIN/demo, load], calls: [web], env: {LOAD_RPS: "0"}}
`

// startShop runs the demo's chain of services in the mesh.
func startShop(t *testing.T, endpoint, protocol string) *dev.Ports {
	t.Helper()
	dir, bin := t.TempDir(), binaries(t)
	profile, err := os.ReadFile("../demo/profiles/inventory.yaml")
	check(t, err)
	check(t, os.Mkdir(filepath.Join(dir, "profiles"), 0o700))
	check(t, os.WriteFile(filepath.Join(dir, "profiles", "inventory.yaml"), profile, 0o600))
	file, state := filepath.Join(dir, "mesh.yaml"), filepath.Join(dir, ".mesh")
	text := strings.NewReplacer("BIN", bin, "ENDPOINT", endpoint, "PROTOCOL", protocol).Replace(
		shop)
	check(t, os.WriteFile(file, []byte(text), 0o600))
	ctx, cancel := context.WithCancel(context.Background())
	var said output.Buffer
	ended := make(chan error, 1)
	go func() {
		ended <- dev.Up(ctx, dev.Options{File: file, Dir: state, Version: "dev", LogLevel: "info",
			Proxy: filepath.Join(bin, "mesh-proxy"), Out: &said, Err: &said})
	}()
	t.Cleanup(func() {
		cancel()
		if err := await.Receive(t, "the mesh has ended", ended); err != nil || t.Failed() {
			t.Logf("the mesh ended with %v and says\n%s", err, said.String())
		}
	})
	var ports *dev.Ports
	await.True(t, "the mesh runs", func() bool {
		ports, err = dev.ReadPorts(state)
		return err == nil
	})
	return ports
}

func binaries(t *testing.T) string {
	t.Helper()
	bin := t.TempDir()
	for _, what := range []string{"proxy/mesh-proxy", "test/demo"} {
		build := exec.Command("go", "build", "-o", bin+"/", "github.com/tulle-mesh/tulle/"+what)
		if out, err := build.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	return bin
}

// ask asks for stock, as load's application does.
func ask(t *testing.T, ports *dev.Ports) {
	t.Helper()
	i := slices.IndexFunc(ports.Instances, func(i dev.Instance) bool { return i.Service == "load" })
	resp, err := http.Get("http://" + ports.Instances[i].Upstreams["web"] + "/stock")
	if err != nil {
		return // the mesh is yet to be ready
	}
	_, err = io.Copy(io.Discard, resp.Body)
	check(t, err)
	resp.Body.Close()
}

// A real Jaeger has one tree of a request through three services, with the tries of the last hop in
// it, whether it is told over gRPC or HTTP; and viz, which needs no collector, draws the same one.
func TestRealJaeger(t *testing.T) {
	for _, protocol := range []string{"grpc", "http"} {
		t.Run(protocol, func(t *testing.T) {
			j := startJaeger(t)
			ports := startShop(t, map[string]string{"grpc": j.grpc, "http": j.http}[protocol],
				protocol)
			found, last := jaegerTrace{}, ""
			t.Cleanup(func() { t.Logf("Jaeger's last trace is\n%s", last) })
			await.True(t, "Jaeger has a trace with a retry in it", func() bool {
				for range 5 {
					ask(t, ports)
				}
				for _, one := range j.traces("inventory") {
					if last = one.draw(); last == oneRetry {
						found = one
						return true
					}
				}
				return false
			})
			for _, s := range found.Spans {
				if w := slices.DeleteFunc(s.Warnings, skewed); len(w) > 0 {
					t.Errorf("Jaeger warns of %s: %q", s.OperationName, w)
				}
			}
			sameInViz(t, ports, &found)
		})
	}
}

// skewed: a callee's span seems to lie outside its caller's. It may, by microseconds: it ends once
// the answer is written, which the caller can have read by then.
func skewed(warning string) bool { return strings.HasPrefix(warning, "clock skew") }

// sameInViz waits until viz, which proxies tell at other times, draws a trace that Jaeger has.
func sameInViz(t *testing.T, ports *dev.Ports, want *jaegerTrace) {
	t.Helper()
	ids := map[string]bool{}
	for _, s := range want.Spans {
		ids[s.SpanID] = true
	}
	text := ""
	t.Cleanup(func() { t.Logf("viz draws\n%s", text) })
	await.True(t, "viz draws the same", func() bool {
		got, err := viz.NewClient(ports.VizQuery).Trace(t.Context(), want.TraceID)
		if err != nil {
			text = err.Error()
			return false
		}
		for _, s := range got.Tree {
			if !ids[s.SpanID] {
				t.Errorf("Jaeger knows of no span %s", s.SpanID)
			}
		}
		text = drawnOf(got)
		return text == oneRetry
	})
}

func drawnOf(trace *viz.Trace) string {
	var lines []line
	for _, s := range trace.Tree {
		l := line{id: s.SpanID, parent: s.ParentID, start: s.StartUs, text: fmt.Sprint(s.Workload,
			" ", s.Kind, " ", s.Name, " ", s.Attributes["http.response.status_code"])}
		if n := s.Attributes["http.request.resend_count"]; n != nil {
			l.text += fmt.Sprint(" resent ", n)
		}
		lines = append(lines, l)
	}
	return drawn(lines)
}
