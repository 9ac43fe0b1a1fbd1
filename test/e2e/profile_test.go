//go:build e2e

package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/tulle-mesh/tulle/destination/crd"
	"github.com/tulle-mesh/tulle/identity/names"
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
	const flaky = "http://server." + byCLI + "/fail/2"
	const slow = "http://server." + byCLI + "/slow/1500"
	if ok := answered(t, flaky, 10); ok != 5 {
		t.Errorf("without a profile %d of 10 were answered, want 5", ok)
	}
	if a := call(t, byHook, slow); a.Status != 200 {
		t.Errorf("without a timeout: %+v", a)
	}
	here := strings.Replace(profile, names.ClusterDomain, *domain, 1)
	feed(t, here, "kubectl", "apply", "-n", byCLI, "-f", "-")
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
	out := run(t, "kubectl", "-n", byCLI, "get", "serviceprofile",
		"server.e2e-cli.svc."+*domain,
		"-o", `jsonpath={.status.conditions[?(@.type=="Accepted")].status}`)
	if out != "True" {
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
		"spec.routes[0].hedge.after": {
			"isRetryable: true", "isRetryable: true\n    hedge: {after: 1ms}",
		},
		"isRetryable: true may have one": {"timeout: 300ms", "hedge: {after: 50ms}"},
		"isRetryabel":                    {"isRetryable", "isRetryabel"},
		"spec.retryBudget.retryRatio":    {"retryRatio: 1", "retryRatio: -1"},
	} {
		bad := strings.Replace(profile, change[0], change[1], 1)
		_, err := try(bad, "kubectl", "apply", "-n", byHook, "-f", "-")
		if err == nil || !strings.Contains(err.Error(), field) {
			t.Errorf("%s → %s: want a refusal that names %s, got %v",
				change[0], change[1], field, err)
		}
	}
}

// edges are values about which the API server and destination, which reads files as well, might
// disagree: a field of the profile's spec, and what it holds.
var edges = []string{
	`opaquePorts: ["70000"]`, `opaquePorts: ["9-1"]`, `opaquePorts: ["0"]`, `opaquePorts: [0]`,
	`opaquePorts: ["1-65535"]`, `opaquePorts: ["1-65536"]`, `opaquePorts: ["65535"]`,
	`opaquePorts: [65536]`, `opaquePorts: ["http"]`, `opaquePorts: ["00080"]`,
	`opaquePorts: ["1-"]`, `opaquePorts: ["80-80"]`, `opaquePorts: ["-80"]`,
	`opaquePorts: [3306, "6000-6999"]`,
	`dstOverrides: [{authority: "a..b", weight: 1}]`,
	`dstOverrides: [{authority: "a-.b", weight: 1}]`,
	`dstOverrides: [{authority: "A.b.", weight: 1}]`,
	`dstOverrides: [{authority: "a.b:0", weight: 1}]`,
	`dstOverrides: [{authority: "a.b:65535", weight: 500m}]`,
	`dstOverrides: [{authority: "a.b:65536", weight: 500m}]`,
	`dstOverrides: [{authority: "a.b:", weight: 500m}]`,
	`dstOverrides: [{authority: "` + strings.Repeat("a", 253) + `", weight: 1}]`,
	`dstOverrides: [{authority: "` + strings.Repeat("a", 254) + `", weight: 1}]`,
	`dstOverrides: [{authority: "` + strings.Repeat("a", 254) + `:80", weight: 1}]`,
	`dstOverrides: [{authority: a, weight: 0}]`, `dstOverrides: [{authority: a, weight: "0"}]`,
	`dstOverrides: [{authority: a, weight: 0}, {authority: b, weight: 1m}]`,
	`dstOverrides: [{authority: a, weight: 1M}]`, `dstOverrides: [{authority: a, weight: 1000001}]`,
	`dstOverrides: [{authority: a, weight: "1000.1k"}]`,
	`dstOverrides: [{authority: a, weight: -1}]`, `dstOverrides: [{authority: a, weight: 2M}]`,
	`dstOverrides: []`,
	`retryBudget: {minRetriesPerSecond: 1000001}`, `retryBudget: {minRetriesPerSecond: 1000000}`,
	`retryBudget: {ttl: 61s}`, `retryBudget: {ttl: 60s}`, `retryBudget: {ttl: 999ms}`,
	`retryBudget: {retryRatio: 1.01}`, `retryBudget: {ttl: 9999999999999h}`,
	`routes: [{name: a, condition: {method: "GET "}}]`,
	`routes: [{name: a, condition: {method: "` + strings.Repeat("A", 65) + `"}}]`,
	`routes: [{name: "", condition: {method: GET}}]`, `routes: [{name: a, condition: {}}]`,
	`routes: [{name: a, condition: {all: []}}]`, `routes: [{name: a, condition: {not: {}}}]`,
	`routes: [{name: a, condition: {pathRegex: "/(a|"}}]`,
	`routes: [{name: a, condition: {pathRegex: "/\\u00e4{1000}"}}]`,
	`routes: [{name: a, condition: {pathRegex: "` + strings.Repeat("ä", 512) + `"}}]`,
	`routes: [{name: a, condition: {pathRegex: "` + strings.Repeat("ä", 513) + `"}}]`,
	`routes: [{name: "` + strings.Repeat("ä", 253) + `", condition: {method: GET}}]`,
	`routes: [{name: a, condition: {method: GET}, timeout: 24h1ns}]`,
	`routes: [{name: a, condition: {method: GET}, timeout: 24h}]`,
	`routes: [{name: a, condition: {method: GET}, ` +
		`responseClasses: [{condition: {status: {min: 99}}}]}]`,
	`routes: [{name: a, condition: {method: GET}, ` +
		`responseClasses: [{condition: {status: {min: 500, max: 499}}}]}]`,
	`routes: [{name: a, condition: {method: GET}, ` +
		`responseClasses: [{condition: {status: {max: 600}}}]}]`,
	`routes: [{name: a, condition: {method: GET}, responseClasses: [{condition: {}}]}]`,
}

// What the API server accepts is what destination uses: a profile that only one of them refuses is
// either lost without a word, or works from a file and not in a cluster.
func TestTheAPIServerAcceptsWhatDestinationDoes(t *testing.T) {
	ready(t)
	for _, spec := range edges {
		text := "apiVersion: tulle.dev/v1alpha1\nkind: ServiceProfile\n" +
			"metadata: {name: a.shop.svc.cluster.local}\nspec: {" + spec + "}\n"
		ours := accepted(t, text)
		_, theirs := try(text, "kubectl", "create", "--dry-run=server", "-n", byCLI, "-f", "-")
		if (ours == nil) != (theirs == nil) {
			t.Errorf("%.120s:\n  destination says %v\n  the API server says %v", spec, ours, theirs)
		}
	}
}

// accepted is destination's word on a profile in a file.
func accepted(t *testing.T, text string) error {
	t.Helper()
	docs, err := crd.Documents("profile.yaml", []byte(text))
	if err != nil {
		return err
	}
	_, err = docs[0].ServiceProfile()
	return err
}
