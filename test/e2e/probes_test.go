//go:build e2e

package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// Probes of every kind reach a strict workload: without one of them its pod never becomes ready.
func TestProbesOfAllKindsReachAStrictWorkload(t *testing.T) {
	ready(t)
	ns := ownNamespace(t)
	for kind, probe := range map[string]string{
		"https":     "httpGet: {path: /, port: 8443, scheme: HTTPS}",
		"redirects": "httpGet: {path: health, port: http}",
		"tcp":       "tcpSocket: {port: 3306}",
	} {
		deployProbed(t, ns, kind, probe)
		rolledOut(t, ns, "deployment/"+kind)
		eventually(t, time.Minute, func() error { // its Service may be new to kube-proxy
			a := call(t, without, "http://"+kind+"."+ns+"/orders")
			if a.Status != 403 || a.Echo.Pod != "" {
				return fmt.Errorf("%s: the workload is not strict: %+v", kind, a)
			}
			return nil
		})
	}
}

// deployProbed deploys a strict server of that name, with a readiness probe.
func deployProbed(t *testing.T, ns, name, probe string) {
	t.Helper()
	yaml := strings.NewReplacer(
		"metadata: {name: server}", "metadata: {name: "+name+"}",
		"app: server", "app: "+name,
		"metadata: {labels: {app: server}}",
		"metadata: {labels: {app: "+name+"}, annotations: {tulle.dev/mode: strict}}",
		"httpGet: {path: /, port: http}, periodSeconds: 1", probe+", periodSeconds: 1",
		"serviceAccountName: server", "serviceAccountName: "+name,
	).Replace(run(t, "cat", "testdata/app.yaml"))
	feed(t, yaml, "bash", "-o", "pipefail", "-c",
		"meshctl inject"+domainFlag()+" - | kubectl apply -n "+ns+" -f -")
}

// A probe of a port that nobody listens on fails, as it would without the proxy before it: an
// application that has not opened its port yet must not be sent requests.
func TestAProbeOfAClosedPortFails(t *testing.T) {
	ready(t)
	ns := ownNamespace(t)
	deployProbed(t, ns, "closed", "tcpSocket: {port: 3999}")
	status := func(path string) string {
		return run(t, "kubectl", "-n", ns, "get", "pods", "-l", "app=closed", "-o",
			"jsonpath={.items[*].status."+path+"}")
	}
	eventually(t, time.Minute, func() error {
		out, err := try("", "kubectl", "-n", ns, "get", "events", "--field-selector",
			"reason=Unhealthy", "-o", "jsonpath={.items[*].message}")
		if err == nil && !strings.Contains(out, ":3999: connect: connection refused") {
			err = fmt.Errorf("no probe was refused yet: %q", out)
		}
		return err
	})
	proxy := status(`initContainerStatuses[?(@.name=="tulle-proxy")].ready`)
	if app := status("containerStatuses[*].ready"); app != "false" || proxy != "true" {
		t.Errorf("the application is ready: %s, its proxy: %s", app, proxy)
	}
}
