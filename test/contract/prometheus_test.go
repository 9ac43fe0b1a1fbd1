//go:build real

package contract

import (
	"bytes"
	"encoding/json"
	"flag"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"sigs.k8s.io/yaml"

	"github.com/tulle-mesh/tulle/cli/dev"
	"github.com/tulle-mesh/tulle/test/await"
	"github.com/tulle-mesh/tulle/test/loopback"
	"github.com/tulle-mesh/tulle/test/output"
	"github.com/tulle-mesh/tulle/viz/board"
)

var (
	prometheusBinary = flag.String("prometheus", "prometheus", "Prometheus, 2.42 or later")
	promtoolBinary   = flag.String("promtool", "promtool", "promtool, of the same version")
	meshctlBinary    = flag.String("meshctl", "../../bin/meshctl",
		"meshctl, with mesh-proxy and the demo's program beside it")
)

// process is a command that runs until the test ends.
type process struct {
	said output.Tail
	cmd  *exec.Cmd
}

func startProcess(t *testing.T, dir, name string, args ...string) *process {
	t.Helper()
	p := &process{cmd: exec.Command(name, args...)}
	p.cmd.Dir, p.cmd.Stdout, p.cmd.Stderr = dir, &p.said, &p.said
	check(t, p.cmd.Start())
	t.Cleanup(func() {
		p.cmd.Process.Signal(syscall.SIGTERM)
		p.cmd.Wait() // it was told to end
		if t.Failed() {
			t.Logf("%s said:\n%s", name, p.said.String())
		}
	})
	return p
}

// startDemo runs the demo's mesh, with load, and says where everything is.
func startDemo(t *testing.T) *dev.Ports {
	t.Helper()
	meshctl, err := filepath.Abs(*meshctlBinary)
	check(t, err)
	mesh, err := filepath.Abs("../demo/mesh.yaml")
	check(t, err)
	state := filepath.Join(t.TempDir(), "state")
	p := startProcess(t, t.TempDir(), meshctl, "dev", "up", "-f", mesh, "--state-dir", state)
	await.True(t, "the demo runs", func() bool {
		return strings.Contains(p.said.String(), "The mesh is up")
	})
	ports, err := dev.ReadPorts(state)
	check(t, err)
	return ports
}

// realPrometheus reads a mesh's pages.
type realPrometheus struct {
	t    *testing.T
	addr string
}

// job is what Prometheus reads.
type job struct {
	Name    string   `json:"job_name"`
	Honor   bool     `json:"honor_labels"`
	Static  []static `json:"static_configs"`
	Natives bool     `json:"scrape_native_histograms,omitempty"`
}

type static struct {
	Targets []string `json:"targets"`
}

func jobsOf(p *dev.Ports) []job {
	var proxies []string
	for _, i := range p.Instances {
		if i.Admin != "" {
			proxies = append(proxies, i.Admin)
		}
	}
	return []job{
		{Name: "tulle", Honor: true, Static: []static{{[]string{p.Metrics.Mesh}}}},
		{Name: "tulle-control-plane", Static: []static{{[]string{p.Metrics.Identity,
			p.Metrics.Destination, p.Metrics.Viz}}}},
		{Name: "tulle-proxies", Static: []static{{proxies}}},
	}
}

// startPrometheus reads every second, and computes rules as often.
func startPrometheus(t *testing.T, jobs []job, rules []board.Rule, args ...string) *realPrometheus {
	t.Helper()
	dir := t.TempDir()
	text, err := board.RuleFile(rules)
	check(t, err)
	check(t, os.WriteFile(filepath.Join(dir, "rules.yaml"), text, 0o600))
	config, err := yaml.Marshal(map[string]any{
		"global": map[string]any{"scrape_interval": "1s", "scrape_timeout": "1s",
			"evaluation_interval": "1s"},
		"rule_files": []string{"rules.yaml"}, "scrape_configs": jobs,
	})
	check(t, err)
	file := filepath.Join(dir, "prometheus.yaml")
	check(t, os.WriteFile(file, config, 0o600))
	if out, err := exec.Command(*promtoolBinary, "check", "config", file).
		CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	p := &realPrometheus{t: t, addr: loopback.Free()}
	startProcess(t, dir, *prometheusBinary, append([]string{"--config.file=" + file,
		"--storage.tsdb.path=" + filepath.Join(dir, "data"),
		"--web.listen-address=" + p.addr}, args...)...)
	await.True(t, "Prometheus is ready", func() bool {
		answer, err := http.Get("http://" + p.addr + "/-/ready")
		if err != nil {
			time.Sleep(100 * time.Millisecond)
			return false
		}
		answer.Body.Close()
		return answer.StatusCode == http.StatusOK
	})
	return p
}

// instant is one series of an answer.
type instant struct {
	Metric map[string]string `json:"metric"`
	Value  [2]any            `json:"value"`
}

func (i instant) number() string { s, _ := i.Value[1].(string); return s }

func (p *realPrometheus) ask(query string) []instant {
	p.t.Helper()
	answer, err := http.Get("http://" + p.addr + "/api/v1/query?query=" + url.QueryEscape(query))
	check(p.t, err)
	defer answer.Body.Close()
	var said struct {
		Error string `json:"error"`
		Data  struct {
			Result json.RawMessage `json:"result"`
		} `json:"data"`
	}
	check(p.t, json.NewDecoder(answer.Body).Decode(&said))
	if said.Error != "" {
		p.t.Fatalf("%s: %s", query, said.Error)
	}
	var all []instant
	check(p.t, json.Unmarshal(said.Data.Result, &all))
	// What cannot be computed is no answer.
	return slices.DeleteFunc(all, func(i instant) bool { return i.number() == "NaN" })
}

