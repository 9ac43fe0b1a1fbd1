package proxy_test

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/tulle-mesh/tulle/test/await"
	"github.com/tulle-mesh/tulle/test/loopback"
)

// What a profile says of hedges is done: a slow endpoint's callers have their answers of another
// one, and its application, behind two proxies, hears that nobody waits.
func TestAProfileHedges(t *testing.T) {
	m := newMesh(t, 0)
	m.profile("  routes:\n  - name: r\n    condition: {pathRegex: /.*}\n    isRetryable: true\n" +
		"    hedge: {after: 20ms}\n")
	left := make(chan struct{}, 100)
	slow := pod{"slow-0", app(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		<-r.Context().Done()
		left <- struct{}{}
	})), loopback.Free()}
	quick := app(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, "quick")
	}))
	m.service("web", slow, pod{"quick-0", quick, ""})
	m.proxy("web", slow)
	caller := m.caller("web")
	c := http1Client(t)
	metrics := func() (page string) {
		_, page, _ = get(t, c, "http://"+caller.admin+"/metrics")
		return page
	}
	heard := false
	// One of two endpoints is asked first. On a busy machine the hedge may be answered before the
	// slow application has been asked, or the quick one be slow.
	await.True(t, "the slow one is hedged, and its application hears of it", func() bool {
		status, body, _ := get(t, c, "http://"+caller.out["web"]+"/x")
		if status != 200 || body != "quick" {
			t.Fatalf("%d %s", status, body)
		}
		select {
		case <-left:
			heard = true
		default:
		}
		return heard && counts(metrics(), "tulle_hedges_total", "slow-0")
	})
	await.True(t, "the request counts where it ended, and its tries where they were made",
		func() bool {
			page := metrics()
			return counts(page, "tulle_requests_total", "quick-0") &&
				counts(page, "tulle_tries_total", "slow-0")
		})
	if page := metrics(); counts(page, "tulle_requests_total", "slow-0") {
		t.Errorf("metrics are\n%s", page)
	}
}

// counts reports whether a metric of a pod's is more than 0.
func counts(page, name, pod string) bool {
	for line := range strings.Lines(page) {
		if strings.HasPrefix(line, name+"{") && strings.Contains(line, `"`+pod+`"`) {
			return !strings.HasSuffix(line, " 0\n")
		}
	}
	return false
}
