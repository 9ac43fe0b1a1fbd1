package proxy_test

import (
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/tulle-mesh/tulle/test/loopback"
)

// exchanged says something, ends that half, and returns what comes back.
func exchanged(t *testing.T, addr, said string) string {
	t.Helper()
	heard, err := heardAfter(t, addr, said)
	check(t, err)
	return heard
}

// heardAfter is exchanged, with how the connection ended.
func heardAfter(t *testing.T, addr, said string) (string, error) {
	t.Helper()
	nc, err := net.Dial("tcp", addr)
	check(t, err)
	defer nc.Close()
	check(t, nc.SetDeadline(time.Now().Add(clientTimeout)))
	say(t, nc, said)
	check(t, nc.(*net.TCPConn).CloseWrite())
	b, err := io.ReadAll(nc)
	return string(b), err
}

// ways are the ways to an application: by the caller's proxy, by its own, and by both.
func ways(t *testing.T, addr string) map[string]string {
	t.Helper()
	m := newMesh(t, 0)
	web := pod{"web-0", addr, loopback.Free()}
	m.service("web", web)
	m.service("plain", pod{"plain-0", addr, ""})
	m.proxy("web", web)
	caller := m.caller("web", "plain")
	return map[string]string{
		"outbound": caller.out["plain"], "inbound": web.mesh, "two hops": caller.out["web"],
	}
}

func TestACallerThatHasSaidAllIsAnswered(t *testing.T) {
	addr := app(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		time.Sleep(100 * time.Millisecond) // the end of the caller's half comes first
		io.WriteString(w, r.Host+" is served")
	}))
	for way, to := range ways(t, addr) {
		for _, head := range []string{
			"GET / HTTP/1.1\r\nHost: web\r\nConnection: close\r\n",
			"GET / HTTP/1.1\r\nHost: web\r\n",
			"GET / HTTP/1.0\r\nHost: web\r\n",
		} {
			if got := exchanged(t, to, head+"\r\n"); !strings.HasSuffix(got, "web is served") {
				t.Errorf("%s: %q: %q", way, head, got)
			}
		}
	}
}

// A server that greets must be dialed for a caller who has nothing to say.
func TestACallerThatSaysNothingIsGreeted(t *testing.T) {
	for way, to := range ways(t, greeter(t)) {
		if got := exchanged(t, to, ""); got != "220 ready\nbye" {
			t.Errorf("%s: %q", way, got)
		}
	}
}
