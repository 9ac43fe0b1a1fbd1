//go:build e2e && real

package e2e

import (
	"path/filepath"
	"strings"
	"testing"
)

// The API server takes what is printed for the Prometheus operator, by the operator's own kinds,
// and for Grafana; and it would not take a field that these do not have.
func TestMonitors(t *testing.T) {
	ready(t)
	kinds, err := filepath.Abs("../../bin/monitoring")
	if err != nil {
		t.Fatal(err)
	}
	run(t, "kubectl", "apply", "--server-side", "-f", kinds)
	t.Cleanup(func() { run(t, "kubectl", "delete", "--timeout=1m", "-f", kinds) })
	for _, kind := range []string{"servicemonitors", "podmonitors", "prometheusrules"} {
		run(t, "kubectl", "wait", "--for=condition=Established", "--timeout=1m",
			"crd/"+kind+".monitoring.coreos.com")
	}
	shell(t, "meshctl install --prometheus-namespace monitoring --prometheus-monitors"+
		" --prometheus-monitor-labels release=prometheus | kubectl apply --validate=strict -f -")
	t.Cleanup(func() {
		shell(t, "meshctl install | kubectl apply -f -")
		rolledOut(t, "tulle", "deployment/tulle-viz")
	})
	shell(t, "meshctl viz rules -n tulle | kubectl apply --validate=strict -f -")
	shell(t, "meshctl viz dashboards -n tulle | kubectl apply --validate=strict -f -")
	for kind, want := range map[string]int{"servicemonitors": 1, "podmonitors": 2,
		"prometheusrules": 1, "configmaps -l grafana_dashboard=1": 9} {
		got := strings.Fields(shell(t, "kubectl -n tulle get "+kind+" -o name"))
		if len(got) != want {
			t.Errorf("%s: %v, want %d", kind, got, want)
		}
	}
	wrong := "meshctl viz rules -n tulle | sed s/annotations:/annotation:/ |" +
		" kubectl apply --validate=strict -f -"
	if out, err := try("", "sh", "-c", wrong); err == nil {
		t.Errorf("a field that the operator's kinds do not have is taken: %s", out)
	}
	rolledOut(t, "tulle", "deployment/tulle-viz")
}
