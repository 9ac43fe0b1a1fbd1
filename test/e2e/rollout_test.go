//go:build e2e

package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

func TestRolloutLosesNothing(t *testing.T) {
	ready(t)
	scale(t, 2)
	web := startLoad(t, byHook, 500, "http://server."+byCLI+"/")
	rpc := startLoad(t, byHook, 100, "grpc://server."+byCLI+":8081")
	scale(t, 5)
	scale(t, 1)
	scale(t, 2)
	run(t, "kubectl", "-n", byCLI, "rollout", "restart", "deployment/server")
	rolledOut(t, byCLI, "deployment/server")
	gone(t, 2)
	web.lostNothing(t)
	rpc.lostNothing(t)
	scale(t, 1)
}

func scale(t *testing.T, replicas int) {
	t.Helper()
	run(t, "kubectl", "-n", byCLI, "scale", "deployment/server",
		fmt.Sprintf("--replicas=%d", replicas))
	rolledOut(t, byCLI, "deployment/server")
	gone(t, replicas)
}

// gone waits until the pods that had to go have ended, with all that they had begun.
func gone(t *testing.T, left int) {
	t.Helper()
	eventually(t, 2*time.Minute, func() error {
		out, err := try("", "kubectl", "-n", byCLI, "get", "pods", "-l", "app=server", "-o", "name")
		if n := strings.Count(out, "\n"); err == nil && n != left {
			err = fmt.Errorf("%d pods, want %d", n, left)
		}
		return err
	})
}

// While the only pod of a Service ends slowly and serves on, it is called, as kube-proxy does it.
func TestTheLastPodIsCalledWhileItEnds(t *testing.T) {
	ready(t)
	ns := ownNamespace(t)
	yaml := strings.NewReplacer(
		"replicas: 1\n", "replicas: 1\n  strategy: {type: Recreate}\n",
		"args: [serve]\n        ports:",
		"args: [serve]\n        lifecycle: {preStop: {sleep: {seconds: 25}}}\n        ports:",
	).Replace(run(t, "cat", "testdata/app.yaml"))
	feed(t, yaml, "bash", "-o", "pipefail", "-c", "meshctl inject - | kubectl apply -n "+ns+" -f -")
	rolledOut(t, ns, "deployment/server")
	url, old := "http://server."+ns+"/", podOf(t, ns, "app=server")
	if a := call(t, byHook, url); a.Echo.Pod != old {
		t.Fatalf("before: %+v", a)
	}
	run(t, "kubectl", "-n", ns, "rollout", "restart", "deployment/server")
	ending := func() bool {
		return run(t, "kubectl", "-n", ns, "get", "pod", old, "--ignore-not-found", "-o",
			"jsonpath={.metadata.deletionTimestamp}") != ""
	}
	eventually(t, time.Minute, func() error {
		if !ending() {
			return fmt.Errorf("%s is not deleted", old)
		}
		return nil
	})
	answers := app[[]answer](t, byHook, "deploy/client", "call", "-n", "20", url)
	if !ending() {
		t.Fatalf("%s was gone before it had been called", old)
	}
	for i, a := range answers {
		if a.Status != 200 || a.Echo.Pod != old {
			t.Errorf("call %d: %+v", i, a)
		}
	}
	rolledOut(t, ns, "deployment/server")
	eventually(t, time.Minute, func() error { return call(t, byHook, url).succeeded() })
}