// wantAnswer waits until a query has an answer.
func (p *realPrometheus) wantAnswer(what, query string) {
	p.t.Helper()
	for range 60 {
		if len(p.ask(query)) > 0 {
			return
		}
		time.Sleep(time.Second)
	}
	p.t.Errorf("%s: nothing answers\n%s", what, query)
}

// filled is a query of a board's or of somebody's stock, for the demo.
func filled(query string) string {
	return strings.NewReplacer("$__rate_interval", "30s", "$namespace", ".*", "$service", ".*",
		"$workload", ".*", "$objective", "0.999", "{{ namespace }}", "shop", "{{ target }}",
		"checkout", "{{ service }}", "checkout", "{{ interval }}", "30s").Replace(query)
}

// seldom are queries of what a demo that goes well has none of.
var seldom = map[string]string{
	"tulle_destination_refusals_total":            "no stream is refused",
	"tulle_destination_rejected_resources_total":  "proxies can use all that they are sent",
	"tulle_control_plane_errors_total":            "the control plane answers",
	"tulle_connections_refused_total":             "every connection is served",
	"tulle_work_shed_total":                       "nothing is shed",
	"tulle_protocol_errors_total":                 "all speak HTTP",
	"tulle_workload_tcp_connections_opened_total": "all speak HTTP",
	"tulle_workload_retries_refused_total":        "the budget has room",
	"istio_tcp_":                                  "all speak HTTP",
}

func isSeldom(query string) bool {
	for name := range seldom {
		if strings.Contains(query, name) {
			return true
		}
	}
	return false
}

// A Prometheus as it comes reads the demo's pages. Every query of every board has an answer, and so
// have those that Flagger and Kiali ask of Linkerd's and of Istio's names.
func TestRealPrometheus(t *testing.T) {
	ports := startDemo(t)
	rules := board.Rules()
	for i := range rules {
		rules[i].For = 0
	}
	p := startPrometheus(t, jobsOf(ports), rules)
	p.wantAnswer("viz's page", `tulle_workload_requests_total`)
	t.Run("promtool is content", func(t *testing.T) {
		promtoolChecks(t, ports.Metrics.Mesh)
		promtoolChecks(t, ports.Metrics.Viz)
		promtoolChecks(t, jobsOf(ports)[2].Static[0].Targets[0])
	})
	t.Run("series are counted", func(t *testing.T) {
		p.t = t
		p.wantAnswer("each series, once, and no more than there may be",
			`scrape_samples_scraped{job="tulle"} ==
			on () sum (tulle_metric_series) + count (tulle_metric_series) < 40000`)
	})
	t.Run("boards", func(t *testing.T) {
		p.t = t
		for _, b := range board.Boards() {
			for _, r := range b.Rows {
				for _, one := range r.Panels {
					for _, q := range one.Queries {
						if query := filled(q.Expr); isSeldom(query) {
							p.ask(query) // it is understood
						} else {
							p.wantAnswer(b.Title+", "+one.Title, query)
						}
					}
				}
			}
		}
	})
	for _, file := range []string{"flagger.yaml", "kiali.yaml"} {
		t.Run(file, func(t *testing.T) {
			p.t = t
			for what, query := range stock(t, file) {
				if !isSeldom(query) {
					p.wantAnswer(what, filled(query))
				}
			}
		})
	}
	t.Run("alerts", func(t *testing.T) {
		p.t = t
		p.wantAlerts(t)
		blind := startPrometheus(t, lost(jobsOf(ports)), rules)
		blind.wantAnswer("identity's loss",
			`ALERTS{alertname="TulleControlPlaneNoReplica",component="identity"}`)
	})
}

func stock(t *testing.T, file string) (all map[string]string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", file))
	check(t, err)
	check(t, yaml.Unmarshal(text, &all))
	return all
}

// promtoolChecks lints what is ours of a page: others' names are as they are.
func promtoolChecks(t *testing.T, addr string) {
	t.Helper()
	answer, err := http.Get("http://" + addr + "/metrics")
	check(t, err)
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	check(t, err)
	var ours []string
	for line := range strings.Lines(string(text)) {
		if strings.Contains(strings.SplitN(line, "{", 2)[0], "tulle_") {
			ours = append(ours, line)
		}
	}
	if len(ours) < 10 {
		t.Fatalf("%s has %d lines of ours", addr, len(ours))
	}
	lint := exec.Command(*promtoolBinary, "check", "metrics")
	lint.Stdin = strings.NewReader(strings.Join(ours, ""))
	if out, err := lint.CombinedOutput(); err != nil {
		t.Errorf("%s: %v\n%s", addr, err, out)
	}
}

// lost has one server of the control plane answer no Prometheus.
func lost(jobs []job) []job {
	jobs[1].Static[0].Targets = jobs[1].Static[0].Targets[1:]
	return jobs
}

// wantAlerts waits for those that the demo is rigged for: checkout tries a third more than it asks
// of inventory, and a service that fails on purpose does. Their words are complete.
func (p *realPrometheus) wantAlerts(t *testing.T) {
	for _, name := range []string{"TulleRetryStorm", "TulleServiceFails"} {
		p.wantAnswer(name, `ALERTS{alertname="`+name+`",alertstate="firing"}`)
	}
	answer, err := http.Get("http://" + p.addr + "/api/v1/alerts")
	check(t, err)
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	check(t, err)
	for _, broken := range []string{"no value", "{{", "error"} {
		if bytes.Contains(text, []byte(broken)) {
			t.Errorf("an alert says %q: %s", broken, text)
		}
	}
	if lost := p.ask(`ALERTS{alertname="TulleControlPlaneNoReplica"}`); len(lost) > 0 {
		t.Errorf("all of the control plane is there, and %v", lost)
	}
}
