package proxy_test

import (
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/tulle-mesh/tulle/proxy/config"
	"github.com/tulle-mesh/tulle/test/loopback"
)

// The kubelet has no identity, and a pod that cannot be probed is killed: what the pod declares as
// probes is admitted, with the query that it was declared with, and gRPC's own; nothing else is.
func TestProbesReachAStrictWorkload(t *testing.T) {
	m := newMesh(t, 0)
	m.write("namespace.yaml", "apiVersion: v1\nkind: Namespace\n"+
		"metadata: {name: shop, annotations: {tulle.dev/mode: strict}}\n")
	addr := app(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {}))
	web := pod{"web-0", addr, loopback.Free()}
	m.service("web", web)
	_, port, _ := net.SplitHostPort(web.app)
	m.edit("service-web.yaml", "{name: app}", "{name: app, livenessProbe: {grpc: {port: "+port+
		"}}, readinessProbe: {httpGet: {path: '/ready?deep=1', port: "+port+"}}}")
	m.proxy("web", web)
	for _, tt := range []struct {
		method, path string
		client       func(testing.TB) *http.Client
		want         int
	}{
		{"GET", "/ready?deep=1", http1Client, 200}, {"POST", "/ready?deep=1", http1Client, 403},
		{"GET", "/other", http1Client, 403},
		{"POST", "/grpc.health.v1.Health/Check", http2Client, 200},
		{"GET", "/grpc.health.v1.Health/Check", http2Client, 403},
	} {
		req, err := http.NewRequest(tt.method, "http://"+web.mesh+tt.path, strings.NewReader(""))
		check(t, err)
		resp, err := tt.client(t).Do(req)
		check(t, err)
		resp.Body.Close()
		if resp.StatusCode != tt.want {
			t.Errorf("%s %s: %d, want %d", tt.method, tt.path, resp.StatusCode, tt.want)
		}
	}
}

// The kubelet follows redirects, and writes a path with a slash before it. Where a probe's answer
// leads is open to it, and nothing else is.
func TestAProbeFollowsItsRedirects(t *testing.T) {
	m := newMesh(t, 0)
	m.write("namespace.yaml", "apiVersion: v1\nkind: Namespace\n"+
		"metadata: {name: shop, annotations: {tulle.dev/mode: strict}}\n")
	addr := app(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/health":
			to := "/health/"
			if next := r.URL.Query().Get("next"); next != "" {
				to = next
			}
			http.Redirect(w, r, to, http.StatusMovedPermanently)
		case "/health/":
			w.Header().Set("Location", "../live?deep=1")
			w.WriteHeader(http.StatusFound)
		case "/other":
			http.Redirect(w, r, "/secret", http.StatusFound)
		}
	}))
	web := pod{"web-0", addr, loopback.Free()}
	m.service("web", web)
	_, port, _ := net.SplitHostPort(web.app)
	m.edit("service-web.yaml", "{name: app}", "{name: app, livenessProbe: {httpGet: "+
		"{path: 'start?x=1', port: "+port+"}}, readinessProbe: {httpGet: {path: /health, port: "+
		port+"}}}")
	m.proxy("web", web)
	c := http1Client(t)
	c.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	for _, tt := range []struct {
		method, path string
		want         int
	}{
		{"GET", "/start?x=1", 200},
		{"GET", "/health/", 403},
		{"GET", "/health?next=/secret", 301}, {"GET", "/secret", 403},
		{"GET", "/health", 301}, {"GET", "/health/", 302}, {"POST", "/health/", 403},
		{"GET", "/live?deep=1", 200}, {"POST", "/live", 403},
		{"GET", "/other", 403}, {"GET", "/secret", 403},
	} {
		req, err := http.NewRequest(tt.method, "http://"+web.mesh+tt.path, nil)
		check(t, err)
		resp, err := c.Do(req)
		check(t, err)
		resp.Body.Close()
		if resp.StatusCode != tt.want {
			t.Errorf("%s %s: %d, want %d", tt.method, tt.path, resp.StatusCode, tt.want)
		}
	}
}

// Over the application's own TLS nobody sees what the kubelet asks. It is known by where it calls
// from, at a port that it probes so, and only there.
func TestAProbeOverTLSReachesAStrictWorkload(t *testing.T) {
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {}))
	t.Cleanup(s.Close)
	secure := s.Client()
	for name, tt := range map[string]struct {
		node, scheme string
		admitted     bool
	}{
		"the kubelet":     {"127.0.0.1", "HTTPS", true},
		"somebody else":   {"192.0.2.1", "HTTPS", false},
		"at another port": {"127.0.0.1", "HTTP", false},
	} {
		m := newMesh(t, 0)
		m.write("namespace.yaml", "apiVersion: v1\nkind: Namespace\n"+
			"metadata: {name: shop, annotations: {tulle.dev/mode: strict}}\n")
		web := pod{"web-0", s.Listener.Addr().String(), loopback.Free()}
		m.service("web", web)
		_, port, _ := net.SplitHostPort(web.app)
		m.edit("service-web.yaml", "{name: app}", "{name: app, livenessProbe: {httpGet: "+
			"{scheme: "+tt.scheme+", path: /live, port: "+port+"}}}")
		r, env := m.describe("web", web)
		env[config.EnvNodeIP] = tt.node
		r.p, r.stop = m.run(env)
		m.ready(r.admin)
		resp, err := secure.Get("https://" + web.mesh + "/live")
		if err == nil {
			resp.Body.Close()
		}
		if (err == nil) != tt.admitted {
			t.Errorf("%s: %v", name, err)
		}
		secure.CloseIdleConnections()
		if status, _, _ := get(t, http1Client(t), "http://"+web.mesh+"/other"); status != 403 {
			t.Errorf("%s, in plaintext: %d", name, status)
		}
	}
}
