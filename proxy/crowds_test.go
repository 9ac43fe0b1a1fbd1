package proxy_test

import (
	"bytes"
	"fmt"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/tulle-mesh/tulle/test/await"
)

// hanging is an application whose requests hang; each is told of.
func hanging(begun chan<- struct{}) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/now" {
			return
		}
		w.WriteHeader(200)
		http.NewResponseController(w).Flush()
		begun <- struct{}{}
		<-r.Context().Done()
	})
}

const maxFrame = 16 << 10

// crowd is a caller of many requests on one connection of HTTP/2.
type crowd struct {
	framing
	last uint32 // stream
}

func (c *crowd) get(path string, fields ...[2]string) {
	var b bytes.Buffer
	e := hpack.NewEncoder(&b)
	head := [][2]string{{":method", "GET"}, {":scheme", "http"}, {":authority", "web"},
		{":path", path}}
	for _, h := range append(head, fields...) {
		check(c.t, e.WriteField(hpack.HeaderField{Name: h[0], Value: h[1]}))
	}
	c.last += 2
	first := b.Next(maxFrame)
	check(c.t, c.WriteHeaders(http2.HeadersFrameParam{StreamID: c.last, BlockFragment: first,
		EndHeaders: b.Len() == 0, EndStream: true}))
	for b.Len() > 0 {
		more := b.Next(maxFrame)
		check(c.t, c.WriteContinuation(c.last, b.Len() == 0, more))
	}
}

// watches opens requests on one connection, and returns it when all have been answered.
func watches(t *testing.T, addr string, n int) *crowd {
	t.Helper()
	c := &crowd{frames(t, addr), ^uint32(0)}
	for range n {
		c.get("/watch")
	}
	for answered := 0; answered < n; {
		fr, err := c.ReadFrame()
		check(t, err)
		switch fr := fr.(type) {
		case *http2.MetaHeadersFrame:
			answered++
			if status := fr.PseudoValue("status"); status != "200" {
				t.Fatalf("%d were answered, then %s", answered, status)
			}
		case *http2.RSTStreamFrame:
			t.Fatalf("%d were answered, then one was reset: %v", answered, fr.ErrCode)
		}
	}
	return c
}

// gRPC keeps one connection, and lets streams beyond its limit wait for ever.
func TestTheApplicationHasMoreStreamsThanAStranger(t *testing.T) {
	m := newMesh(t, 0)
	url, _, _ := m.pair(hanging(make(chan struct{}, 1000)))
	watches(t, url[len("http://"):], 3*m.limits.MaxCallerStreams)
}

// A client that gives up requests, for their server is slow, keeps the others.
func TestTheApplicationMayCancelManyRequests(t *testing.T) {
	m := newMesh(t, 0)
	url, _, _ := m.pair(hanging(make(chan struct{}, 10_000)))
	f := watches(t, url[len("http://"):], 1)
	for range 1500 {
		f.get("/slow")
		check(t, f.WriteRSTStream(f.last, http2.ErrCodeCancel))
	}
	f.get("/now")
	for {
		fr, err := f.ReadFrame()
		check(t, err)
		switch fr := fr.(type) {
		case *http2.GoAwayFrame:
			t.Fatalf("the connection was ended: %v %s", fr.ErrCode, fr.DebugData())
		case *http2.RSTStreamFrame:
			if fr.StreamID == 1 {
				t.Fatalf("the stream that nobody gave up was reset: %v", fr.ErrCode)
			}
		case *http2.MetaHeadersFrame:
			if fr.StreamID == f.last {
				return
			}
		}
	}
}

// A backend says how many streams it takes on a connection, and callers without a mesh have one
// each.
func TestALimitOfStreamsIsAConnections(t *testing.T) {
	begun := make(chan struct{}, 100)
	addr := few(t, 10, hanging(begun))
	m := newMesh(t, 0)
	m.service("web", pod{"web-0", addr, ""})
	watches(t, m.caller("web").out["web"], 90)
}

// Tunnels are as many as their callers. Requests have a bound, and it is counted where they meet
// it.
func TestTunnelsDoNotCountAsConnections(t *testing.T) {
	m := newMesh(t, 0)
	m.limits.MaxHTTP1Conns, m.limits.DiscoveryWait = 3, 500*time.Millisecond
	a := upgrading(t)
	begun := make(chan struct{}, 10)
	m.service("web", pod{"web-0", a.addr, ""})
	m.service("slow", pod{"slow-0", app(t, hanging(begun)), ""})
	caller := m.caller("web", "slow")
	for range 10 {
		upgraded(t, caller.out["web"], a)
	}
	var mu sync.Mutex
	statuses := map[string]int{}
	var all sync.WaitGroup
	for range m.limits.MaxHTTP1Conns + 2 {
		all.Go(func() {
			nc, err := net.Dial("tcp", caller.out["slow"])
			check(t, err)
			t.Cleanup(func() { nc.Close() })
			check(t, nc.SetDeadline(time.Now().Add(await.Limit)))
			fmt.Fprint(nc, "GET / HTTP/1.1\r\nHost: slow\r\n\r\n")
			b := make([]byte, 12)
			_, err = nc.Read(b)
			check(t, err)
			mu.Lock()
			defer mu.Unlock()
			statuses[string(b)]++
		})
	}
	all.Wait()
	if statuses["HTTP/1.1 200"] != 3 || statuses["HTTP/1.1 503"] != 2 {
		t.Error(statuses)
	}
}
