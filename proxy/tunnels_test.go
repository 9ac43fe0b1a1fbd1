package proxy_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// tunneling is an application that sends a head back, behind an answer that opens a tunnel, and
// echoes from then on; or is the end.
func tunneling(t *testing.T) (addr string) {
	t.Helper()
	return serveTCP(t, func(c net.Conn) {
		go func() {
			defer c.Close()
			r := bufio.NewReader(c)
			head, answer := "", "HTTP/1.1 200 OK\r\n\r\n"
			for line := "-"; line != "\r\n"; head += line {
				var err error
				if line, err = r.ReadString('\n'); err != nil {
					return
				}
				if name, proto, _ := strings.Cut(line, ": "); name == "upgrade" {
					answer = "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\n" +
						"Upgrade: " + proto + "\r\n"
				}
			}
			fmt.Fprintf(c, "%s%q\n", answer, head)
			if strings.HasPrefix(head, "CONNECT ") || strings.Contains(answer, " 101 ") {
				io.Copy(c, r)
			}
		}()
	})
}

// openTunnel says a head and something more, and returns the status, the head that the application
// got, and what comes back.
func openTunnel(t *testing.T, addr, head string) (status int, got, echoed string) {
	t.Helper()
	nc, err := net.Dial("tcp", addr)
	check(t, err)
	defer nc.Close()
	check(t, nc.SetDeadline(time.Now().Add(clientTimeout)))
	say(t, nc, head+"\r\nhasty")
	r := bufio.NewReader(nc)
	resp, err := http.ReadResponse(r, &http.Request{Method: "CONNECT"})
	check(t, err)
	if resp.StatusCode != 101 && resp.StatusCode != 200 {
		return resp.StatusCode, "", ""
	}
	got, err = r.ReadString('\n')
	check(t, err)
	say(t, nc, " words")
	check(t, nc.(*net.TCPConn).CloseWrite())
	b, err := io.ReadAll(r)
	check(t, err)
	return resp.StatusCode, got, string(b)
}

// WebSocket clients may say that they have no body, docker and kubectl upgrade a POST, and clients
// of a forward proxy want a tunnel.
func TestTunnelsOfAnyKind(t *testing.T) {
	up := "Host: app:80\r\nConnection: Upgrade\r\nContent-Length: 0\r\n"
	for way, addr := range ways(t, tunneling(t)) {
		for _, c := range []struct {
			head   string
			status int
			want   string
		}{
			{"GET /chat HTTP/1.1\r\n" + up + "Upgrade: websocket\r\n", 101,
				"GET /chat HTTP/1.1\r\n"},
			{"POST /attach HTTP/1.1\r\n" + up + "Upgrade: tcp\r\n", 101,
				"POST /attach HTTP/1.1\r\n"},
			{"POST /exec HTTP/1.1\r\n" + up + "Upgrade: SPDY/3.1\r\n", 101,
				"POST /exec HTTP/1.1\r\n"},
			{"CONNECT a.test:443 HTTP/1.1\r\nHost: a.test:443\r\n", 200,
				"CONNECT a.test:443 HTTP/1.1\r\nhost: a.test:443\r\n"},
			{"CONNECT a.test:443 HTTP/1.0\r\n", 200,
				"CONNECT a.test:443 HTTP/1.1\r\nhost: a.test:443\r\n"},
		} {
			forged := "Tulle-Client-Id: forged\r\nTulle-Method: PUT\r\nX: y\r\n"
			status, got, echoed := openTunnel(t, addr, c.head+forged)
			if status != c.status || echoed != "hasty words" ||
				!strings.HasPrefix(got, strings.TrimSuffix(fmt.Sprintf("%q", c.want), `"`)) {
				t.Errorf("%s: %q: %d, %s, %q", way, c.head, status, got, echoed)
			}
			if strings.Contains(got, "forged") || strings.Contains(got, "tulle-method") ||
				!strings.Contains(got, "x: y") {
				t.Errorf("%s: %q: the application got %s", way, c.head, got)
			}
		}
	}
}

