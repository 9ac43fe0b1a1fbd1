package proxy_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/tulle-mesh/tulle/test/await"
	"github.com/tulle-mesh/tulle/test/loopback"
	"google.golang.org/grpc/codes"
	testgrpc "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/status"
)

// mirror has every request for web copied to Service copy.
func (m *testMesh) mirror() {
	m.t.Helper()
	m.write("route.yaml", `apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {namespace: shop, name: web}
spec:
  parentRefs: [{group: "", kind: Service, name: web}]
  rules:
  - filters: [{type: RequestMirror, requestMirror: {backendRef: {name: copy, port: 80}}}]
    backendRefs: [{name: web, port: 80}]
`)
}

// mirroredPair is a caller and two applications, of which the second gets the copies; each is
// behind a proxy.
func mirroredPair(t *testing.T, web, copied string) (url string, caller *running) {
	t.Helper()
	m := newMesh(t, 0)
	m.mirror()
	pods := map[string]pod{
		"web": {"web-0", web, loopback.Free()}, "copy": {"copy-0", copied, loopback.Free()},
	}
	for name, p := range pods {
		m.service(name, p)
	}
	for name, p := range pods {
		m.proxy(name, p)
	}
	caller = m.caller("web")
	return "http://" + caller.out["web"], caller
}

// copies is how many of a caller's copies have come to such an end.
func copies(t *testing.T, caller *running, why string) string {
	t.Helper()
	_, page, _ := get(t, http1Client(t), "http://"+caller.admin+"/metrics")
	for line := range strings.Lines(page) {
		if n, ok := strings.CutPrefix(line, `tulle_mirrors_total{reason="`+why+`"} `); ok {
			return strings.TrimSpace(n)
		}
	}
	return "none"
}

// What a route copies arrives whole, and as the request itself does, with whatever its callers
// speak.
func TestARouteMirrors(t *testing.T) {
	seen := make(chan string, 2)
	see := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		seen <- fmt.Sprint(r.Method, r.Host, r.RequestURI, r.Header["X-Request-Id"], len(body),
			r.Header["Tulle-Client-Id"])
		w.Write(body)
	})
	url, caller := mirroredPair(t, app(t, see), app(t, see))
	body := strings.Repeat("b", 100<<10)
	for _, c := range []*http.Client{http1Client(t), http2Client(t)} {
		req, err := http.NewRequest("POST", url+"/a?b=c", strings.NewReader(body))
		check(t, err)
		req.Header.Set("X-Request-Id", "one of a kind")
		resp, err := c.Do(req)
		check(t, err)
		if got := read(t, resp); resp.StatusCode != 200 || got != body {
			t.Errorf("answered by %d and %d bytes", resp.StatusCode, len(got))
		}
		one := await.Receive(t, "the request or its copy arrives", seen)
		other := await.Receive(t, "the other arrives", seen)
		if one != other || !strings.Contains(one, "one of a kind") {
			t.Errorf("the request and its copy are %q and %q", one, other)
		}
	}
	await.True(t, "both copies are answered",
		func() bool { return copies(t, caller, "answered") == "2" })
}

// An application that takes nothing of the copies holds up nobody's upload.
func TestAMirrorThatIsStalled(t *testing.T) {
	over := make(chan struct{})
	stalled := app(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-over }))
	var taken atomic.Int64
	url, caller := mirroredPair(t, app(t, http.HandlerFunc(
		func(_ http.ResponseWriter, r *http.Request) {
			n, _ := io.Copy(io.Discard, r.Body)
			taken.Add(n)
		})), stalled)
	t.Cleanup(func() { close(over) })
	const size = 8 << 20
	for _, c := range []*http.Client{http1Client(t), http2Client(t)} {
		taken.Store(0)
		resp, err := c.Post(url, "text/plain", &pattern{left: size})
		check(t, err)
		if read(t, resp); resp.StatusCode != 200 || taken.Load() != size {
			t.Errorf("answered by %d, %d bytes of %d taken", resp.StatusCode, taken.Load(), size)
		}
	}
	await.True(t, "both copies are given up",
		func() bool { return copies(t, caller, "slow") == "2" })
}

// Calls of gRPC are copied, and each has a status of its own.
func TestARouteMirrorsGRPC(t *testing.T) {
	none := func(context.Context) error { return nil }
	web, _ := serveGRPC(t, &scripted{unary: none})
	var calls atomic.Int64
	copied, _ := serveGRPC(t, &scripted{unary: func(context.Context) error {
		calls.Add(1)
		return status.Error(codes.Unavailable, "of the copy")
	}})
	url, caller := mirroredPair(t, web, copied)
	c := dialGRPC(t, strings.TrimPrefix(url, "http://"))
	for range 3 {
		_, err := c.EmptyCall(within(t, clientTimeout), &testgrpc.Empty{})
		check(t, err)
	}
	await.True(t, "all copies have failed",
		func() bool { return calls.Load() == 3 && copies(t, caller, "failed") == "3" })
}
