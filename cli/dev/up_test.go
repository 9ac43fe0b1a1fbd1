package dev

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tulle-mesh/tulle/test/await"
	"github.com/tulle-mesh/tulle/test/output"
	"github.com/tulle-mesh/tulle/viz"
)

// serveForever is a service's process: it answers with its own name, and exits when it is asked to.
func serveForever() {
	http.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		if url := os.Getenv("BACK_URL"); url != "" {
			resp, err := http.Get(url)
			if err != nil {
				http.Error(w, err.Error(), http.StatusBadGateway)
				return
			}
			defer resp.Body.Close()
			io.Copy(w, resp.Body)
			return
		}
		fmt.Fprintf(w, "%s of %d", os.Getenv("SAYS"), os.Getpid())
	})
	var sick atomic.Bool
	http.HandleFunc("/live", func(w http.ResponseWriter, _ *http.Request) {
		if sick.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	})
	http.HandleFunc("/sick", func(_ http.ResponseWriter, r *http.Request) {
		sick.Store(r.FormValue("is") == "true")
	})
	http.HandleFunc("/crash", func(http.ResponseWriter, *http.Request) {
		fmt.Println("somebody wanted me to crash")
		os.Exit(9)
	})
	fmt.Println(http.ListenAndServe("127.0.0.1:"+os.Args[1], nil))
	os.Exit(1)
}

// buildTimeout is for a build without a cache on a machine with more to do than this.
const buildTimeout = 5 * time.Minute

// buildProxy makes the real one; its version is the one it has without a linker's.
var buildProxy = sync.OnceValues(func() (string, error) {
	path := filepath.Join(os.Getenv("DEV_TEST_BIN"), "mesh-proxy")
	ctx, cancel := context.WithTimeout(context.Background(), buildTimeout)
	defer cancel()
	build := exec.CommandContext(ctx, "go", "build", "-o", path,
		"github.com/tulle-mesh/tulle/proxy/mesh-proxy")
	build.WaitDelay = time.Second // what the go command started may hold its output open
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build mesh-proxy: %w\n%s", err, out)
	}
	return path, nil
})

// running is an Up in this process.
type running struct {
	dir    string
	out    output.Buffer
	cancel context.CancelFunc
	ended  chan error
}

func startUp(t *testing.T, mesh string) *running {
	t.Helper()
	proxy, err := buildProxy()
	if err != nil {
		t.Fatal(err)
	}
	folder := t.TempDir()
	file := filepath.Join(folder, "mesh.yaml")
	text := strings.ReplaceAll(mesh, "SELF", os.Args[0])
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	r := &running{dir: filepath.Join(folder, ".mesh"), ended: make(chan error, 1)}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	r.cancel = cancel
	t.Cleanup(cancel)
	o := Options{File: file, Dir: r.dir, Proxy: proxy, Version: "dev", Marker: DefaultMarker,
		Out: &r.out, Err: &r.out}
	go func() { r.ended <- Up(ctx, o) }()
	return r
}

// says waits until Up has said something.
func (r *running) says(t *testing.T, what string) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !strings.Contains(r.out.String(), what); {
		select {
		case err := <-r.ended:
			t.Fatalf("Up ended before it said %q: %v\n%s", what, err, r.out.String())
		case <-time.After(10 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			t.Fatalf("Up does not say %q:\n%s", what, r.out.String())
		}
	}
}

// gone waits for Up's end and finds nothing left of it.
func (r *running) gone(t *testing.T) error {
	t.Helper()
	err := await.Receive(t, "the end of Up", r.ended)
	if _, statErr := os.Stat(r.dir); !os.IsNotExist(statErr) {
		t.Errorf("the state folder is still there: %v", statErr)
	}
	return err
}

const twoServices = `
services:
  front:
    command: [SELF, $PORT]
    env: {DEV_TEST_ROLE: serve}
    calls: [back]
  back:
    command: [SELF, "${PORT}"]
    env: {DEV_TEST_ROLE: serve, SAYS: hello}
`

