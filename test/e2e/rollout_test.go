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
	web := startLoad(t, byHook, "http://server."+byCLI+"/", 500)
	rpc := startLoad(t, byHook, "grpc://server."+byCLI+":8081", 100)
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
