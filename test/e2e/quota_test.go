//go:build e2e

package e2e

import (
	"strings"
	"testing"
)

// quota wants a CPU limit of every container.
const quota = `
apiVersion: v1
kind: ResourceQuota
metadata: {name: cpu}
spec: {hard: {limits.cpu: "2", limits.memory: 2Gi}}
`

// A namespace with a quota on limits.cpu takes injected pods, once it says what the containers that
// are added may use.
func TestAQuotaOnCPULimitsIsKept(t *testing.T) {
	ready(t)
	ns := ownNamespace(t)
	run(t, "kubectl", "label", "namespace", ns, "tulle.dev/inject=enabled")
	run(t, "kubectl", "annotate", "namespace", ns, "tulle.dev/proxy-cpu-limit=300m",
		"tulle.dev/proxy-memory-limit=160Mi")
	feed(t, quota, "kubectl", "apply", "-n", ns, "-f", "-")
	limited := strings.Replace(run(t, "cat", "testdata/app.yaml"), "args: [serve]\n        ports:",
		"args: [serve]\n        resources: {limits: {cpu: 200m, memory: 64Mi}}\n        ports:", 1)
	feed(t, limited, "kubectl", "apply", "-n", ns, "-f", "-")
	rolledOut(t, ns, "deployment/server")
	used := run(t, "kubectl", "-n", ns, "get", "resourcequota", "cpu", "-o",
		"jsonpath={.status.used.limits\\.cpu}")
	// The sidecar and the application run beside each other; the other init container is before.
	if strings.TrimSpace(used) != "500m" {
		t.Errorf("%s of CPU are counted, want 500m", used)
	}
	if a := call(t, without, "http://server."+ns+"/orders"); a.Status != 200 || a.Echo.Pod == "" {
		t.Errorf("the pod answers %+v", a)
	}
}
