package proxy_test

import (
	"crypto/tls"
	"net"
	"net/http"
	"strconv"
	"testing"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"

	"github.com/tulle-mesh/tulle/identity/spiffe"
	"github.com/tulle-mesh/tulle/proxy/config"
	"github.com/tulle-mesh/tulle/test/await"
	"github.com/tulle-mesh/tulle/test/loopback"
)

// meshServer is a server with an SVID and no proxy: it sees what proxies are told.
func (m *testMesh) meshServer(name string, h http.Handler) (addr string) {
	m.t.Helper()
	src, err := m.dev.Source(m.t.Context(), spiffeid.RequireFromString(workloadID(name)))
	check(m.t, err)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	check(m.t, err)
	cfg := spiffe.ServerConfig(src, []string{config.ALPNHTTP}, spiffe.AnyPeer)
	s := &http.Server{Handler: h, Protocols: &http.Protocols{}}
	s.Protocols.SetUnencryptedHTTP2(true)
	go s.Serve(disguised{tls.NewListener(l, cfg)})
	m.t.Cleanup(func() { s.Close() })
	return l.Addr().String()
}

// disguised hides from net/http, which knows no other ALPN than its own, that there is TLS.
type disguised struct{ net.Listener }

func (l disguised) Accept() (net.Conn, error) {
	nc, err := l.Listener.Accept()
	return struct{ net.Conn }{nc}, err
}

// The proxy of a callee is told what is left of a request's time, less with each try.
func TestADeadlineGoesToTheNextProxy(t *testing.T) {
	m := newMesh(t, 0)
	m.httpRoute("timeouts: {request: 30s}, retry: {codes: [503], backoff: 50ms}")
	told := make(chan string, 2)
	mesh := m.meshServer("web", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		told <- r.Header.Get("Tulle-Deadline-Ms")
		w.WriteHeader(503)
	}))
	m.service("web", pod{"web-0", loopback.Free(), mesh})
	url := "http://" + m.caller("web").out["web"]
	for name, c := range map[string]*http.Client{"http1": http1Client(t), "http2": http2Client(t)} {
		if got := ask(t, c, "GET", url, 0); got != 503 {
			t.Fatalf("%s: %d", name, got)
		}
		var left [2]int
		for i := range left {
			text := await.Receive(t, "the server is asked", told)
			n, err := strconv.Atoi(text)
			check(t, err)
			left[i] = n
		}
		if left[0] <= 0 || left[0] > 30_000 || left[1] <= 0 || left[1] > left[0]-49 {
			t.Errorf("%s: the tries are told of %d ms", name, left)
		}
	}
}

// A proxy does not trouble its application with what is too late, and ends what becomes so. A
// caller without a proxy has no say.
func TestAProxyKeepsTheDeadlineOfItsCallers(t *testing.T) {
	m := newMesh(t, 0)
	asked, cancelled := make(chan struct{}, 10), make(chan struct{}, 10)
	addr := app(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		asked <- struct{}{}
		if r.URL.Path == "/slow" {
			<-r.Context().Done()
			cancelled <- struct{}{}
		}
	}))
	web := pod{"web-0", addr, loopback.Free()}
	m.service("web", web)
	m.proxy("web", web)
	peer, stranger := m.meshPeer(web.mesh, addr), http2Client(t)
	until := func(c *http.Client, url, left string) (status int, why string) {
		req, err := http.NewRequest("GET", url, nil)
		check(t, err)
		req.Header.Set("Tulle-Deadline-Ms", left)
		resp, err := c.Do(req)
		check(t, err)
		resp.Body.Close()
		return resp.StatusCode, resp.Header.Get("Tulle-Error")
	}
	if status, why := until(peer, "http://web/", "0"); status != 504 || why == "" {
		t.Errorf("a deadline that has passed: %d, %q", status, why)
	}
	select {
	case <-asked:
		t.Error("the application was asked in vain")
	default:
	}
	began := time.Now()
	status, why := until(peer, "http://web/slow", "200")
	if took := time.Since(began); status != 504 || why == "" || took < 200*time.Millisecond {
		t.Errorf("a deadline that comes: %d, %q after %v", status, why, took)
	}
	select {
	case <-asked:
		await.Receive(t, "the application hears of it", cancelled)
	default: // the machine is so slow that nobody has asked it
	}
	if status, _ := until(stranger, "http://"+web.mesh, "0"); status != 200 {
		t.Errorf("a caller without a proxy: %d", status)
	}
}
