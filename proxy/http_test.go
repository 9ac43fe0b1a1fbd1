package proxy_test

import (
	"io"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/tulle-mesh/tulle/test/await"
)

func dup(t testing.TB, f *os.File) int {
	t.Helper()
	defer f.Close()
	fd, err := syscall.Dup(int(f.Fd()))
	check(t, err)
	return fd
}

func TestHTTPThroughTwoProxies(t *testing.T) {
	m := newMesh(t, 0)
	seen := make(chan *http.Request, 10)
	url, _, _ := m.pair(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		seen <- r
		w.Header().Set("Tulle-Error", "forged by the application")
		w.Header().Set("X-Answer", "yes")
		io.WriteString(w, r.Proto+" "+string(body))
	}))
	for _, tt := range []struct {
		name, proto string
		client      *http.Client
	}{{"http1", "HTTP/1.1", http1Client(t)}, {"http2", "HTTP/2.0", http2Client(t)}} {
		t.Run(tt.name, func(t *testing.T) {
			req, _ := http.NewRequest("POST", url+"/path?q=1", strings.NewReader("hello"))
			req.Header.Set("Tulle-Client-Id", "spiffe://forged")
			req.Header.Set("Tulle-Proto", "forged")
			req.Header.Set("X-Forwarded-Client-Cert", "forged")
			req.Header.Set("X-Mine", "kept")
			resp, err := tt.client.Do(req)
			check(t, err)
			defer resp.Body.Close()
			body, err := io.ReadAll(resp.Body)
			check(t, err)
			if resp.StatusCode != 200 || string(body) != tt.proto+" hello" {
				t.Errorf("got %d %q, want 200 %q", resp.StatusCode, body, tt.proto+" hello")
			}
			if resp.Header.Get("X-Answer") != "yes" || resp.Header.Get("Tulle-Error") != "" {
				t.Errorf("response headers: %v", resp.Header)
			}
			r := await.Receive(t, "the request arrives", seen)
			if got := r.Header["Tulle-Client-Id"]; len(got) != 1 || got[0] != workloadID("client") {
				t.Errorf("the application sees caller %q, want %q", got, workloadID("client"))
			}
			if r.Header.Get("X-Mine") != "kept" || r.Header.Get("X-Forwarded-Client-Cert") != "" ||
				r.Header.Get("Tulle-Proto") != "" {
				t.Errorf("request headers: %v", r.Header)
			}
		})
	}
}
