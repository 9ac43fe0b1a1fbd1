//go:build e2e

package e2e

import (
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// balanced is a Service as a cloud or MetalLB would serve it, at an address in a private range.
const balanced = `
apiVersion: v1
kind: Service
metadata: {name: balanced}
spec:
  type: LoadBalancer
  selector: {app: server}
  ports:
  - {name: http, port: 80, targetPort: http}
`

// The address of a load balancer means its Service to a meshed caller as well.
func TestALoadBalancersPrivateAddressIsReached(t *testing.T) {
	ready(t)
	feed(t, balanced, "kubectl", "apply", "-n", byHook, "-f", "-")
	t.Cleanup(func() { run(t, "kubectl", "-n", byHook, "delete", "service", "balanced") })
	run(t, "kubectl", "-n", byHook, "patch", "service", "balanced", "--subresource=status",
		"-p", `{"status": {"loadBalancer": {"ingress": [{"ip": "192.168.77.7"}]}}}`)
	var a answer
	eventually(t, time.Minute, func() error {
		a = call(t, byCLI, "http://192.168.77.7/")
		return a.succeeded()
	})
	want := "spiffe://cluster.local/ns/" + byCLI + "/sa/client"
	if a.sent("Tulle-Client-Id") != want {
		t.Errorf("reached in plaintext, or as somebody else: %+v", a)
	}
}

// external is a Service whose endpoints somebody wrote by hand: a database outside the cluster.
const external = `
apiVersion: v1
kind: Service
metadata: {name: external}
spec:
  clusterIP: None
  ports:
  - {name: http, port: PORT}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata:
  name: external-by-hand
  labels: {kubernetes.io/service-name: external}
addressType: IPv4
ports:
- {name: http, port: PORT}
endpoints:
- addresses: [192.168.78.8]
`

// What hand-made endpoints name is reached by its address and by its Service's name.
func TestHandMadeEndpointsAreReached(t *testing.T) {
	ready(t)
	ns := ownNamespace(t)
	run(t, "ip", "address", "replace", "192.168.78.8/32", "dev", "lo")
	t.Cleanup(func() { run(t, "ip", "address", "del", "192.168.78.8/32", "dev", "lo") })
	l, err := net.Listen("tcp", "192.168.78.8:0")
	if err != nil {
		t.Fatal(err)
	}
	outside := &http.Server{Handler: http.HandlerFunc(
		func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "outside") })}
	go outside.Serve(l)
	t.Cleanup(func() { outside.Close() })
	_, port, _ := net.SplitHostPort(l.Addr().String())
	feed(t, strings.ReplaceAll(external, "PORT", port), "kubectl", "apply", "-n", ns, "-f", "-")
	for _, host := range []string{"192.168.78.8", "external." + ns} {
		eventually(t, time.Minute, func() error {
			return call(t, byHook, "http://"+host+":"+port+"/").succeeded()
		})
	}
}