// An application that is no proxy answers CONNECT as it does any method and reads on. What it reads
// then must not be what its caller says in the tunnel.
func TestNoTunnelIntoAnApplicationThatReadsOn(t *testing.T) {
	for answer, want := range map[string]string{
		"200 OK\r\nContent-Length: 0\r\n\r\n":                   "502",
		"200 OK\r\nContent-Length: 5\r\n\r\nhello":              "502",
		"200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n": "502",
		"204 No Content\r\n\r\n":                                "502",
		"403 Forbidden\r\nContent-Length: 0\r\n\r\n":            "403",
	} {
		seen, addr := readsOn(t, answer)
		for way, to := range ways(t, addr) {
			// What the caller has said in a tunnel that there is not is left unread: after the
			// answer comes a reset, or the end.
			got, _ := heardAfter(t, to, "CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n"+
				"GET / HTTP/1.1\r\nHost: a\r\nTulle-Client-Id: forged\r\nConnection: close\r\n\r\n")
			if !strings.HasPrefix(got, "HTTP/1.1 "+want) {
				t.Errorf("%q, %s: %q, want %s", answer, way, got, want)
			}
		}
		if said := seen(); !strings.Contains(said, "CONNECT a:80") ||
			strings.Contains(said, "forged") {
			t.Errorf("%q: the application was told %q", answer, said)
		}
	}
}

// readsOn is an application that gives every request the same answer. seen is all that it was told.
func readsOn(t *testing.T, answer string) (seen func() string, addr string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	t.Cleanup(func() { l.Close() })
	var mu sync.Mutex
	var said strings.Builder
	serve := func(nc net.Conn) {
		defer nc.Close()
		lines := bufio.NewScanner(nc)
		for lines.Scan() {
			mu.Lock()
			said.WriteString(lines.Text() + "\n")
			mu.Unlock()
			if lines.Text() == "" {
				io.WriteString(nc, "HTTP/1.1 "+answer)
			}
		}
	}
	go func() {
		for nc, err := l.Accept(); err == nil; nc, err = l.Accept() {
			go serve(nc)
		}
	}()
	return func() string { mu.Lock(); defer mu.Unlock(); return said.String() }, l.Addr().String()
}

// A request to a forward proxy says where it is to go.
func TestAnAbsoluteTargetStaysAbsolute(t *testing.T) {
	for way, addr := range ways(t, tunneling(t)) {
		for _, c := range []struct{ said, want string }{
			{"GET http://a.test/x?y HTTP/1.1\r\nHost: a.test\r\n",
				`"GET http://a.test/x?y HTTP/1.1\r\nhost: a.test\r\n`},
			{"GET http://a.test/x HTTP/1.1\r\nHost: a.test:80\r\n",
				`"GET http://a.test/x HTTP/1.1\r\nhost: a.test\r\n`},
			{"PUT https://a.test HTTP/1.1\r\nHost: b\r\n",
				`"PUT https://a.test/ HTTP/1.1\r\nhost: a.test\r\n`},
			{"OPTIONS http://a.test:81 HTTP/1.1\r\nHost: a.test:81\r\n",
				`"OPTIONS http://a.test:81 HTTP/1.1\r\nhost: a.test:81\r\n`},
			{"GET /x HTTP/1.1\r\nHost: a.test\r\n", `"GET /x HTTP/1.1\r\nhost: a.test\r\n`},
		} {
			_, body, _ := strings.Cut(exchanged(t, addr, c.said+"Connection: close\r\n\r\n"),
				"\r\n\r\n")
			if !strings.Contains(body, c.want) || strings.Contains(body, "absolute-target") {
				t.Errorf("%s: %q: %q", way, c.said, body)
			}
		}
	}
}
