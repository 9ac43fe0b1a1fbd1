package cli

import (
	"slices"
	"strings"
	"testing"
)

func TestInstallPrintsTheSameEveryTime(t *testing.T) {
	first, errOut, status := run(t, "", "install")
	if status != 0 || errOut != "" {
		t.Fatalf("status %d, %q", status, errOut)
	}
	if second, _, _ := run(t, "", "install"); second != first {
		t.Error("two runs differ")
	}
	crds, _, _ := run(t, "", "install", "--crds")
	const definition = "\nkind: CustomResourceDefinition\n"
	if !strings.HasPrefix(first, crds) || strings.Count(crds, definition) != 8 ||
		strings.Count(crds, "\nkind: ") != 8 {
		t.Error("--crds prints something else than the CRDs")
	}
	for _, want := range []string{
		"image: tulle/meshctl:v1", "--proxy-image=tulle/mesh-proxy:v1",
		"--trust-domain=cluster.local", "--cluster-domain=cluster.local",
	} {
		if !strings.Contains(first, want) {
			t.Errorf("no %q", want)
		}
	}
}

// What install writes into a Deployment is what serve understands.
func TestInstalledArgumentsParse(t *testing.T) {
	text, _, _ := run(t, "", "install", "--identity-lifetime=30s", "--trust-domain=example.org",
		"--tulle-namespace=mesh", "--cluster-domain=corp.test",
		"--proxy-cpu-request=20m", "--proxy-cpu-limit=1",
		"--proxy-memory-request=30Mi", "--proxy-memory-limit=200Mi",
		"--prometheus-namespace=monitoring", "--metrics-compat=linkerd,istio",
		"--metrics-push=http://otel:4318/v1/metrics",
		"--tracing-endpoint=otel.monitoring:4318", "--tracing-protocol=http",
		"--tracing-sampling=5%", "--tracing-keep-slower=2s")
	for _, want := range []string{"--metrics-listen=:9991", "--metrics-compat=linkerd,istio",
		"--metrics-push=http://otel:4318/v1/metrics", "--proxy-cpu-request=20m",
		"--proxy-cpu-limit=1",
		"--proxy-memory-request=30Mi", "--proxy-memory-limit=200Mi",
		"--tracing-endpoint=otel.monitoring:4318", "--tracing-protocol=http",
		"--tracing-sampling=5%", "--tracing-keep-slower=2s"} {
		if !strings.Contains(text, want) {
			t.Errorf("no server is told %s", want)
		}
	}
	n := 0
	for block := range strings.SplitSeq(text, "      - args:\n") {
		var args []string
		for line := range strings.SplitSeq(block, "\n") {
			arg, ok := strings.CutPrefix(line, "        - ")
			if !ok {
				break
			}
			args = append(args, arg)
		}
		if len(args) == 0 {
			continue
		}
		n++
		root := New("v1")
		cmd, rest, err := root.Find(args)
		if err != nil {
			t.Fatalf("%v: %v", args, err)
		}
		if err := cmd.ParseFlags(rest); err != nil || len(cmd.Flags().Args()) > 0 {
			t.Errorf("%v: %v, left over: %v", args, err, cmd.Flags().Args())
		}
		if got := cmd.Flags().Lookup("cluster-domain").Value.String(); got != "corp.test" {
			t.Errorf("%v: cluster domain %q", args, got)
		}
		if got := cmd.Flags().Lookup("trust-domain").Value.String(); got != "example.org" {
			t.Errorf("%v: trust domain %q", args, got)
		}
	}
	if n != 4 {
		t.Errorf("%d servers, want 4", n)
	}
}

func TestDeletionOrder(t *testing.T) {
	refs := []reference{
		newReference("v1", "Namespace", "", "tulle"),
		newReference("apiextensions.k8s.io/v1", "CustomResourceDefinition", "", "c"),
		newReference("v1", "ConfigMap", "shop", "tulle-trust"),
		newReference("apps/v1", "Deployment", "tulle", "d"),
		newReference("rbac", "ClusterRole", "", "r"),
		newReference("rbac", "ClusterRoleBinding", "", "b"),
		newReference("adm", "MutatingWebhookConfiguration", "", "w"),
	}
	var got []string
	for _, r := range deletionOrder(refs) {
		got = append(got, r.Kind)
	}
	want := []string{"MutatingWebhookConfiguration", "ClusterRoleBinding", "ClusterRole",
		"Deployment", "ConfigMap", "Namespace", "CustomResourceDefinition"}
	if !slices.Equal(got, want) {
		t.Errorf("order %v, want %v", got, want)
	}
}
