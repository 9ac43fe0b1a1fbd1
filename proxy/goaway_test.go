package proxy_test

import (
	"bytes"
	"fmt"
	"io"
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

// framed is an HTTP/2 server of frames: on gets each request once it is complete.
type framed struct {
	settings []http2.Setting
	on       func(c *framedConn, id uint32)
	conns    atomic.Int64
}

type framedConn struct {
	*http2.Framer
	n  int64 // how many were before
	nc net.Conn
	mu sync.Mutex // guards writes
}

func (s *framed) serve(t *testing.T) (addr string) {
	t.Helper()
	return serveTCP(t, func(nc net.Conn) {
		t.Cleanup(func() { nc.Close() })
		go s.read(&framedConn{Framer: http2.NewFramer(nc, nc), n: s.conns.Add(1) - 1, nc: nc})
	})
}

func (s *framed) read(c *framedConn) {
	defer c.nc.Close()
	if _, err := io.ReadFull(c.nc, make([]byte, len(http2.ClientPreface))); err != nil {
		return
	}
	c.write(func() { c.WriteSettings(s.settings...) })
	for {
		f, err := c.ReadFrame()
		if err != nil {
			return
		}
		switch f := f.(type) {
		case *http2.SettingsFrame:
			if !f.IsAck() {
				c.write(func() { c.WriteSettingsAck() })
			}
		case *http2.PingFrame:
			c.write(func() { c.WritePing(true, f.Data) })
		case *http2.HeadersFrame:
			if f.StreamEnded() {
				s.on(c, f.StreamID)
			}
		case *http2.DataFrame:
			if f.StreamEnded() {
				s.on(c, f.StreamID)
			}
		}
	}
}

func (c *framedConn) write(f func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f()
}

func (c *framedConn) answer(id uint32) {
	var b bytes.Buffer
	hpack.NewEncoder(&b).WriteField(hpack.HeaderField{Name: ":status", Value: "200"})
	c.write(func() {
		c.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: b.Bytes(),
			EndHeaders: true, EndStream: true})
	})
}

// outboundTo is a URL that reaches addr through one proxy.
func outboundTo(t *testing.T, addr string) string {
	t.Helper()
	m := newMesh(t, 0)
	m.service("web", pod{"web-0", addr, ""})
	return "http://" + m.caller("web").out["web"]
}

func post(t *testing.T, c *http.Client, url string) int {
	t.Helper()
	resp, err := c.Post(url, "text/plain", strings.NewReader("once"))
	if err != nil {
		t.Error(err)
		return 0
	}
	defer resp.Body.Close()
	io.Copy(io.Discard, resp.Body)
	return resp.StatusCode
}

// What a backend says it has not processed is sent again, whatever its method: refused, or above
// the last stream of a GOAWAY. What it has taken is answered on the connection that goes away.
func TestWhatWasNotProcessedIsSentAgain(t *testing.T) {
	for name, refuse := range map[string]func(c *framedConn, id uint32){
		"refused": func(c *framedConn, id uint32) {
			c.write(func() { c.WriteRSTStream(id, http2.ErrCodeRefusedStream) })
		},
		"going away": func(c *framedConn, id uint32) {
			c.write(func() { c.WriteGoAway(id-2, http2.ErrCodeNo, nil) })
		},
		"going away in two steps": func(c *framedConn, id uint32) {
			c.write(func() {
				c.WriteGoAway(1<<31-1, http2.ErrCodeNo, nil)
				c.WriteGoAway(id-2, http2.ErrCodeNo, nil)
			})
		},
	} {
		t.Run(name, func(t *testing.T) {
			taken, answered := make(chan func(), 1), atomic.Int64{}
			var seen atomic.Int64
			s := &framed{on: func(c *framedConn, id uint32) {
				switch seen.Add(1) {
				case 1:
					taken <- func() { c.answer(id) }
				case 2:
					refuse(c, id)
				default:
					answered.Add(1)
					c.answer(id)
				}
			}}
			url, c := outboundTo(t, s.serve(t)), http2Client(t)
			first := make(chan int, 1)
			go func() { first <- post(t, c, url) }()
			finish := await.Receive(t, "the first request arrives", taken)
			if status := post(t, c, url); status != 200 || answered.Load() != 1 {
				t.Errorf("the second: %d, sent again %d times", status, answered.Load())
			}
			finish()
			if status := await.Receive(t, "the first request is answered", first); status != 200 {
				t.Errorf("the first: %d", status)
			}
		})
	}
}

