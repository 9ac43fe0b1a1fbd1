package proxy_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/tulle-mesh/tulle/proxy/config"
	"github.com/tulle-mesh/tulle/test/await"
	"github.com/tulle-mesh/tulle/test/loopback"
)

// reservedNames are nobody's to send, in every spelling that an application may take for them: CGI
// and WSGI read an underscore as a hyphen.
var reservedNames = []string{"tulle-client-id", "tulle-error", "tulle-proto", "tulle-deadline-ms",
	"tulle-hop", "tulle-anything", "x-forwarded-client-cert", "tulle_client_id", "content_length",
	"transfer_encoding", "x_forwarded-client_cert"}

// forge sets every reserved name.
func forge(h http.Header, prefix string) {
	for _, n := range reservedNames {
		h.Set(prefix+n, "forged")
	}
	h.Set(prefix+"x-mine", "kept")
}

// message is what came of a request or a response.
type message struct{ head, trailer http.Header }

func forger(seen chan<- message) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		seen <- message{r.Header.Clone(), r.Trailer.Clone()}
		forge(w.Header(), "")
		w.WriteHeader(200)
		io.WriteString(w, "body")
		http.NewResponseController(w).Flush()
		forge(w.Header(), http.TrailerPrefix)
	})
}

// send forges a request and returns what came back.
func send(t *testing.T, c *http.Client, url string) message {
	t.Helper()
	req, err := http.NewRequest("POST", url, io.NopCloser(strings.NewReader("body")))
	check(t, err)
	forge(req.Header, "")
	req.Trailer = http.Header{}
	forge(req.Trailer, "")
	resp, err := c.Do(req)
	check(t, err)
	defer resp.Body.Close()
	_, err = io.ReadAll(resp.Body)
	check(t, err)
	if resp.StatusCode != 200 {
		t.Fatalf("status %d %v", resp.StatusCode, resp.Header)
	}
	return message{resp.Header, resp.Trailer}
}

// meshPeer is an HTTP/2 client with an SVID and no proxy: nothing keeps it from sending what it
// likes.
func (m *testMesh) meshPeer(to, app string) *http.Client {
	_, port, _ := net.SplitHostPort(app)
	protocols := &http.Protocols{}
	protocols.SetUnencryptedHTTP2(true)
	dial := func(context.Context, string, string) (net.Conn, error) {
		return m.dialMesh("client", to, port+config.SNISuffix, config.ALPNHTTP, workloadID("web"))
	}
	tr := &http.Transport{Protocols: protocols, DialContext: dial}
	m.t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr}
}

// One test a cell of the table in headers.go.
func TestReservedHeadersInEveryDirection(t *testing.T) {
	m := newMesh(t, 0)
	seen := make(chan message, 1)
	addr := app(t, forger(seen))
	web, plain := pod{"web-0", addr, loopback.Free()}, pod{"plain-0", addr, ""}
	m.service("web", web)
	m.service("plain", plain)
	m.proxy("web", web)
	caller := m.caller("web", "plain")
	h1, h2 := http1Client(t), http2Client(t)
	for _, tt := range []struct {
		name, url string
		client    *http.Client
		id        string
	}{
		{"application to mesh, http1", "http://" + caller.out["web"], h1, workloadID("client")},
		{"application to mesh, http2", "http://" + caller.out["web"], h2, workloadID("client")},
		{"mesh peer, http2", "http://web", m.meshPeer(web.mesh, addr), workloadID("client")},
		{"unmeshed caller, http1", "http://" + web.mesh, h1, ""},
		{"unmeshed caller, http2", "http://" + web.mesh, h2, ""},
		{"unmeshed endpoint, http1", "http://" + caller.out["plain"], h1, ""},
		{"unmeshed endpoint, http2", "http://" + caller.out["plain"], h2, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := send(t, tt.client, tt.url)
			asked := await.Receive(t, "the request arrives", seen)
			for _, n := range reservedNames {
				want := ""
				if n == "tulle-client-id" {
					want = tt.id
				}
				cell(t, "request, "+n, asked.head, n, want)
				cell(t, "request's trailers, "+n, asked.trailer, n, "")
				cell(t, "response, "+n, got.head, n, "")
				cell(t, "response's trailers, "+n, got.trailer, n, "")
			}
			for where, h := range map[string]http.Header{"request": asked.head,
				"request's trailers": asked.trailer, "response": got.head,
				"response's trailers": got.trailer} {
				cell(t, where+", x-mine", h, "x-mine", "kept")
			}
		})
	}
}

func cell(t *testing.T, name string, h http.Header, field, want string) {
	t.Run(name, func(t *testing.T) {
		if got := strings.Join(h.Values(field), " and "); got != want {
			t.Errorf("%s is %q, want %q", field, got, want)
		}
	})
}

// Why a proxy failed is for the mesh to know, and for the application whose proxy tells it.
func TestTulleErrorStaysInTheMesh(t *testing.T) {
	m := newMesh(t, 0)
	addr := app(t, http.NotFoundHandler())
	web := pod{"web-0", addr, loopback.Free()}
	m.service("web", web)
	m.write("namespace.yaml", "apiVersion: v1\nkind: Namespace\n"+
		"metadata: {name: shop, annotations: {tulle.dev/mode: strict}}\n")
	m.proxy("web", web)
	for name, c := range map[string]*http.Client{"http1": http1Client(t), "http2": http2Client(t)} {
		status, _, header := get(t, c, "http://"+web.mesh)
		deadline := time.Now().Add(10 * time.Second)
		for status != 403 && time.Now().Before(deadline) {
			status, _, header = get(t, c, "http://"+web.mesh) // until the change has arrived
		}
		if status != 403 || header.Get("Tulle-Error") != "" {
			t.Errorf("%s, unmeshed: %d %v", name, status, header)
		}
		for field := range header {
			if strings.HasPrefix(field, "Tulle") {
				t.Errorf("%s left the mesh", field)
			}
		}
	}
	down := pod{"down-0", loopback.Free(), loopback.Free()}
	m.service("down", down)
	m.proxy("down", down)
	caller := m.caller("down")
	for name, c := range map[string]*http.Client{"http1": http1Client(t), "http2": http2Client(t)} {
		status, _, header := get(t, c, "http://"+caller.out["down"])
		if status != 503 || header.Get("Tulle-Error") == "" {
			t.Errorf("%s, meshed: %d %v", name, status, header)
		}
	}
}
