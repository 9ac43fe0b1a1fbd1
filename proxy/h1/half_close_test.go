package h1

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tulle-mesh/tulle/proxy/wire"
	"github.com/tulle-mesh/tulle/test/output"
)

// The peer of an upgraded connection has ended its half. What we say last reaches it, though
// another goroutine is in the middle of a flush when the exchange ends.
func TestTheLastDataOfAnUpgradeArrives(t *testing.T) {
	w, answer := dialUpgrading(t)
	c := NewClient(w, Options{})
	flushing, goOn := make(chan struct{}), make(chan struct{})
	w.OnDrain = func() { close(flushing); <-goOn } // in a flush, between two writes
	ended := make(chan struct{})
	r := &recorder{act: func(_ *recorder, end bool) {
		if end {
			close(ended)
		}
	}}
	s, err := c.OpenStream(fields(":method=CONNECT", ":protocol=own", ":scheme=http",
		":authority=a", ":path=/"), false, r)
	if err != nil {
		t.Fatal(err)
	}
	over := make(chan struct{})
	c.Start(func(error) { close(over) })
	c.Flush()
	peer := answer()
	<-ended
	s.WriteData([]byte("says"), false)
	w.Lock()
	w.WantDrainLocked()
	w.Unlock()
	go c.Flush()
	<-flushing
	s.WriteData([]byte(" all"), true)
	select {
	case <-over:
		t.Error("the connection ended within a flush")
	case <-time.After(50 * time.Millisecond): // for a reader that does not wait for the flush
	}
	close(goOn)
	if got, err := io.ReadAll(peer); string(got) != "says all" {
		t.Errorf("the peer read %q, %v", got, err)
	}
	<-over
}

// dialUpgrading connects to a peer that answers an upgrade and ends its half at once.
func dialUpgrading(t *testing.T) (w *wire.Conn, answer func() net.Conn) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	nc, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	w = wire.New(nc, nil)
	t.Cleanup(func() { w.Close() })
	return w, func() net.Conn {
		peer, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { peer.Close() })
		peer.SetDeadline(time.Now().Add(10 * time.Second))
		if _, err := http.ReadRequest(bufio.NewReader(peer)); err != nil {
			t.Fatal(err)
		}
		io.WriteString(peer, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: own\r\n"+
			"Connection: upgrade\r\n\r\n")
		peer.(*net.TCPConn).CloseWrite()
		return peer
	}
}

// A client that has said all still reads: who said that this was its last request waits as long as
// it takes, and any other for a while, for it may have cancelled.
func TestAHalfClosedClientGetsItsResponse(t *testing.T) {
	last := "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
	for _, c := range []struct {
		name, in string
		after    time.Duration
		answers  int
	}{
		{"its last request", last, time.Hour, 1},
		{"HTTP/1.0", "GET / HTTP/1.0\r\n\r\n", time.Hour, 1},
		{"any request, soon", get, defaultHalfClosed - 1, 1},
		{"any request, late", get, defaultHalfClosed + 1, 0},
		{"pipelined", get + get, defaultHalfClosed - 1, 2},
		{"with a body", "POST / HTTP/1.0\r\nContent-Length: 1\r\n\r\nx", time.Hour, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				got := halfClosed(t, c.in, c.after)
				if n := strings.Count(got, "hello"); n != c.answers {
					t.Errorf("%d answers, want %d: %q", n, c.answers, got)
				}
			})
		})
	}
}

// halfClosed is what a client is answered that says in and ends its half. Each response takes so
// long.
func halfClosed(t *testing.T, in string, after time.Duration) string {
	ours, theirs := net.Pipe()
	answers := &output.Buffer{}
	nc := &saying{Conn: ours, in: strings.NewReader(in), out: answers}
	act := func(r *recorder, end bool) {
		if end {
			time.AfterFunc(after, func() {
				hello(r, true)
				r.stream.Flush()
			})
		}
	}
	NewServer(wire.New(nc, nil), Options{OnStream: func(s *Stream) Sink {
		return &recorder{stream: s, act: act}
	}}).Serve()
	theirs.Close()
	return answers.String()
}

// saying is a connection whose peer says something, ends its half and reads on.
type saying struct {
	net.Conn
	in  *strings.Reader
	out *output.Buffer
}

func (s *saying) Read(p []byte) (int, error)  { return s.in.Read(p) }
func (s *saying) Write(p []byte) (int, error) { return s.out.Write(p) }
