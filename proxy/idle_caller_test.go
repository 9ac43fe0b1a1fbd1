package proxy_test

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/tulle-mesh/tulle/test/await"
)

// A caller that keeps a connection finds it open: it is not closed just as a request comes.
func TestAnIdleCallerIsKeptLongerThanABackend(t *testing.T) {
	m := newMesh(t, 0)
	m.limits.IdleHTTP = 50 * time.Millisecond
	addr := app(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {}))
	m.service("web", pod{"web-0", addr, ""})
	to := m.caller("web").out["web"]
	nc, err := net.Dial("tcp", to)
	check(t, err)
	defer nc.Close()
	check(t, nc.SetDeadline(time.Now().Add(await.Limit)))
	lines := bufio.NewReader(nc)
	other := &crowd{frames(t, to), ^uint32(0)}
	for range 2 {
		other.get("/")
		other.want("HTTP/2", ":status", "200")
		say(t, nc, "GET / HTTP/1.1\r\nHost: web\r\n\r\n")
		resp, err := http.ReadResponse(lines, nil)
		check(t, err)
		io.Copy(io.Discard, resp.Body)
		time.Sleep(10 * m.limits.IdleHTTP)
	}
}
