//go:build e2e

package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// carried are a namespace's routes for connections: to a server of its own, of another namespace,
// and to nobody, by weight; and by server name. The Service of the latter has no pods of its own.
const carried = `apiVersion: gateway.networking.k8s.io/v1
kind: TCPRoute
metadata: {name: server}
spec:
  parentRefs: [{group: "", kind: Service, name: server, port: 3306}]
  rules:
  - backendRefs:
    - {name: server, port: 3306, weight: 2}
    - {name: server, namespace: e2e-cli, port: 3306, weight: 1}
    - {name: nobody, port: 3306, weight: 1}
---
apiVersion: v1
kind: Service
metadata: {name: secure}
spec: {ports: [{name: https, port: 443}]}
---
apiVersion: v1
kind: Service
metadata: {name: secure-server}
spec:
  selector: {app: server}
  ports: [{name: https, port: 443, targetPort: 8443}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: TLSRoute
metadata: {name: server}
spec:
  parentRefs: [{group: "", kind: Service, name: secure, port: 443}]
  hostnames: [one.example.com, "*.sub.example.com"]
  rules:
  - backendRefs: [{name: secure-server, port: 443}]
`

// greetedBy are the pods that answer connections to a greeter, one after the other; "" is none.
func greetedBy(t *testing.T, greeter string, n int) map[string]int {
	t.Helper()
	got := map[string]int{}
	for range n {
		said := app[tcpSaid](t, byHook, "deploy/client", "tcp", "-first", "-half", greeter)
		pod, _ := strings.CutPrefix(strings.TrimSpace(said.Got), "220 ")
		got[pod]++
	}
	return got
}

// Connections that the mesh does not read go by weight, and by the server name of their own TLS.
func TestRoutesForConnectionsAreObeyed(t *testing.T) {
	ready(t)
	ns := ownNamespace(t)
	installGatewayAPI(t)
	shell(t, "meshctl inject"+domainFlag()+" testdata/app.yaml | kubectl apply -n "+ns+" -f -")
	rolledOut(t, ns, "deployment/server")
	greeter := "server." + ns + ":3306"
	here, there := podOf(t, ns, "app=server"), podOf(t, byCLI, "app=server")
	if got := greetedBy(t, greeter, 1); got[here] != 1 {
		t.Errorf("without a route: %v", got)
	}
	feed(t, carried, "kubectl", "-n", ns, "apply", "-f", "-")
	eventually(t, time.Minute, func() error {
		if got := greetedBy(t, greeter, 4); got[there] == 0 || got[""] == 0 {
			return fmt.Errorf("of four connections: %v", got)
		}
		return nil
	})
	got := greetedBy(t, greeter, 16)
	for pod, want := range map[string]int{here: 8, there: 4, "": 4} {
		if n := got[pod]; n < want-2 || n > want+2 {
			t.Errorf("%q has %d of 16 connections, want about %d: %v", pod, n, want, got)
		}
	}
	wantConditionOf(t, ns, "tcproute", "Accepted", "True Accepted")
	wantConditionOf(t, ns, "tcproute", "ResolvedRefs", "False BackendNotFound")

	url := "https://secure." + ns
	for name, want := range map[string]string{
		"one.example.com": here, "a.b.sub.example.com": here, "two.example.com": "",
	} {
		eventually(t, 30*time.Second, func() error {
			a := call(t, byHook, url, "-server-name", name, "-timeout", "5s")
			reset := strings.Contains(a.Error, "connection reset")
			if a.Echo.Pod != want || (want == "") != reset {
				return fmt.Errorf("%s: %+v", name, a)
			}
			return nil
		})
	}
	wantConditionOf(t, ns, "tlsroute", "Accepted", "True Accepted")
	run(t, "kubectl", "-n", ns, "delete", "tcproute", "server")
	eventually(t, 10*time.Second, func() error {
		if got := greetedBy(t, greeter, 4); got[here] != 4 {
			return fmt.Errorf("after the route went: %v", got)
		}
		return nil
	})
}
