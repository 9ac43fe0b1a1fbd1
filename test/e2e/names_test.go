//go:build e2e

package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// A name that chooses a pod is never balanced away to another.
func TestChosenPodIsReached(t *testing.T) {
	overEdges(t, func(t *testing.T, e edge) {
		for _, pod := range []string{"member-0", "member-1"} {
			byName := "http://" + pod + "." + e.host("member") + ":8080/"
			byAddress := "http://" + ipOf(t, e.to, pod) + ":8080/"
			for _, url := range []string{byName, byAddress} {
				answers := app[[]answer](t, e.from, "deploy/client", "call", "-n", "10", url)
				for i, a := range answers {
					if a.Status != 200 || a.Echo.Pod != pod ||
						a.sent("Tulle-Client-Id") != e.identity() {
						t.Fatalf("call %d of %s reached %q: %+v", i, url, a.Echo.Pod, a)
					}
				}
			}
		}
	})
}

func TestHeadlessNameReachesAMember(t *testing.T) {
	overEdges(t, func(t *testing.T, e edge) {
		a := call(t, e.from, "http://"+e.host("member")+":8080/")
		if a.Echo.Pod != "member-0" && a.Echo.Pod != "member-1" ||
			a.sent("Tulle-Client-Id") != e.identity() {
			t.Errorf("%+v", a)
		}
	})
}

// Every form of a name that a pod's resolver knows leads to who is called, in mTLS, whatever the
// cluster's domain is, and so do addresses.
func TestEveryFormOfANameIsMeshed(t *testing.T) {
	ready(t)
	service := func(ns string) []string {
		short := "server." + ns
		return []string{short, short + ".svc", short + ".svc." + *domain,
			short + ".svc." + *domain + ".", short + ".svc." + *domain + ":80"}
	}
	member := "member-0.member." + byHook
	hosts := append(service(byHook), member+":8080", member+".svc:8080",
		member+".svc."+*domain+":8080", "member."+byHook+":8080",
		clusterIPOf(t, byHook, "server"), ipOf(t, byHook, podOf(t, byHook, "app=server"))+":8080")
	for _, host := range hosts {
		t.Run(host, func(t *testing.T) { wantMeshed(t, byCLI, host) })
	}
	for _, ns := range []string{byCLI, byHook} { // with a name of the caller's own namespace
		t.Run(ns, func(t *testing.T) { wantMeshed(t, ns, "server") })
	}
	t.Run("within", func(t *testing.T) { wantMeshed(t, byHook, "member-1.member:8080") })
	targets := run(t, "meshctl", "diagnostics", "endpoints", "server."+byHook+".svc."+*domain+":80")
	if pod := podOf(t, byHook, "app=server"); !strings.Contains(targets, pod) {
		t.Errorf("meshctl diagnostics endpoints does not name %s:\n%s", pod, targets)
	}
}

// wantMeshed calls a host from a namespace's client, which must be known where it arrives.
func wantMeshed(t *testing.T, from, host string) {
	t.Helper()
	a := call(t, from, "http://"+host+"/")
	if want := "spiffe://cluster.local/ns/" + from + "/sa/client"; a.Status != 200 ||
		a.sent("Tulle-Client-Id") != want {
		t.Errorf("%+v, want a caller %s", a, want)
	}
}

func clusterIPOf(t *testing.T, ns, service string) string {
	t.Helper()
	return run(t, "kubectl", "-n", ns, "get", "service", service, "-o",
		"jsonpath={.spec.clusterIP}")
}

// An application may call its own Service, and through it itself.
func TestCallsItself(t *testing.T) {
	ready(t)
	for _, ns := range []string{byCLI, byHook} {
		a := app[[]answer](t, ns, "deploy/server", "call", fmt.Sprintf("http://server.%s/", ns))[0]
		if a.Status != 200 ||
			a.sent("Tulle-Client-Id") != "spiffe://cluster.local/ns/"+ns+"/sa/server" {
			t.Errorf("%s: %+v", ns, a)
		}
	}
}

// An address outside the cluster that a Service has leads to it, as kube-proxy would, and in mTLS.
func TestAnExternalIPIsTheService(t *testing.T) {
	ready(t)
	const yaml = `
apiVersion: v1
kind: Service
metadata: {name: edge}
spec:
  selector: {app: server}
  externalIPs: [192.168.240.1]
  ports: [{port: 80, targetPort: http}]
`
	feed(t, yaml, "kubectl", "apply", "-n", byCLI, "-f", "-")
	t.Cleanup(func() { run(t, "kubectl", "-n", byCLI, "delete", "service", "edge") })
	eventually(t, time.Minute, func() error {
		a := call(t, byHook, "http://192.168.240.1/")
		if a.Status != 200 ||
			a.sent("Tulle-Client-Id") != "spiffe://cluster.local/ns/"+byHook+"/sa/client" {
			return fmt.Errorf("%+v", a)
		}
		return nil
	})
}
