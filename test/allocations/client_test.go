//go:build !race

package allocations

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"io"
	"net"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// varying is how many bytes a value has that differs each time.
const varying = 16

// client is a client with one connection.
type client struct {
	nc      net.Conn
	r       *bufio.Reader
	batch   []byte // HEADERS frames of a batch, and the window of its answers
	ids     []int  // where in it the stream identifiers are
	values  []int  // where the values are that differ
	stream  uint32
	counter uint64
}

func newClient(t testing.TB, addr string) *client {
	nc, err := net.Dial("tcp", addr)
	check(t, err)
	t.Cleanup(func() { nc.Close() })
	check(t, nc.SetDeadline(time.Now().Add(time.Minute)))
	c := &client{nc: nc, r: bufio.NewReaderSize(nc, 64<<10), stream: 1}
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

func (c *client) prepare(block []byte, values []int) {
	var b bytes.Buffer
	w := http2.NewFramer(&b, nil)
	for range batchSize {
		at := b.Len()
		w.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block,
			EndHeaders: true, EndStream: true})
		c.ids = append(c.ids, at+5)
		for _, v := range values {
			c.values = append(c.values, at+frameHeader+v+1)
		}
	}
	w.WriteWindowUpdate(0, batchSize*uint32(len(body)))
	c.batch = b.Bytes()
}

// rounds sends batches and reads their answers.
func (c *client) rounds(t testing.TB, n int) {
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
		c.await(t, batchSize)
	}
}

// await reads frames until so many streams have ended.
func (c *client) await(t testing.TB, streams int) {
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
