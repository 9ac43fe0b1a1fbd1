//go:build e2e

package e2e

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/tulle-mesh/tulle/destination/crd"
	"github.com/tulle-mesh/tulle/identity/names"
)

// telemetryOf is a policy about all pods of a namespace.
func telemetryOf(namespace, accessLog string) string {
	return "apiVersion: tulle.dev/v1alpha1\nkind: TelemetryPolicy\nmetadata: {name: log}\n" +
		"spec: {targetRefs: [{kind: Namespace, name: " + namespace + "}], accessLog: {" +
		accessLog + "}}\n"
}

// A TelemetryPolicy has proxies that run log what it asks for, and its status says so.
func TestATelemetryPolicyIsObeyed(t *testing.T) {
	ready(t)
	ns := ownNamespace(t)
	shell(t, "meshctl inject testdata/app.yaml | kubectl apply -n "+ns+" -f -")
	rolledOut(t, ns, "deployment/server")
	feed(t, telemetryOf(ns, "format: Text, filter: Failures"), "kubectl", "-n", ns, "apply", "-f",
		"-")
	url := "http://server." + ns
	logged := func() string {
		return run(t, "kubectl", "-n", ns, "logs", "deployment/server", "-c", names.ProxyContainer)
	}
	eventually(t, time.Minute, func() error {
		call(t, byHook, url+"/fine")
		call(t, byHook, url+"/fail/2")
		if text := logged(); !strings.Contains(text, `"GET /fail/2 HTTP/`) {
			return fmt.Errorf("no failure is logged:\n%s", text)
		}
		return nil
	})
	if text := logged(); strings.Contains(text, "/fine") {
		t.Errorf("what goes well is logged:\n%s", text)
	}
	eventually(t, 30*time.Second, func() error {
		out, err := try("", "kubectl", "-n", ns, "get", "telemetrypolicy", "log", "-o",
			`jsonpath={range .status.ancestors[*].conditions[*]}{.type}={.status} {end}`)
		if want := "Accepted=True Programmed=True "; err == nil && out != want {
			err = fmt.Errorf("the conditions are %q, want %q", out, want)
		}
		return err
	})
}

// The API server refuses of a policy what destination refuses, and nothing else.
func TestTheAPIServerAcceptsTelemetryPoliciesThatDestinationDoes(t *testing.T) {
	ready(t)
	edges, err := os.ReadFile("testdata/telemetry-edges.txt")
	if err != nil {
		t.Fatal(err)
	}
	for _, spec := range strings.Split(strings.TrimSpace(string(edges)), "\n") {
		agreed(t, crd.TelemetryPolicyKind, spec, func(d *crd.Document) error {
			_, err := d.TelemetryPolicy()
			return err
		})
	}
}
