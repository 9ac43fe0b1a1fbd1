package proxy_test

import (
	"net"
	"net/http"
	"strings"
	"testing"

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
