//go:build e2e

package e2e

import (
	"bufio"
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// fromClient asks how many requests the clients that run now, and others before them, have sent.
var fromClient = []string{"deploy/client", "-n", byHook, "--to", "svc/server", "--to-namespace",
	byCLI}

// Two replicas of viz know the same, to the request. When one is killed the other goes on, and who
// comes in its place is told everything by the proxies.
func TestVizReplicas(t *testing.T) {
	ready(t)
	scaleViz(t, 2)
	t.Cleanup(func() { scaleViz(t, 1) })
	// What clients before these have sent a replica knows only if it was there.
	run(t, "kubectl", "-n", byHook, "rollout", "restart", "deployment/client")
	rolledOut(t, byHook, "deployment/client")
	settled(t, fromClient)
	before := map[string]int{}
	for _, pod := range vizPods(t) {
		before[pod] = counted(t, forwardPod(t, pod))
	}
	l := startLoad(t, byHook, 200, "http://server."+byCLI+"/")
	time.Sleep(5 * time.Second) // so that there is traffic before, during and after
	victim := vizPods(t)[0]
	run(t, "kubectl", "-n", "tulle", "delete", "pod", victim, "--grace-period=0", "--force")
	for range 10 { // whichever replica the port-forward finds, it answers
		requests(t, fromClient...)
	}
	rolledOut(t, "tulle", "deployment/tulle-viz")
	done := l.end(t)
	done.lostNothing(t)
	for _, pod := range vizPods(t) {
		if pod == victim {
			t.Errorf("%s was not killed", pod)
		}
		addr := forwardPod(t, pod)
		eventually(t, 2*time.Minute, func() error {
			if got := counted(t, addr); got != before[pod]+done.Sent {
				return fmt.Errorf("%s has counted %d requests, before it was %d, and %d were sent",
					pod, got, before[pod], done.Sent)
			}
			return nil
		})
	}
}

// counted is what one replica says.
func counted(t *testing.T, addr string) (n int) {
	t.Helper()
	return requests(t, append([]string{"--viz-addr", addr}, fromClient...)...)
}

func scaleViz(t *testing.T, n int) {
	t.Helper()
	run(t, "kubectl", "-n", "tulle", "scale", "deployment/tulle-viz",
		fmt.Sprintf("--replicas=%d", n))
	rolledOut(t, "tulle", "deployment/tulle-viz")
	eventually(t, time.Minute, func() error {
		if pods := vizPods(t); len(pods) != n {
			return fmt.Errorf("there are %v", pods)
		}
		return nil
	})
}

func vizPods(t *testing.T) []string {
	t.Helper()
	return strings.Fields(run(t, "kubectl", "-n", "tulle", "get", "pods", "-l",
		"app.kubernetes.io/name=tulle-viz", "--field-selector=status.phase=Running",
		"-o", "jsonpath={.items[*].metadata.name}"))
}

// forwardPod leads to where a replica answers, until the test ends.
func forwardPod(t *testing.T, pod string) string {
	t.Helper()
	cmd := exec.Command("kubectl", "-n", "tulle", "port-forward", "pod/"+pod, ":8085")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait() // killed: its error says nothing
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatalf("port-forward to %s: %v", pod, err)
	}
	_, rest, _ := strings.Cut(line, "127.0.0.1:")
	port, _, _ := strings.Cut(rest, " ")
	return "127.0.0.1:" + port
}
