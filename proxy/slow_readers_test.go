package proxy_test

import (
	"net"
	"net/http"
	"testing"

	"github.com/tulle-mesh/tulle/test/await"
	"github.com/tulle-mesh/tulle/test/loopback"
)

// Callers that ask for much and read nothing hold no more than their shares, while others are
// served; and nothing once they have left.
func TestSlowReadersHoldTheirShares(t *testing.T) {
	const callers, heldAtMost = 100, 4 << 20
	m := newMesh(t, 0)
	m.limits.MaxHeld = heldAtMost
	begun := make(chan struct{}, callers)
	addr := app(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/endless" {
			return
		}
		begun <- struct{}{}
		for b := make([]byte, 32<<10); ; {
			if _, err := w.Write(b); err != nil {
				return
			}
		}
	}))
	web := pod{"web-0", addr, loopback.Free()}
	m.service("web", web)
	p := m.proxy("web", web).p
	c := http1Client(t)
	var slow []net.Conn
	for range callers {
		nc, err := net.Dial("tcp", web.mesh)
		check(t, err)
		t.Cleanup(func() { nc.Close() })
		slow = append(slow, nc)
		check(t, nc.(*net.TCPConn).SetReadBuffer(4<<10))
		say(t, nc, "GET /endless HTTP/1.1\r\nHost: web\r\n\r\n")
		await.Receive(t, "the application answers", begun)
	}
	await.True(t, "much is held", func() bool { return p.Held() > heldAtMost/2 })
	for range 50 {
		if status, _, _ := get(t, c, "http://"+web.mesh+"/"); status != 200 {
			t.Errorf("somebody else got %d", status)
		}
		if held := p.Held(); held > heldAtMost+callers*leastShares {
			t.Fatalf("%d bytes are held", held)
		}
	}
	for _, nc := range slow {
		nc.Close()
	}
	await.True(t, "nothing is held for those who have left", func() bool { return p.Held() == 0 })
}

// leastShares is what a caller has in all of its buffers if nothing is left: four, of 4 KiB and
// some framing.
const leastShares = 4 * 8 << 10
