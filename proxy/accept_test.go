package proxy_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"syscall"
	"testing"
	"time"

	"github.com/tulle-mesh/tulle/test/loopback"
)

// Whoever fills the connections of one direction leaves the other some: strangers at the inbound
// port do not keep the application from calling, nor does a leak of the application's keep its
// callers away.
func TestNeitherDirectionTakesAllConnections(t *testing.T) {
	for _, inbound := range []bool{true, false} {
		t.Run(fmt.Sprintf("inbound is full: %v", inbound), func(t *testing.T) {
			m := newMesh(t, time.Hour)
			m.limits.MaxConnections, m.limits.ReservedConnections = 8, 2
			addr := app(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
			web := pod{"web-0", addr, loopback.Free()}
			m.service("web", web)
			m.service("api", pod{"api-0", addr, ""})
			full, other := web.mesh, m.proxy("web", web, "api").out["api"]
			if !inbound {
				full, other = other, full
			}
			defer fill(t, full, 6)()
			if !isReset(t, full) {
				t.Error("a connection beyond what the direction may have was not refused")
			}
			if status, _, _ := get(t, http1Client(t), "http://"+other); status != 200 {
				t.Errorf("the other direction answers %d", status)
			}
		})
	}
}

// fill opens n connections and says nothing on them. What it returns closes them.
func fill(t *testing.T, addr string, n int) func() {
	t.Helper()
	open := make([]net.Conn, 0, n)
	for range n {
		nc, err := net.Dial("tcp", addr)
		check(t, err)
		open = append(open, nc)
	}
	return func() {
		for _, nc := range open {
			nc.Close()
		}
	}
}

// isReset reports whether a new connection is reset before anything was said on it.
func isReset(t *testing.T, addr string) bool {
	t.Helper()
	nc, err := net.Dial("tcp", addr)
	if errors.Is(err, syscall.ECONNRESET) { // before Dial has returned
		return true
	}
	check(t, err)
	defer nc.Close()
	check(t, nc.SetReadDeadline(time.Now().Add(10*time.Second)))
	_, err = io.ReadFull(nc, make([]byte, 1))
	return errors.Is(err, syscall.ECONNRESET)
}
