package proxy_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/tulle-mesh/tulle/test/await"
	"github.com/tulle-mesh/tulle/test/loopback"
)

// quiet waits until the proxy has given up detecting: there is nothing else to be seen of that.
func (m *testMesh) quiet() { time.Sleep(2*m.limits.DetectTimeout + 100*time.Millisecond) }

// impatient is a mesh whose proxies give silence a tenth of its time.
func impatient(t testing.TB) *testMesh {
	m := newMesh(t, 0)
	m.limits.DetectTimeout /= 10
	return m
}

// A spare connection of an HTTP client is used long after it was opened.
func TestSilentConnectionIsServedAsHTTPWhenItSpeaks(t *testing.T) {
	m := impatient(t)
	url, _, _ := m.pair(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Caller", r.Header.Get("Tulle-Client-Id"))
	}))
	c, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
	check(t, err)
	defer c.Close()
	m.quiet()
	check(t, c.SetDeadline(time.Now().Add(10*time.Second)))
	for range 2 {
		io.WriteString(c, "POST / HTTP/1.1\r\nhost: web\r\ncontent-length: 2\r\n\r\nhi")
		resp, err := http.ReadResponse(bufio.NewReader(c), nil)
		check(t, err)
		if resp.StatusCode != 200 || resp.Header.Get("X-Caller") != workloadID("client") {
			t.Errorf("status %d, the application saw %q: want it served as HTTP",
				resp.StatusCode, resp.Header.Get("X-Caller"))
		}
	}
}

// A server that speaks first is heard, on a port that nobody declared opaque; then both talk.
func TestSilentConnectionHearsAServerThatSpeaksFirst(t *testing.T) {
	m := impatient(t)
	web := pod{"web-0", greeter(t), loopback.Free()}
	m.service("web", web)
	m.proxy("web", web)
	greeted(t, m.caller("web").out["web"])
}

// Where nothing can be dialed, a client that asks in HTTP is told why.
func TestSilentConnectionToNobodyIsAnsweredWhenItSpeaks(t *testing.T) {
	m := impatient(t)
	caller := m.caller("nowhere")
	c, err := net.Dial("tcp", caller.out["nowhere"])
	check(t, err)
	defer c.Close()
	m.quiet()
	check(t, c.SetDeadline(time.Now().Add(10*time.Second)))
	io.WriteString(c, "GET / HTTP/1.1\r\nhost: nowhere\r\n\r\n")
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	check(t, err)
	if resp.StatusCode != 503 {
		t.Errorf("status %d", resp.StatusCode)
	}
}

// A client that was cut before anybody understood it has not ended: its server, which was dialed
// for it, sees a reset too.
func TestACutSilentConnectionIsNoEnd(t *testing.T) {
	m := impatient(t)
	a := accept(t)
	web := pod{"web-0", a.addr, loopback.Free()}
	m.service("web", web)
	m.service("plain", pod{"plain-0", a.addr, ""})
	m.proxy("web", web)
	caller := m.caller("web", "plain")
	for name, addr := range map[string]string{"outbound": caller.out["plain"], "inbound": web.mesh,
		"two hops": caller.out["web"]} {
		for _, word := range []string{"", "GE"} { // it may become HTTP
			t.Run(fmt.Sprintf("%s, after %q", name, word), func(t *testing.T) {
				client, err := net.Dial("tcp", addr)
				check(t, err)
				server := await.Receive(t, "the application is dialed", a.conns)
				check(t, server.SetDeadline(time.Now().Add(30*time.Second)))
				say(t, client, word)
				reset(client.(*net.TCPConn))
				wantReset(t, server)
			})
		}
	}
}
