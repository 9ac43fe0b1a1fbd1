//go:build e2e

package e2e

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"
)

// A pod that is behind the Service server of its namespace, too, and fails at a path of its name's.
const broken = `apiVersion: apps/v1
kind: Deployment
metadata: {name: broken}
spec:
  selector: {matchLabels: {is: broken}}
  template:
    metadata: {labels: {app: server, is: broken}}
    spec:
      containers:
      - name: app
        image: test/app:e2e
        args: [serve]
        ports: [{name: http, containerPort: 8080}]
        readinessProbe: {httpGet: {path: /, port: http}, periodSeconds: 1}
`

// A policy is obeyed while calls go on: round robin is even, equal keys go to one pod, and a pod
// that fails is left alone.
func TestABackendTrafficPolicyIsObeyed(t *testing.T) {
	ready(t)
	ns := ownNamespace(t)
	shell(t, "meshctl inject testdata/app.yaml | kubectl apply -n "+ns+" -f -")
	run(t, "kubectl", "-n", ns, "scale", "deployment/server", "--replicas=3")
	rolledOut(t, ns, "deployment/server")
	url := "http://server." + ns
	put := func(sections string) {
		feed(t, backendPolicy(sections), "kubectl", "-n", ns, "apply", "-f", "-")
	}

	put("  loadBalancer: {type: RoundRobin}\n")
	eventually(t, 30*time.Second, func() error {
		counts := callsByPod(t, url, 30)
		if len(counts) != 3 || slices.Max(slices.Collect(maps.Values(counts))) > 11 {
			return fmt.Errorf("round robin goes to %v", counts)
		}
		return nil
	})
	wantTrafficCondition(t, ns, "Accepted", "True Accepted")
	wantTrafficCondition(t, ns, "Programmed", "True Programmed")

	put("  loadBalancer: {type: ConsistentHash, consistentHash: {keys: [{header: X-User}]}}\n")
	eventually(t, 30*time.Second, func() error { return sticky(t, url) })

	feed(t, broken, "bash", "-o", "pipefail", "-c",
		"meshctl inject - | kubectl apply -n "+ns+" -f -")
	rolledOut(t, ns, "deployment/broken")
	failing := url + "/unless/broken"
	put("  loadBalancer: {type: RoundRobin}\n")
	eventually(t, 30*time.Second, func() error {
		if ok := answered(t, failing, 40); ok > 31 || ok < 29 {
			return fmt.Errorf("of four pods one fails, and %d of 40 requests are answered", ok)
		}
		return nil
	})
	put("  loadBalancer: {type: RoundRobin}\n" +
		"  outlierDetection: {consecutiveFailures: 3, baseEjectionTime: 10m, " +
		"maxEjectionTime: 10m}\n")
	eventually(t, 30*time.Second, func() error {
		if ok := answered(t, failing, 40); ok != 40 {
			return fmt.Errorf("with outlier detection %d of 40 requests are answered", ok)
		}
		return nil
	})
	put("  loadBalancer: {type: RoundRobin}\n")
	eventually(t, 30*time.Second, func() error {
		if ok := answered(t, failing, 40); ok > 31 || ok < 29 {
			return fmt.Errorf("without outlier detection %d of 40 requests are answered", ok)
		}
		return nil
	})
}

func callsByPod(t *testing.T, url string, n int, flags ...string) map[string]int {
	t.Helper()
	counts := map[string]int{}
	args := append([]string{"call", "-n", fmt.Sprint(n)}, flags...)
	for _, a := range app[[]answer](t, byHook, "deploy/client", append(args, url)...) {
		counts[a.Echo.Pod]++
	}
	return counts
}

// sticky is nil where each user's requests go to one pod, and not all users' to the same.
func sticky(t *testing.T, url string) error {
	t.Helper()
	pods := map[string]bool{}
	for user := range 12 {
		counts := callsByPod(t, url, 5, "-header", fmt.Sprintf("X-User: %d", user))
		if len(counts) != 1 {
			return fmt.Errorf("requests of user %d go to %v", user, counts)
		}
		for pod := range counts {
			pods[pod] = true
		}
	}
	if len(pods) < 2 {
		return fmt.Errorf("all users' requests go to %v", pods)
	}
	return nil
}

func wantTrafficCondition(t *testing.T, ns, kind, want string) {
	t.Helper()
	path := `jsonpath={range .status.ancestors[*].conditions[?(@.type=="` + kind + `")]}` +
		`{.status} {.reason}{end}`
	eventually(t, 30*time.Second, func() error {
		out, err := try("", "kubectl", "-n", ns, "get", "btp", "server", "-o", path)
		if err == nil && out != want {
			err = fmt.Errorf("%s is %q, want %q", kind, out, want)
		}
		return err
	})
}
