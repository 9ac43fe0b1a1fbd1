//go:build e2e

package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// rogues is a namespace of pods without proxies that hold what a proxy holds.
const rogues = "e2e-rogue"

func rogueID() string { return "spiffe://cluster.local/ns/" + rogues + "/sa/rogue" }

func deployRogues(t *testing.T) {
	t.Helper()
	ready(t)
	newNamespace(t, rogues)
	run(t, "kubectl", "apply", "-n", rogues, "-f", "testdata/rogue.yaml")
	rolledOut(t, rogues, "deployment/client", "deployment/imposter")
}

type certified struct{ ID, Code, Reason string }

func TestRefusedCertificates(t *testing.T) {
	deployRogues(t)
	unbound := strings.TrimSpace(run(t, "kubectl", "-n", rogues, "create", "token", "rogue",
		"--audience", "identity.tulle.dev/cluster.local"))
	for name, c := range map[string]struct {
		args []string
		code string
	}{
		// the control: with all that is right there is a certificate
		"its own": {[]string{"-expect", rogueID()}, "OK"},
		"wrong token": {[]string{"-expect", rogueID(), "-token", "eyJhbGciOiJSUzI1NiJ9.e30.AAAA"},
			"Unauthenticated"},
		"wrong audience": {
			[]string{"-expect", rogueID(), "-token-file", "/var/run/tulle/token/other"},
			"Unauthenticated",
		},
		"API server's": {[]string{"-expect", rogueID(), "-token-file",
			"/var/run/secrets/kubernetes.io/serviceaccount/token"}, "Unauthenticated"},
		"another's ID": {[]string{"-expect", "spiffe://cluster.local/ns/" + byCLI + "/sa/server"},
			"PermissionDenied"},
		"a server's ID": {
			[]string{"-expect", "spiffe://cluster.local/ns/tulle/sa/tulle-destination"},
			"PermissionDenied",
		},
		"kubectl's, no pod": {[]string{"-expect", rogueID(), "-token", unbound}, "Unauthenticated"},
	} {
		t.Run(name, func(t *testing.T) {
			got := app[certified](t, rogues, "deploy/client",
				append([]string{"certify"}, c.args...)...)
			if got.Code != c.code || (got.ID != "") != (c.code == "OK") ||
				c.code != "OK" && got.Reason == "" {
				t.Errorf("identity said %+v, want %s", got, c.code)
			}
		})
	}
}

const deceived = `apiVersion: v1
kind: Pod
metadata: {name: deceived}
spec:
  containers:
  - {name: app, image: "test/app:e2e", args: [serve]}
`

type posed struct {
	Believed, Refused map[string]int
	Why               map[string]string
}

// A workload's SVID does not pass for the control plane's, whichever server it poses as.
func TestRefusedImposter(t *testing.T) {
	deployRogues(t)
	for server, ports := range map[string][2]string{
		"identity": {"8080", "18080"}, "destination": {"8086", "18086"},
		"viz-replicas": {"8084", "18084"},
	} {
		t.Run(server, func(t *testing.T) {
			ns := ownNamespace(t)
			pod := feed(t, deceived, "meshctl", "inject", "-")
			there := fmt.Sprintf("tulle-%s.tulle.svc.cluster.local.:%s", server, ports[0])
			if !strings.Contains(pod, there) {
				t.Fatalf("no %s in the injected pod", there)
			}
			pod = strings.ReplaceAll(pod, there, "imposter."+rogues+".svc.cluster.local.:"+ports[1])
			feed(t, pod, "kubectl", "apply", "-n", ns, "-f", "-")
			var p posed
			eventually(t, time.Minute, func() error {
				p = app[[]struct{ Echo posed }](t, without, "deploy/client", "call",
					"http://imposter."+rogues+"/posed")[0].Echo
				if p.Refused[ports[1]] < 2 {
					return fmt.Errorf("no proxy has come to the imposter twice yet: %+v", p)
				}
				return nil
			})
			if p.Believed[ports[1]] != 0 {
				t.Errorf("%d proxies believed the imposter", p.Believed[ports[1]])
			}
		})
	}
}

type reported struct {
	Acknowledged bool
	Code, Reason string
}

// What a report says of its sender counts only as far as the sender's certificate says the same.
func TestRefusedReports(t *testing.T) {
	deployRogues(t)
	own := podOf(t, rogues, "app=client")
	victim := podOf(t, byCLI, "app=server")
	for name, c := range map[string]struct {
		args         []string
		acknowledged bool
	}{
		"its own": {
			[]string{"-namespace", rogues, "-name", "client", "-pod", own, "-own-id", rogueID()},
			true,
		},
		"another namespace": {
			[]string{"-namespace", byCLI, "-name", "client", "-pod", own, "-own-id", rogueID()},
			false,
		},
		"another pod": {
			[]string{"-namespace", rogues, "-name", "server", "-pod", victim, "-own-id", rogueID()},
			false,
		},
		"another's ID": {[]string{"-namespace", rogues, "-name", "client", "-pod", own,
			"-own-id", "spiffe://cluster.local/ns/" + byCLI + "/sa/server"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			got := app[reported](t, rogues, "deploy/client",
				append([]string{"report", "-id", rogueID()}, c.args...)...)
			if got.Acknowledged != c.acknowledged || !c.acknowledged && got.Reason == "" {
				t.Errorf("viz said %+v, want acknowledged: %v", got, c.acknowledged)
			}
		})
	}
}
