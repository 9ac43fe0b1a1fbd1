package proxy_test

import (
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/tulle-mesh/tulle/destination/api"
	"github.com/tulle-mesh/tulle/test/await"
	"github.com/tulle-mesh/tulle/test/loopback"
	"github.com/tulle-mesh/tulle/test/output"
)

// What an application has no room for is refused by its own proxy, which says so to the caller, in
// its log and in its metrics. A caller's proxy asks another pod as soon as there is one.
func TestAnApplicationThatHasNoRoom(t *testing.T) {
	arrived, release := make(chan struct{}), make(chan struct{})
	addr := app(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/hold" {
			arrived <- struct{}{}
			<-release
		}
	}))
	m, log := newMesh(t, 0), &output.Buffer{}
	m.annotate(accessLogOn)
	web := pod{"web-0", addr, loopback.Free()}
	m.service("web", web)
	caller := m.caller("web")
	m.through("web", func(r *api.Resource) {
		if in := r.GetInbound(); in != nil {
			in.Reach = api.Reach_REACH_CHOSEN
			in.Concurrency = &api.Concurrency{MinRequests: 1, MaxRequests: 1}
		}
	})
	m.access = log
	callee := m.proxy("web", web)
	c, url := http1Client(t), "http://"+caller.out["web"]
	held := make(chan int, 1)
	go func() {
		status := 0
		if resp, err := c.Get(url + "/hold"); err == nil {
			resp.Body.Close()
			status = resp.StatusCode
		}
		held <- status
	}()
	await.Receive(t, "the first request arrives", arrived)
	status, body, h := get(t, c, url)
	if status != 503 || h.Get("Retry-After") == "" || h.Get("Tulle-Undelivered") != "" ||
		!strings.Contains(h.Get("Tulle-Error"), "under way at the application") {
		t.Errorf("the second is answered by %d %s %v", status, body, h)
	}
	awaitLine(t, log, map[string]any{"tulle.reason": "overload", "tulle.tries": 0,
		"http.response.status_code": 503, "tulle.client.id": workloadID("client")})
	_, port, _ := net.SplitHostPort(addr)
	line := `tulle_concurrency_refused_total{port="` + port + `"} 1`
	if !says(t, callee, line) {
		t.Errorf("the metrics do not say %s", line)
	}

	other := pod{"web-1", app(t, http.HandlerFunc(
		func(http.ResponseWriter, *http.Request) {})), loopback.Free()}
	m.service("web", web, other)
	m.proxy("web", other)
	await.True(t, "another pod is asked", func() bool {
		status, _, _ := get(t, c, url)
		return status == 200
	})
	for range 20 {
		if status, body, _ := get(t, c, url); status != 200 {
			t.Errorf("beside a pod that has room: %d %s", status, body)
		}
	}
	close(release)
	if got := await.Receive(t, "the first is answered", held); got != 200 {
		t.Errorf("the first is answered by %d", got)
	}
}
