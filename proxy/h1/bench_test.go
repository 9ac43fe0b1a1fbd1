package h1

import (
	"net"
	"strings"
	"testing"

	"golang.org/x/net/http2/hpack"

	"github.com/tulle-mesh/tulle/proxy/wire"
)

const benchRequest = "GET /api/v1/items?id=42 HTTP/1.1\r\nHost: shop.example:8080\r\n" +
	"User-Agent: bench/1.0 (linux)\r\nAccept: */*\r\nAccept-Encoding: gzip, deflate\r\n" +
	"Accept-Language: en\r\nCookie: session=0123456789abcdef\r\nX-Request-Id: 5f2c9a\r\n" +
	"Cache-Control: no-cache\r\nReferer: http://shop.example/\r\nConnection: keep-alive\r\n\r\n"

const benchResponse = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nServer: bench\r\n" +
	"Date: Mon, 23 Nov 2026 13:00:00 GMT\r\nContent-Length: 5\r\n\r\nhello"

func BenchmarkRequestHead(b *testing.B) {
	h := &head{maxBytes: defaultHeaderBytes, maxFields: defaultHeaderFields}
	in := []byte(benchRequest)
	b.SetBytes(int64(len(in)))
	b.ReportAllocs()
	for b.Loop() {
		h.begin(requestHead)
		if _, done, err := h.feed(in); !done || err != nil {
			b.Fatal(done, err)
		}
	}
}

func BenchmarkChunked(b *testing.B) {
	in := []byte(strings.Repeat("400\r\n"+strings.Repeat("x", 1024)+"\r\n", 16) + "0\r\n")
	b.SetBytes(int64(len(in)))
	b.ReportAllocs()
	for b.Loop() {
		var d chunks
		for rest := in; d.state != chunkLast; {
			skip, n, err := d.next(rest, 1<<20)
			if err != nil {
				b.Fatal(err)
			}
			rest = rest[skip+n:]
		}
	}
}

var okHead = []hpack.HeaderField{{Name: ":status", Value: "200"},
	{Name: "content-type", Value: "text/plain"}, {Name: "content-length", Value: "5"}}

// instant answers in the middle of the call, and is one allocation less than a real exchange.
type instant struct{ s *Stream }

func (i *instant) OnHeaders(_ []hpack.HeaderField, end bool) {
	i.s.WriteHeaders(okHead, false)
	i.s.WriteData(helloBytes, true)
}
func (i *instant) OnData([]byte, bool)   {}
func (i *instant) OnReset(uint32, error) {}
func (i *instant) OnSent(int)            {}

var helloBytes = []byte("hello")

// BenchmarkServerKeepAlive: one request of ten fields and its answer, system calls included.
func BenchmarkServerKeepAlive(b *testing.B) {
	near, far := tcpPair(b)
	var c *Conn
	sink := &instant{}
	c = NewServer(wire.New(near, nil), Options{
		OnStream: func(s *Stream) Sink { sink.s = s; return sink },
		OnBatch:  func() { c.Flush() },
	})
	done := make(chan struct{})
	go func() { c.Serve(); close(done) }()
	in, out := []byte(benchRequest), make([]byte, 4096)
	b.ReportAllocs()
	for b.Loop() {
		far.Write(in)
		if _, err := far.Read(out); err != nil {
			b.Fatal(err)
		}
	}
	far.Close()
	<-done
}

// BenchmarkRelay: the two codecs behind each other, and net connections at both ends.
func BenchmarkRelay(b *testing.B) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			go respond(nc)
		}
	}()
	r := newRelay(b, l.Addr().String(), Options{})
	nc, err := net.Dial("tcp", r.l.Addr().String())
	if err != nil {
		b.Fatal(err)
	}
	defer nc.Close()
	in, out := []byte(benchRequest), make([]byte, 4096)
	b.ReportAllocs()
	for b.Loop() {
		nc.Write(in)
		for n := 0; n < len("HTTP/1.1 200 OK") || !strings.HasSuffix(string(out[:n]), "hello"); {
			m, err := nc.Read(out[n:])
			if err != nil {
				b.Fatal(err)
			}
			n += m
		}
	}
}

func respond(nc net.Conn) {
	defer nc.Close()
	in, out := make([]byte, 4096), []byte(benchResponse)
	for {
		if _, err := nc.Read(in); err != nil {
			return
		}
		nc.Write(out)
	}
}

func tcpPair(t testing.TB) (net.Conn, net.Conn) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	far, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	near, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	return near, far
}

// A steady request costs its Stream and nothing else.
func TestAllocations(t *testing.T) {
	h := &head{maxBytes: defaultHeaderBytes, maxFields: defaultHeaderFields}
	in := []byte(benchRequest)
	n := testing.AllocsPerRun(100, func() {
		h.begin(requestHead)
		if _, done, err := h.feed(in); !done || err != nil {
			t.Fatal(done, err)
		}
		h.request()
	})
	if n > 0 {
		t.Errorf("parsing the same head again allocates %v times", n)
	}
	near, far := tcpPair(t)
	defer far.Close()
	c := NewServer(wire.New(near, nil), Options{})
	list := append([]hpack.HeaderField(nil), okHead...)
	n = testing.AllocsPerRun(100, func() {
		s := &Stream{c: c, method: "GET", state: streamRemoteClosed}
		c.stream = s
		s.WriteHeaders(list, false)
		s.WriteData(helloBytes, true)
		c.Flush()
	})
	if n > 1 {
		t.Errorf("a response allocates %v times", n)
	}
}
