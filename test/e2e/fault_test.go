//go:build e2e

package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// harmedRoute is a route of which one rule is harmed.
const harmedRoute = `apiVersion: tulle.dev/v1alpha1
kind: FaultInjection
metadata: {name: harm}
spec: {abort: {status: 418}, until: "%s"}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: server}
spec:
  parentRefs: [{group: "", kind: Service, name: server, port: 80}]
  rules:
  - matches: [{path: {value: /harmed}}]
    filters:
    - type: ExtensionRef
      extensionRef: {group: tulle.dev, kind: FaultInjection, name: harm}
    backendRefs: [{name: server, port: 80}]
  - backendRefs: [{name: server, port: 80}]
`

// A rule may refer to a fault, which befalls that rule's requests alone. Without the fault the rule
// fails, and its route says why.
func TestAFaultOfARule(t *testing.T) {
	ready(t)
	ns := ownNamespace(t)
	installGatewayAPI(t)
	shell(t, "meshctl inject testdata/app.yaml | kubectl apply -n "+ns+" -f -")
	rolledOut(t, ns, "deployment/server")
	until := time.Now().Add(time.Hour).UTC().Format(time.RFC3339)
	feed(t, fmt.Sprintf(harmedRoute, until), "kubectl", "-n", ns, "apply", "-f", "-")
	becomes := func(want int) {
		t.Helper()
		eventually(t, time.Minute, func() error {
			if a := call(t, byHook, "http://server."+ns+"/harmed/x"); a.Status != want {
				return fmt.Errorf("got %+v, want %d", a, want)
			}
			return nil
		})
	}
	becomes(418)
	if a := call(t, byHook, "http://server."+ns+"/harmedless"); a.Status != 200 {
		t.Errorf("by another rule: %+v", a)
	}
	wantRouteCondition(t, ns, "ResolvedRefs", "True ResolvedRefs")
	eventually(t, 30*time.Second, func() error {
		out, err := try("", "kubectl", "-n", ns, "get", "faultinjection", "harm", "-o",
			"jsonpath={.status.ancestors[*].ancestorRef.name}")
		if err == nil && out != "server" {
			err = fmt.Errorf("the fault's status speaks of %q", out)
		}
		return err
	})
	run(t, "kubectl", "-n", ns, "delete", "faultinjection", "harm")
	becomes(500)
	wantRouteCondition(t, ns, "ResolvedRefs", "False BackendNotFound")
}

// What is injected befalls the requests that it names and no others, says that it was on purpose,
// and ends when it is cleared, or by itself.
func TestAFaultIsInjected(t *testing.T) {
	ready(t)
	ns := ownNamespace(t)
	shell(t, "meshctl inject testdata/app.yaml | kubectl apply -n "+ns+" -f -")
	rolledOut(t, ns, "deployment/server")
	url := "http://server." + ns
	asked := func(flags ...string) string {
		a := call(t, byHook, url, flags...)
		return fmt.Sprint(a.Status, " ", a.header("Tulle-Error"))
	}
	becomes := func(want string, flags ...string) {
		t.Helper()
		eventually(t, 10*time.Second, func() error {
			if got := asked(flags...); !strings.HasPrefix(got, want) {
				return fmt.Errorf("%v: %q, want %q", flags, got, want)
			}
			return nil
		})
	}
	becomes("200")
	run(t, "meshctl", "fault", "inject", "svc/server", "-n", ns, "--abort", "418", "--delay",
		"700ms", "--header", "x-test=1", "--from", byHook)
	becomes("418 fault_injected: a fault is injected", "-header", "X-Test: 1")
	if got := asked(); !strings.HasPrefix(got, "200") {
		t.Errorf("without the header: %s", got)
	}
	if a := call(t, byCLI, url, "-header", "X-Test: 1"); a.Status != 200 {
		t.Errorf("from another namespace: %+v", a)
	}
	if a := call(t, byHook, url, "-header", "X-Test: 1"); a.Seconds < 0.7 || a.Seconds > 10 {
		t.Errorf("delayed by %v s, want 0.7", a.Seconds)
	}
	list := run(t, "meshctl", "fault", "list", "-n", ns)
	if !strings.Contains(list, "delay 700ms of 100%, abort 418 of 100%") {
		t.Errorf("the list is\n%s", list)
	}
	run(t, "meshctl", "fault", "clear", "svc/server", "-n", ns)
	becomes("200", "-header", "X-Test: 1")
	run(t, "meshctl", "fault", "inject", "svc/server", "-n", ns, "--abort", "503", "--for", "5s")
	becomes("503 fault_injected: a fault is injected")
	becomes("200")
}
