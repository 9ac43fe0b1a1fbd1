//go:build e2e && real

package e2e

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// prometheusAddr is where Prometheus answers, in the node's network like all of these tests.
const prometheusAddr = "127.0.0.1:9090"

// Flagger, as it comes, drives a canary by what a Prometheus has read from viz, with the templates
// of the documentation: the Deployment is changed twice, once for the better.
func TestFlagger(t *testing.T) {
	ready(t)
	ns := ownNamespace(t)
	run(t, "kubectl", "label", "namespace", ns, "tulle.dev/inject=enabled")
	installGatewayAPI(t)
	shell(t, "meshctl install --prometheus-namespace monitoring --metrics-compat linkerd,istio |"+
		" kubectl apply -f -")
	rolledOut(t, "tulle", "deployment/tulle-viz")
	startPrometheus(t)
	startFlagger(t)
	web := strings.Split(versionOf("web", 0), "---\n")[0]
	feed(t, web, "kubectl", "-n", ns, "apply", "-f", "-")
	rolledOut(t, ns, "deployment/web")
	feed(t, flaggerCanary(t, ns), "kubectl", "apply", "-f", "-")
	wantPhase(t, ns, "Initialized")
	calls := startLoad(t, byHook, 100, "http://web."+ns+"/")
	run(t, "kubectl", "-n", ns, "set", "env", "deployment/web", "VERSION=2")
	wantPhase(t, ns, "Progressing")
	wantPhase(t, ns, "Succeeded")
	for name, query := range stockQueries {
		wantValue(t, name, strings.ReplaceAll(query, "NAMESPACE", ns))
	}
	calls.lostNothing(t)
	wantEnv(t, ns, "2")
	calls = startLoad(t, byHook, 100, "http://web."+ns+"/")
	feed(t, strings.Replace(web, `"0"`, `"2"`, 1), "kubectl", "-n", ns, "apply", "-f", "-")
	wantPhase(t, ns, "Progressing")
	wantPhase(t, ns, "Failed")
	calls.end(t)
	wantWeights(t, ns, "100 0")
	wantEnv(t, ns, "2")
}

// stockQueries are what Flagger asks where the mesh is Linkerd or Istio (pkg/metrics/observers), of
// a version that never failed.
var stockQueries = map[string]string{
	"Linkerd's success": `sum(rate(response_total{namespace="NAMESPACE",deployment=~"web",
		classification!="failure",direction="inbound"}[5m])) / sum(rate(response_total{
		namespace="NAMESPACE",deployment=~"web",direction="inbound"}[5m])) * 100 > 99.9`,
	"Linkerd's latency": `histogram_quantile(0.99, sum(rate(response_latency_ms_bucket{
		namespace="NAMESPACE",deployment=~"web",direction="inbound"}[5m])) by (le)) > 0`,
	"Istio's success": `sum(rate(istio_requests_total{reporter="destination",
		destination_workload_namespace="NAMESPACE",destination_workload=~"web",
		response_code!~"5.*"}[5m])) / sum(rate(istio_requests_total{reporter="destination",
		destination_workload_namespace="NAMESPACE",destination_workload=~"web"}[5m])) * 100 > 99.9`,
	"Istio's latency": `histogram_quantile(0.99, sum(rate(
		istio_request_duration_milliseconds_bucket{reporter="destination",
		destination_workload_namespace="NAMESPACE",destination_workload=~"web"}[5m])) by (le)) > 0`,
}

// wantValue asks Prometheus for something that holds.
func wantValue(t *testing.T, what, query string) {
	t.Helper()
	out := run(t, "curl", "-sf", "--data-urlencode", "query="+query,
		"http://"+prometheusAddr+"/api/v1/query")
	if !strings.Contains(out, `"value"`) {
		t.Errorf("%s: %s", what, out)
	}
}

