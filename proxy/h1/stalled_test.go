package h1

import (
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tulle-mesh/tulle/proxy/wire"
)

// A peer that takes nothing for too long has lost what was for it, so its exchange ends, and takes
// nothing until then. The reader hears of that wherever it is: at an input that goes on, or parked,
// with requests behind the one under way, where only a Wake reaches it.
func TestAnExchangeWhosePeerTakesNothingEnds(t *testing.T) {
	for name, behind := range map[string]int{"reading": 0, "parked": 2 * maxPipelined} {
		t.Run(name, func(t *testing.T) { stallAPeer(t, behind) })
	}
}

// serveRecorded serves one end of a pipe. Near is its other end, and r what the exchange hears.
func serveRecorded() (near net.Conn, w *wire.Conn, r *recorder, served <-chan error) {
	near, far := net.Pipe()
	w, r = wire.New(far, nil), &recorder{}
	c := NewServer(w, Options{OnStream: func(s *Stream) Sink { r.stream = s; return r }})
	ended := make(chan error, 1)
	go func() { ended <- c.Serve() }()
	return near, w, r, ended
}

func stallAPeer(t *testing.T, behind int) {
	synctest.Test(t, func(t *testing.T) {
		near, w, r, served := serveRecorded()
		talked := make(chan struct{})
		go func() {
			defer close(talked)
			io.WriteString(near, "GET /watch HTTP/1.1\r\nhost: a\r\n\r\n"+
				strings.Repeat("GET / HTTP/1.1\r\nhost: a\r\n\r\n", behind/27))
		}()
		synctest.Wait()
		r.stream.WriteHeaders(fields(":status=200"), false)
		r.stream.WriteData([]byte("an event"), false)
		r.stream.Flush()
		time.Sleep(w.Stall)
		synctest.Wait()
		if behind == 0 { // a write would tell a parked reader too
			if n := r.stream.WriteData([]byte("another"), false); n != 0 {
				t.Errorf("%d bytes were accepted of which none will arrive", n)
			}
		}
		began := time.Now()
		if err := <-served; err == nil {
			t.Error("the connection ended as if in order")
		}
		if took := time.Since(began); took > 3*time.Second {
			t.Errorf("it ended %v later", took)
		}
		if heard := r.heard(); !strings.Contains(heard, "reset") {
			t.Errorf("the exchange heard %s", heard)
		}
		near.Close()
		<-talked
	})
}

// An upgraded connection may pause for as long as it likes: its peer gets everything in the end.
func TestAnUpgradedConnectionMayPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, _, r, served := serveRecorded()
		io.WriteString(near, "GET / HTTP/1.1\r\nhost: a\r\n"+
			"connection: upgrade\r\nupgrade: chat\r\n\r\n")
		synctest.Wait()
		r.stream.WriteHeaders(fields(":status=200"), false)
		r.stream.WriteData([]byte("an event"), true)
		r.stream.Flush()
		time.Sleep(time.Hour)
		near.SetReadDeadline(time.Now().Add(time.Minute))
		heard, err := io.ReadAll(near)
		if text := string(heard); !strings.HasSuffix(text, "\r\n\r\nan event") {
			t.Errorf("%q, %v; the exchange heard %s", text, err, r.heard())
		}
		near.Close()
		<-served
	})
}
