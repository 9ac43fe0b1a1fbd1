package proxy_test

import (
	"io"
	"net/http"
	"strings"
	"testing"
)

// nginx refuses a request with an empty Host, which is what a load balancer's check in HTTP/1.0
// would become. A Host that a caller leaves empty stays so.
func TestARequestWithoutAHostGetsOne(t *testing.T) {
	addr := app(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, r.Method+" host="+r.Host+";")
	}))
	for way, to := range ways(t, addr) {
		for said, want := range map[string]string{
			"GET / HTTP/1.0\r\n\r\n":                                         "GET host=.",
			"GET / HTTP/1.0\r\nHost: a\r\n\r\n":                              "GET host=a;",
			"GET / HTTP/1.1\r\nHost:\r\nConnection: close\r\n\r\n":           "GET host=;",
			"GET http://a/ HTTP/1.0\r\n\r\n":                                 "GET host=a;",
			"GET http://a/ HTTP/1.1\r\nHost: b\r\nConnection: close\r\n\r\n": "GET host=a;",
		} {
			got := exchanged(t, to, said)
			_, body, _ := strings.Cut(got, "\r\n\r\n")
			named, some := strings.CutSuffix(want, ".")
			if some && (!strings.HasPrefix(body, named) || body == "GET host=;") ||
				!some && !strings.Contains(body, want) {
				t.Errorf("%s: %q: %q", way, said, got)
			}
		}
	}
}
