package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/tulle-mesh/tulle/cli/dev"
	"github.com/tulle-mesh/tulle/test/demo/app"
	"github.com/tulle-mesh/tulle/test/demo/load"
	"github.com/tulle-mesh/tulle/test/output"
)

const (
	// upWithin is the promise of `make demo`: live figures within a minute of the build's end.
	upWithin = 60 * time.Second
	// downWithin is how long a Ctrl-C may take.
	downWithin = 30 * time.Second
	// settleWithin is how long figures may take to arrive: proxies report each second.
	settleWithin = 20 * time.Second
	poll         = 100 * time.Millisecond
)

// demo is the running demo.
type demo struct {
	bin, dir string
	mark     string // in the environment of everything that it starts
	cmd      *exec.Cmd
	out      output.Buffer
	exited   chan error
	ports    *dev.Ports
	load     load.Client
	verbose  bool

	current  string // check
	failures int
}

func (d *demo) ok(format string, args ...any) {
	fmt.Printf("ok   %s: %s\n", d.current, fmt.Sprintf(format, args...))
}

func (d *demo) fail(format string, args ...any) {
	d.failures++
	fmt.Printf("FAIL %s: %s\n", d.current, fmt.Sprintf(format, args...))
}

// expect reports a fact as one that holds or one that does not.
func (d *demo) expect(holds bool, format string, args ...any) {
	if holds {
		d.ok(format, args...)
	} else {
		d.fail(format, args...)
	}
}

// start runs a copy of the demo, which may be edited, without its background load: every request
// shall be ours.
func start(ctx context.Context, bin, source string) (*demo, error) {
	dir, err := os.MkdirTemp("", "tulle-demo-")
	if err != nil {
		return nil, err
	}
	var mark [8]byte
	rand.Read(mark[:]) // never fails: crypto/rand ends the process instead
	d := &demo{bin: bin, dir: dir, mark: "DEMO_CHECK=" + hex.EncodeToString(mark[:]),
		exited: make(chan error, 1), verbose: os.Getenv("DEMO_CHECK_VERBOSE") != ""}
	if err := os.CopyFS(dir, os.DirFS(source)); err != nil {
		return nil, errors.Join(fmt.Errorf("copy the demo: %w", err), os.RemoveAll(dir))
	}
	d.cmd = d.meshctl(context.WithoutCancel(ctx), "dev", "up", "--record="+app.Marker)
	d.cmd.Stdout, d.cmd.Stderr = &d.out, &d.out
	// In a group of its own: a Ctrl-C meant for us must not end it before we have looked.
	d.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	begin := time.Now()
	if err := d.cmd.Start(); err != nil {
		return nil, errors.Join(fmt.Errorf("start the demo: %w", err), os.RemoveAll(dir))
	}
	go func() { d.exited <- d.cmd.Wait() }()
	if err := d.waitUp(ctx); err != nil {
		return nil, errors.Join(err, d.cleanup())
	}
	d.current = "start"
	d.ok("the demo is up after %s", time.Since(begin).Round(time.Millisecond))
	return d, nil
}

func (d *demo) meshctl(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, filepath.Join(d.bin, "meshctl"), args...)
	cmd.Dir = d.dir
	cmd.Env = append(os.Environ(), "LOAD_RPS=0", d.mark)
	return cmd
}

func (d *demo) waitUp(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, upWithin)
	defer cancel()
	for !strings.Contains(d.out.String(), "The mesh is up") {
		select {
		case err := <-d.exited:
			d.exited <- err
			return fmt.Errorf("the demo ended before it was up (%v):\n%s", err, d.out.String())
		case <-ctx.Done():
			return fmt.Errorf("the demo is not up after %s:\n%s", upWithin, d.out.String())
		case <-time.After(poll):
		}
	}
	ports, err := dev.ReadPorts(filepath.Join(d.dir, dev.DefaultDir))
	if err != nil {
		return err
	}
	d.ports = ports
	for _, i := range ports.Instances {
		if i.Service == "load" {
			d.load = load.Client{URL: "http://" + i.App}
		}
	}
	return nil
}

