package proxy_test

import (
	"bytes"
	"net"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/tulle-mesh/tulle/test/await"
)

// framing is an HTTP/2 client of frames, with one stream.
type framing struct {
	*http2.Framer
	t *testing.T
}

func frames(t *testing.T, addr string) framing {
	t.Helper()
	nc, err := net.Dial("tcp", addr)
	check(t, err)
	t.Cleanup(func() { nc.Close() })
	check(t, nc.SetDeadline(time.Now().Add(30*time.Second)))
	say(t, nc, http2.ClientPreface)
	f := http2.NewFramer(nc, nc)
	f.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	check(t, f.WriteSettings())
	return framing{f, t}
}

func (f framing) request(fields ...[2]string) {
	f.t.Helper()
	var b bytes.Buffer
	e := hpack.NewEncoder(&b)
	for _, h := range fields {
		e.WriteField(hpack.HeaderField{Name: h[0], Value: h[1]})
	}
	check(f.t, f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: b.Bytes(),
		EndHeaders: true}))
}

// next is the next frame of the stream.
func (f framing) next() http2.Frame {
	f.t.Helper()
	for {
		fr, err := f.ReadFrame()
		check(f.t, err)
		if s, ok := fr.(*http2.SettingsFrame); ok && !s.IsAck() {
			check(f.t, f.WriteSettingsAck())
		}
		if _, window := fr.(*http2.WindowUpdateFrame); fr.Header().StreamID == 1 && !window {
			return fr
		}
	}
}

// data reads all up to the stream's end.
func (f framing) data() string {
	f.t.Helper()
	var b []byte
	for {
		d, ok := f.next().(*http2.DataFrame)
		if !ok {
			f.t.Fatal("no DATA")
		}
		if b = append(b, d.Data()...); d.StreamEnded() {
			return string(b)
		}
	}
}

// A client of HTTP/2 opens a WebSocket by extended CONNECT (RFC 8441); the application sees the
// Upgrade that it knows. The halves end by themselves here too.
func TestExtendedConnectBecomesAnUpgrade(t *testing.T) {
	a, addrs := upgradePaths(t)
	for name, addr := range addrs {
		t.Run(name, func(t *testing.T) {
			f := frames(t, addr)
			f.request([2]string{":method", "CONNECT"}, [2]string{":protocol", "own"},
				[2]string{":scheme", "http"}, [2]string{":authority", "web"},
				[2]string{":path", "/chat"})
			h, ok := f.next().(*http2.MetaHeadersFrame)
			if !ok || h.PseudoValue("status") != "200" {
				t.Fatalf("%v", h)
			}
			server := await.Receive(t, "the application is dialed", a.conns)
			check(t, server.SetDeadline(time.Now().Add(30*time.Second)))
			check(t, f.WriteData(1, false, []byte("hello")))
			wantRead(t, server, "hello")
			say(t, server, "last words")
			check(t, server.CloseWrite())
			if got := f.data(); got != "last words" {
				t.Errorf("%q", got)
			}
			check(t, f.WriteData(1, true, []byte("still here")))
			wantRead(t, server, "still here")
			wantEnd(t, server)
		})
	}
}
