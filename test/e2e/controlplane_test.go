//go:build e2e

package e2e

import (
	"slices"
	"strings"
	"testing"
)

// What is known goes on without the control plane, and what comes back is believed again.
func TestControlPlaneKilled(t *testing.T) {
	ready(t)
	for _, server := range []string{
		"tulle-identity", "tulle-destination", "tulle-injector", "tulle-viz",
	} {
		t.Run(server, func(t *testing.T) {
			l := startLoad(t, byHook, 500, "http://server."+byCLI+"/")
			selector := "app.kubernetes.io/name=" + server
			list := func() []string {
				return strings.Fields(run(t, "kubectl", "-n", "tulle", "get", "pods",
					"-l", selector, "-o", "name"))
			}
			pods := list()
			force := []string{"-n", "tulle", "delete", "--grace-period=0", "--force"}
			run(t, "kubectl", append(force, pods...)...)
			rolledOut(t, "tulle", "deployment/"+server)
			// And the load goes on while a new pod gets all that it needs from what came back.
			run(t, "kubectl", "-n", byHook, "rollout", "restart", "deployment/redis")
			rolledOut(t, byHook, "deployment/redis")
			run(t, "meshctl", "check", "--wait", "2m")
			for _, pod := range list() {
				if slices.Contains(pods, pod) {
					t.Errorf("%s was not killed", pod)
				}
			}
			l.lostNothing(t)
		})
	}
}
