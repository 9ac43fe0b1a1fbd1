//go:build pairings

package proxy_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tulle-mesh/tulle/proxy/config"
	"github.com/tulle-mesh/tulle/test/loopback"
)

const (
	hugeBody = 1 << 30
	// grownAtMost is how much larger than idle a proxy may be while two such bodies go through it
	// both ways. Measured: 5 to 9 MiB. The collector does not begin before a heap of 16 MiB, which
	// is 4 MiB times the proxy's GOGC, and an idle proxy has some of it.
	grownAtMost = 16 << 20
	openFor     = 3 * time.Minute
)

// processes are two real proxies, and a backend beyond both.
func processes(t *testing.T) (url string, pids []int, seen *calls) {
	t.Helper()
	seen = &calls{}
	out, _, pids := processesBefore(t, app(t, seen))
	return "http://" + out, pids, seen
}

// processesBefore are two real proxies before an application: out leads through both, and in
// through the second.
func processesBefore(t *testing.T, app string) (out, in string, pids []int) {
	t.Helper()
	bin := filepath.Join(t.TempDir(), "mesh-proxy")
	c := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", bin, "./mesh-proxy")
	if said, err := c.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, said)
	}
	m := newMesh(t, 0)
	web := pod{"web-0", app, loopback.Free()}
	client := pod{"client-0", "127.0.0.1:1", loopback.Free()}
	m.service("web", web)
	m.write("pod-client.yaml", podYAML("client", client))
	_, calleePID := m.process(bin, "web", web)
	caller, callerPID := m.process(bin, "client", client, "web")
	return caller.out["web"], web.mesh, []int{callerPID, calleePID}
}

// process is proxy, as a process of its own.
func (m *testMesh) process(bin, name string, p pod, upstreams ...string) (*running, int) {
	m.t.Helper()
	if m.destDue {
		m.startDestination()
	}
	r, env := m.describe(name, p, upstreams...)
	token, w, err := os.Pipe()
	check(m.t, err)
	_, err = io.WriteString(w, env[config.EnvTokenFile])
	check(m.t, err)
	w.Close()
	delete(env, config.EnvTokenFile)
	env[config.EnvTokenFD] = "3"
	cmd := exec.Command(bin, "run")
	cmd.Env = []string{"GOMAXPROCS=1", "GOMEMLIMIT=102MiB"} // the injector's
	cmd.ExtraFiles, cmd.Stderr = []*os.File{token}, os.Stderr
	for k, v := range env {
		cmd.Env = append(cmd.Env, k+"="+v)
	}
	check(m.t, cmd.Start())
	token.Close()
	m.t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	m.ready(r.admin)
	return r, cmd.Process.Pid
}

func resident(t *testing.T, pid int) int64 {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	check(t, err)
	pages, err := strconv.ParseInt(strings.Fields(string(b))[1], 10, 64)
	check(t, err)
	return pages * int64(os.Getpagesize())
}

// 1 GiB both ways at once, in HTTP/1 and in HTTP/2, to readers that pause, beside streams that stay
// open for minutes and say little: all arrives whole, and neither proxy grows.
func TestHugeBodiesAndLongStreams(t *testing.T) {
	url, pids, seen := processes(t)
	clients := map[string]*http.Client{"http1": http1Client(t), "http2": http2Client(t)}
	for _, c := range clients {
		resp, err := c.Post(url+"/echo", "text/plain", strings.NewReader("warm"))
		check(t, err)
		io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
	}
	idle := []int64{resident(t, pids[0]), resident(t, pids[1])}
	most := append([]int64(nil), idle...)
	ctx, cancel := context.WithCancel(t.Context())
	var watch, all sync.WaitGroup
	watch.Go(func() {
		for tick := time.NewTicker(50 * time.Millisecond); ctx.Err() == nil; <-tick.C {
			for i, pid := range pids {
				most[i] = max(most[i], resident(t, pid))
			}
		}
	})
	for name, c := range clients {
		all.Go(func() { huge(t, name, c, url, seen) })
		all.Go(func() { long(t, name, c, url) })
	}
	all.Wait()
	cancel()
	watch.Wait()
	for i, name := range []string{"caller's", "callee's"} {
		t.Logf("the %s proxy: %.1f MiB idle, %.1f at most",
			name, float64(idle[i])/(1<<20), float64(most[i])/(1<<20))
		if most[i]-idle[i] > grownAtMost {
			t.Errorf("the %s proxy grew by %d KiB", name, (most[i]-idle[i])>>10)
		}
	}
}

// pausing reads as slow readers do: all at once, and then nothing.
type pausing struct {
	io.Reader
	read, until int64
}

func (p *pausing) Read(b []byte) (int, error) {
	if p.read >= p.until {
		time.Sleep(time.Second)
		p.until += hugeBody / 8
	}
	n, err := p.Reader.Read(b)
	p.read += int64(n)
	return n, err
}

func huge(t *testing.T, name string, c *http.Client, url string, seen *calls) {
	began := time.Now()
	resp, err := c.Post(url+"/echo", "application/octet-stream", &pattern{left: hugeBody})
	if err != nil {
		t.Errorf("%s: %v", name, err)
		return
	}
	defer resp.Body.Close()
	n, err := io.Copy(&pattern{left: hugeBody}, &pausing{Reader: resp.Body})
	if err != nil || n != hugeBody {
		t.Errorf("%s: %d bytes, %v", name, n, err)
	}
	t.Logf("%s: 1 GiB both ways in %v", name, time.Since(began).Round(time.Second))
}

// long says a line a second, for minutes, and wants each back.
func long(t *testing.T, name string, c *http.Client, url string) {
	r, w := io.Pipe()
	go io.WriteString(w, "begin\n")
	resp, err := c.Post(url+"/talk", "text/plain", r)
	if err != nil {
		t.Errorf("%s: %v", name, err)
		return
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	for began := time.Now(); time.Since(began) < openFor; time.Sleep(time.Second) {
		if !lines.Scan() {
			t.Errorf("%s: the stream ended after %v: %v", name, time.Since(began), lines.Err())
			return
		}
		go io.WriteString(w, "more\n")
	}
	w.Close()
	for lines.Scan() {
	}
	if err := lines.Err(); err != nil {
		t.Errorf("%s: %v", name, err)
	}
}
