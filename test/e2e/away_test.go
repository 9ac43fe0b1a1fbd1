//go:build e2e

package e2e

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"strings"
	"testing"
	"time"
)

const unseen = `apiVersion: v1
kind: Service
metadata: {name: unseen}
spec:
  selector: {app: server}
  ports: [{port: 80, targetPort: 8080}]
`

// While destination is away, what is known goes on, and what was never asked for is refused, with
// the reason, and never tried in plaintext.
func TestDestinationAway(t *testing.T) {
	ready(t)
	known, never := "http://server."+byHook+"/", "http://unseen."+byHook+"/"
	if a := call(t, byCLI, known); a.Status != 200 {
		t.Fatalf("%+v", a)
	}
	feed(t, unseen, "kubectl", "apply", "-n", byHook, "-f", "-")
	t.Cleanup(func() { run(t, "kubectl", "-n", byHook, "delete", "service", "unseen") })
	run(t, "kubectl", "-n", "tulle", "scale", "deployment/tulle-destination", "--replicas=0")
	t.Cleanup(func() {
		run(t, "kubectl", "-n", "tulle", "scale", "deployment/tulle-destination", "--replicas=1")
		rolledOut(t, "tulle", "deployment/tulle-destination")
		eventually(t, 30*time.Second, func() error {
			if a := call(t, byCLI, never); a.Status != 200 || a.sent("Tulle-Client-Id") == "" {
				return fmt.Errorf("destination is back: %+v", a)
			}
			return nil
		})
	})
	run(t, "kubectl", "-n", "tulle", "wait", "--for=delete", "pod",
		"-l", "app.kubernetes.io/name=tulle-destination", "--timeout=60s")
	marker := "marker-" + rand.Text()
	packets := capture(t, func() {
		a := call(t, byCLI, never+marker, "-method", "POST", "-body", marker)
		if a.Status != 503 || a.header("Tulle-Error") == "" ||
			!strings.Contains(a.Body, "destination") {
			t.Errorf("a target never seen: %+v", a)
		}
		if a := call(t, byCLI, known); a.Status != 200 || a.sent("Tulle-Client-Id") == "" {
			t.Errorf("a known target: %+v", a)
		}
	})
	if bytes.Contains(packets, []byte(marker)) {
		t.Error("the request was sent in plaintext")
	}
}
