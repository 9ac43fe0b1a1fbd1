package proxy_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2/hpack"

	"github.com/tulle-mesh/tulle/proxy/h2"
	"github.com/tulle-mesh/tulle/proxy/wire"
	"github.com/tulle-mesh/tulle/test/await"
	"github.com/tulle-mesh/tulle/test/loopback"
)

// uploadSize is more than all buffers on the way take, and than all windows.
const uploadSize = 4 << 20

// An application may say yes at once and read the whole upload after that. All of it is carried,
// whoever speaks which protocol, and a connection in HTTP/1 serves the next request.
func TestAnUploadGoesOnAfterItsAnswer(t *testing.T) {
	m := newMesh(t, 0)
	read := make(chan int, 1)
	apps := map[string]string{"http": earlyHTTP1(t, read), "http2": earlyHTTP2(t, read)}
	urls := map[string]string{}
	for protocol, addr := range apps {
		web := pod{protocol + "-0", addr, loopback.Free()}
		m.declare(protocol, protocol, web)
		m.proxy(protocol, web)
		urls["one hop to "+protocol] = web.mesh
	}
	caller := m.caller("http", "http2")
	for protocol := range apps {
		urls["two hops to "+protocol] = caller.out[protocol]
	}
	for path, addr := range urls {
		t.Run("HTTP/1, "+path, func(t *testing.T) { uploadLater1(t, addr, read) })
		t.Run("HTTP/2, "+path, func(t *testing.T) { uploadLater2(t, addr, read) })
	}
}

// earlyHTTP1 is an application that answers a request's head, and tells how much follows it.
func earlyHTTP1(t *testing.T, read chan<- int) (addr string) {
	return listener(t, func(nc net.Conn) {
		r := bufio.NewReader(nc)
		for {
			req, err := http.ReadRequest(r)
			if err != nil {
				return
			}
			io.WriteString(nc, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
			n, _ := io.Copy(io.Discard, req.Body) // n tells
			if req.Method == "POST" {
				read <- int(n)
			}
		}
	})
}

// earlyHTTP2 is the same in HTTP/2.
func earlyHTTP2(t *testing.T, read chan<- int) (addr string) {
	return listener(t, func(nc net.Conn) {
		h2.NewServer(wire.New(nc, nil), h2.Options{OnStream: func(s *h2.Stream) h2.Sink {
			return &earlySink{s: s, read: read}
		}}).Serve()
	})
}

// listener serves each connection on a goroutine of its own.
func listener(t *testing.T, serve func(net.Conn)) (addr string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer nc.Close()
				serve(nc)
			}()
		}
	}()
	return l.Addr().String()
}

// earlySink answers a head, and counts what follows it.
type earlySink struct {
	s    *h2.Stream
	post bool
	n    int
	read chan<- int
}

func (e *earlySink) OnHeaders(fields []hpack.HeaderField, end bool) {
	e.post = fields[0].Value == "POST"
	e.s.WriteHeaders([]hpack.HeaderField{{Name: ":status", Value: "200"}}, false)
	e.s.WriteData([]byte("ok"), true)
}

func (e *earlySink) OnData(p []byte, end bool) {
	e.n += len(p)
	e.s.Consumed(len(p))
	if end && e.post {
		e.read <- e.n
	}
}

func (e *earlySink) OnReset(code uint32, err error) {
	if e.post {
		e.read <- e.n
	}
}

func (*earlySink) OnSent(int) {}

// uploadLater1 has the whole answer before it sends the body.
func uploadLater1(t *testing.T, addr string, read <-chan int) {
	nc, err := net.Dial("tcp", addr)
	check(t, err)
	defer nc.Close()
	check(t, nc.SetDeadline(time.Now().Add(await.Limit)))
	r := bufio.NewReader(nc)
	say(t, nc, fmt.Sprintf("POST / HTTP/1.1\r\nHost: web\r\nContent-Length: %d\r\n\r\n",
		uploadSize))
	wantOK(t, r)
	say(t, nc, strings.Repeat("x", uploadSize))
	if n := await.Receive(t, "the application has read the upload", read); n != uploadSize {
		t.Errorf("%d bytes of %d arrived after the answer", n, uploadSize)
	}
	say(t, nc, "GET / HTTP/1.1\r\nHost: web\r\n\r\n")
	wantOK(t, r)
}

func wantOK(t *testing.T, r *bufio.Reader) {
	t.Helper()
	resp, err := http.ReadResponse(r, nil)
	check(t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != 200 || string(body) != "ok" {
		t.Fatalf("%s: %q, %v", resp.Status, body, err)
	}
}

// answerSink is told of the end of an answer.
type answerSink struct{ ended chan string }

func (a *answerSink) OnHeaders([]hpack.HeaderField, bool) {}
func (a *answerSink) OnSent(int)                          {}

func (a *answerSink) OnData(p []byte, end bool) {
	if end {
		a.ended <- "ended"
	}
}

func (a *answerSink) OnReset(code uint32, err error) { a.ended <- fmt.Sprintf("%d, %v", code, err) }

// uploadLater2 is uploadLater1 in HTTP/2.
func uploadLater2(t *testing.T, addr string, read <-chan int) {
	nc, err := net.Dial("tcp", addr)
	check(t, err)
	c := h2.NewClient(wire.New(nc, nil), h2.Options{})
	over := make(chan error, 1)
	go func() { over <- c.Serve() }()
	defer func() {
		c.Close(h2.CodeNone)
		await.Receive(t, "the caller's connection has ended", over)
	}()
	a := &answerSink{ended: make(chan string, 2)}
	s, err := c.OpenStream([]hpack.HeaderField{{Name: ":method", Value: "POST"},
		{Name: ":scheme", Value: "http"}, {Name: ":authority", Value: "web"},
		{Name: ":path", Value: "/"}}, false, a)
	check(t, err)
	c.Flush()
	if how := await.Receive(t, "the answer has ended", a.ended); how != "ended" {
		t.Fatalf("the stream was reset: %s", how)
	}
	s.WriteData(make([]byte, uploadSize), true)
	c.Flush()
	if n := await.Receive(t, "the application has read the upload", read); n != uploadSize {
		t.Errorf("%d bytes of %d arrived after the answer", n, uploadSize)
	}
}
