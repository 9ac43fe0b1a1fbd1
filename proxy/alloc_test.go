//go:build !race

package proxy_test

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"runtime"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/tulle-mesh/tulle/test/loopback"
)

// The race detector makes sync.Pool forget on purpose, so this is built without it.

// maxAllocs is what a request may allocate in one proxy, everything counted: two engines, the
// exchange, discovery, routing, balancing, deadlines and metrics. It only ever goes down. Two are
// the values that differ; a record of TLS is shared by many.
const maxAllocs = 2.5

const (
	allocBatch  = 16 // requests on their way together
	allocWarmup = 200
	allocRounds = 1000 // batches that are counted
)

// TestAllocationsPerRequest sends requests of ten fields of which two differ each time, and gets
// answers of six that do not. Both peers are scripts that write bytes made beforehand, and allocate
// nothing.
func TestAllocationsPerRequest(t *testing.T) {
	for _, tt := range []struct {
		name    string
		proxies float64
		mesh    bool
	}{{"one plaintext hop", 1, false}, {"two hops", 2, true}} {
		t.Run(tt.name, func(t *testing.T) {
			got := allocations(t, tt.mesh) / tt.proxies
			t.Logf("%.2f allocations a request and proxy", got)
			if got > maxAllocs {
				t.Errorf("%.2f allocations a request and proxy, more than %.1f", got, maxAllocs)
			}
		})
	}
}

// BenchmarkRequest is for profiles: -bench Request -memprofile with -memprofilerate 1.
func BenchmarkRequest(b *testing.B) {
	c := newScriptClient(b, scriptedMesh(b, true))
	c.rounds(b, allocWarmup)
	b.ReportAllocs()
	b.ResetTimer()
	c.rounds(b, (b.N+allocBatch-1)/allocBatch)
}

func allocations(t *testing.T, mesh bool) float64 {
	c := newScriptClient(t, scriptedMesh(t, mesh))
	c.rounds(t, allocWarmup)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	c.rounds(t, allocRounds)
	runtime.ReadMemStats(&after)
	return float64(after.Mallocs-before.Mallocs) / (allocRounds * allocBatch)
}

// scriptedMesh is a caller's proxy and a scripted application, with or without a proxy of its own.
func scriptedMesh(t testing.TB, mesh bool) (addr string) {
	m := newMesh(t, time.Hour)
	web := pod{name: "web-0", app: scriptApp(t)}
	if mesh {
		web.mesh = loopback.Free()
	}
	m.service("web", web)
	if mesh {
		m.proxy("web", web)
	}
	return m.caller("web").out["web"]
}

const (
	frameHeader = 9
	flagEnd     = 1
	varying     = 16 // bytes of a value that differs each time
)

// scriptClient is a client with one connection.
type scriptClient struct {
	nc      net.Conn
	r       *bufio.Reader
	batch   []byte // HEADERS frames of a batch, and the window of its answers
	ids     []int  // where in it the stream identifiers are
	values  []int  // where the values are that differ
	stream  uint32
	counter uint64
}

func newScriptClient(t testing.TB, addr string) *scriptClient {
	nc, err := net.Dial("tcp", addr)
	check(t, err)
	t.Cleanup(func() { nc.Close() })
	check(t, nc.SetDeadline(time.Now().Add(time.Minute)))
	c := &scriptClient{nc: nc, r: bufio.NewReaderSize(nc, 64<<10), stream: 1}
	w := http2.NewFramer(nc, nil)
	_, err = io.WriteString(nc, http2.ClientPreface)
	check(t, err)
	check(t, w.WriteSettings())
	check(t, w.WriteSettingsAck()) // of the proxy's, which come for certain
	first, rest, values := requestBlocks()
	check(t, w.WriteHeaders(http2.HeadersFrameParam{StreamID: c.stream, BlockFragment: first,
		EndHeaders: true, EndStream: true}))
	c.await(t, 1)
	c.prepare(rest, values)
	return c
}