// flaggerCanary is the documentation's, in a hurry.
func flaggerCanary(t *testing.T, ns string) string {
	t.Helper()
	text, err := os.ReadFile("../../docs/canary/flagger.yaml")
	if err != nil {
		t.Fatal(err)
	}
	return strings.NewReplacer(
		"namespace: shop", "namespace: "+ns, "http://prometheus.monitoring:9090",
		"http://"+prometheusAddr, "interval: 30s", "interval: 10s", "interval: 1m",
		"interval: 20s", "threshold: 3", "threshold: 2", "stepWeight: 10", "stepWeight: 25",
		"max: 500}", "max: 5000}",
	).Replace(string(text))
}

// startPrometheus is Debian's, with the documentation's configuration, which finds viz by its
// Service's address: the node does not ask the cluster's DNS.
func startPrometheus(t *testing.T) {
	t.Helper()
	text, err := os.ReadFile("../../docs/canary/prometheus.yaml")
	if err != nil {
		t.Fatal(err)
	}
	viz := run(t, "kubectl", "-n", "tulle", "get", "service", "tulle-viz", "-o",
		"jsonpath={.spec.clusterIP}")
	config := strings.NewReplacer("tulle-viz.tulle.svc:", viz+":", "scrape_interval: 10s",
		"scrape_interval: 2s\n  scrape_timeout: 2s").Replace(string(text))
	file := filepath.Join(t.TempDir(), "prometheus.yaml")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	startProcess(t, "prometheus", "--config.file="+file, "--storage.tsdb.path="+t.TempDir(),
		"--web.listen-address="+prometheusAddr)
	eventually(t, time.Minute, func() error {
		out, err := try("", "curl", "-sf", "http://"+prometheusAddr+
			"/api/v1/query?query=tulle_viz_flows_folded_total")
		if err == nil && !strings.Contains(out, `"value"`) {
			err = fmt.Errorf("it has read nothing: %s", out)
		}
		return err
	})
}

// startFlagger adds Flagger's kinds and runs its controller, for as long as the test.
func startFlagger(t *testing.T) {
	t.Helper()
	module := strings.TrimSpace(shell(t, `go version -m "$(command -v flagger)" |
		awk '$1 == "mod" { print $2 "@" $3 }'`))
	dir := strings.TrimSpace(shell(t, "go mod download -json "+module+
		` | sed -n 's/^\t"Dir": "\(.*\)",$/\1/p'`))
	kinds := filepath.Join(dir, "artifacts/flagger/crd.yaml")
	run(t, "kubectl", "apply", "--server-side", "-f", kinds)
	t.Cleanup(func() { run(t, "kubectl", "delete", "--timeout=1m", "-f", kinds) })
	startProcess(t, "flagger", "-kubeconfig="+os.Getenv("KUBECONFIG"),
		"-mesh-provider=gatewayapi:v1", "-metrics-server=http://"+prometheusAddr,
		"-control-loop-interval=5s", "-port=8095", "-log-level=info")
}

// startProcess runs a command until the test ends, and shows what it said if that failed.
func startProcess(t *testing.T, name string, args ...string) {
	t.Helper()
	var said bytes.Buffer
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		cmd.Wait() // it was killed
		if t.Failed() {
			t.Logf("%s said:\n%s", name, said.String())
		}
	})
}

func wantPhase(t *testing.T, ns, want string) {
	t.Helper()
	eventually(t, 4*time.Minute, func() error {
		out, err := try("", "kubectl", "-n", ns, "get", "canary", "web", "-o",
			"jsonpath={.status.phase}")
		if err == nil && out != want {
			err = fmt.Errorf("the canary is %q, want %s", out, want)
		}
		return err
	})
}

// wantEnv says which version the primary is.
func wantEnv(t *testing.T, ns, want string) {
	t.Helper()
	got := run(t, "kubectl", "-n", ns, "get", "deployment", "web-primary", "-o",
		`jsonpath={.spec.template.spec.containers[0].env[?(@.name=="VERSION")].value}`)
	if got != want {
		t.Errorf("the primary is version %q, want %s", got, want)
	}
}
