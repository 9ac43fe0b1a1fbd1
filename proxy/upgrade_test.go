package proxy_test

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/tulle-mesh/tulle/test/await"
	"github.com/tulle-mesh/tulle/test/loopback"
)

// upgrading is an application that switches to a protocol of its own, and hands the connection to
// the test.
func upgrading(t *testing.T) *accepting {
	t.Helper()
	a := &accepting{conns: make(chan *net.TCPConn, 16)}
	a.addr = app(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Upgrade") == "" {
			return
		}
		nc, buf, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		t.Cleanup(func() { nc.Close() })
		buf.WriteString("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: " +
			r.Header.Get("Upgrade") + "\r\n\r\n")
		buf.Flush()
		a.conns <- nc.(*net.TCPConn)
	}))
	return a
}

// upgraded opens such a connection as an HTTP/1.1 client.
func upgraded(t *testing.T, addr string, a *accepting) (client, server *net.TCPConn) {
	t.Helper()
	nc, err := net.Dial("tcp", addr)
	check(t, err)
	t.Cleanup(func() { nc.Close() })
	check(t, nc.SetDeadline(time.Now().Add(30*time.Second)))
	say(t, nc, "GET / HTTP/1.1\r\nHost: web\r\nConnection: upgrade\r\nUpgrade: own\r\n\r\n")
	resp, err := http.ReadResponse(bufio.NewReader(nc), nil)
	check(t, err)
	if resp.StatusCode != 101 || resp.Header.Get("Upgrade") != "own" {
		t.Fatalf("%d %v", resp.StatusCode, resp.Header)
	}
	server = await.Receive(t, "the application is dialed", a.conns)
	check(t, server.SetDeadline(time.Now().Add(30*time.Second)))
	return nc.(*net.TCPConn), server
}

// upgradePaths are the ways to an application that upgrades.
func upgradePaths(t *testing.T) (a *accepting, addrs map[string]string) {
	t.Helper()
	m := newMesh(t, 0)
	a = upgrading(t)
	web := pod{"web-0", a.addr, loopback.Free()}
	m.service("web", web)
	m.service("plain", pod{"plain-0", a.addr, ""})
	m.proxy("web", web)
	caller := m.caller("web", "plain")
	return a, map[string]string{"outbound": caller.out["plain"], "inbound": web.mesh,
		"two hops": caller.out["web"]}
}

// Each half of an upgraded connection ends by itself, whoever is first; a reset is neither's end.
func TestUpgradedConnectionsEndAsTheyWere(t *testing.T) {
	a, addrs := upgradePaths(t)
	for name, addr := range addrs {
		for _, clientFirst := range []bool{true, false} {
			t.Run(name+", half", func(t *testing.T) {
				first, second := upgraded(t, addr, a)
				if !clientFirst {
					first, second = second, first
				}
				say(t, first, "last words")
				check(t, first.CloseWrite())
				wantRead(t, second, "last words")
				wantEnd(t, second)
				big := strings.Repeat("still here", 100<<10)
				go io.WriteString(second, big)
				wantRead(t, first, big)
				check(t, second.CloseWrite())
				wantEnd(t, first)
			})
			t.Run(name+", reset", func(t *testing.T) {
				first, second := upgraded(t, addr, a)
				if !clientFirst {
					first, second = second, first
				}
				say(t, first, "some")
				wantRead(t, second, "some")
				reset(first)
				wantReset(t, second)
			})
		}
	}
}

// An application that would go on in HTTP/2 after an upgrade is never asked to: nobody would look
// at the headers in that.
func TestNoExtendedConnectBecomesAnUpgradeToHTTP2(t *testing.T) {
	m := newMesh(t, 0)
	a := accept(t)
	web := pod{"web-0", a.addr, loopback.Free()}
	m.declare("web", "http", web)
	m.proxy("web", web)
	caller := m.caller("web")
	nc, err := net.Dial("tcp", caller.out["web"])
	check(t, err)
	defer nc.Close()
	check(t, nc.SetDeadline(time.Now().Add(10*time.Second)))
	say(t, nc, http2.ClientPreface)
	framer := http2.NewFramer(nc, nc)
	check(t, framer.WriteSettings())
	var block bytes.Buffer
	enc := hpack.NewEncoder(&block)
	for _, f := range []hpack.HeaderField{{Name: ":method", Value: "CONNECT"},
		{Name: ":scheme", Value: "http"}, {Name: ":authority", Value: "web"},
		{Name: ":path", Value: "/"}, {Name: ":protocol", Value: "h2c"}} {
		check(t, enc.WriteField(f))
	}
	check(t, framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block.Bytes(),
		EndHeaders: true}))
	framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	for {
		f, err := framer.ReadFrame()
		check(t, err)
		if h, ok := f.(*http2.MetaHeadersFrame); ok {
			if status := h.PseudoValue("status"); status != "400" {
				t.Errorf("answered %s, want 400", status)
			}
			break
		}
	}
	select {
	case server := <-a.conns: // it may have been dialed before the request was seen to be none
		check(t, server.SetReadDeadline(time.Now().Add(200*time.Millisecond)))
		if b, _ := io.ReadAll(server); len(b) > 0 {
			t.Errorf("the application was asked: %q", b)
		}
	default:
	}
}
