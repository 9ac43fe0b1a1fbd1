package h2

import (
	"bytes"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/tulle-mesh/tulle/proxy/wire"
)

// tape is a connection whose peer says what is on it and then hangs up.
type tape struct {
	r io.Reader
}

func (t *tape) Read(p []byte) (int, error)       { return t.r.Read(p) }
func (t *tape) Write(p []byte) (int, error)      { return len(p), nil }
func (t *tape) Close() error                     { return nil }
func (t *tape) LocalAddr() net.Addr              { return nil }
func (t *tape) RemoteAddr() net.Addr             { return nil }
func (t *tape) SetDeadline(time.Time) error      { return nil }
func (t *tape) SetReadDeadline(time.Time) error  { return nil }
func (t *tape) SetWriteDeadline(time.Time) error { return nil }

// balanced: whatever the peer did short of breaking the connection, its window is whole again once
// all streams are over.
func balanced(t *testing.T, c *Conn, err error) {
	if errors.Is(err, ErrUndrawn) {
		t.Fatal(err)
	}
	var ce *ConnError
	if errors.As(err, &ce) {
		return
	}
	if c.recvWindow+c.credit != c.o.ConnWindow {
		t.Errorf(
			"connection window %d + credit %d is not %d; ended with %v",
			c.recvWindow,
			c.credit,
			c.o.ConnWindow,
			err,
		)
	}
	if len(c.streams) != 0 {
		t.Errorf("%d streams left", len(c.streams))
	}
}

func frames(write func(fr *http2.Framer)) []byte {
	var b bytes.Buffer
	fr := http2.NewFramer(&b, nil)
	fr.AllowIllegalWrites = true
	fr.WriteSettings()
	write(fr)
	return b.Bytes()
}

func seed(f *testing.F, block []byte) {
	f.Add(frames(func(fr *http2.Framer) {
		fr.WriteHeaders(
			http2.HeadersFrameParam{StreamID: 1, BlockFragment: block, EndHeaders: true},
		)
		fr.WriteDataPadded(1, false, make([]byte, 100), make([]byte, 20))
		fr.WriteWindowUpdate(1, 5)
		fr.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 10})
		fr.WriteData(1, true, make([]byte, 1000))
		fr.WritePing(false, [8]byte{})
	}))
	f.Add(frames(func(fr *http2.Framer) {
		fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block[:1]})
		fr.WriteContinuation(1, true, block[1:])
		fr.WriteData(1, false, make([]byte, 10))
		fr.WriteRSTStream(1, http2.ErrCodeCancel)
		fr.WriteData(1, true, make([]byte, 10))
		fr.WriteGoAway(1, http2.ErrCodeNo, nil)
	}))
	f.Add(frames(func(fr *http2.Framer) {
		fr.WriteHeaders(
			http2.HeadersFrameParam{StreamID: 1, BlockFragment: block, EndHeaders: true},
		)
		fr.WriteData(1, false, make([]byte, 300))
		fr.WriteHeaders(
			http2.HeadersFrameParam{
				StreamID:      1,
				BlockFragment: headerBlock("t", "1"),
				EndHeaders:    true,
				EndStream:     true,
			},
		)
		fr.WriteRawFrame(http2.FrameType(0xf), 0xff, 3, make([]byte, 3))
		fr.WriteRawFrame(http2.FrameData, 0x8, 1, []byte{200, 0, 0})
	}))
}

func FuzzServer(f *testing.F) {
	seed(f, postBlock)
	f.Fuzz(func(t *testing.T, p []byte) {
		c := NewServer(
			wire.New(&tape{r: io.MultiReader(strings.NewReader(preface), bytes.NewReader(p))}, nil),
			Options{OnStream: func(s *Stream) Sink { return &echo{s} }},
		)
		balanced(t, c, c.Serve())
	})
}

func FuzzClient(f *testing.F) {
	seed(f, okBlock)
	f.Fuzz(func(t *testing.T, p []byte) {
		c := NewClient(wire.New(&tape{r: bytes.NewReader(p)}, nil), Options{})
		for range 3 {
			k := &swallow{}
			k.s, _ = c.OpenStream([]hpack.HeaderField{{Name: ":method", Value: "GET"}}, true, k)
		}
		balanced(t, c, c.Serve())
	})
}

// swallow consumes half of what it gets, and says in the end that it is not interested: the rest
// must come back then.
type swallow struct{ s *Stream }

func (k *swallow) OnHeaders(_ []hpack.HeaderField, end bool) {
	if end {
		k.s.Reset(CodeCancel)
	}
}

func (k *swallow) OnData(p []byte, end bool) {
	k.s.Consumed(len(p) / 2)
	if end {
		k.s.Reset(CodeCancel)
	}
}
func (k *swallow) OnReset(uint32, error) {}
func (k *swallow) OnSent(int)            {}
