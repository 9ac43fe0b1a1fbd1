package slo

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

// scene is what Prometheus scraped in ten hours, by the minute, and what fires then.
type scene struct {
	name          string
	requests, bad string // in promtool's notation
	at            string
	want          []string // severity and window
}

var scenes = []scene{
	{"all goes well", "0+600x700", "0+0x700", "10h", nil},
	{"less than the budget allows", "0+10000x700", "0+9x700", "10h", nil},
	{"an outage", "0+600x700", "0x540 0+300x100", "9h10m",
		[]string{"page 1h", "page 6h", "ticket 1d", "ticket 3d"}},
	{"half an hour after it", "0+600x700", "0x540 0+300x10 3000x100", "9h45m",
		[]string{"ticket 1d", "ticket 3d"}},
	{"a leak", "0+1000x700", "0+7x700", "10h", []string{"page 6h", "ticket 1d", "ticket 3d"}},
	{"a few requests, all bad", "0x500 0+1x20 20x200", "0x500 0+1x20 20x200", "8h45m", nil},
}

// promtool's own words for a scene: what is alerted at the time.
func (s *scene) test(o Objective) map[string]any {
	series := func(metric, values string) map[string]any {
		return map[string]any{"series": metric + o.selector(), "values": values}
	}
	samples := []map[string]any{}
	for _, w := range s.want {
		severity, window, _ := strings.Cut(w, " ")
		samples = append(samples, map[string]any{"value": 1,
			"labels": fmt.Sprintf(`{severity=%q, window=%q}`, severity, window)})
	}
	return map[string]any{
		"name": s.name, "interval": "1m",
		"input_series": []any{series(RequestsMetric, s.requests), series(BadMetric, s.bad)},
		"promql_expr_test": []any{map[string]any{
			"expr": `count by (severity, window) (ALERTS{alertname="ObjectiveBurns",` +
				`alertstate="firing",namespace="shop",objective="checkout"})`,
			"eval_time": s.at, "exp_samples": samples,
		}},
	}
}

// Prometheus' own tool takes the rules, and they fire where they must and nowhere else.
func TestRulesFireInPrometheus(t *testing.T) {
	promtool, err := exec.LookPath("promtool")
	if err != nil {
		t.Skip("promtool is not here: it is in Debian's package prometheus")
	}
	dir, o := t.TempDir(), promise(0.999, 30*day)
	other := promise(0.99, 7*day)
	other.Name = "other"
	rules := map[string]any{"groups": RuleGroups([]Objective{o, other})}
	write(t, filepath.Join(dir, "rules.yaml"), rules)
	var tests []any
	for i := range scenes {
		tests = append(tests, scenes[i].test(o))
	}
	write(t, filepath.Join(dir, "test.yaml"), map[string]any{
		"rule_files": []string{"rules.yaml"}, "evaluation_interval": "5m", "tests": tests})
	for _, args := range [][]string{
		{"check", "rules", filepath.Join(dir, "rules.yaml")},
		{"test", "rules", filepath.Join(dir, "test.yaml")},
	} {
		out, err := exec.Command(promtool, args...).CombinedOutput()
		if err != nil || strings.Contains(string(out), "lint error") {
			t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
}

func write(t *testing.T, path string, v any) {
	t.Helper()
	text, err := yaml.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
}

// What one pair of one objective comes to.
func TestRulesOfAnObjective(t *testing.T) {
	o := promise(0.999, 7*day)
	o.Route = "pay"
	groups := RuleGroups([]Objective{o})
	if len(groups) != 1 || groups[0].Name != "tulle-objective-shop-checkout" ||
		len(groups[0].Rules) != 7+4 {
		t.Fatalf("%+v", groups)
	}
	const of = `{objective_namespace="shop",objective="checkout"}`
	got := groups[0].Rules[7]
	want := "tulle:objective_bad:ratio_rate1h" + of + " > 0.00336\nand\n" +
		"tulle:objective_bad:ratio_rate5m" + of + " > 0.00336\nand\n" +
		"sum by (objective_namespace, objective) " +
		"(increase(tulle_objective_requests_total" + of + "[1h])) >= 30"
	if got.Expr != want || got.Labels["severity"] != Page || got.Labels["window"] != "1h" {
		t.Errorf("%+v, want\n%s", got, want)
	}
	if text := got.Annotations["description"]; !strings.Contains(text,
		"route pay of checkout went wrong in the last 1h, where 0.1 % may over 7d") {
		t.Errorf("it says %s", text)
	}
}
