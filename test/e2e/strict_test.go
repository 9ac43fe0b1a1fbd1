//go:build e2e

package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// A strict workload answers the mesh, and the kubelet's probes, and nobody else.
func TestStrictRefusesPlaintext(t *testing.T) {
	ready(t)
	ns := ownNamespace(t)
	yaml := strings.Replace(run(t, "cat", "testdata/app.yaml"), "metadata: {labels: {app: server}}",
		`metadata: {labels: {app: server}, annotations: {tulle.dev/mode: strict}}`, 1)
	feed(t, yaml, "bash", "-o", "pipefail", "-c", "meshctl inject - | kubectl apply -n "+ns+" -f -")
	rolledOut(t, ns, "deployment/server")
	url, greeter := "http://server."+ns+"/orders", "server."+ns+":3306"
	if a := call(t, byHook, url); a.Status != 200 {
		t.Errorf("from the mesh: %+v", a)
	}
	got := app[tcpSaid](t, byHook, "deploy/client", "tcp", "-first", greeter)
	if !strings.HasPrefix(got.Got, "220 ") {
		t.Errorf("from the mesh: %+v", got)
	}
	for _, flags := range [][]string{nil, {"-h2c"}, {"-method", "POST"}} {
		if a := call(t, without, url, flags...); a.Status != 403 || a.Echo.Pod != "" {
			t.Errorf("plaintext, %v: %+v", flags, a)
		}
	}
	if a := call(t, without, "http://server."+ns+"/"); a.Status != 200 {
		t.Errorf("the readiness probe's own path: %+v", a)
	}
	if got := app[tcpSaid](t, without, "deploy/client", "tcp", "-first", greeter); got.Got != "" {
		t.Errorf("plaintext: %+v", got)
	}
}

// What a namespace says of its pods' ports reaches those that run.
func TestANamespaceBecomesStrictWhileItsPodsRun(t *testing.T) {
	ready(t)
	ns := ownNamespace(t)
	feed(t, run(t, "cat", "testdata/app.yaml"), "bash", "-o", "pipefail", "-c",
		"meshctl inject - | kubectl apply -n "+ns+" -f -")
	rolledOut(t, ns, "deployment/server")
	url := "http://server." + ns + "/orders"
	for _, step := range []struct {
		mode   string
		status int
	}{{"permissive", 200}, {"strict", 403}, {"permissive", 200}} {
		run(t, "kubectl", "annotate", "--overwrite", "namespace", ns, "tulle.dev/mode="+step.mode)
		eventually(t, time.Minute, func() error {
			if a := call(t, without, url); a.Status != step.status {
				return fmt.Errorf("%s: %+v", step.mode, a)
			}
			return nil
		})
	}
}
