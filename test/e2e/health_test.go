//go:build e2e

package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/tulle-mesh/tulle/identity/names"
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
	l := startLoad(t, byHook, 100, "-version", "X-Pod", url)
	check("/unless/broken")
	calls(false)
	l.end(t).stops(t, "broken-", unwell(t, ns))
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

// unwell is when the proxy of the broken pod has found that its application is not well, by the
// check that it fails: a pod that starts on a busy machine may fail another one before.
func unwell(t *testing.T, ns string) time.Time {
	t.Helper()
	log := run(t, "kubectl", "-n", ns, "logs", "deployment/broken", "-c", names.ProxyContainer)
	for line := range strings.Lines(log) {
		if strings.Contains(line, "health has changed") &&
			strings.Contains(line, "state=unhealthy") && strings.Contains(line, "/unless/broken") {
			text, _, _ := strings.Cut(strings.TrimPrefix(line, "time="), " ")
			at, err := time.Parse(time.RFC3339, text)
			if err != nil {
				t.Fatal(err)
			}
			return at
		}
	}
	t.Fatalf("the proxy has not found that its application is not well:\n%s", log)
	return time.Time{}
}

// stops checks that no request begins long after a time that is answered by pods whose names begin
// so. What was under way then is answered by whoever has it.
func (r loaded) stops(t *testing.T, pods string, from time.Time) {
	t.Helper()
	before := 0
	var last time.Duration
	for _, s := range r.Seen {
		switch {
		case !strings.HasPrefix(s.Version, pods):
		case s.At.Before(from):
			before++
		default:
			last = max(last, s.At.Sub(from))
		}
	}
	t.Logf("the last call of %s* began %s after its check had failed", pods, last)
	if before == 0 {
		t.Errorf("no call of %s* before that", pods)
	}
	if last > 5*time.Second {
		t.Errorf("calls of %s* go on for %s, want none after a second or so", pods, last)
	}
}
