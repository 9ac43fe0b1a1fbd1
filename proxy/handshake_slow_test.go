package proxy_test

import (
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/tulle-mesh/tulle/test/loopback"
)

// A peer whose core is busy signs late. A dial has to be short, for another endpoint may be there;
// a handshake has a time of its own.
func TestAPeerThatSignsLateIsWaitedFor(t *testing.T) {
	const late = 600 * time.Millisecond
	for _, tt := range []struct {
		handshake time.Duration
		want      int
	}{{20 * time.Second, 200}, {late / 10, 503}} {
		m := newMesh(t, 0)
		m.limits.DialTimeout, m.limits.DialElsewhere = 300*time.Millisecond, 300*time.Millisecond
		m.limits.HandshakeTimeout, m.limits.DiscoveryWait = tt.handshake, 5*late
		addr := app(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {}))
		real := pod{"web-0", addr, loopback.Free()}
		m.service("web", pod{"web-0", addr, behind(t, real.mesh, late)})
		m.proxy("web", real)
		url := "http://" + m.caller("web").out["web"]
		if status, body, _ := get(t, http1Client(t), url); status != tt.want {
			t.Errorf("%v for a handshake: %d %s, want %d", tt.handshake, status, body, tt.want)
		}
	}
}

// behind is an address at which a server takes connections at once, and hears nothing for a while.
func behind(t *testing.T, server string, late time.Duration) (addr string) {
	return serveTCP(t, func(c net.Conn) {
		go func() {
			defer c.Close()
			time.Sleep(late)
			up, err := net.Dial("tcp", server)
			if err != nil {
				return
			}
			defer up.Close()
			go func() {
				io.Copy(up, c)
				up.Close()
			}()
			io.Copy(c, up)
		}()
	})
}
