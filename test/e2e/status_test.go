//go:build e2e

package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// A Service, a profile of it with a backend that is not there, and a profile of nobody.
const judged = `apiVersion: v1
kind: Service
metadata: {name: web}
spec: {ports: [{port: 80}]}
---
apiVersion: tulle.dev/v1alpha1
kind: ServiceProfile
metadata: {name: web.NAMESPACE.svc.cluster.local}
spec: {dstOverrides: [{authority: web, weight: 1}, {authority: nobody, weight: 1}]}
---
apiVersion: tulle.dev/v1alpha1
kind: ServiceProfile
metadata: {name: web}
spec: {}
`

// wantCondition waits for a condition of a profile to be "STATUS REASON", with a text in its
// message.
func wantCondition(t *testing.T, ns, profile, kind, want, text string) {
	t.Helper()
	path := fmt.Sprintf(`jsonpath={range .status.conditions[?(@.type=="%s")]}`+
		`{.status} {.reason}: {.message}{end}`, kind)
	eventually(t, 30*time.Second, func() error {
		out, err := try("", "kubectl", "-n", ns, "get", "serviceprofile", profile, "-o", path)
		if err == nil && (!strings.HasPrefix(out, want+": ") || !strings.Contains(out, text)) {
			err = fmt.Errorf("%s of %s is %q, want %q with %q", kind, profile, out, want, text)
		}
		return err
	})
}

// Destination tells what has become of each profile, beside what other controllers say, and
// whichever of its replicas leads.
func TestStatusOfProfiles(t *testing.T) {
	install(t)
	ns := ownNamespace(t)
	full := "web." + ns + ".svc.cluster.local"
	feed(t, strings.ReplaceAll(judged, "NAMESPACE", ns), "kubectl", "-n", ns, "apply", "-f", "-")
	wantCondition(t, ns, full, "Accepted", "True Accepted", "in use")
	wantCondition(t, ns, full, "ResolvedRefs", "False BackendNotFound", "nobody")
	wantCondition(t, ns, "web", "Accepted", "False TargetNotFound", "full DNS name")

	const theirs = `{"status":{"conditions":[{"type":"Seen","status":"True","reason":"Theirs",` +
		`"message":"m","lastTransitionTime":"2026-01-01T00:00:00Z"}]}}`
	run(t, "kubectl", "-n", ns, "patch", "serviceprofile", full, "--subresource=status",
		"--type=merge", "-p", theirs)
	wantCondition(t, ns, full, "Accepted", "True Accepted", "in use") // the patch had removed it
	wantCondition(t, ns, full, "Seen", "True Theirs", "m")

	leader := func() string {
		return run(t, "kubectl", "-n", "tulle", "get", "lease", "tulle-destination",
			"-o", "jsonpath={.spec.holderIdentity}")
	}
	run(t, "kubectl", "-n", "tulle", "scale", "deployment/tulle-destination", "--replicas=2")
	t.Cleanup(func() {
		run(t, "kubectl", "-n", "tulle", "scale", "deployment/tulle-destination", "--replicas=1")
	})
	rolledOut(t, "tulle", "deployment/tulle-destination")
	first := leader()
	pod, _, _ := strings.Cut(first, "_")
	run(t, "kubectl", "-n", "tulle", "delete", "pod", pod, "--wait=false")
	eventually(t, 30*time.Second, func() error {
		if now := leader(); now == first || now == "" {
			return fmt.Errorf("%q leads, the first was %q", now, first)
		}
		return nil
	})
	run(t, "kubectl", "-n", ns, "delete", "service", "web")
	wantCondition(t, ns, full, "Accepted", "False TargetNotFound", "no service is called "+full)
}
