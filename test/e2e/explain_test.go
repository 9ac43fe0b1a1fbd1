//go:build e2e

package e2e

import (
	"archive/tar"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// explained is what 'meshctl explain' says, and its status.
func explained(t *testing.T, args ...string) (text string, err error) {
	t.Helper()
	return try("", "meshctl", append([]string{"explain"}, args...)...)
}

// What is explained is what happens: a way that goes through does, and one that is said to be
// refused is refused.
func TestExplainSaysWhatHappens(t *testing.T) {
	ready(t)
	text, err := explained(t, "-n", byHook, "deploy/client", "svc/server", "GET", "/orders")
	if err != nil || !strings.Contains(text, "It goes through.") ||
		!strings.Contains(text, "Service "+byHook+"/server, spec.ports") ||
		!strings.Contains(text, "/ns/"+byHook+"/sa/client") {
		t.Errorf("%v\n%s", err, text)
	}
	if a := call(t, byHook, "http://server."+byHook+"/orders"); a.Status != 200 {
		t.Errorf("%+v", a)
	}
	ns := ownNamespace(t)
	yaml := strings.Replace(run(t, "cat", "testdata/app.yaml"), "metadata: {labels: {app: server}}",
		`metadata: {labels: {app: server}, annotations: {tulle.dev/mode: strict}}`, 1)
	feed(t, yaml, "bash", "-o", "pipefail", "-c", "meshctl inject"+domainFlag()+
		" - | kubectl apply -n "+ns+" -f -")
	rolledOut(t, ns, "deployment/server")
	for _, c := range []struct {
		from, to, want string
		fails          bool
	}{
		{byHook, "server." + ns + ".svc:80", "takes callers of the mesh only", false},
		{without, "server." + ns + ".svc:80", "It does not go through: denied (403), at " +
			"authorization.", true},
		{byHook, "server." + ns + ".svc:81", "It does not go through: no_route (503)", true},
		{byHook, "nothing." + ns + ".svc:80", "It does not go through: no_route (503)", true},
	} {
		text, err := explained(t, "-n", c.from, "deploy/client", c.to)
		if (err != nil) != c.fails || !strings.Contains(text, c.want) {
			t.Errorf("%s to %s: %v\n%s\nwant %q", c.from, c.to, err, text, c.want)
		}
	}
	if a := call(t, without, "http://server."+ns+"/orders"); a.Status != 403 {
		t.Errorf("plaintext: %+v", a)
	}
}

// A proxy's log level is another one for a while, and then what it was.
func TestDebugLogLevelPasses(t *testing.T) {
	ready(t)
	said := run(t, "meshctl", "debug", "log-level", "-n", byHook, "deploy/client", "debug", "--for",
		"5s")
	if !strings.Contains(said, "debug for 5s, then info") {
		t.Errorf("%q", said)
	}
	pod := podOf(t, byHook, "app=client")
	eventually(t, time.Minute, func() error {
		logs := run(t, "kubectl", "-n", byHook, "logs", pod, "-c", "tulle-proxy")
		if !strings.Contains(logs, "log level falls back") {
			return errors.New("the level has not fallen back")
		}
		return nil
	})
}

// A dump has every proxy of a workload, whole, and viz knows what each holds.
func TestDumpAndWhatProxiesHold(t *testing.T) {
	ready(t)
	call(t, byHook, "http://server."+byHook+"/orders")
	file := filepath.Join(t.TempDir(), "dump.tar.gz")
	run(t, "meshctl", "debug", "dump", "-n", byHook, "deploy/client", "-o", file)
	files := unpacked(t, file)
	folder := byHook + "_" + podOf(t, byHook, "app=client") + "/"
	for _, name := range []string{"proxy.json", "config.json", "clusters.ndjson", "metrics.txt",
		"goroutines.txt", "trace.out", "ready.txt"} {
		if files[folder+name] == "" {
			t.Errorf("there is no %s", folder+name)
		}
	}
	if text, bad := files["errors.txt"]; bad {
		t.Errorf("errors: %s", text)
	}
	plane := filepath.Join(t.TempDir(), "plane.tar.gz")
	run(t, "meshctl", "debug", "dump", "--control-plane", "-o", plane)
	goroutines := 0
	for name, text := range unpacked(t, plane) {
		if strings.HasSuffix(name, "/goroutines.txt") && strings.Contains(text, "goroutine 1 ") {
			goroutines++
		}
		if name == "errors.txt" {
			t.Errorf("errors: %s", text)
		}
	}
	if goroutines < 2 {
		t.Errorf("the goroutines of %d servers are there", goroutines)
	}
	var self struct{ ConfigRevision string }
	if err := json.Unmarshal([]byte(files[folder+"proxy.json"]), &self); err != nil {
		t.Fatal(err)
	}
	eventually(t, time.Minute, func() error {
		rows := run(t, "meshctl", "viz", "proxies", "-n", byHook, "deploy/client")
		if !strings.Contains(rows, self.ConfigRevision) {
			return fmt.Errorf("the dump has revision %s, viz has\n%s", self.ConfigRevision, rows)
		}
		return nil
	})
	if text := run(t, "meshctl", "check", "-o", "json"); !strings.Contains(text,
		"every proxy's configuration is current") {
		t.Errorf("check says nothing of it:\n%s", text)
	}
}

func unpacked(t *testing.T, file string) map[string]string {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for r := tar.NewReader(z); ; {
		head, err := r.Next()
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		out[head.Name] = string(text)
	}
}
