//go:build !race

package allocations

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"net"
	"testing"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

var body = []byte("hello, world\n")

// newApp answers every request with the same bytes.
func newApp(t testing.TB) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			nc, err := l.Accept()
			if err != nil {
				return // the test has ended
			}
			go answerAlways(nc)
		}
	}()
	return l.Addr().String()
}

// answerAlways ends with its connection, which the proxy ends.
func answerAlways(nc net.Conn) {
	defer nc.Close()
	r := bufio.NewReaderSize(nc, 64<<10)
	if _, err := r.Discard(len(http2.ClientPreface)); err != nil {
		return
	}
	if http2.NewFramer(nc, nil).WriteSettings() != nil {
		return
	}
	answer, rest := answerFrames()
	out := make([]byte, 0, 64<<10)
	for {
		kind, flags, stream, payload, err := nextFrame(r)
		if err != nil {
			return
		}
		switch {
		case kind == http2.FrameHeaders && flags&flagEnd != 0:
			out = append(out, answer...)
			headers := out[len(out)-len(answer):]
			binary.BigEndian.PutUint32(headers[5:], stream)
			binary.BigEndian.PutUint32(headers[len(headers)-len(body)-4:], stream)
			answer = rest
		case kind == http2.FrameSettings && flags&flagEnd == 0:
			out = append(out, 0, 0, 0, byte(http2.FrameSettings), flagEnd, 0, 0, 0, 0)
		case kind == http2.FramePing && flags&flagEnd == 0:
			out = append(out, 0, 0, 8, byte(http2.FramePing), flagEnd, 0, 0, 0, 0)
			out = append(out, payload...)
		}
		if r.Buffered() == 0 && len(out) > 0 {
			if _, err := nc.Write(out); err != nil {
				return
			}
			out = out[:0]
		}
	}
}

// answerFrames are HEADERS and DATA: the first fill the peer's table, the rest refer to it.
func answerFrames() (first, rest []byte) {
	var block bytes.Buffer
	e := hpack.NewEncoder(&block)
	frames := func() []byte {
		block.Reset()
		for _, f := range [][2]string{{":status", "200"}, {"content-type", "text/plain"},
			{"content-length", fmt.Sprint(len(body))}, {"server", "app/1.2"},
			{"date", "Mon, 23 Nov 2026 13:00:00 GMT"}, {"cache-control", "no-store"}} {
			e.WriteField(hpack.HeaderField{Name: f[0], Value: f[1]})
		}
		var b bytes.Buffer
		w := http2.NewFramer(&b, nil)
		w.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block.Bytes(),
			EndHeaders: true})
		w.WriteData(1, true, body)
		return b.Bytes()
	}
	first = frames()
	return first, frames()
}
