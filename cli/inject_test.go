package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const webDeployment = `apiVersion: apps/v1
kind: Deployment
metadata:
  name: web   # the front
spec:
  template:
    spec:
      containers:
      - name: web
        image: shop/web:1
`

func write(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func TestInjectStandardInput(t *testing.T) {
	out, errOut, status := run(t, webDeployment, "inject", "-")
	if status != 0 || errOut != "deployment \"web\" injected\n" {
		t.Fatalf("status %d, standard error %q", status, errOut)
	}
	for _, want := range []string{
		"name: web   # the front\n", "image: tulle/mesh-proxy:v1\n",
		"spiffe://cluster.local/ns/$(POD_NAMESPACE)/sa/$(POD_SERVICE_ACCOUNT)",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("output lacks %q:\n%s", want, out)
		}
	}
	back, errOut, status := run(t, out, "uninject", "-")
	if back != webDeployment || status != 0 || errOut != "deployment \"web\" uninjected\n" {
		t.Errorf("uninject: status %d, %q, output %q", status, errOut, back)
	}
}

func TestInjectFlagsReachThePods(t *testing.T) {
	out, _, status := run(t, webDeployment, "inject", "-", "--trust-domain=example.org",
		"--image-registry=r.example/t", "--image-tag=7", "--cluster-networks=10.1.0.0/16",
		"--proxy-log-level=debug", "--image-pull-policy=Never", "--tulle-namespace=mesh",
		"--cluster-domain=corp.test", "--proxy-cpu-limit=1500m", "--proxy-memory-limit=200Mi")
	for _, want := range []string{
		"image: r.example/t/mesh-proxy:7", "spiffe://example.org/ns/mesh/sa/tulle-identity",
		"audience: identity.tulle.dev/example.org", `"10.1.0.0/16"`, "value: debug",
		"imagePullPolicy: Never", "tulle-viz-replicas.mesh.svc.corp.test.:8084",
		`cpu: "1500m"`, `memory: "200Mi"`, `value: "160MiB"`,
	} {
		if status != 0 || !strings.Contains(out, want) {
			t.Errorf("status %d, output lacks %q:\n%s", status, want, out)
		}
	}
}

// Where what is unknown is denied, a proxy connects to nothing that destination has not answered
// for.
func TestAProxyAsksAboutTheNetworksThatItIsTold(t *testing.T) {
	for flag, want := range map[string]string{
		"--outbound-policy=allow":           `"10.0.0.0/8,172.16.0.0/12,192.168.0.0/16,`,
		"--outbound-policy=deny":            `"0.0.0.0/0,::/0"`,
		"--cluster-networks=203.0.113.0/24": `"203.0.113.0/24"`,
	} {
		out, _, status := run(t, webDeployment, "inject", "-", flag)
		if status != 0 || !strings.Contains(out, want) {
			t.Errorf("%s: status %d, output lacks %s:\n%s", flag, status, want, out)
		}
	}
}

func TestInjectFolders(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, map[string]string{
		"a.yaml":     webDeployment,
		"b.yml":      strings.TrimSuffix(strings.ReplaceAll(webDeployment, "web", "api"), "\n"),
		"sub/c.json": `{"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"}}`,
		"README.md":  "# no manifest\n",
		"sub/d.yaml": "---\n# a comment only\n",
	})
	out, errOut, status := run(t, "", "inject", dir)
	want := "deployment \"web\" injected\ndeployment \"api\" injected\n" +
		"service \"web\" skipped: not a workload\n"
	if status != 0 || errOut != want {
		t.Fatalf("status %d, standard error:\n%s", status, errOut)
	}
	if strings.Contains(out, "no manifest") || strings.Count(out, "\n---\n") != 3 {
		t.Errorf("output:\n%s", out)
	}
	back, _, _ := run(t, out, "uninject", "-")
	plain, _, _ := run(t, "", "uninject", dir)
	if back != plain {
		t.Errorf("uninject(inject(folder)) is\n%s\nwant\n%s", back, plain)
	}
	if _, errOut, status := run(t, "", "inject", t.TempDir()); status != 1 ||
		!strings.Contains(errOut, "no .yaml") {
		t.Errorf("an empty folder: status %d, %q", status, errOut)
	}
}

// Half an output, piped into kubectl, would be half a deployment.
func TestInjectPrintsAllOrNothing(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, map[string]string{
		"a.yaml": webDeployment, "b.yaml": "kind: [\n", "c.yaml": "a:\n\tb: c\n",
	})
	out, errOut, status := run(t, "", "inject", dir)
	if out != "" || status != 1 {
		t.Errorf("status %d, output %q", status, out)
	}
	for _, want := range []string{
		filepath.Join(dir, "b.yaml") + ":", filepath.Join(dir, "c.yaml") + ":2:",
	} {
		if !strings.Contains(errOut, want) {
			t.Errorf("standard error %q does not name %q", errOut, want)
		}
	}
}
