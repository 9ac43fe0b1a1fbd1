package h2

import (
	"testing"

	"golang.org/x/net/http2/hpack"

	"github.com/tulle-mesh/tulle/proxy/wire"
)

var benchRequest = []hpack.HeaderField{
	{
		Name:  ":method",
		Value: "GET",
	}, {Name: ":scheme", Value: "http"}, {Name: ":path", Value: "/api/v1/items?page=2"},
	{
		Name:  ":authority",
		Value: "web.shop.svc.cluster.local",
	}, {Name: "user-agent", Value: "curl/8.5.0"},
	{
		Name:  "accept",
		Value: "application/json",
	}, {Name: "accept-encoding", Value: "gzip, deflate, br"},
	{
		Name:  "cookie",
		Value: "session=0123456789abcdef",
	}, {Name: "x-forwarded-for", Value: "10.1.2.3"},
	{Name: "authorization", Value: "Bearer abcdefghijklmnopqrstuvwxyz"},
}

var benchResponse = []hpack.HeaderField{
	{
		Name:  ":status",
		Value: "200",
	}, {Name: "content-type", Value: "application/json"}, {Name: "content-length", Value: "38"},
	{
		Name:  "server",
		Value: "app/1.2",
	}, {Name: "cache-control", Value: "no-store"}, {Name: "vary", Value: "accept-encoding"},
	{
		Name:  "date",
		Value: "Mon, 23 Nov 2026 13:00:00 GMT",
	}, {Name: "etag", Value: "\"5d8c72a5edda8d6a\""},
	{
		Name:  "x-request-id",
		Value: "b1946ac92492d2347c6235b4d2611184",
	}, {Name: "strict-transport-security", Value: "max-age=31536000"},
}

// load keeps a number of requests under way at a client, one in each lane.
type load struct {
	c    *Conn
	left int
	done chan struct{}
}

type lane struct {
	l *load
	s *Stream
}

func (k *lane) OnHeaders([]hpack.HeaderField, bool) {}
func (k *lane) OnReset(code uint32, err error)      { panic(err) }
func (k *lane) OnSent(int)                          {}
func (k *lane) OnData(p []byte, end bool) {
	k.s.Consumed(len(p))
	if !end {
		return
	}
	k.l.left--
	switch {
	case k.l.left == 0:
		close(k.l.done)
	case k.l.left >= benchConcurrency:
		k.open()
	}
}

func (k *lane) open() { k.s, _ = k.l.c.OpenStream(benchRequest, true, k) }

const benchConcurrency = 64

type answer struct {
	s *Stream
}

var benchBody = make([]byte, 38)

func (k answer) OnHeaders([]hpack.HeaderField, bool) {
	k.s.WriteHeaders(benchResponse, false)
	k.s.WriteData(benchBody, true)
}
func (k answer) OnData([]byte, bool)   {}
func (k answer) OnReset(uint32, error) {}
func (k answer) OnSent(int)            {}

// BenchmarkRelay is one request of ten fields and one response of ten fields through client, relay
// and server, all ours, in one process: its allocations are those of four connection ends.
func BenchmarkRelay(b *testing.B) {
	near, a := tcpPair(b)
	c, far := tcpPair(b)
	r := newRelay(wire.New(a, nil), wire.New(c, nil), Options{})
	r.start()
	server := NewServer(
		wire.New(far, nil),
		Options{OnStream: func(s *Stream) Sink { return answer{s} }},
	)
	go server.Serve()
	l := &load{left: b.N, done: make(chan struct{})}
	l.c = NewClient(wire.New(near, nil), Options{})
	b.ReportAllocs()
	b.ResetTimer()
	for range min(b.N, benchConcurrency) {
		(&lane{l: l}).open()
	}
	go l.c.Serve()
	<-l.done
	b.StopTimer()
	l.c.Close(CodeNone)
	r.wait()
}

// BenchmarkBulk is 1 MiB up and down again through the relay.
func BenchmarkBulk(b *testing.B) {
	near, a := tcpPair(b)
	c, far := tcpPair(b)
	r := newRelay(wire.New(a, nil), wire.New(c, nil), Options{})
	r.start()
	server := NewServer(
		wire.New(far, nil),
		Options{OnStream: func(s *Stream) Sink { return &echo{s: s} }},
	)
	go server.Serve()
	client := NewClient(wire.New(near, nil), Options{})
	go client.Serve()
	body := make([]byte, 1<<20)
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		k := &collect{done: make(chan struct{})}
		s, err := client.OpenStream(
			[]hpack.HeaderField{
				{Name: ":method", Value: "POST"},
				{Name: ":scheme", Value: "http"},
				{Name: ":path", Value: "/"},
			},
			false,
			k,
		)
		if err != nil {
			b.Fatal(err)
		}
		k.s.Store(s)
		s.WriteData(body, true)
		s.Flush()
		<-k.done
	}
	client.Close(CodeNone)
	r.wait()
}