// requestBlocks are the header block that fills the peer's table, the one that is sent from then
// on, and where in that the values are that differ: of :path and x-request-id, literals whose names
// are indexed.
func requestBlocks() (first, rest []byte, values []int) {
	fields := []hpack.HeaderField{
		{Name: ":method", Value: "GET"}, {Name: ":scheme", Value: "http"},
		{Name: ":authority", Value: "web.shop.svc.cluster.local"},
		{Name: "user-agent", Value: "grpc-go/1.85.0"}, {Name: "accept", Value: "application/json"},
		{Name: "accept-encoding", Value: "gzip, br"},
		{Name: "cookie", Value: "session=0123456789abcdef"},
		{Name: "authorization", Value: "Bearer abcdefghijklmnopqrstuvwxyz"}}
	// literals without indexing (RFC 7541 §6.2.2), names 4 and 62: the newest of the table
	const path, id = "\x04", "\x0f\x2f"
	var b bytes.Buffer
	e := hpack.NewEncoder(&b)
	literal := func(name string) {
		b.WriteString(name)
		b.WriteByte(varying)
		values = append(values, b.Len())
		b.WriteString("/0123456789abcde")
	}
	encode := func(last func()) []byte {
		b.Reset()
		values = nil
		for _, f := range fields[:3] {
			e.WriteField(f)
		}
		literal(path)
		for _, f := range fields[3:] {
			e.WriteField(f)
		}
		last()
		return bytes.Clone(b.Bytes())
	}
	first = encode(func() { e.WriteField(hpack.HeaderField{Name: "x-request-id", Value: "first"}) })
	rest = encode(func() { literal(id) })
	return first, rest, values
}

func (c *scriptClient) prepare(block []byte, values []int) {
	var b bytes.Buffer
	w := http2.NewFramer(&b, nil)
	for range allocBatch {
		at := b.Len()
		w.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block,
			EndHeaders: true, EndStream: true})
		c.ids = append(c.ids, at+5)
		for _, v := range values {
			c.values = append(c.values, at+frameHeader+v+1)
		}
	}
	w.WriteWindowUpdate(0, allocBatch*uint32(len(scriptBody)))
	c.batch = b.Bytes()
}

// rounds sends batches and reads their answers.
func (c *scriptClient) rounds(t testing.TB, n int) {
	for range n {
		for _, at := range c.ids {
			c.stream += 2
			binary.BigEndian.PutUint32(c.batch[at:], c.stream)
		}
		for _, at := range c.values {
			c.counter++
			for i, n := varying-2, c.counter; i >= 0; i, n = i-1, n/10 {
				c.batch[at+i] = byte('0' + n%10)
			}
		}
		if _, err := c.nc.Write(c.batch); err != nil {
			t.Fatal(err)
		}
		c.await(t, allocBatch)
	}
}

// await reads frames until so many streams have ended.
func (c *scriptClient) await(t testing.TB, streams int) {
	for streams > 0 {
		kind, flags, _, payload, err := nextFrame(c.r)
		switch {
		case err != nil:
			t.Fatal(err)
		case kind == http2.FrameRSTStream || kind == http2.FrameGoAway:
			t.Fatalf("%v %x", kind, payload)
		case kind == http2.FrameData && flags&flagEnd != 0:
			streams--
		}
	}
}

// nextFrame's payload is the reader's until the next call.
func nextFrame(
	r *bufio.Reader,
) (kind http2.FrameType, flags byte, stream uint32, payload []byte, err error) {
	h, err := r.Peek(frameHeader)
	if err != nil {
		return 0, 0, 0, nil, err
	}
	size := int(h[0])<<16 | int(h[1])<<8 | int(h[2])
	kind, flags, stream = http2.FrameType(h[3]), h[4], binary.BigEndian.Uint32(h[5:])
	whole, err := r.Peek(frameHeader + size)
	if err != nil {
		return 0, 0, 0, nil, fmt.Errorf("%v of %d bytes: %w", kind, size, err)
	}
	_, err = r.Discard(frameHeader + size)
	return kind, flags, stream, whole[frameHeader:], err
}

var scriptBody = []byte("hello, world\n")

// scriptApp answers every request with the same bytes.
func scriptApp(t testing.TB) string {
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
			binary.BigEndian.PutUint32(headers[len(headers)-len(scriptBody)-4:], stream)
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
			{"content-length", fmt.Sprint(len(scriptBody))}, {"server", "app/1.2"},
			{"date", "Mon, 23 Nov 2026 13:00:00 GMT"}, {"cache-control", "no-store"}} {
			e.WriteField(hpack.HeaderField{Name: f[0], Value: f[1]})
		}
		var b bytes.Buffer
		w := http2.NewFramer(&b, nil)
		w.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block.Bytes(),
			EndHeaders: true})
		w.WriteData(1, true, scriptBody)
		return b.Bytes()
	}
	first = frames()
	return first, frames()
}
