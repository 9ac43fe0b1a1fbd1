//go:build e2e

package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// A pod whose application says that it is not well, to its own proxy, gets no calls although
// Kubernetes has it ready; diagnostics say why. Without the policy it is called again. Where nobody
// is well everybody is called. All that whichever of two replicas of destination the proxies speak
// to.
func TestAPodThatIsNotWellGetsNoCalls(t *testing.T) {
	ready(t)
	scale := func(replicas int) {
		t.Helper()
		run(t, "kubectl", "-n", "tulle", "scale", "deployment/tulle-destination",
			fmt.Sprint("--replicas=", replicas))
		rolledOut(t, "tulle", "deployment/tulle-destination")
	}
	scale(2)
	t.Cleanup(func() { scale(1) })
	ns := ownNamespace(t)
	shell(t, "meshctl inject testdata/app.yaml | kubectl apply -n "+ns+" -f -")
	feed(t, broken, "bash", "-o", "pipefail", "-c",
		"meshctl inject - | kubectl apply -n "+ns+" -f -")
	rolledOut(t, ns, "deployment/server")
	rolledOut(t, ns, "deployment/broken")
	url := "http://server." + ns
	calls := func(want bool) {
		t.Helper()
		eventually(t, 30*time.Second, func() error {
			counts := callsByPod(t, url, 40)
			called := false
			for pod := range counts {
				called = called || strings.HasPrefix(pod, "broken-")
			}
			if called != want {
				return fmt.Errorf("calls go to %v", counts)
			}
			return nil
		})
	}
	check := func(path string) {
		t.Helper()
		feed(t, backendPolicy("  loadBalancer: {type: RoundRobin}\n"+
			"  healthCheck: {http: {path: "+path+"}, interval: 500ms, unhealthyThreshold: 2}\n"),
			"kubectl", "-n", ns, "apply", "-f", "-")
	}
	check("/")
	calls(true)
	check("/unless/broken")
	calls(false)
	wantTrafficCondition(t, ns, "Programmed", "True Programmed")
	out := run(t, "meshctl", "diagnostics", "endpoints", "server."+ns+":80")
	if !strings.Contains(out, "left out: unhealthy (/unless/broken is answered by 500)") ||
		!strings.Contains(out, " healthy") {
		t.Errorf("diagnostics say\n%s", out)
	}
	check("/unless/") // nobody is well
	calls(true)
	check("/unless/broken")
	calls(false)
	run(t, "kubectl", "-n", ns, "delete", "backendtrafficpolicy", "--all")
	calls(true)
}
