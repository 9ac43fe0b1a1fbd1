package proxy_test

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"testing"
	"time"

	"github.com/tulle-mesh/tulle/destination/api"
	"github.com/tulle-mesh/tulle/test/await"
	"github.com/tulle-mesh/tulle/test/loopback"
	"github.com/tulle-mesh/tulle/test/output"
)

// limited is a caller of the application at an address, whose proxy has limits for it.
func limited(
	t *testing.T, limits *api.ClusterLimits, addr string,
) (caller *running, log *output.Buffer) {
	t.Helper()
	m := newMesh(t, 0)
	log = &output.Buffer{}
	m.annotate(accessLogOn)
	web := pod{"web-0", addr, loopback.Free()}
	m.service("web", web)
	m.proxy("web", web)
	m.access = log
	m.through("client", func(r *api.Resource) {
		if c := r.GetCluster(); c != nil {
			c.Limits = limits
		}
	})
	return m.caller("web"), log
}

// What is beyond a limit of its cluster is refused at once, by the caller's own proxy, which says
// so to the caller, in its log and in its metrics.
func TestARequestBeyondItsClustersLimit(t *testing.T) {
	arrived, release := make(chan struct{}), make(chan struct{})
	addr := app(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		arrived <- struct{}{}
		<-release
	}))
	caller, log := limited(t, &api.ClusterLimits{MaxRequests: 1}, addr)
	c, url := http1Client(t), "http://"+caller.out["web"]
	first := make(chan int, 1)
	go func() {
		resp, err := c.Get(url)
		if err != nil {
			t.Error(err)
			first <- 0
			return
		}
		resp.Body.Close()
		first <- resp.StatusCode
	}()
	await.Receive(t, "the first request arrives", arrived)
	status, body, h := get(t, c, url+"/second")
	if status != 503 || h.Get("Tulle-Error") == "" || h.Get("Retry-After") == "" {
		t.Errorf("the second is answered by %d %s %v", status, body, h)
	}
	awaitLine(t, log, map[string]any{"url.path": "/second", "tulle.reason": "cluster_limit",
		"tulle.tries": 0, "http.response.status_code": 503})
	line := fmt.Sprintf("tulle_cluster_overflows_total{backend=%q,limit=\"requests\"} 1",
		authority("web"))
	if !says(t, caller, line) {
		t.Errorf("the metrics do not say %s", line)
	}
	close(release)
	if got := await.Receive(t, "the first is answered", first); got != 200 {
		t.Errorf("the first is answered by %d", got)
	}
	go func() { <-arrived }()
	if status, body, _ := get(t, c, url); status != 200 {
		t.Errorf("the next is answered by %d %s", status, body)
	}
}

// Opaque connections do not wait: one more than may be is cut.
func TestAConnectionBeyondItsClustersLimit(t *testing.T) {
	a := accept(t)
	caller, log := limited(t, &api.ClusterLimits{MaxConnections: 1}, a.addr)
	opaque := func() net.Conn {
		nc, err := net.Dial("tcp", caller.out["web"])
		check(t, err)
		t.Cleanup(func() { nc.Close() })
		_, err = nc.Write([]byte("\x01"))
		check(t, err)
		return nc
	}
	// one that is carried has nothing to read
	cut := func(nc net.Conn, within time.Duration) bool {
		check(t, nc.SetReadDeadline(time.Now().Add(within)))
		_, err := nc.Read(make([]byte, 1))
		return !errors.Is(err, os.ErrDeadlineExceeded)
	}
	first := opaque()
	server := a.next(t)
	if !cut(opaque(), await.Limit) {
		t.Error("the second connection lives")
	}
	awaitLine(t, log, map[string]any{"network.transport": "tcp", "tulle.reason": "cluster_limit"})
	first.Close()
	server.Close()
	await.True(t, "there is room again", func() bool {
		return !cut(opaque(), 100*time.Millisecond)
	})
}
