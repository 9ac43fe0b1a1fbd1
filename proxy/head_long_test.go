package proxy_test

import (
	"context"
	"math"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"
)

// Long heads of requests that wait take no more than a bound, however many connections they are on:
// beyond it they are let go once they were sent, and nobody is refused.
func TestLongHeadsOfAllCallersAreLetGo(t *testing.T) {
	callers := 2 * limits.MaxLongHeads / longHead
	arrived, release := make(chan struct{}), make(chan struct{})
	m := newMesh(t, 0)
	addr := few(t, math.MaxInt32, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		arrived <- struct{}{}
		<-release
	}))
	m.declare("plain", "http2", pod{"plain-0", addr, ""})
	caller := m.caller("plain")
	c := http1Client(t)
	limit := within(t, 30*time.Second)
	var all sync.WaitGroup
	for i := range callers {
		all.Go(func() {
			if status, err := getLong(limit, c, caller.out["plain"]); status != 200 {
				t.Errorf("status %d, %v", status, err)
			}
		})
		select {
		case <-arrived:
		case <-limit.Done():
			t.Fatalf("%d requests have arrived", i)
		}
	}
	n := caller.p.Heads()
	if n > int64(limits.MaxKeptLongHeads) || n < int64(limits.MaxKeptLongHeads/2) {
		t.Errorf("heads of %d bytes wait", n)
	}
	close(release)
	all.Wait()
}

// Those that cannot be sent yet are refused beyond a bound, to be tried again; another caller still
// has a place.
func TestLongHeadsOfAllCallersAreBounded(t *testing.T) {
	const callers = 40
	release := make(chan struct{})
	m := newMesh(t, 0)
	addr := few(t, 1, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-release:
		case <-r.Context().Done():
		}
	}))
	m.declare("plain", "http2", pod{"plain-0", addr, ""})
	caller := m.caller("plain")
	seen := make(chan struct{})
	limit := within(t, 30*time.Second)
	for range callers {
		nc, err := net.Dial("tcp", caller.out["plain"])
		check(t, err)
		t.Cleanup(func() { nc.Close() })
		go func() {
			askLong(nc, limits.MaxCallerStreams, nil)
			http2.NewFramer(nc, nil).WritePing(false, [8]byte{})
		}()
		go awaitPong(nc, seen)
	}
	var most int64
	for i := range callers {
		select {
		case <-seen:
			most = max(most, caller.p.Heads())
		case <-limit.Done():
			t.Fatalf("the requests of %d callers were seen", i)
		}
	}
	if most > int64(limits.MaxLongHeads+longHead) || most < int64(limits.MaxLongHeads/2) {
		t.Errorf("heads of %d bytes wait", most)
	}
	close(release)
	if status, err := getLong(limit, http1Client(t), caller.out["plain"]); status != 200 {
		t.Errorf("status %d, %v for another caller", status, err)
	}
}

func getLong(ctx context.Context, c *http.Client, addr string) (status int, err error) {
	req, err := http.NewRequestWithContext(ctx, "GET", "http://"+addr, nil)
	if err != nil {
		return 0, err
	}
	req.Header.Set("X-Long", strings.Repeat("*", longHead))
	resp, err := c.Do(req)
	if err != nil {
		return 0, err
	}
	return resp.StatusCode, resp.Body.Close()
}

// awaitPong tells when a PING was acknowledged: what was sent before it was seen.
func awaitPong(nc net.Conn, seen chan<- struct{}) {
	for f, pong := http2.NewFramer(nil, nc), false; ; {
		frame, err := f.ReadFrame()
		if err != nil {
			return
		}
		if ping, ok := frame.(*http2.PingFrame); ok && ping.IsAck() && !pong {
			pong = true
			seen <- struct{}{}
		}
	}
}
