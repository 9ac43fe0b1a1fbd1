package objectives

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tulle-mesh/tulle/destination/crd"
)

// document is one that another tool would read.
func document(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", name+".yaml"))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestObjectivesOfOthers(t *testing.T) {
	sloth, openSLO, pyrra := document(t, "sloth"), document(t, "openslo"), document(t, "pyrra")
	all, err := Import("others.yaml", []byte(sloth+"---\n"+openSLO+"---\n"+pyrra))
	if err != nil || len(all) != 3 {
		t.Fatalf("%d objectives: %v", len(all), err)
	}
	for i, want := range []struct {
		namespace, name string
		spec            crd.ServiceLevelObjectiveSpec
	}{
		{"shop", "shop-requests", crd.ServiceLevelObjectiveSpec{
			TargetRef: crd.ObjectiveTarget{Kind: "Service", Name: "checkout"},
			Objective: "99.95", Window: "30d"}},
		{"shop", "pay", crd.ServiceLevelObjectiveSpec{
			TargetRef: crd.ObjectiveTarget{Kind: "Service", Name: "payments"}, Route: "pay",
			Objective: "99.9", Window: "28d"}},
		{"shop", "fast", crd.ServiceLevelObjectiveSpec{
			TargetRef: crd.ObjectiveTarget{Kind: "Service", Name: "web"},
			Objective: "95", Window: "14d", Latency: "250ms"}},
	} {
		o := all[i]
		if o.Namespace != want.namespace || o.Name != want.name || o.Spec != want.spec {
			t.Errorf("%s/%s %+v, want %+v", o.Namespace, o.Name, o.Spec, want)
		}
	}
}

func TestWhatCannotComeOverSaysWhy(t *testing.T) {
	sloth, openSLO, pyrra := document(t, "sloth"), document(t, "openslo"), document(t, "pyrra")
	for _, tt := range []struct{ text, old, new, want string }{
		{sloth, "istio_requests_total", "http_requests_total",
			"others.yaml: PrometheusServiceLevel shop: spec.slos[0].sli: Invalid value: \"\": " +
				"http_requests_total is not what the mesh measures"},
		{sloth, `destination_service_name="checkout",`, "", "names no Service"},
		{sloth, `_name="checkout"`, `_name=~"checkout|pay"`, "destination_service_name=~"},
		{sloth, "99.95", "100", "spec.slos[0].objective: Invalid"},
		{sloth, "sloth.slok.dev/v1", "sloth.slok.dev/v1\nsli: [", "others.yaml:"},
		{sloth, "PrometheusServiceLevel", "SLI", "kind: Unsupported value"},
		{openSLO, "Occurrences", "Timeslices", "spec.budgetingMethod: Unsupported value"},
		{openSLO, "4w", "1Q", "spec.timeWindow[0].duration: Invalid"},
		{openSLO, "isRolling: true", "calendar: {timeZone: UTC}", "spec.timeWindow[0].calendar"},
		{openSLO, "{target: 0.999}", "{target: 0.999}, {target: 0.9}", "spec.objectives: Invalid"},
		{openSLO, "  indicator:\n", "  indicatorRef: good\n  was:\n", "spec.indicatorRef"},
		{openSLO, "counter: true", "raw: {metricSource: {spec: {query: up}}}", `"up" names no`},
		{openSLO, "payments.shop.svc.cluster.local:80\", rt_route=\"pay\", cl",
			"cart.shop:80\", cl", "two Services, cart and payments"},
		{pyrra, `le="250"`, `le="fast"`, `le="fast" is no time`},
		{pyrra, "2w", "36h", "spec.window: Invalid"},
	} {
		text := strings.ReplaceAll(tt.text, tt.old, tt.new)
		all, err := Import("others.yaml", []byte(text))
		if err == nil || !strings.Contains(err.Error(), tt.want) || len(all) > 0 {
			t.Errorf("%q → %q: %v and %d objectives, want %q", tt.old, tt.new, err, len(all),
				tt.want)
		}
	}
}
