package proxy_test

import (
	"context"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tulle-mesh/tulle/test/await"
	"github.com/tulle-mesh/tulle/test/loopback"
)

// Endpoints come and go many times a second, callers give up, and every request that waits for its
// answer gets it.
func TestNoRequestIsLostWhileEndpointsComeAndGo(t *testing.T) {
	m := newMesh(t, 0)
	addr := app(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.NewResponseController(w).EnableFullDuplex()
		io.Copy(w, r.Body)
	}))
	pods := []pod{
		{"web-0", addr, loopback.Free()}, {"web-1", addr, loopback.Free()}, {"web-2", addr, ""},
	}
	m.service("web", pods...)
	for _, p := range pods[:2] {
		m.proxy("web", p)
	}
	caller := m.caller("web")
	url := "http://" + caller.out["web"]
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	var callers sync.WaitGroup
	var sent atomic.Int64
	clients := []*http.Client{http1Client(t), http2Client(t), http1Client(t), http2Client(t)}
	for i, c := range clients {
		callers.Go(func() {
			body := strings.Repeat("x", 1+i*20_000)
			for n := 0; ctx.Err() == nil; n++ {
				one, leave := context.WithCancel(context.Background())
				req, _ := http.NewRequestWithContext(one, "POST", url, strings.NewReader(body))
				if n%5 == 0 {
					time.AfterFunc(time.Millisecond, leave) // gives up, somewhere in the middle
				}
				resp, err := c.Do(req)
				if err == nil {
					got, rerr := io.ReadAll(resp.Body)
					resp.Body.Close()
					if err = rerr; err == nil && (resp.StatusCode != 200 || string(got) != body) {
						t.Errorf("caller %d, request %d: %d, %d bytes, %v",
							i, n, resp.StatusCode, len(got), resp.Header)
					}
				}
				if err != nil && one.Err() == nil {
					t.Errorf("caller %d, request %d: %v", i, n, err)
				}
				leave()
				sent.Add(1)
			}
		})
	}
	for n := 0; ctx.Err() == nil; n++ {
		m.service("web", pods[n%3], pods[(n+1)%3])
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
		}
	}
	callers.Wait()
	if n := sent.Load(); n < 20 { // a loaded machine makes few
		t.Errorf("only %d requests in the time", n)
	}
	// The proxy hears that a caller gave up a moment after the caller does.
	await.True(t, "no request is counted as pending", func() bool {
		return caller.p.Pending(authority("web")) == 0
	})
}
