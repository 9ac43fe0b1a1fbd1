package proxy_test

import (
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/tulle-mesh/tulle/proxy/config"
	"github.com/tulle-mesh/tulle/test/loopback"
)

// A proxy that starts, or starts again, while destination is away does not know who may call: it
// admits the kubelet's probes, says why it is not ready, and refuses all else until it does know.
func TestNobodyIsAdmittedUntilDestinationHasAnswered(t *testing.T) {
	for _, mode := range []string{"permissive", "strict"} {
		t.Run(mode, func(t *testing.T) {
			m := newMesh(t, 0)
			m.limits.DiscoveryWait /= 10 // which a peer waits for
			addr := app(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {}))
			web := pod{"web-0", addr, loopback.Free()}
			m.service("web", web)
			m.write("namespace.yaml", "apiVersion: v1\nkind: Namespace\n"+
				"metadata: {name: shop, annotations: {tulle.dev/mode: "+mode+"}}\n")
			for _, start := range []string{"new", "restarted"} {
				m.stopDest()
				_, stop := m.unanswered(t, web, start)
				m.startDestination()
				want := map[string]int{"permissive": 200, "strict": 403}[mode]
				awaitStatus(t, "http://"+web.mesh+"/other", want)
				check(t, stop())
			}
		})
	}
}

// unanswered runs web's proxy without a destination, and tries what it admits.
func (m *testMesh) unanswered(t *testing.T, web pod, start string) (*running, func() error) {
	t.Helper()
	r, env := m.describe("web", web)
	_, port, _ := net.SplitHostPort(web.app)
	env[config.EnvProbes] = port + "/ready"
	_, stop := m.run(env)
	awaitStatus(t, "http://"+r.admin+"/ready", 503)
	_, body, _ := get(t, http1Client(t), "http://"+r.admin+"/ready")
	if !strings.Contains(body, "nobody is admitted but probes") {
		t.Errorf("%s: it is not ready because %q", start, body)
	}
	for path, want := range map[string]int{"/ready": 200, "/other": 503} {
		if status, body, _ := get(t, http1Client(t), "http://"+web.mesh+path); status != want {
			t.Errorf("%s: %s in plaintext: %d %s, want %d", start, path, status, body, want)
		}
	}
	awaitCertificate(t, r)
	tc, err := m.dialMesh("client", web.mesh, port+config.SNISuffix, config.ALPNTCP,
		workloadID("web"))
	check(t, err)
	// an error is an answer
	io.WriteString(tc, "GET /other HTTP/1.1\r\nHost: web\r\nConnection: close\r\n\r\n")
	if b, _ := io.ReadAll(tc); strings.HasPrefix(string(b), "HTTP/1.1 200") {
		t.Errorf("%s: a peer was served: %q", start, b)
	}
	return r, stop
}

func awaitStatus(t *testing.T, url string, want int) {
	t.Helper()
	last := 0
	deadline := time.Now().Add(20 * time.Second)
	for ; time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if resp, err := http.Get(url); err == nil {
			resp.Body.Close()
			if last = resp.StatusCode; last == want {
				return
			}
		}
	}
	t.Fatalf("%s: %d, want %d", url, last, want)
}

// awaitCertificate waits until peers can make a connection, whatever else the proxy waits for.
func awaitCertificate(t *testing.T, r *running) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for ; time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		_, body, _ := get(t, http1Client(t), "http://"+r.admin+"/ready")
		if !strings.Contains(body, "certificate") {
			return
		}
	}
	t.Fatal("no certificate in time")
}
