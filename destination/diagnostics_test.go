package destination

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestDiagnostics(t *testing.T) {
	s := startServer(t, cluster)
	ask := func(host, query string) (int, string) {
		r := httptest.NewRequest(http.MethodGet, "/resources?"+query, nil)
		r.Host = host
		w := httptest.NewRecorder()
		s.Diagnostics().ServeHTTP(w, r)
		return w.Code, w.Body.String()
	}
	if code, body := ask("localhost:8087", "authority=web.shop"); code != 503 ||
		!strings.Contains(body, "not been read") {
		t.Errorf("before the source is read: %d %s", code, body)
	}
	close(s.gate.open)
	<-s.synced
	for _, c := range []struct {
		host, query string
		code        int
		want        string
	}{
		{"localhost:8087", "authority=web.shop", 200, `"web-1/10.1.0.1:8080"`},
		{"127.0.0.1:8087", "authority=web&namespace=shop", 200, `"web-1/10.1.0.1:8080"`},
		{"[::1]:8087", "address=10.96.0.10:80", 200, `"web-1/10.1.0.1:8080"`},
		{"localhost", "inboundPort=8080&namespace=shop&pod=web-1", 200, `"/healthz"`},
		{"localhost", "authority=a:b", 200, `"invalid":"authority`},
		{"localhost", "", 400, "name one of"},
		{"localhost", "inboundPort=x", 400, "name one of"},
		{"evil.example.com", "authority=web.shop", 403, "loopback"},
	} {
		if code, body := ask(c.host, c.query); code != c.code || !strings.Contains(body, c.want) {
			t.Errorf("%s at %s: %d %s", c.query, c.host, code, body)
		}
	}
	if n := s.hub.size(); n != 0 {
		t.Errorf("%d cells are left", n)
	}
}

func TestQueriesStayOnLoopback(t *testing.T) {
	for address, ok := range map[string]bool{
		"127.0.0.1:8087": true, "[::1]:0": true, ":8087": false, "0.0.0.0:8087": false,
		"localhost": false, "10.0.0.1:1": false,
	} {
		if err := requireLoopback(address); (err == nil) != ok {
			t.Errorf("%q: %v", address, err)
		}
	}
}
