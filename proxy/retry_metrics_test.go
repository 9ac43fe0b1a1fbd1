package proxy_test

import (
	"net/http"
	"strings"
	"testing"
)

// A request that was tried again counts where it ended, and each try where it was made.
func TestARetriedRequestCountsWhereItEnded(t *testing.T) {
	m := newMesh(t, 0)
	m.profile("  routes:\n  - {name: r, condition: {pathRegex: /.*}, isRetryable: true}\n")
	bad := app(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(500)
	}))
	good := app(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {}))
	m.service("web", pod{"bad-0", bad, ""}, pod{"good-0", good, ""})
	caller := m.caller("web")
	c := http1Client(t)
	for range 40 {
		if status, _, _ := get(t, c, "http://"+caller.out["web"]+"/x"); status != 200 {
			t.Fatal(status)
		}
	}
	_, metrics, _ := get(t, c, "http://"+caller.admin+"/metrics")
	tried := false
	for line := range strings.Lines(metrics) {
		if !strings.Contains(line, `"bad-0"`) {
			continue
		}
		tried = tried || strings.HasPrefix(line, "tulle_tries_total")
		if strings.HasPrefix(line, "tulle_requests_total") && !strings.HasSuffix(line, " 0\n") {
			t.Errorf("a request that ended well elsewhere: %s", line)
		}
	}
	if !tried {
		t.Errorf("no try at the one that fails:\n%s", metrics)
	}
}
