package proxy_test

import (
	"context"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	testgrpc "google.golang.org/grpc/interop/grpc_testing"

	"github.com/tulle-mesh/tulle/test/await"
	"github.com/tulle-mesh/tulle/test/loopback"
)

// declared is one application, meshed as "web" and unmeshed as "plain", whose services say what it
// speaks.
func declared(t *testing.T, appProtocol, addr string) (ways map[string]string) {
	t.Helper()
	m := newMesh(t, 0)
	m.limits.HalfClosed = soonLeft
	web := pod{"web-0", addr, loopback.Free()}
	m.declare("web", appProtocol, web)
	m.declare("plain", appProtocol, pod{"plain-0", addr, ""})
	m.proxy("web", web)
	caller := m.caller("web", "plain")
	return map[string]string{"outbound": caller.out["plain"], "inbound": web.mesh,
		"two hops": caller.out["web"]}
}

// An application that knows one protocol, and says so, is called in it whatever the caller speaks.
func TestPairingsTranslated(t *testing.T) {
	for _, tt := range []struct {
		name, appProtocol string
		http1             bool // the application's
		client            func(testing.TB) *http.Client
	}{
		{"http1 to http2", "kubernetes.io/h2c", false, http1Client},
		{"http2 to http1", "http", true, http2Client},
	} {
		seen := &calls{}
		for way, addr := range declared(t, tt.appProtocol, appOf(t, tt.http1, !tt.http1, seen)) {
			pairing{tt.name + ", " + way, "http://" + addr, tt.client(t), seen}.all(t)
		}
	}
}

// Whoever declares nothing, or what its caller speaks anyway, sees no difference.
func TestDeclaredAsSpoken(t *testing.T) {
	for _, tt := range []struct {
		appProtocol string
		client      func(testing.TB) *http.Client
		want        string
	}{
		{"", http1Client, "HTTP/1.1"}, {"", http2Client, "HTTP/2.0"},
		{"http", http1Client, "HTTP/1.1"}, {"http2", http2Client, "HTTP/2.0"},
		{"grpc", http1Client, "HTTP/2.0"}, {"http", http2Client, "HTTP/1.1"},
		{"example.org/own", http1Client, "HTTP/1.1"},
	} {
		for way, addr := range declared(t, tt.appProtocol, app(t, &calls{})) {
			status, _, h := get(t, tt.client(t), "http://"+addr+"/status?code=200")
			if status != 200 || h.Get("X-Proto") != tt.want {
				t.Errorf("%q, %s: %d in %q, want %q",
					tt.appProtocol, way, status, h.Get("X-Proto"), tt.want)
			}
		}
	}
}

// Many ports of gRPC servers are called "http". HTTP/1 cannot carry it.
func TestGRPCIsNeverTranslated(t *testing.T) {
	addr, _ := serveGRPC(t, &scripted{unary: func(context.Context) error { return nil }})
	for way, to := range declared(t, "http", addr) {
		_, err := dialGRPC(t, to).EmptyCall(within(t, 30*time.Second), &testgrpc.Empty{})
		if err != nil {
			t.Errorf("%s: %v", way, err)
		}
	}
}

// gRPC-Web is made for HTTP/1: its callers get that, and errors that say so by their status.
func TestGRPCWebIsOrdinaryHTTP(t *testing.T) {
	ask := func(addr string) *http.Response {
		t.Helper()
		resp, err := http2Client(t).Post("http://"+addr+"/status?code=200",
			"application/grpc-web+proto", strings.NewReader("x"))
		check(t, err)
		resp.Body.Close()
		return resp
	}
	for way, addr := range declared(t, "http", app(t, &calls{})) {
		if resp := ask(addr); resp.Header.Get("X-Proto") != "HTTP/1.1" {
			t.Errorf("%s: %d in %q", way, resp.StatusCode, resp.Header.Get("X-Proto"))
		}
	}
	resp := ask(newMesh(t, 0).caller("nowhere").out["nowhere"])
	if resp.StatusCode != 503 || resp.Header.Get("Grpc-Status") != "" {
		t.Errorf("an error of ours: %d %v", resp.StatusCode, resp.Header)
	}
}

// What the kubelet asks works without a mesh, so it works as it comes.
func TestProbesAreNotTranslated(t *testing.T) {
	m := newMesh(t, 0)
	web := pod{"web-0", app(t, &calls{}), loopback.Free()}
	m.declare("web", "http2", web)
	_, port, _ := net.SplitHostPort(web.app)
	m.edit("service-web.yaml", "{name: app}",
		"{name: app, readinessProbe: {httpGet: {path: /healthy, port: "+port+"}}}")
	m.proxy("web", web)
	c := http1Client(t)
	// until destination has read of the probe
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		status, _, h := get(t, c, "http://"+web.mesh+"/healthy")
		if status == 200 && h.Get("X-Proto") == "HTTP/1.1" {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("the probe: %d in %q", status, h.Get("X-Proto"))
		}
	}
	status, _, h := get(t, c, "http://"+web.mesh+"/length")
	if status != 200 || h.Get("X-Proto") != "HTTP/2.0" {
		t.Errorf("another: %d in %q", status, h.Get("X-Proto"))
	}
}

// edit changes a file where destination reads.
func (m *testMesh) edit(name, from, to string) {
	m.t.Helper()
	b, err := os.ReadFile(filepath.Join(m.dir, name))
	check(m.t, err)
	m.write(name, strings.ReplaceAll(string(b), from, to))
}

// A cookie that HTTP/2 brings in crumbs is one to an application of HTTP/1 (RFC 9113 §8.2.3).
func TestCookiesAreJoined(t *testing.T) {
	got := make(chan []string, 1)
	addr := appOf(t, true, false, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got <- r.Header["Cookie"]
	}))
	for way, to := range declared(t, "http", addr) {
		req, err := http.NewRequest("GET", "http://"+to, nil)
		check(t, err)
		req.Header.Set("Cookie", "a=1; b=2; c=3") // Go's client splits it
		resp, err := http2Client(t).Do(req)
		check(t, err)
		resp.Body.Close()
		c := await.Receive(t, "the request arrives", got)
		if strings.Join(c, "|") != "a=1; b=2; c=3" {
			t.Errorf("%s: %q", way, c)
		}
	}
}
