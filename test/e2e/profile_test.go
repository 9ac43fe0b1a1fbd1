//go:build e2e

package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

const profile = `apiVersion: tulle.dev/v1alpha1
kind: ServiceProfile
metadata: {name: server.e2e-cli.svc.cluster.local}
spec:
  retryBudget: {retryRatio: 1, minRetriesPerSecond: 100, ttl: 10s}
  routes:
  - name: flaky
    condition: {pathRegex: "/fail/.*"}
    isRetryable: true
  - name: slow
    condition: {pathRegex: "/slow/.*"}
    timeout: 300ms
`

// A profile changes what callers get while they call, and its end changes it back.
func TestProfileAppliedLive(t *testing.T) {
	ready(t)
	const flaky, slow = "http://server." + byCLI + "/fail/2", "http://server." + byCLI + "/slow/1500"
	if ok := answered(t, flaky, 10); ok != 5 {
		t.Errorf("without a profile %d of 10 were answered, want 5", ok)
	}
	if a := call(t, byHook, slow); a.Status != 200 {
		t.Errorf("without a timeout: %+v", a)
	}
	feed(t, profile, "kubectl", "apply", "-n", byCLI, "-f", "-")
	t.Cleanup(func() { run(t, "kubectl", "-n", byCLI, "delete", "serviceprofile", "--all") })
	eventually(t, 10*time.Second, func() error {
		if a := call(t, byHook, slow); a.Status != 504 || a.header("Tulle-Error") == "" {
			return fmt.Errorf("with a timeout of 300ms: %+v", a)
		}
		return nil
	})
	if ok := answered(t, flaky, 50); ok != 50 {
		t.Errorf("with retries %d of 50 were answered", ok)
	}
	if out := run(t, "kubectl", "-n", byCLI, "get", "serviceprofile", "server.e2e-cli.svc.cluster.local", "-o", `jsonpath={.status.conditions[?(@.type=="Accepted")].status}`); out != "True" {
		t.Errorf("the profile's condition Accepted is %q", out)
	}
	run(t, "kubectl", "-n", byCLI, "delete", "serviceprofile", "--all")
	eventually(t, 10*time.Second, func() error {
		if a := call(t, byHook, slow); a.Status != 200 {
			return fmt.Errorf("after the profile went: %+v", a)
		}
		return nil
	})
}

// answered is how many of n calls were answered well.
func answered(t *testing.T, url string, n int) int {
	t.Helper()
	ok := 0
	for _, a := range app[[]answer](t, byHook, "deploy/client", "call", "-n", fmt.Sprint(n), url) {
		if a.Status == 200 {
			ok++
		}
	}
	return ok
}

// The API server refuses what a proxy could not use, and names the field.
func TestBadProfileRefused(t *testing.T) {
	ready(t)
	for field, change := range map[string][2]string{
		"spec.routes[0].condition.pathRegex": {"/fail/.*", "/fail/(.*"},
		"spec.routes[1].timeout":             {"300ms", "soon"},
		"spec.routes[0].hedge.after":         {"isRetryable: true", "isRetryable: true\n    hedge: {after: 1ms}"},
		"isRetryable: true may have one":     {"timeout: 300ms", "hedge: {after: 50ms}"},
		"isRetryabel":                        {"isRetryable", "isRetryabel"},
		"spec.retryBudget.retryRatio":        {"retryRatio: 1", "retryRatio: -1"},
	} {
		_, err := try(strings.Replace(profile, change[0], change[1], 1), "kubectl", "apply", "-n", byHook, "-f", "-")
		if err == nil || !strings.Contains(err.Error(), field) {
			t.Errorf("%s → %s: want a refusal that names %s, got %v", change[0], change[1], field, err)
		}
	}
}
