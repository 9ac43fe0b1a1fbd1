package h1

import (
	"bufio"
	"errors"
	"net"
	"net/http"
	"strconv"
	"syscall"
	"testing"

	"golang.org/x/net/http2/hpack"

	"github.com/tulle-mesh/tulle/proxy/wire"
)

// outcome hears how an exchange ends: nil for an answer.
type outcome chan error

func (o outcome) OnHeaders(_ []hpack.HeaderField, end bool) {
	if end {
		o <- nil
	}
}

func (o outcome) OnData(_ []byte, end bool) {
	if end {
		o <- nil
	}
}
func (o outcome) OnReset(_ uint32, err error) { o <- err }
func (o outcome) OnSent(int)                  {}

// A server closes a kept connection while a request is on its way. Whether it has read it is what
// counts.
func TestClosedUnderARequest(t *testing.T) {
	small, large := []byte("four"), make([]byte, 2*maxWhole)
	for name, test := range map[string]struct {
		body  []byte
		split bool // head and body leave one after the other
		read  bool // the server reads the request before it closes
		far   bool // something between the two may send a reset
		want  error
	}{
		"unread":           {small, false, false, false, ErrUndelivered},
		"unread, far":      {small, false, false, true, ErrStale},
		"read":             {small, false, true, false, ErrStale},
		"in two pieces":    {small, true, false, false, ErrStale},
		"more than a read": {large, false, false, false, ErrStale},
	} {
		t.Run(name, func(t *testing.T) {
			client, server := kept(t, Options{Direct: !test.far})
			done := make(outcome, 1)
			s, err := client.OpenStream([]hpack.HeaderField{{Name: ":method", Value: "POST"},
				{Name: ":scheme", Value: "http"}, {Name: ":authority", Value: "a"},
				{Name: ":path", Value: "/"},
				{Name: "content-length", Value: strconv.Itoa(len(test.body))}}, false, done)
			if err != nil {
				t.Fatal(err)
			}
			if test.split {
				client.Flush()
			}
			s.WriteData(test.body, true)
			client.Flush()
			arrived := make([]byte, 1)
			if test.read {
				arrived = make([]byte, 4096)
			}
			if err := arrival(server, arrived, test.read); err != nil {
				t.Fatal(err)
			}
			server.Close()
			if err := <-done; !errors.Is(err, test.want) {
				t.Errorf("ended with %v, want %v", err, test.want)
			}
		})
	}
}

// A server that stops resets the connections that it has not accepted yet.
func TestClosedBeforeItWasAccepted(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nc, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	c := NewClient(wire.New(nc, nil), Options{Direct: true})
	served := make(chan struct{})
	go func() { defer close(served); c.Serve() }() // how it ends is what the sink hears
	done := make(outcome, 1)
	q := []hpack.HeaderField{{Name: ":method", Value: "POST"}, {Name: ":scheme", Value: "http"},
		{Name: ":authority", Value: "a"}, {Name: ":path", Value: "/"}}
	if _, err := c.OpenStream(q, true, done); err != nil {
		t.Fatal(err)
	}
	c.Flush()
	l.Close()
	if err := <-done; !errors.Is(err, ErrUndelivered) {
		t.Errorf("ended with %v, want %v", err, ErrUndelivered)
	}
	<-served
}

// What has not left when its connection breaks was surely not processed, wherever the server is.
func TestBrokenBeforeARequestWasSent(t *testing.T) {
	client, server := kept(t, Options{})
	done := make(outcome, 1)
	q := []hpack.HeaderField{{Name: ":method", Value: "POST"}, {Name: ":scheme", Value: "http"},
		{Name: ":authority", Value: "a"}, {Name: ":path", Value: "/"}}
	if _, err := client.OpenStream(q, true, done); err != nil {
		t.Fatal(err)
	}
	server.SetLinger(0)
	server.Close()
	if err := <-done; !errors.Is(err, ErrUnsent) {
		t.Errorf("ended with %v, want %v", err, ErrUnsent)
	}
}

// kept is a client on a connection that has served a request, and the server's end of it.
func kept(t *testing.T, o Options) (*Conn, *net.TCPConn) {
	t.Helper()
	nc, server := tcpPair(t)
	c := NewClient(wire.New(nc, nil), o)
	served := make(chan struct{})
	go func() { defer close(served); c.Serve() }() // how it ends is what the sinks hear
	t.Cleanup(func() { c.Close(codeCancel); <-served; server.Close() })
	done := make(outcome, 1)
	q := []hpack.HeaderField{{Name: ":method", Value: "GET"}, {Name: ":scheme", Value: "http"},
		{Name: ":authority", Value: "a"}, {Name: ":path", Value: "/"}}
	if _, err := c.OpenStream(q, true, done); err != nil {
		t.Fatal(err)
	}
	c.Flush()
	if _, err := http.ReadRequest(bufio.NewReaderSize(server, 16)); err != nil {
		t.Fatal(err)
	}
	if _, err := server.Write([]byte("HTTP/1.1 204 No Content\r\n\r\n")); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	return c, server.(*net.TCPConn)
}

// arrival waits until there is something to read, and takes it if it is to be taken.
func arrival(server *net.TCPConn, buf []byte, take bool) error {
	raw, err := server.SyscallConn()
	if err != nil {
		return err
	}
	flags := syscall.MSG_PEEK
	if take {
		flags = 0
	}
	var failed error
	err = raw.Read(func(fd uintptr) bool {
		_, _, failed = syscall.Recvfrom(int(fd), buf, flags)
		return failed != syscall.EAGAIN
	})
	return errors.Join(err, failed)
}
