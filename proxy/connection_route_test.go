package proxy_test

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tulle-mesh/tulle/test/await"
	"github.com/tulle-mesh/tulle/test/loopback"
)

// connections writes a route for connections to web.
func (m *testMesh) connections(kind, name, spec string, backends ...string) {
	m.t.Helper()
	m.write("route-"+name+".yaml", "apiVersion: gateway.networking.k8s.io/v1\nkind: "+kind+
		"\nmetadata: {namespace: shop, name: "+name+"}\nspec: {parentRefs: "+
		`[{group: "", kind: Service, name: web}], `+spec+
		"rules: [{backendRefs: ["+strings.Join(backends, ", ")+"]}]}\n")
}

// naming is a TCP application that says its name first, and then ends.
func naming(t testing.TB, name string) string {
	return serveTCP(t, func(nc net.Conn) {
		go func() {
			defer nc.Close()
			io.WriteString(nc, name) // whoever went away does not read it
		}()
	})
}

// named is who a connection is greeted by: "" where it is reset before.
func named(t testing.TB, addr string) string {
	t.Helper()
	nc, err := net.Dial("tcp", addr)
	if errors.Is(err, syscall.ECONNRESET) {
		return "" // before the dial had noticed that it succeeded
	}
	check(t, err)
	defer nc.Close()
	check(t, nc.SetDeadline(time.Now().Add(await.Limit)))
	b, err := io.ReadAll(nc)
	if err != nil && !errors.Is(err, syscall.ECONNRESET) || err == nil && len(b) == 0 {
		t.Fatalf("greeted by %q, %v", b, err)
	}
	return string(b)
}

// metric is a series of a proxy's, by some of its labels; "": there is none.
func (r *running) metric(t *testing.T, name string, labels ...string) string {
	t.Helper()
	resp, err := asker.Get("http://" + r.admin + "/metrics")
	check(t, err)
	defer resp.Body.Close()
	for line := range strings.Lines(read(t, resp)) {
		lacks := func(label string) bool { return !strings.Contains(line, label) }
		if strings.HasPrefix(line, name+"{") && !slices.ContainsFunc(labels, lacks) {
			return strings.TrimSpace(line[strings.LastIndexByte(line, ' '):])
		}
	}
	return ""
}

// Connections go to the backends of a TCPRoute by their weights, whoever speaks first, over the
// mesh or in plaintext. The share of one that is not there is refused, and counted.
func TestATCPRouteSharesConnections(t *testing.T) {
	m := newMesh(t, 0)
	meshed := pod{"v1-0", naming(t, "v1"), loopback.Free()}
	m.service("web", pod{"web-0", naming(t, "web"), ""})
	m.service("v1", meshed)
	m.service("v2", pod{"v2-0", naming(t, "v2"), ""})
	m.connections("TCPRoute", "split", "", "{name: v1, port: 80, weight: 2}",
		"{name: v2, port: 80}", "{name: none, port: 80}", "{name: web, port: 80, weight: 0}")
	m.proxy("v1", meshed)
	caller := m.caller("web")
	got := map[string]int{}
	for range 40 {
		got[named(t, caller.out["web"])]++
	}
	for name, want := range map[string]int{"v1": 20, "v2": 10, "": 10, "web": 0} {
		if n := got[name]; n < want-2 || n > min(want+2, 2*want) {
			t.Errorf("%q has %d of 40 connections, want %d, give or take two", name, n, want)
		}
	}
	want := fmt.Sprint(got[""])
	if n := caller.metric(t, "tulle_connections_refused_total", "route_answer"); n != want {
		t.Errorf("%s are counted as refused, want %s", n, want)
	}
	for _, backend := range []string{"v1", "v2"} {
		n := caller.metric(t, "tulle_tcp_connections_opened_total", `route="split/0"`,
			`authority="`+authority("web")+`"`, `backend="`+authority(backend)+`"`)
		if n != fmt.Sprint(got[backend]) {
			t.Errorf("%s of the route's connections went to %s, want %d", n, backend, got[backend])
		}
	}
}

// A backend's endpoint that cannot be connected to is not the end: another one is tried.
func TestATCPRouteTriesAnotherEndpoint(t *testing.T) {
	m := newMesh(t, 0)
	m.service("web")
	m.service("v1", pod{"v1-0", loopback.Free(), ""}, pod{"v1-1", naming(t, "v1"), ""})
	m.connections("TCPRoute", "all", "", "{name: v1, port: 80}")
	caller := m.caller("web")
	for range 8 {
		if got := named(t, caller.out["web"]); got != "v1" {
			t.Errorf("greeted by %q", got)
		}
	}
}

// secure is an application with TLS of its own, which answers with its name.
func secure(t testing.TB, name string) string {
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, name)
	}))
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

// asksFor speaks TLS with a server name, and returns who answers.
func asksFor(t *testing.T, addr, serverName string) (string, error) {
	t.Helper()
	tr := &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{
		ServerName: serverName, InsecureSkipVerify: true}}
	resp, err := (&http.Client{Transport: tr, Timeout: clientTimeout}).Get("https://" + addr)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	return read(t, resp), nil
}

// A connection goes by the server name that its caller asks for. One that no TLSRoute has, and what
// is no TLS at all, is reset, and counted.
func TestATLSRouteGoesByServerName(t *testing.T) {
	m := newMesh(t, 0)
	one := pod{"one-0", secure(t, "one"), loopback.Free()}
	m.service("web", pod{"web-0", secure(t, "web"), ""})
	m.service("one", one)
	m.service("any", pod{"any-0", secure(t, "any"), ""})
	m.connections("TLSRoute", "one", "hostnames: [one.example.com], ", "{name: one, port: 80}")
	m.connections("TLSRoute", "any", `hostnames: ["*.example.com"], `, "{name: any, port: 80}")
	m.proxy("one", one)
	caller := m.caller("web")
	for name, want := range map[string]string{
		"one.example.com": "one", "One.Example.Com": "one", "two.example.com": "any",
		"a.b.example.com": "any",
	} {
		if got, err := asksFor(t, caller.out["web"], name); got != want || err != nil {
			t.Errorf("%s is answered by %q, %v; want %q", name, got, err, want)
		}
	}
	for _, name := range []string{"example.com", "one.example.org"} {
		if got, err := asksFor(t, caller.out["web"], name); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("%s is answered by %q, %v; want a reset", name, got, err)
		}
	}
	if n := caller.metric(t, "tulle_connections_refused_total", "no_route"); n != "2" {
		t.Errorf("%s are counted as of no route, want 2", n)
	}
	const http1 = "GET / HTTP/1.1\r\nHost: one.example.com\r\n\r\n"
	for _, words := range []string{http1, "\x00opaque"} {
		nc, err := net.Dial("tcp", caller.out["web"])
		check(t, err)
		check(t, nc.SetDeadline(time.Now().Add(await.Limit)))
		say(t, nc, words)
		wantReset(t, nc)
		nc.Close()
	}
	if n := caller.metric(t, "tulle_connections_refused_total", "policy"); n != "2" {
		t.Errorf("%s are counted as not TLS, want 2", n)
	}
}
