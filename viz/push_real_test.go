//go:build real

package viz

import (
	"context"
	"encoding/json"
	"flag"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tulle-mesh/tulle/test/await"
	"github.com/tulle-mesh/tulle/test/loopback"
	"github.com/tulle-mesh/tulle/test/output"
)

var prometheus3 = flag.String("prometheus3", "../bin/prometheus3/prometheus",
	"Prometheus 3.16, as make bin/prometheus3/prometheus builds it")

const scrapesNatives = `scrape_configs:
- job_name: read
  honor_labels: true
  scrape_interval: 1s
  scrape_timeout: 1s
  scrape_native_histograms: true
  always_scrape_classic_histograms: true
  static_configs: [{targets: ["ADDR"]}]
`

// startPrometheus3 reads a page, and takes what is pushed.
func startPrometheus3(t *testing.T, page string) (addr string) {
	t.Helper()
	dir, addr := t.TempDir(), loopback.Free()
	file := filepath.Join(dir, "prometheus.yaml")
	text := []byte(strings.Replace(scrapesNatives, "ADDR", page, 1))
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	var said output.Tail
	cmd := exec.Command(*prometheus3, "--config.file="+file, "--storage.tsdb.path="+dir+"/data",
		"--web.listen-address="+addr, "--web.enable-otlp-receiver")
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait() // killed
		if t.Failed() {
			t.Log(said.String())
		}
	})
	return addr
}

// Prometheus of today reads native histograms off the page, and the classic ones beside them; and
// what is pushed to its OTLP receiver is the same once more.
func TestRealPush(t *testing.T) {
	m, _, _ := shopCalls(t)
	log := slog.New(slog.DiscardHandler)
	v := &Server{store: m.store, cfg: Config{Log: log, Version: "v1"}}
	l := listen(t)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- v.ServeMetrics(ctx, l) }()
	t.Cleanup(func() { cancel(); <-done })
	addr := startPrometheus3(t, l.Addr().String())
	m.push("http://"+addr+"/api/v1/otlp/v1/metrics", log)
	for what, query := range map[string]string{
		"native histograms": `sum(histogram_count(
			tulle_workload_request_duration_seconds{job="read"})) == 200`,
		"their quantiles": `histogram_quantile(0.5, sum(
			tulle_workload_request_duration_seconds{job="read"})) > 0.0017 < 0.0023`,
		"classic ones": `sum(
			tulle_workload_request_duration_seconds_bucket{job="read",le="+Inf"}) == 200`,
		"pushed counters": `sum(tulle_workload_requests_total{job="tulle/tulle-viz",
			instance="a"}) == 200`,
		"pushed histograms": `sum(tulle_workload_request_duration_seconds_bucket{
			job="tulle/tulle-viz",le="+Inf"}) == 200`,
		"pushed gauges": `tulle_build_info{job="tulle/tulle-viz",component="viz"} == 1`,
	} {
		await.True(t, what, func() bool {
			time.Sleep(100 * time.Millisecond)
			return answers(addr, query)
		})
	}
}

func answers(addr, query string) bool {
	answer, err := http.Get("http://" + addr + "/api/v1/query?query=" + url.QueryEscape(query))
	if err != nil {
		return false
	}
	defer answer.Body.Close()
	var said struct {
		Data struct{ Result []any }
	}
	return json.NewDecoder(answer.Body).Decode(&said) == nil && len(said.Data.Result) > 0
}
