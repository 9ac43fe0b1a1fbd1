//go:build e2e

package e2e

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tulle-mesh/tulle/identity/names"
)

// Where the applications live.
const (
	byCLI   = "e2e-cli"   // injected by `meshctl inject`
	byHook  = "e2e-hook"  // injected by the webhook
	without = "e2e-plain" // unmeshed
)

var (
	binaries = flag.String("bin", "../../bin", "where meshctl is")
	keep     = flag.Bool("keep", false,
		"leave the installation and the applications when the tests end")
	domain = flag.String("domain", names.ClusterDomain,
		"what the names of the cluster's Services end in; most tests know the default only")
)

func TestMain(m *testing.M) {
	flag.Parse()
	dir, err := filepath.Abs(*binaries)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	if err := os.Setenv("PATH", dir+":"+os.Getenv("PATH")); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// setup is done once, by the first test that needs the mesh.
var setup struct {
	once sync.Once
	done bool
}

// ready installs the mesh and the applications, unless they are there.
func ready(t *testing.T) {
	t.Helper()
	setup.once.Do(func() {
		before := install(t)
		deployApps(t)
		if before { // the webhook injects what is new only
			run(t, "kubectl", "-n", byHook, "rollout", "restart", "deployment,statefulset")
			appsRolledOut(t)
		}
		setup.done = true
	})
	if !setup.done {
		t.Fatal("the mesh or its applications could not be set up: see the first failed test")
	}
}

func deployApps(t *testing.T) {
	t.Helper()
	for _, ns := range []string{byCLI, byHook, without} {
		newNamespace(t, ns)
	}
	run(t, "kubectl", "label", "--overwrite", "namespace", byHook, "tulle.dev/inject=enabled")
	shell(t, "meshctl inject"+domainFlag()+" testdata/app.yaml | kubectl apply -n "+byCLI+" -f -")
	for _, ns := range []string{byHook, without} {
		run(t, "kubectl", "apply", "-n", ns, "-f", "testdata/app.yaml")
	}
	appsRolledOut(t)
}

// domainFlag is what a cluster of another domain wants of install and inject.
func domainFlag() string {
	if *domain == names.ClusterDomain {
		return ""
	}
	return " --cluster-domain=" + *domain
}

func appsRolledOut(t *testing.T) {
	t.Helper()
	for _, ns := range []string{byCLI, byHook, without} {
		rolledOut(t, ns, "deployment/server", "deployment/client", "deployment/redis",
			"statefulset/member")
	}
}

func newNamespace(t *testing.T, ns string) {
	t.Helper()
	shell(t, "kubectl create namespace "+ns+" --dry-run=client -o yaml | kubectl apply -f -")
}

// ownNamespace lives as long as the test.
func ownNamespace(t *testing.T) string {
	t.Helper()
	name := strings.NewReplacer("/", "-", "_", "-").Replace(strings.TrimPrefix(t.Name(), "Test"))
	ns := "e2e-" + strings.ToLower(name)
	newNamespace(t, ns)
	t.Cleanup(func() {
		if !*keep || !t.Failed() {
			run(t, "kubectl", "delete", "namespace", ns, "--wait=false")
		}
	})
	return ns
}

func rolledOut(t *testing.T, ns string, names ...string) {
	t.Helper()
	for _, name := range names {
		out, err := try("", "kubectl", "-n", ns, "rollout", "status", name, "--timeout=240s")
		if err != nil {
			pods, _ := try("", "kubectl", "-n", ns, "get", "pods,events")
			t.Fatalf("%s: %v\n%s\n%s", name, err, out, pods)
		}
	}
}

// try runs a command and gives what it printed, both streams for an error.
func try(stdin, name string, args ...string) (string, error) {
	var out, errs bytes.Buffer
	cmd := exec.Command(name, args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &out, &errs
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("%s %s: %w\n%s%s", name, strings.Join(args, " "), err,
			out.String(), errs.String())
	}
	return out.String(), nil
}

func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	return feed(t, "", name, args...)
}

// feed runs a command with something to read.
func feed(t *testing.T, stdin, name string, args ...string) string {
	t.Helper()
	out, err := try(stdin, name, args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// shell runs what a user would type, pipes and all.
func shell(t *testing.T, line string) string {
	t.Helper()
	return run(t, "bash", "-o", "pipefail", "-c", line)
}

// eventually asks until it is so.
func eventually(t *testing.T, within time.Duration, so func() error) {
	t.Helper()
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	end := time.Now().Add(within)
	for {
		err := so()
		if err == nil {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("not within %s: %v", within, err)
		}
		<-tick.C
	}
}

// app runs a client of the test application in a pod, in its container app, and reads what it
// printed.
func app[T any](t *testing.T, ns, pod string, args ...string) T {
	t.Helper()
	found, err := tryApp[T](ns, pod, args...)
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func tryApp[T any](ns, pod string, args ...string) (found T, err error) {
	command := append([]string{"-n", ns, "exec", pod, "-c", "app", "--", "/app"}, args...)
	out, err := try("", "kubectl", command...)
	if err == nil && out == "" {
		// The application always says something. What a command says that ends at once is
		// sometimes lost on its way through the container's runtime.
		out, err = try("", "kubectl", command...)
	}
	if err != nil {
		return found, err
	}
	if err := json.Unmarshal([]byte(out), &found); err != nil {
		return found, errors.Join(err, errors.New(out))
	}
	return found, nil
}

// answer is what `app call` prints.
type answer struct {
	Status  int
	Proto   string
	Headers map[string][]string
	Body    string
	Echo    struct {
		Pod, Method, Path, Proto, Host, Remote, Body string

		Headers map[string][]string
	}
	Error   string
	Seconds float64
}

// header is the first of its name, "" for none.
func (a answer) header(name string) string { return first(a.Headers[name]) }

// succeeded is nil for a whole answer of status 200.
func (a answer) succeeded() error {
	if a.Status != 200 || a.Error != "" {
		return fmt.Errorf("%+v", a)
	}
	return nil
}

// sent is a header as the application saw it.
func (a answer) sent(name string) string { return first(a.Echo.Headers[name]) }

func first(all []string) string {
	if len(all) == 0 {
		return ""
	}
	return all[0]
}

// call makes one request from a namespace's client.
func call(t *testing.T, ns, url string, flags ...string) answer {
	t.Helper()
	return app[[]answer](t, ns, "deploy/client",
		append(append([]string{"call"}, flags...), url)...)[0]
}

// podOf is the first pod with a label, by name.
func podOf(t *testing.T, ns, label string) string {
	t.Helper()
	return run(t, "kubectl", "-n", ns, "get", "pods", "-l", label,
		"--field-selector=status.phase=Running", "-o", "jsonpath={.items[0].metadata.name}")
}

func ipOf(t *testing.T, ns, pod string) string {
	t.Helper()
	return run(t, "kubectl", "-n", ns, "get", "pod", pod, "-o", "jsonpath={.status.podIP}")
}
