package proxy_test

import (
	"net"
	"net/http"
	"strings"
	"testing"
)

// A peer that takes short heads only (RFC 9113 §6.5.2) is not sent long ones: what we answer
// instead says why, and the connection to the peer lives on.
func TestAHeadLongerThanThePeerTakes(t *testing.T) {
	long := strings.Repeat("x", 8<<10)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	protocols := &http.Protocols{}
	protocols.SetUnencryptedHTTP2(true)
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/long" {
			w.Header().Set("X-Long", long)
		}
	})
	s := &http.Server{Protocols: protocols, MaxHeaderBytes: 4 << 10, Handler: h}
	go s.Serve(l)
	t.Cleanup(func() { s.Close() })
	c := http2Client(t)
	c.Transport.(*http.Transport).MaxResponseHeaderBytes = 4 << 10
	for way, addr := range declared(t, "http2", l.Addr().String()) {
		t.Run(way, func(t *testing.T) {
			ask := func(path, header string) (int, string) {
				t.Helper()
				req, err := http.NewRequest("GET", "http://"+addr+path, nil)
				check(t, err)
				req.Header.Set("X-Header", header)
				resp, err := c.Do(req)
				check(t, err)
				said := resp.Header.Get("Tulle-Error") // "inbound" is told nothing
				if resp.StatusCode != 200 && way != "inbound" &&
					!strings.HasPrefix(said, "header_too_large: ") {
					t.Errorf("tulle-error is %q", said)
				}
				return resp.StatusCode, read(t, resp)
			}
			for range 2 {
				if status, body := ask("/", "short"); status != 200 {
					t.Errorf("a short one: %d %q", status, body)
				}
				if status, body := ask("/", long); status != 431 ||
					!strings.Contains(body, "more than") {
					t.Errorf("a long request: %d %q", status, body)
				}
				if status, body := ask("/long", "short"); status != 502 ||
					!strings.Contains(body, "more than") {
					t.Errorf("a long response: %d %q", status, body)
				}
			}
		})
	}
}