// A mesh of two: the call goes through both proxies, check finds it encrypted, a restarted process
// is found again, a crash is reported, and Ctrl-C leaves nothing.
func TestUp(t *testing.T) {
	r := startUp(t, twoServices)
	r.says(t, "The mesh is up")
	ports, err := ReadPorts(r.dir)
	if err != nil {
		t.Fatal(err)
	}
	front, back := &ports.Instances[0], &ports.Instances[1]
	if !reachable(t, front.App) { // nobody calls it, so Up did not wait
		t.Fatalf("front does not listen:\n%s", r.out.String())
	}
	first := greeting(t, front.App, "")
	findings, err := Check(t.Context(), r.dir, 20*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range findings {
		if !f.OK {
			t.Errorf("finding: %s", f.Text)
		}
	}
	if len(findings) != 3 { // the proxies, the edge, and what the relay read
		t.Errorf("%d findings: %v", len(findings), findings)
	}
	if err := Restart(t.Context(), r.dir, back.Name); err != nil {
		t.Fatal(err)
	}
	greeting(t, front.App, first)
	if err := Restart(t.Context(), r.dir, "nobody"); err == nil ||
		!strings.Contains(err.Error(), `nothing here is called "nobody"`) {
		t.Errorf("restart of nobody: %v", err)
	}
	if strings.Contains(r.out.String(), "The end of its log") {
		t.Errorf("a restart is reported as a crash:\n%s", r.out.String())
	}
	client.Get("http://" + back.App + "/crash")
	r.says(t, "back-0 ended with status 9. The end of its log")
	r.says(t, "    somebody wanted me to crash")
	r.cancel()
	if err := r.gone(t); err != nil {
		t.Errorf("Up: %v", err)
	}
}

// A service that does not pass on the headers of traces is named: its own calls are traces of their
// own, though it made them for requests that are traced.
func TestAServiceThatLosesTracesIsNamed(t *testing.T) {
	r := startUp(t, "tracing: {}"+twoServices)
	r.says(t, "The mesh is up")
	ports, err := ReadPorts(r.dir)
	if err != nil {
		t.Fatal(err)
	}
	front := &ports.Instances[0]
	if !reachable(t, front.App) {
		t.Fatal("the application does not listen")
	}
	greeting(t, front.App, "")
	named := func() bool {
		for range viz.LeastCalls {
			getText(t, "http://"+front.Mesh)
		}
		findings, err := Check(t.Context(), r.dir, 0)
		if err != nil {
			t.Fatal(err)
		}
		return slices.ContainsFunc(findings, func(f Finding) bool {
			return f.OK && f.Warning && strings.HasPrefix(f.Text, "default/front: ")
		})
	}
	await.True(t, "check names front", named)
	r.cancel()
	if err := r.gone(t); err != nil {
		t.Errorf("Up: %v", err)
	}
}

// A Ctrl-C while it starts is no error, and leaves nothing either.
func TestUpInterrupted(t *testing.T) {
	for _, moment := range []string{"control plane", "proxies: ", "services: "} {
		r := startUp(t, twoServices)
		r.says(t, moment)
		r.cancel()
		if err := r.gone(t); err != nil {
			t.Errorf("interrupted after %q: %v", moment, err)
		}
	}
}

// client waits for no answer for ever: what listens at an address may be another's process.
var client = http.Client{Timeout: await.Limit}

// reachable says whether something listens at an address before long.
func reachable(t *testing.T, addr string) bool {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), await.Limit)
	defer cancel()
	return listens(ctx, addr, nil)
}

// greeting is what an instance passes on from the one behind it, once that is another than the last
// one: a machine with more to do may take longer for a handshake than a proxy waits.
func greeting(t *testing.T, addr, last string) string {
	t.Helper()
	text := ""
	for deadline := time.Now().Add(await.Limit); time.Now().Before(deadline); pause() {
		if text = getText(t, "http://"+addr); strings.HasPrefix(text, "hello of ") && text != last {
			return text
		}
	}
	t.Fatalf("%s answers %q, and before %q", addr, text, last)
	return ""
}

