package wire

import (
	"errors"
	"io"
	"net"
	"syscall"
	"testing"
)

// What has arrived is there at once, and nobody waits for what has not.
func TestMoreDoesNotWait(t *testing.T) {
	pairs(t, func(t *testing.T, client, server *Conn) {
		if server.More() {
			t.Fatal("there is more than nothing")
		}
		for _, said := range []string{"one", "two"} {
			put(client, []byte(said))
			client.Flush()
			// loopback delivers before a write returns
			if !server.More() || string(server.Buffered()) != said {
				t.Fatalf("%q is here, not %q", server.Buffered(), said)
			}
			server.Discard(len(said))
		}
		put(client, noise(lightRead))
		client.Flush()
		readN(t, server, lightRead)
		put(client, []byte("the rest"))
		client.Flush()
		if server.More() {
			t.Error("it looked for more than bulk")
		}
		if got := readN(t, server, 8); string(got) != "the rest" {
			t.Errorf("then %q came", got)
		}
	})
}

// Half a TLS record is nothing yet.
func TestMoreOfHalfARecord(t *testing.T) {
	a, b := tcpPair(t)
	sc, cc := tlsConfigs(t)
	held := &holding{Conn: a}
	client, server := NewTLSClient(held, cc), NewTLSServer(b, nil, sc)
	shake(t, client, server)
	held.hold = true
	put(client, []byte("secret"))
	client.Flush()
	client.Wait()
	a.Write(held.kept[:len(held.kept)/2])
	if server.More() {
		t.Fatal("half a record was taken for one")
	}
	a.Write(held.kept[len(held.kept)/2:])
	if !server.More() || string(server.Buffered()) != "secret" {
		t.Errorf("the whole record became %q", server.Buffered())
	}
}

// holding is a connection without a file descriptor that keeps what is written.
type holding struct {
	net.Conn
	hold       bool
	afterHello bool // hold what follows the first write
	kept       []byte
}

func (h *holding) Write(p []byte) (int, error) {
	if !h.hold {
		h.hold = h.afterHello
		return h.Conn.Write(p)
	}
	h.kept = append(h.kept, p...)
	return len(p), nil
}

// An end that More met is Fill's to tell, and a reset is not an end.
func TestMoreLeavesTheEndToFill(t *testing.T) {
	for _, tt := range []struct {
		end  func(*net.TCPConn)
		want error
	}{
		{func(c *net.TCPConn) { c.CloseWrite() }, io.EOF},
		{func(c *net.TCPConn) { c.SetLinger(0); c.Close() }, syscall.ECONNRESET},
	} {
		a, b := tcpPair(t)
		server := New(b, nil)
		tt.end(a.(*net.TCPConn))
		for range 2 {
			if server.More() {
				t.Error("there is more after the end")
			}
		}
		if err := server.Fill(); !errors.Is(err, tt.want) {
			t.Errorf("Fill says %v, want %v", err, tt.want)
		}
	}
}
