package proxy_test

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"testing"

	"github.com/tulle-mesh/tulle/test/loopback"
	"golang.org/x/net/http2"
)

// resetting reads each request, counts it, as if it had acted, and resets the connection.
func resetting(t *testing.T) (addr string, acted *atomic.Int64) {
	acted = new(atomic.Int64)
	return serveTCP(t, func(nc net.Conn) {
		go func() {
			defer nc.Close()
			nc.(*net.TCPConn).SetLinger(0)
			if req, err := http.ReadRequest(bufio.NewReader(nc)); err == nil {
				io.Copy(io.Discard, req.Body)
				acted.Add(1)
			}
		}()
	}), acted
}

// What lies between a proxy and a backend may reset a connection after the backend has acted: such
// a POST is not repeated, and fails. A reset by the pod's own application is its kernel's word that
// nobody has read, which is believed once.
func TestAResetRequestIsNotRepeatedAgainAndAgain(t *testing.T) {
	m := newMesh(t, 0)
	far, farActed := resetting(t)
	near, nearActed := resetting(t)
	web := pod{"web-0", near, loopback.Free()}
	m.service("pay", pod{"pay-0", far, ""})
	m.service("web", web)
	m.proxy("web", web)
	for name, test := range map[string]struct {
		to     string
		acted  *atomic.Int64
		times  int64
		status int
	}{
		"an unmeshed backend":   {m.caller("pay").out["pay"], farActed, 1, 502},
		"the pod's application": {web.mesh, nearActed, 2, 503},
	} {
		// Without a body the request leaves in one write, however busy the machine is: only then is
		// a reset believed.
		resp, err := http1Client(t).Post("http://"+test.to+"/charge?amount=100", "", nil)
		check(t, err)
		resp.Body.Close()
		if n := test.acted.Load(); n != test.times || resp.StatusCode != test.status {
			t.Errorf("%s: acted %d times, want %d; status %d, want %d",
				name, n, test.times, resp.StatusCode, test.status)
		}
	}
}

// A backend that sheds load by refusing is not sent a multiple of it.
func TestWhatIsRefusedIsRepeatedWithinABudget(t *testing.T) {
	var asked atomic.Int64
	s := &framed{on: func(c *framedConn, id uint32) {
		asked.Add(1)
		c.write(func() { c.WriteRSTStream(id, http2.ErrCodeRefusedStream) })
	}}
	url := outboundTo(t, s.serve(t))
	c := http2Client(t)
	const posts, reserve = 200, 10 * 10 // retries: a budget's least a second, times its seconds
	for range posts {
		if status := post(t, c, url); status != 503 {
			t.Fatalf("status %d", status)
		}
	}
	if n := asked.Load(); n < posts || n > posts+2*reserve { // the seconds may go on
		t.Errorf("%d requests were sent %d times", posts, n)
	}
}
