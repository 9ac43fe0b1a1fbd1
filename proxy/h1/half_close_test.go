package h1

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/tulle-mesh/tulle/proxy/wire"
)

// The peer of an upgraded connection has ended its half. What we say last reaches it, though another
// goroutine is in the middle of a flush when the exchange ends.
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
