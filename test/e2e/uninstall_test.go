//go:build e2e

package e2e

import (
	"slices"
	"strings"
	"testing"
	"time"
)

// TestUninstall must be the last, and its file's name sees to that.
func TestUninstall(t *testing.T) {
	ready(t)
	if *keep {
		t.Log("-keep: the mesh stays")
		return
	}
	for line := range strings.Lines(run(t, "kubectl", "get", "namespaces", "-o", "name")) {
		if ns := strings.TrimSpace(line); strings.HasPrefix(ns, "namespace/e2e-") {
			run(t, "kubectl", "delete", ns, "--ignore-not-found", "--timeout=3m")
		}
	}
	shell(t, "meshctl uninstall | kubectl delete --timeout=3m -f -")
	eventually(t, time.Minute, func() error {
		_, err := try("", "meshctl", "check", "--pre")
		return err
	})
	kinds := strings.Fields(run(t, "kubectl", "api-resources", "--verbs=list", "-o", "name"))
	// they tell of the past
	kinds = slices.DeleteFunc(kinds, func(k string) bool { return strings.HasPrefix(k, "events") })
	left := run(t, "kubectl", "get", strings.Join(kinds, ","), "-A", "-o", "name",
		"--ignore-not-found")
	for line := range strings.Lines(left) {
		if strings.Contains(line, "tulle") {
			t.Errorf("left behind: %s", line)
		}
	}
}
