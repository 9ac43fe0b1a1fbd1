package proxy_test

import (
	"bytes"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/tulle-mesh/tulle/test/await"
)

const longHead = 20 << 10

// gathering answers when so many requests are with it.
type gathering struct {
	missing atomic.Int64
	all     chan struct{}
	seen    func() // before the first answer
}

func (g *gathering) ServeHTTP(_ http.ResponseWriter, r *http.Request) {
	if g.missing.Add(-1) == 0 {
		g.seen()
		close(g.all)
	}
	select {
	case <-g.all:
	case <-r.Context().Done():
	}
}

// Many requests with long heads may wait for their answers on one connection: the heads are let go
// once they were sent.
func TestHeadsThatWaitAreBounded(t *testing.T) {
	const callers = 80 // their heads are three times what a connection may have waiting
	m := newMesh(t, 0)
	g := &gathering{all: make(chan struct{})}
	g.missing.Store(callers)
	m.service("plain", pod{"plain-0", app(t, g), ""})
	caller := m.caller("plain")
	var kept int64
	g.seen = func() { kept = caller.p.Heads() }
	c := http2Client(t)
	c.Timeout = 20 * time.Second
	var all sync.WaitGroup
	for i := range callers {
		all.Go(func() {
			req, err := http.NewRequest("GET", "http://"+caller.out["plain"], nil)
			check(t, err)
			req.Header.Set("X-Long", strings.Repeat(fmt.Sprint(i%10), longHead))
			resp, err := c.Do(req)
			if err != nil {
				t.Error(err)
				return
			}
			if read(t, resp); resp.StatusCode != 200 {
				t.Errorf("status %d", resp.StatusCode)
			}
		})
	}
	all.Wait()
	if kept > int64(limits.MaxKeptHeads) {
		t.Errorf("the heads of those that wait are %d bytes", kept)
	}
	await.True(t, "no heads are left after the last answer", func() bool {
		return caller.p.Heads() == 0
	})
}

// Requests that cannot be sent yet are refused beyond a bound, unprocessed (RFC 9113 §8.7).
func TestHeadsThatCannotBeSentAreRefused(t *testing.T) {
	m := newMesh(t, 0)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	release, known := make(chan struct{}), make(chan struct{})
	know := sync.OnceFunc(func() {
		l.Close() // nor on other connections
		close(known)
	})
	serveFew(t, l, 1, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		know()
		<-release
	}))
	m.declare("plain", "http2", pod{"plain-0", l.Addr().String(), ""})
	caller := m.caller("plain")
	nc, err := net.Dial("tcp", caller.out["plain"])
	check(t, err)
	defer nc.Close()
	check(t, nc.SetReadDeadline(time.Now().Add(20*time.Second)))
	asked := limits.MaxCallerStreams
	refused, answered := 0, 0
	go askLong(nc, asked, known)
	for f := http2.NewFramer(nil, nc); refused+answered < asked; {
		frame, err := f.ReadFrame()
		if err != nil {
			t.Fatalf("after %d answers and %d refusals: %v", answered, refused, err)
		}
		switch frame := frame.(type) {
		case *http2.RSTStreamFrame:
			if frame.ErrCode != http2.ErrCodeRefusedStream {
				t.Fatalf("stream %d was reset with %v", frame.StreamID, frame.ErrCode)
			}
			if refused++; refused == 1 {
				if n := caller.p.Heads(); n > int64(limits.MaxHeads+longHead) {
					t.Errorf("heads of %d bytes wait", n)
				}
				close(release)
			}
		case *http2.HeadersFrame:
			if frame.StreamEnded() {
				answered++
			}
		case *http2.DataFrame:
			if frame.StreamEnded() {
				answered++
			}
		}
	}
	if least := limits.MaxHeads/longHead - 2; answered < least {
		t.Errorf("%d requests were answered and %d refused, want %d answers",
			answered, refused, least)
	}
}

// askLong opens so many streams with long heads, all but the first once known is closed, if it is
// not nil.
func askLong(nc net.Conn, streams int, known <-chan struct{}) {
	var block bytes.Buffer
	e := hpack.NewEncoder(&block)
	e.SetMaxDynamicTableSize(0)
	nc.Write([]byte(http2.ClientPreface))
	f := http2.NewFramer(nc, nil)
	f.WriteSettings()
	for i := range streams {
		if i == 1 && known != nil {
			<-known
		}
		block.Reset()
		for _, h := range [][2]string{{":method", "GET"}, {":scheme", "http"},
			{":authority", "plain"}, {":path", "/"}, {"x-long", strings.Repeat("*", longHead)}} {
			e.WriteField(hpack.HeaderField{Name: h[0], Value: h[1]})
		}
		first := min(block.Len(), 16<<10)
		id := uint32(2*i + 1)
		f.WriteHeaders(http2.HeadersFrameParam{StreamID: id, EndStream: true,
			EndHeaders: first == block.Len(), BlockFragment: block.Bytes()[:first]})
		if first < block.Len() {
			f.WriteContinuation(id, true, block.Bytes()[first:])
		}
	}
}
