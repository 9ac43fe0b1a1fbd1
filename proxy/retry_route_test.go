package proxy_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	testgrpc "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/status"

	"github.com/tulle-mesh/tulle/test/loopback"
)

// httpRoute writes an HTTPRoute for web, of rules that all go to web.
func (m *testMesh) httpRoute(rules ...string) {
	m.t.Helper()
	var b strings.Builder
	b.WriteString("apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\n" +
		"metadata: {namespace: shop, name: web}\nspec:\n" +
		"  parentRefs: [{group: \"\", kind: Service, name: web}]\n  rules:\n")
	for _, rule := range rules {
		b.WriteString("  - {" + rule + ", backendRefs: [{name: web, port: 80}]}\n")
	}
	m.write("route.yaml", b.String())
}

// failing is an application that fails as often as a request's query says, and by which status.
func failing(calls *atomic.Int64) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		var times, status int
		fmt.Sscanf(r.URL.RawQuery, "%d,%d", &times, &status)
		if int(calls.Add(1)) <= times {
			w.WriteHeader(status)
		}
	})
}

// ask makes a request with a body of some size, and returns the answer's status.
func ask(t *testing.T, c *http.Client, method, url string, size int) int {
	t.Helper()
	req, err := http.NewRequest(method, url, strings.NewReader(strings.Repeat("b", size)))
	check(t, err)
	resp, err := c.Do(req)
	check(t, err)
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	check(t, err)
	return resp.StatusCode
}

// What an HTTPRoute says of retries is done: for its codes, so often, of requests that mean the
// same twice, and of others where it names their method.
func TestAnHTTPRouteRetries(t *testing.T) {
	m := newMesh(t, 0)
	m.httpRoute("retry: {codes: [503], attempts: 2, backoff: 1ms}",
		"matches: [{path: {value: /orders}, method: POST}], retry: {codes: [503], backoff: 1ms}")
	var calls atomic.Int64
	url, _, _ := m.pair(failing(&calls))
	for name, c := range map[string]*http.Client{"http1": http1Client(t), "http2": http2Client(t)} {
		for _, tt := range []struct {
			method, target string // the query: times, status
			size           int
			status         int
			calls          int64
		}{
			{"GET", "/?2,503", 0, 200, 3},
			{"GET", "/?3,503", 0, 503, 3},
			{"GET", "/?1,500", 0, 500, 1},
			{"PUT", "/?1,503", 60 << 10, 200, 2},
			{"PUT", "/?1,503", 80 << 10, 503, 1},
			{"POST", "/?1,503", 4, 503, 1},
			{"POST", "/orders?1,503", 4, 200, 2},
			{"POST", "/orders?2,503", 4, 503, 2},
		} {
			calls.Store(0)
			got := ask(t, c, tt.method, url+tt.target, tt.size)
			if got != tt.status || calls.Load() != tt.calls {
				t.Errorf("%s, %s %s of %d bytes: %d after %d calls, want %d after %d", name,
					tt.method, tt.target, tt.size, got, calls.Load(), tt.status, tt.calls)
			}
		}
	}
}

// Calls of gRPC are POSTs: they are tried again where a route names that method, after the statuses
// that its codes stand for.
func TestAnHTTPRouteRetriesGRPC(t *testing.T) {
	for rule, again := range map[string]bool{
		"matches: [{method: POST}], retry: {codes: [503], attempts: 2}": true,
		"retry: {codes: [503], attempts: 2}":                            false,
	} {
		m := newMesh(t, 0)
		m.httpRoute(rule)
		var calls atomic.Int64
		var code atomic.Uint32
		addr, _ := serveGRPC(t, &scripted{unary: func(context.Context) error {
			if calls.Add(1) <= 2 {
				return status.Error(codes.Code(code.Load()), "scripted")
			}
			return nil
		}})
		web := pod{"web-0", addr, loopback.Free()}
		m.service("web", web)
		m.proxy("web", web)
		c := dialGRPC(t, m.caller("web").out["web"])
		for want, listed := range map[codes.Code]bool{codes.Unavailable: true,
			codes.Internal: false} {
			calls.Store(0)
			code.Store(uint32(want))
			_, err := c.EmptyCall(within(t, 30*time.Second), &testgrpc.Empty{})
			retried := again && listed
			if retried != (err == nil) || retried != (calls.Load() > 1) {
				t.Errorf("%s: %v: %v after %d calls", rule, want, err, calls.Load())
			}
		}
	}
}

// Without anything in the budget an answer passes as it is, and at once.
func TestAnHTTPRouteRetriesWithinTheBudget(t *testing.T) {
	m := newMesh(t, 0)
	m.httpRoute("retry: {codes: [503], attempts: 5}")
	m.profile("  retryBudget: {retryRatio: 0, minRetriesPerSecond: 0, ttl: 10s}\n")
	var calls atomic.Int64
	url, _, _ := m.pair(failing(&calls))
	for name, c := range map[string]*http.Client{"http1": http1Client(t), "http2": http2Client(t)} {
		calls.Store(0)
		if got := ask(t, c, "GET", url+"/?1,503", 0); got != 503 || calls.Load() != 1 {
			t.Errorf("%s: %d after %d calls", name, got, calls.Load())
		}
	}
}