func getText(t *testing.T, url string) string {
	t.Helper()
	resp, err := client.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// What cannot start is an error with the reason, and nothing stays.
func TestUpFails(t *testing.T) {
	cases := []struct{ name, mesh, want string }{
		{"a service ends at once",
			`services: {a: {command: [sh, -c, "echo no database >&2; exit 4"]}, ` +
				`b: {command: [sh, -c, "sleep 100"], calls: [a]}}`,
			"a-0 ended with status 4 before it listened. The end of its log:\n    no database"},
		{"no such program", `services: {a: {command: [./nothing-here]}}`, "start a-0: "},
		{"not in PATH", `services: {a: {command: [nothing-is-called-so]}}`,
			"nothing-is-called-so is neither beside meshctl nor in PATH"},
		{"a bad mesh", `services: {a: {}}`, "mesh.yaml:1: service a: needs a command"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			r := startUp(t, c.mesh)
			if err := r.gone(t); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("Up: %v\nwant %q", err, c.want)
			}
		})
	}
}

func TestFindProxy(t *testing.T) {
	path := filepath.Join(t.TempDir(), "mesh-proxy")
	if err := os.WriteFile(path, []byte("#!/bin/sh\necho v1.2.3\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	if got, err := findProxy(t.Context(), path, "v1.2.3"); err != nil || got != path {
		t.Errorf("findProxy: %q, %v", got, err)
	}
	if _, err := findProxy(t.Context(), path, "v1.2.4"); err == nil ||
		!strings.Contains(err.Error(), `has version "v1.2.3" and this meshctl "v1.2.4"`) {
		t.Errorf("another version: %v", err)
	}
	if _, err := findProxy(t.Context(), path+"-not", "v1"); err == nil {
		t.Error("a proxy that is not there is found")
	}
	t.Setenv("PATH", filepath.Dir(path))
	if got, err := findProxy(t.Context(), "", "v1.2.3"); err != nil || got != path {
		t.Errorf("in PATH: %q, %v", got, err)
	}
	t.Setenv("PATH", t.TempDir())
	if _, err := findProxy(t.Context(), "", "v1"); err == nil ||
		!strings.Contains(err.Error(), "make build") {
		t.Errorf("nowhere: %v", err)
	}
}

// Down ends an Up of another process, again and again.
func TestDown(t *testing.T) {
	dir := filepath.Join(t.TempDir(), ".mesh")
	if said, err := Down(t.Context(), dir); err != nil || said != "no mesh runs here" {
		t.Errorf("Down of nothing: %q, %v", said, err)
	}
	other := superviseElsewhere(t, dir)
	said, err := Down(t.Context(), dir)
	if err != nil || said != "the mesh is down" {
		t.Errorf("Down: %q, %v", said, err)
	}
	await.Receive(t, "the end of the supervisor that Down ended", other.ended)
	if pids, _ := marked(other.id); len(pids) > 0 {
		t.Errorf("left behind: %v", pids)
	}
	os.Remove(filepath.Join(dir, "log"))
	os.Remove(dir)
	if said, err := Down(t.Context(), dir); err != nil || said != "no mesh runs here" {
		t.Errorf("Down once more: %q, %v", said, err)
	}
}

// Without a mesh every other verb says how to start one.
func TestNobodyToAsk(t *testing.T) {
	dir := filepath.Join(t.TempDir(), ".mesh")
	_, checkErr := Check(t.Context(), dir, 0)
	_, _, statusErr := ReadStatus(t.Context(), dir)
	_, recordsErr := Records(t.Context(), dir)
	for what, err := range map[string]error{
		"check": checkErr, "status": statusErr, "records": recordsErr,
		"restart": Restart(t.Context(), dir, "viz"),
	} {
		if err == nil || !strings.Contains(err.Error(), "meshctl dev up") {
			t.Errorf("%s: %v", what, err)
		}
	}
}