// A second Up in the same folder: refused, and the first is none the worse for it.
func checkSecond(ctx context.Context, d *demo) error {
	out, err := d.meshctl(ctx, "dev", "up").CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		d.fail("a second 'dev up' in the folder: %v\n%s", err, out)
		return nil
	}
	d.expect(exit.ExitCode() == 1 && strings.Contains(string(out), "meshctl dev down"),
		"a second 'dev up' in the folder is refused: %s", bytes.TrimSpace(out))
	return nil
}

// eventually asks until the answer satisfies, or settleWithin has passed; the last answer is what
// counts.
func eventually[T any](
	ctx context.Context, ask func() (T, error), satisfies func(T) bool,
) (T, error) {
	deadline := time.Now().Add(settleWithin)
	for {
		v, err := ask()
		if (err == nil && satisfies(v)) || time.Now().After(deadline) {
			return v, err
		}
		select {
		case <-ctx.Done():
			return v, ctx.Err()
		case <-time.After(poll):
		}
	}
}

// seen is how many requests for a path reached a service's or a variant's processes, as these
// count.
func (d *demo) seen(ctx context.Context, service, path string) (int, error) {
	total := 0
	for _, i := range d.ports.Instances {
		if i.Service != service && i.Workload != service {
			continue
		}
		counts := map[string]int{}
		if err := getJSON(ctx, "http://"+i.App+app.SeenPath, &counts); err != nil {
			return 0, fmt.Errorf("ask %s what it has seen: %w", i.Name, err)
		}
		total += counts[path]
	}
	return total, nil
}

func getJSON(ctx context.Context, url string, v any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return err
	}
	return json.Unmarshal(text, v)
}

// cleanup is for a check that broke off; otherwise checkEnd has ended the demo.
func (d *demo) cleanup() error {
	select {
	case err := <-d.exited:
		d.exited <- err
	default:
		d.cmd.Process.Signal(syscall.SIGTERM)
		select {
		case err := <-d.exited:
			d.exited <- err
		case <-time.After(downWithin):
			d.cmd.Process.Kill()
		}
	}
	return os.RemoveAll(d.dir)
}

// A Ctrl-C leaves nothing behind.
func checkEnd(ctx context.Context, d *demo) error {
	begin := time.Now()
	if err := d.cmd.Process.Signal(syscall.SIGINT); err != nil {
		return fmt.Errorf("interrupt the demo: %w", err)
	}
	select {
	case err := <-d.exited:
		d.exited <- err
		d.expect(err == nil, "after Ctrl-C it ends in %s (%v)",
			time.Since(begin).Round(time.Millisecond), err)
	case <-time.After(downWithin):
		d.fail("it does not end within %s of a Ctrl-C:\n%s", downWithin, d.out.String())
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
	_, err := os.Stat(filepath.Join(d.dir, dev.DefaultDir))
	d.expect(errors.Is(err, os.ErrNotExist), "the state folder is gone")
	left, err := d.processes()
	if err != nil {
		return err
	}
	d.expect(len(left) == 0, "no process is left: %q", left)
	reports := strings.Count(d.out.String(), "The end of its log")
	d.expect(reports == 0, "no process ended by itself meanwhile")
	out, err := d.meshctl(ctx, "dev", "down").CombinedOutput()
	d.expect(err == nil, "'dev down' with nothing to end: %s", bytes.TrimSpace(out))
	return nil
}

// processes lists everything that was started with our mark in its environment.
func (d *demo) processes() ([]string, error) {
	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return nil, err
	}
	var left []string
	for _, dir := range dirs {
		env, err := os.ReadFile(dir + "/environ")
		if err != nil || !bytes.Contains(env, []byte(d.mark)) {
			continue
		}
		cmd, err := os.ReadFile(dir + "/cmdline")
		if err == nil {
			left = append(left, string(bytes.ReplaceAll(cmd, []byte{0}, []byte(" "))))
		}
	}
	return left, nil
}
