package proxy_test

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/tulle-mesh/tulle/test/loopback"
)

// A body of any length goes elsewhere when the application it was for took nothing of it.
func TestALongRequestIsSentElsewhereToo(t *testing.T) {
	m := newMesh(t, 0)
	addr := app(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.NewResponseController(w).EnableFullDuplex()
		io.Copy(w, r.Body)
	}))
	good := pod{"web-0", addr, loopback.Free()}
	down := pod{"web-1", loopback.Free(), loopback.Free()}
	m.service("web", good, down)
	m.proxy("web", good)
	m.proxy("web", down)
	caller := m.caller("web")
	body := strings.Repeat("0123456789abcdef", 1<<16)
	for name, c := range map[string]*http.Client{"http1": http1Client(t), "http2": http2Client(t)} {
		for i := range 20 {
			resp, err := c.Post("http://"+caller.out["web"], "text/plain", strings.NewReader(body))
			check(t, err)
			got, err := io.ReadAll(resp.Body)
			resp.Body.Close()
			if err != nil || resp.StatusCode != 200 || string(got) != body {
				t.Fatalf("%s, request %d: %d, %d bytes, %v %v",
					name, i, resp.StatusCode, len(got), err, resp.Header)
			}
		}
	}
}

// An application that takes no connection at all is unavailable, not broken.
func TestAnApplicationThatIsDownIsUnavailable(t *testing.T) {
	m := newMesh(t, 0)
	down := pod{"web-0", loopback.Free(), loopback.Free()}
	m.service("web", down)
	m.proxy("web", down)
	caller := m.caller("web")
	if status, _, header := get(t, http1Client(t), "http://"+caller.out["web"]); status != 503 {
		t.Errorf("status %d %v, want 503", status, header)
	}
}
