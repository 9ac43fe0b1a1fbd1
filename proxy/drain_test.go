package proxy_test

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/tulle-mesh/tulle/test/await"
	"github.com/tulle-mesh/tulle/test/loopback"
)

// A connection that was accepted is served, though the drain began before its first byte.
func TestDrainServesWhatWasAccepted(t *testing.T) {
	m := newMesh(t, 0)
	url, caller, _ := m.pair(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, "served")
	}))
	warm := http1Client(t)
	get(t, warm, url)
	warm.CloseIdleConnections()
	c, err := net.Dial("tcp", caller.out["web"])
	check(t, err)
	defer c.Close()
	check(t, c.SetDeadline(time.Now().Add(10*time.Second)))
	_, err = io.WriteString(c, "GET / ") // accepted, and nobody can tell what it is
	check(t, err)
	accepted(t, caller)
	stopped := make(chan error, 1)
	go func() { stopped <- caller.stop() }()
	waitRefused(t, caller.out["web"])
	select {
	case <-stopped:
		t.Fatal("Run returned with a connection open")
	// long enough for a drain that sees nothing to be over
	case <-time.After(100 * time.Millisecond):
	}
	_, err = io.WriteString(c, "HTTP/1.1\r\nhost: web\r\n\r\n")
	check(t, err)
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	check(t, err)
	body, err := io.ReadAll(resp.Body)
	if err != nil || string(body) != "served" {
		t.Errorf("%d %q, %v", resp.StatusCode, body, err)
	}
	check(t, await.Receive(t, "the proxy has drained", stopped))
}

// accepted waits until the proxy holds a connection of its caller's.
func accepted(t testing.TB, r *running) {
	t.Helper()
	deadline := time.Now().Add(5 * time.Second)
	for ; r.p.Connections() == 0; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("nothing was accepted")
		}
	}
}

// Run leaves nothing behind: not a connection's goroutine, not a timer's, not a stream's.
func TestRunLeavesNoGoroutine(t *testing.T) {
	m := newMesh(t, 0)
	release := make(chan struct{})
	addr := app(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/hang" {
			select {
			case <-release:
			case <-r.Context().Done():
			}
		}
	}))
	defer close(release)
	opaque := echo(t)
	m.service("plain", pod{"plain-0", addr, ""})
	tr := &http.Transport{}
	func() {
		web := pod{"web-0", addr, loopback.Free()}
		m.service("web", web)
		callee := m.proxy("web", web)
		tcp := pod{"tcp-0", opaque, loopback.Free()}
		m.service("tcp", tcp)
		sink := m.proxy("tcp", tcp)
		caller := m.caller("web", "plain", "tcp", "nowhere")
		client := &http.Client{Transport: tr, Timeout: time.Second}
		for _, u := range []string{"web", "plain", "nowhere"} {
			resp, err := client.Post("http://"+caller.out[u], "text/plain", strings.NewReader("x"))
			check(t, err)
			resp.Body.Close()
			go client.Get("http://" + caller.out[u] + "/hang") // ends with an error, when it likes
		}
		silent, err := net.Dial("tcp", caller.out["web"])
		check(t, err)
		defer silent.Close()
		raw, err := net.Dial("tcp", caller.out["tcp"])
		check(t, err)
		defer raw.Close()
		raw.Write([]byte("\x00\x01"))
		for _, r := range []*running{caller, callee, sink} {
			check(t, r.stop())
		}
	}()
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		left := goroutinesOfOurs()
		if left == "" {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("left behind:\n%s", left)
		}
	}
}

var oursInStack = regexp.MustCompile(`tulle/proxy(/h1|/h2|/wire|/rpc|/admin)?\.`)

// goroutinesOfOurs is the stacks of those that run the data plane's code. The servers of the test's
// mesh go on.
func goroutinesOfOurs() string {
	b := make([]byte, 4<<20)
	var left []string
	for _, stack := range strings.Split(string(b[:runtime.Stack(b, true)]), "\n\n") {
		if oursInStack.MatchString(stack) {
			left = append(left, stack)
		}
	}
	return strings.Join(left, "\n\n")
}
