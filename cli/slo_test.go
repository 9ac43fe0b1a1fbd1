package cli

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tulle-mesh/tulle/viz"
)

// promised answers /api/slo with what viz once could have.
func promised(t *testing.T, answer viz.Objectives) (addr string, asked *string) {
	t.Helper()
	t.Setenv("KUBECONFIG", filepath.Join(t.TempDir(), "none"))
	asked = new(string)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		*asked = r.URL.String()
		json.NewEncoder(w).Encode(answer)
	}))
	t.Cleanup(server.Close)
	return server.Listener.Addr().String(), asked
}

func twoObjectives() viz.Objectives {
	burn := func(window string, rate float64) viz.BurnRow {
		return viz.BurnRow{Window: window, Requests: 1000, Rate: &rate, Known: 1}
	}
	const month = 30 * 24 * 3600
	return viz.Objectives{Rows: []viz.ObjectiveRow{
		{Name: "checkout", Namespace: "shop", Service: "checkout", Route: "pay", Objective: 0.999,
			WindowSeconds: month, LatencyMs: ptr(262.144), Requests: 1_000_000, Bad: 470,
			Since:       time.Date(2026, 1, 2, 15, 4, 5, 0, time.UTC),
			SuccessRate: ptr(0.99953), BudgetLeft: 0.53, ExhaustedInSeconds: ptr(64740.0),
			Burns: []viz.BurnRow{burn("5m", 30), burn("1h", 21.2), burn("6h", 4.1)},
			Alert: &viz.BurnAlert{Severity: "page", Burn: 14.4, Long: "1h", Short: "5m"}},
		{Name: "web", Namespace: "shop", Service: "web", Objective: 0.95, WindowSeconds: month,
			Since: time.Date(2026, 1, 2, 15, 4, 5, 0, time.UTC), BudgetLeft: 1},
	}}
}

func TestSLOGolden(t *testing.T) {
	for name, args := range map[string]string{
		"slo": "", "slo-wide": "-o wide", "slo-all": "-A", "slo-json": "-o json",
	} {
		addr, _ := promised(t, twoObjectives())
		out, errs, status := meshctl(t.Context(),
			append([]string{"slo", "--viz-addr", addr}, strings.Fields(args)...)...)
		if status != exitOK || errs != "" {
			t.Fatalf("status %d, stderr %q", status, errs)
		}
		golden(t, filepath.Join("testdata", "viz", name+".golden"), out)
	}
}

func TestSLOAsksForWhatIsMeant(t *testing.T) {
	addr, asked := promised(t, viz.Objectives{})
	_, errs, status := meshctl(t.Context(), "slo", "checkout", "-n", "shop", "--viz-addr", addr)
	if status != exitOK || !strings.Contains(*asked, "name=checkout&namespace=shop") ||
		!strings.Contains(errs, `no ServiceLevelObjective "checkout" in namespace "shop"`) {
		t.Errorf("status %d, asked %s: %s", status, *asked, errs)
	}
	addr, _ = promised(t, viz.Objectives{Refused: 3})
	if _, errs, _ := meshctl(t.Context(), "slo", "--viz-addr", addr); !strings.Contains(errs,
		"and 3 more") {
		t.Errorf("it says %q", errs)
	}
	if _, _, status := meshctl(t.Context(), "slo", "a", "b"); status != exitUsage {
		t.Errorf("status %d", status)
	}
}

func TestCellsOfObjectives(t *testing.T) {
	for got, want := range map[string]string{
		exactPercent(0.999): "99.9%", exactPercent(0.99999949): "99.9999%",
		exactPercent(1): "100%", exactPercent(0.5): "50%", exactPercent(0.99953): "99.953%",
		exhaustedCell(nil): "-", exhaustedCell(ptr(0.0)): "now", exhaustedCell(ptr(59.0)): "<1m",
		exhaustedCell(ptr(3599.0)): "59m", exhaustedCell(ptr(7260.0)): "2h1m",
		exhaustedCell(ptr(200_000.0)): "2d7h",
	} {
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// Rules are the same whether the objectives come from viz or from a file.
func TestSLORules(t *testing.T) {
	file := filepath.Join(t.TempDir(), "slo.yaml")
	text := "apiVersion: tulle.dev/v1alpha1\nkind: ServiceLevelObjective\n" +
		"metadata: {name: checkout, namespace: shop}\nspec: {objective: \"99.9\", route: pay, " +
		"targetRef: {kind: Service, name: checkout}}\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	answer := twoObjectives()
	answer.Rows = answer.Rows[:1]
	addr, _ := promised(t, answer)
	fromViz, errs, status := meshctl(t.Context(), "slo", "rules", "--viz-addr", addr)
	if status != exitOK {
		t.Fatal(errs)
	}
	fromFile, errs, status := meshctl(t.Context(), "slo", "rules", file)
	if status != exitOK || fromFile != fromViz {
		t.Errorf("%s\n%s\nand\n%s", errs, fromViz, fromFile)
	}
	if !strings.HasPrefix(fromViz, "apiVersion: monitoring.coreos.com/v1\nkind: PrometheusRule\n") {
		t.Error(fromViz)
	}
	plain, _, _ := meshctl(t.Context(), "slo", "rules", "--plain", file)
	if !strings.HasPrefix(plain, "groups:\n- name: tulle-objective-shop-checkout\n") {
		t.Error(plain)
	}
	addr, _ = promised(t, viz.Objectives{})
	if _, errs, status := meshctl(t.Context(), "slo", "rules", "--viz-addr", addr); status !=
		exitError || !strings.Contains(errs, "there is no ServiceLevelObjective") {
		t.Errorf("status %d: %s", status, errs)
	}
}

func TestSLOImport(t *testing.T) {
	const pyrra = `apiVersion: pyrra.dev/v1alpha1
kind: ServiceLevelObjective
metadata: {name: web, namespace: shop}
spec:
  target: "99"
  window: 4w
  indicator: {ratio: {errors: {metric: 'istio_requests_total{destination_service_name="web"}'},
    total: {metric: 'istio_requests_total{destination_service_name="web"}'}}}
`
	out, errs, status := run(t, pyrra, "slo", "import", "-")
	want := "---\napiVersion: tulle.dev/v1alpha1\nkind: ServiceLevelObjective\n" +
		"metadata:\n  name: web\n  namespace: shop\nspec:\n  objective: \"99\"\n" +
		"  targetRef:\n    kind: Service\n    name: web\n  window: 28d\n"
	if status != exitOK || out != want {
		t.Errorf("status %d %s\n%s", status, errs, out)
	}
	if out, errs, status := run(t, strings.ReplaceAll(pyrra, "istio", "my"), "slo", "import",
		"-"); status != exitError || out != "" || !strings.Contains(errs, "spec.indicator") {
		t.Errorf("status %d %s %s", status, out, errs)
	}
}