// A backend that takes one stream at a time gets one at a time on each connection; the rest wait,
// and all are answered.
func TestTheBackendsStreamLimitIsKept(t *testing.T) {
	const requests = 100
	var refused atomic.Int64
	var mu sync.Mutex
	open := map[*framedConn]bool{}
	settings := []http2.Setting{{ID: http2.SettingMaxConcurrentStreams, Val: 1}}
	s := &framed{settings: settings, on: func(c *framedConn, id uint32) {
		mu.Lock()
		defer mu.Unlock()
		if open[c] {
			refused.Add(1)
			c.write(func() { c.WriteRSTStream(id, http2.ErrCodeRefusedStream) })
			return
		}
		open[c] = true
		go func() {
			time.Sleep(time.Millisecond) // long enough for another to come too early
			mu.Lock()
			defer mu.Unlock()
			open[c] = false
			c.answer(id)
		}()
	}}
	url, c := outboundTo(t, s.serve(t)), http2Client(t)
	// before a connection's SETTINGS some may come too early; those are sent again
	for _, known := range []bool{false, true} {
		refused.Store(0)
		var all sync.WaitGroup
		for range requests {
			all.Go(func() {
				if status := post(t, c, url); status != 200 {
					t.Errorf("status %d", status)
				}
			})
		}
		all.Wait()
		if n := refused.Load(); known && n > 0 {
			t.Errorf("%d streams beyond a limit that was known", n)
		}
	}
	if n := s.conns.Load(); n < 2 {
		t.Errorf("%d connections", n)
	}
}

// A drain says first that it comes and, once the caller has heard, which streams it takes: none is
// lost between.
func TestADrainGoesAwayInTwoSteps(t *testing.T) {
	held := make(chan struct{})
	release := sync.OnceFunc(func() { close(held) })
	t.Cleanup(release)
	m := newMesh(t, 0)
	addr := app(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { <-held }))
	m.service("web", pod{"web-0", addr, ""})
	caller := m.caller("web")
	nc, err := net.Dial("tcp", caller.out["web"])
	check(t, err)
	defer nc.Close()
	check(t, nc.SetDeadline(time.Now().Add(30*time.Second)))
	say(t, nc, http2.ClientPreface)
	f := http2.NewFramer(nc, nc)
	check(t, f.WriteSettings())
	request := func(id uint32) {
		var b bytes.Buffer
		e := hpack.NewEncoder(&b)
		for _, h := range [][2]string{{":method", "GET"}, {":scheme", "http"},
			{":authority", "web"}, {":path", "/"}} {
			e.WriteField(hpack.HeaderField{Name: h[0], Value: h[1]})
		}
		check(t, f.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: b.Bytes(),
			EndHeaders: true, EndStream: true}))
	}
	request(1)
	check(t, f.WritePing(false, [8]byte{1}))
	var got []string
	var ending chan error
	for {
		fr, err := f.ReadFrame()
		if err != nil {
			break
		}
		switch fr := fr.(type) {
		case *http2.PingFrame:
			if fr.IsAck() { // the request is there
				ending = make(chan error, 1)
				go func() { ending <- caller.stop() }()
				continue
			}
			request(3) // it was on its way when the first GOAWAY came
			check(t, f.WritePing(true, fr.Data))
		case *http2.GoAwayFrame:
			got = append(got, fmt.Sprint("goaway ", fr.LastStreamID))
			if fr.LastStreamID == 3 {
				release()
			}
		case *http2.HeadersFrame:
			got = append(got, "answer")
		}
	}
	check(t, await.Receive(t, "the proxy has drained", ending))
	s := strings.Join(got, ", ")
	if s != "goaway 2147483647, goaway 3, answer, answer" &&
		!strings.HasPrefix(s, "goaway 2147483647, goaway 3, answer, answer, goaway 3") {
		t.Error(s)
	}
}
