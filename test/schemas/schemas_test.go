package schemas

import (
	"errors"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/grafana/grafana-foundation-sdk/go/cog"
	"github.com/grafana/grafana-foundation-sdk/go/cog/plugins"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
	monitoring "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	"sigs.k8s.io/yaml"
)

var meshctl = flag.String("meshctl", "../../bin/meshctl", "meshctl")

func run(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.Command(*meshctl, args...).Output()
	if err != nil {
		t.Fatalf("meshctl %v: %v", args, err)
	}
	return string(out)
}

// Grafana's own schema reads every dashboard, and knows every field of it.
func TestDashboardsAreGrafanas(t *testing.T) {
	plugins.RegisterDefaultPlugins()
	dir := t.TempDir()
	run(t, "viz", "dashboards", "--dir", dir)
	files, err := filepath.Glob(filepath.Join(dir, "*.json"))
	if err != nil || len(files) != 9 {
		t.Fatalf("%d dashboards: %v", len(files), err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if err := strict(text); err != nil {
			t.Errorf("%s: %v", filepath.Base(file), err)
		}
		wrong := strings.Replace(string(text), `"title"`, `"titel"`, 1)
		if strict([]byte(wrong)) == nil {
			t.Error("a field that Grafana does not know is not noticed")
		}
	}
}

// strict reads a dashboard. Grafana's package returns a list of errors that may have none.
func strict(text []byte) error {
	err := new(dashboard.Dashboard).UnmarshalJSONStrict(text)
	var list cog.BuildErrors
	if errors.As(err, &list) && len(list) == 0 {
		return nil
	}
	return err
}

// What is printed for the operator has its types' fields and no others.
func TestMonitorsAreTheOperators(t *testing.T) {
	text := run(t, "install", "--prometheus-namespace", "monitoring", "--prometheus-monitors",
		"--prometheus-monitor-labels", "release=prometheus") + "---\n" + run(t, "viz", "rules")
	found := map[string]int{}
	for _, document := range strings.Split(text, "---\n") {
		var kind struct {
			Kind     string
			Metadata struct{ Labels map[string]string }
		}
		if err := yaml.Unmarshal([]byte(document), &kind); err != nil {
			t.Fatal(err)
		}
		into := map[string]any{"ServiceMonitor": new(monitoring.ServiceMonitor),
			"PodMonitor":     new(monitoring.PodMonitor),
			"PrometheusRule": new(monitoring.PrometheusRule),
		}[kind.Kind]
		if into == nil {
			continue
		}
		found[kind.Kind]++
		if err := yaml.UnmarshalStrict([]byte(document), into); err != nil {
			t.Errorf("%v\n%s", err, document)
		}
		if kind.Kind != "PrometheusRule" && kind.Metadata.Labels["release"] != "prometheus" {
			t.Errorf("the labels are not those that were given:\n%s", document)
		}
	}
	if found["ServiceMonitor"] != 1 || found["PodMonitor"] != 2 || found["PrometheusRule"] != 1 {
		t.Errorf("found %v", found)
	}
}
