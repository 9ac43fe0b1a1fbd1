//go:build e2e

package e2e

import (
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// version is a Deployment and its Service. web's calls go to version 1 until a canary moves them.
const version = `apiVersion: apps/v1
kind: Deployment
metadata: {name: NAME}
spec:
  selector: {matchLabels: {app: NAME}}
  template:
    metadata: {labels: {app: NAME, service: web}}
    spec:
      containers:
      - name: app
        image: test/app:e2e
        args: [serve, -fail, "FAIL"]
        ports: [{name: http, containerPort: 8080}]
        readinessProbe: {httpGet: {path: /, port: http}, periodSeconds: 1}
---
apiVersion: v1
kind: Service
metadata: {name: NAME}
spec:
  selector: {app: NAME}
  ports: [{name: http, port: 80, targetPort: http}]
---
`

const weighted = `apiVersion: v1
kind: Service
metadata: {name: web}
spec:
  selector: {service: web}
  ports: [{name: http, port: 80, targetPort: http}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: web}
spec:
  parentRefs: [{group: "", kind: Service, name: web, port: 80}]
  rules:
  - backendRefs:
    - {name: web-v1, port: 80, weight: 100}
    - {name: web-v2, port: 80, weight: 0}
`

func versionOf(name string, fail int) string {
	return strings.NewReplacer("NAME", name, "FAIL", fmt.Sprint(fail)).Replace(version)
}

// A version that does well is promoted, one that fails is rolled back, and who calls meanwhile
// notices the first not at all.
func TestACanaryIsPromotedOrRolledBack(t *testing.T) {
	ready(t)
	ns := ownNamespace(t)
	run(t, "kubectl", "label", "namespace", ns, "tulle.dev/inject=enabled")
	installGatewayAPI(t)
	feed(t, versionOf("web-v1", 0)+versionOf("web-v2", 0)+weighted, "kubectl", "-n", ns, "apply",
		"-f", "-")
	rolledOut(t, ns, "deployment/web-v1", "deployment/web-v2")
	url := "http://web." + ns + "/"
	eventually(t, time.Minute, func() error { return call(t, byHook, url).succeeded() })
	calls := startLoad(t, byHook, 100, url)
	args := []string{"canary", "httproute/web", "-n", ns, "--step", "25", "--max", "50",
		"--interval", "10s", "--min-requests", "20", "--threshold", "2", "-o", "json"}
	told := run(t, "meshctl", args...)
	if n := strings.Count(told, `"verdict":"pass"`); n != 2 ||
		!strings.Contains(told, `"phase":"Promoted"`) {
		t.Errorf("of a good version it told:\n%s", told)
	}
	wantWeights(t, ns, "0 100")
	calls.lostNothing(t)
	feed(t, versionOf("web-v1", 0)+versionOf("web-v2", 2)+weighted, "kubectl", "-n", ns, "apply",
		"-f", "-")
	rolledOut(t, ns, "deployment/web-v1", "deployment/web-v2")
	calls = startLoad(t, byHook, 100, url)
	told, err := try("", "meshctl", args...)
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 3 ||
		!strings.Contains(told, `"phase":"RolledBack"`) {
		t.Errorf("of a bad version it told %v:\n%s", err, told)
	}
	wantWeights(t, ns, "100 0")
	calls.end(t)
}

func wantWeights(t *testing.T, ns, want string) {
	t.Helper()
	got := run(t, "kubectl", "-n", ns, "get", "httproute", "web", "-o",
		"jsonpath={.spec.rules[0].backendRefs[*].weight}")
	if got != want {
		t.Errorf("the weights are %s, want %s", got, want)
	}
}
