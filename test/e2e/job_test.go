//go:build e2e

package e2e

import "testing"

const jobs = `apiVersion: batch/v1
kind: Job
metadata: {name: once}
spec:
  backoffLimit: 0
  template:
    spec:
      restartPolicy: Never
      containers:
      - {name: app, image: "test/app:e2e", args: [job, "http://server.e2e-cli/"]}
`

// A Job's pod ends when its own work does, with a proxy beside it.
func TestJobCompletes(t *testing.T) {
	ready(t)
	ns := ownNamespace(t)
	feed(t, jobs, "bash", "-o", "pipefail", "-c", "meshctl inject - | kubectl apply -n "+ns+" -f -")
	run(t, "kubectl", "-n", ns, "wait", "--for=condition=complete", "--timeout=120s", "job/once")
	names := run(t, "kubectl", "-n", ns, "get", "pods",
		"-o", "jsonpath={.items[*].spec.initContainers[*].name}")
	if names != "tulle-redirect tulle-proxy" {
		t.Errorf("the job's pod has the init containers %q", names)
	}
}
