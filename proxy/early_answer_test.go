package proxy_test

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/tulle-mesh/tulle/test/await"
	"github.com/tulle-mesh/tulle/test/loopback"
)

// An answer before the end of a body reaches the caller, whatever the body would still have been,
// and the next request is none the worse.
func TestEarlyAnswers(t *testing.T) {
	m := newMesh(t, 0)
	addr := app(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == "POST" {
			w.WriteHeader(413)
			io.WriteString(w, "too much")
			return
		}
		io.WriteString(w, "next")
	}))
	web := pod{"web-0", addr, loopback.Free()}
	m.service("web", web)
	m.service("plain", pod{"plain-0", addr, ""})
	m.proxy("web", web)
	caller := m.caller("web", "plain")
	for name, c := range map[string]*http.Client{"http1": http1Client(t), "http2": http2Client(t)} {
		for _, u := range []string{"web", "plain"} {
			t.Run(name+", "+u, func(t *testing.T) {
				url := "http://" + caller.out[u]
				for range 20 {
					hold := make(chan struct{})
					body := io.MultiReader(strings.NewReader(strings.Repeat("x", 300<<10)),
						endless{hold})
					resp, err := c.Post(url, "text/plain", io.NopCloser(body))
					check(t, err)
					got, err := io.ReadAll(resp.Body)
					close(hold)
					resp.Body.Close()
					if resp.StatusCode != 413 || string(got) != "too much" {
						t.Fatalf("%d %q %v", resp.StatusCode, got, err)
					}
					if status, next, _ := get(t, c, url); status != 200 || next != "next" {
						t.Fatalf("after it: %d %q", status, next)
					}
				}
			})
		}
	}
}

// endless has nothing to read until it ends.
type endless struct{ end <-chan struct{} }

func (e endless) Read([]byte) (int, error) {
	<-e.end
	return 0, io.EOF
}

// A profile's timeout is for the answer to an upgrade, not for the life of what was upgraded.
func TestATimeoutIsForTheAnswerToAnUpgrade(t *testing.T) {
	m := newMesh(t, 0)
	m.profile("  routes:\n  - {name: chat, condition: {pathRegex: /.*}, timeout: 200ms}\n")
	upgrader := websocket.Upgrader{}
	url, _, _ := m.pair(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/never" {
			<-r.Context().Done()
			return
		}
		c, err := upgrader.Upgrade(w, r, nil)
		if err != nil {
			return
		}
		defer c.Close()
		<-time.After(600 * time.Millisecond) // well past the timeout
		c.WriteMessage(websocket.TextMessage, []byte("still here"))
		c.ReadMessage()
	}))
	ws := "ws" + strings.TrimPrefix(url, "http")
	c, resp, err := websocket.DefaultDialer.Dial(ws+"/chat", nil)
	began := time.Now()
	for err != nil && resp != nil && resp.StatusCode == 504 && time.Since(began) < await.Limit {
		// a busy machine answered too late
		c, resp, err = websocket.DefaultDialer.Dial(ws+"/chat", nil)
	}
	check(t, err)
	defer c.Close()
	check(t, c.SetReadDeadline(time.Now().Add(10*time.Second)))
	if _, got, err := c.ReadMessage(); err != nil || string(got) != "still here" {
		t.Errorf("%q, %v", got, err)
	}
	_, resp, err = websocket.DefaultDialer.Dial(ws+"/never", nil)
	if err == nil || resp == nil || resp.StatusCode != 504 {
		t.Errorf("an upgrade that is never answered: %v, %v; want 504", resp, err)
	}
}
