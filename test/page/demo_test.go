package page

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// programs are where make has put them.
const programs = "../../bin"

// process is one that the test started, and what it has printed.
type process struct {
	cmd *exec.Cmd
	out lockedBuffer
}

// begin starts a program of ours in a folder, until the test ends.
func begin(t *testing.T, dir, name string, args ...string) *process {
	t.Helper()
	path, err := filepath.Abs(filepath.Join(programs, name))
	if err != nil {
		t.Fatal(err)
	}
	p := &process{cmd: exec.Command(path, args...)}
	p.cmd.Dir, p.cmd.Stdout, p.cmd.Stderr = dir, &p.out, &p.out
	p.cmd.Env = append(os.Environ(), "PATH="+filepath.Dir(path)+":"+os.Getenv("PATH"))
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := p.cmd.Start(); err != nil {
		t.Fatalf("%v: 'make build' and the rest of 'make page' come first", err)
	}
	t.Cleanup(func() {
		p.cmd.Process.Signal(syscall.SIGTERM)
		kill := time.AfterFunc(30*time.Second, func() { p.cmd.Process.Kill() })
		p.cmd.Wait()
		kill.Stop()
	})
	return p
}

// says waits until a line with some text is printed, and gives it.
func (p *process) says(t *testing.T, text string, most time.Duration) string {
	t.Helper()
	for end := time.Now().Add(most); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		for line := range strings.Lines(p.out.String()) {
			if strings.Contains(line, text) {
				return strings.TrimSpace(line)
			}
		}
	}
	t.Fatalf("%s did not say %q within %s:\n%s", p.cmd.Path, text, most, p.out.String())
	return ""
}

// demo is the running demo, in a folder of its own.
type demo struct {
	dir   string
	load  string // the load generator's address
	ports struct {
		VizQuery  string
		Instances []struct{ Service, App string }
	}
	address string // of the page, for one browser
}

func startDemo(t *testing.T) *demo {
	t.Helper()
	d := &demo{dir: t.TempDir()}
	if err := os.CopyFS(d.dir, os.DirFS("../demo")); err != nil {
		t.Fatal(err)
	}
	up := begin(t, d.dir, "meshctl", "dev", "up")
	d.address = up.says(t, "/?token=", 3*time.Minute)
	text, err := os.ReadFile(filepath.Join(d.dir, ".mesh", "ports.json"))
	if err == nil {
		err = json.Unmarshal(text, &d.ports)
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range d.ports.Instances {
		if i.Service == "load" {
			d.load = "http://" + i.App
		}
	}
	return d
}

// meshctl runs a command in the demo's folder, and gives what it prints.
func (d *demo) meshctl(t *testing.T, args ...string) string {
	t.Helper()
	path, err := filepath.Abs(filepath.Join(programs, "meshctl"))
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), path, args...)
	cmd.Dir = d.dir
	var complaint bytes.Buffer
	cmd.Stderr = &complaint
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("meshctl %s: %v: %s", strings.Join(args, " "), err, complaint.String())
	}
	return strings.TrimSpace(string(out))
}

// counted is what the load generator has sent.
type counted struct {
	Requests int
	OK       int
}

func (d *demo) counts(ctx context.Context) (c counted, err error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, d.load+"/counts", nil)
	if err != nil {
		return c, err
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return c, fmt.Errorf("ask the load generator: %w", err)
	}
	defer answer.Body.Close()
	return c, json.NewDecoder(answer.Body).Decode(&c)
}
