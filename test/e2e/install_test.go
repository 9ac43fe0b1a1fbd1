//go:build e2e

package e2e

import (
	"strings"
	"testing"
)

// install is the README's four lines, up to the application. What is there already, of an earlier
// run, is brought up to date.
func install(t *testing.T) (before bool) {
	t.Helper()
	if _, err := try("", "kubectl", "get", "namespace", "tulle"); err == nil {
		before = true
	} else {
		run(t, "meshctl", "check", "--pre")
	}
	shell(t, "meshctl install"+domainFlag()+" | kubectl apply -f -")
	run(t, "meshctl", "check", "--wait", "4m")
	return before
}

func TestInstalledAndGreen(t *testing.T) {
	ready(t)
	report := run(t, "meshctl", "check", "--wait", "1m", "--fail-on", "warning")
	if strings.Contains(report, "×") {
		t.Errorf("check is not green:\n%s", report)
	}
	if twice := shell(t, "meshctl install"); twice != shell(t, "meshctl install") {
		t.Error("two installs differ")
	}
}

// Applying the installation again changes nothing: not even what the control plane wrote into it
// meanwhile, its caBundle.
func TestInstallTwice(t *testing.T) {
	ready(t)
	shell(t, "meshctl install | kubectl apply -f -")
	shell(t, "meshctl install | kubectl diff -f -")
	run(t, "meshctl", "check", "--wait", "1m")
}

func TestInjectedPods(t *testing.T) {
	ready(t)
	for _, ns := range []string{byCLI, byHook} {
		for _, label := range []string{"app=server", "app=client", "app=redis", "app=member"} {
			names := run(t, "kubectl", "-n", ns, "get", "pods", "-l", label,
				"-o", "jsonpath={.items[0].spec.initContainers[*].name}")
			if names != "tulle-redirect tulle-proxy" {
				t.Errorf("%s %s: init containers %q", ns, label, names)
			}
		}
	}
	names := run(t, "kubectl", "-n", without, "get", "pods",
		"-o", "jsonpath={.items[*].spec.initContainers[*].name}")
	if names != "" {
		t.Errorf("%s is meshed: %q", without, names)
	}
}

func TestIdentityOfPod(t *testing.T) {
	ready(t)
	out := run(t, "meshctl", "identity", "-n", byCLI, podOf(t, byCLI, "app=server"))
	if want := "spiffe://cluster.local/ns/" + byCLI + "/sa/server"; !strings.Contains(out, want) {
		t.Errorf("meshctl identity does not name %s:\n%s", want, out)
	}
}
