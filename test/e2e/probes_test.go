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
	text := run(t, "cat", "testdata/app.yaml")
	for kind, probe := range map[string]string{
		"https":     "httpGet: {path: /, port: 8443, scheme: HTTPS}",
		"redirects": "httpGet: {path: health, port: http}",
		"tcp":       "tcpSocket: {port: 3306}",
	} {
		yaml := strings.NewReplacer(
			"metadata: {name: server}", "metadata: {name: "+kind+"}",
			"app: server", "app: "+kind,
			"metadata: {labels: {app: server}}",
			"metadata: {labels: {app: "+kind+"}, annotations: {tulle.dev/mode: strict}}",
			"httpGet: {path: /, port: http}, periodSeconds: 1", probe+", periodSeconds: 1",
			"serviceAccountName: server", "serviceAccountName: "+kind,
		).Replace(text)
		feed(t, yaml, "bash", "-o", "pipefail", "-c",
			"meshctl inject - | kubectl apply -n "+ns+" -f -")
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
