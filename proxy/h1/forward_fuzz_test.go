package h1

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2/hpack"

	"github.com/tulle-mesh/tulle/proxy/wire"
)

// reel is a connection whose peer says what is on it and then hangs up; what we say is kept.
type reel struct {
	r   io.Reader
	mu  sync.Mutex
	out bytes.Buffer
}

func (c *reel) Read(p []byte) (int, error) { return c.r.Read(p) }
func (c *reel) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.out.Write(p)
}
func (c *reel) Close() error                     { return nil }
func (c *reel) LocalAddr() net.Addr              { return nil }
func (c *reel) RemoteAddr() net.Addr             { return nil }
func (c *reel) SetDeadline(time.Time) error      { return nil }
func (c *reel) SetReadDeadline(time.Time) error  { return nil }
func (c *reel) SetWriteDeadline(time.Time) error { return nil }

// taken is a request as the server's sink was told.
type taken struct {
	s        *Stream
	fields   []hpack.HeaderField
	body     []byte
	trailers []hpack.HeaderField
	headOnly bool
	whole    bool
}

func (k *taken) OnHeaders(fields []hpack.HeaderField, end bool) {
	if k.fields == nil {
		k.fields, k.headOnly = slices.Clone(fields), end
	} else {
		k.trailers = slices.Clone(fields)
	}
	k.end(end)
}

func (k *taken) OnData(p []byte, end bool) {
	k.body = append(k.body, p...)
	k.s.Consumed(len(p))
	k.end(end)
}

func (k *taken) end(end bool) {
	if end {
		k.whole = true
		k.s.WriteHeaders([]hpack.HeaderField{{Name: ":status", Value: "204"}}, true)
	}
}
func (k *taken) OnReset(uint32, error) {}
func (k *taken) OnSent(int)            {}

// take reads all requests in b.
func take(b []byte) (all []*taken) {
	accept := func(s *Stream) Sink {
		all = append(all, &taken{s: s})
		return all[len(all)-1]
	}
	o := Options{OnStream: accept, HalfClosed: 1} // nobody answers a request that is not whole
	c := NewServer(wire.New(&reel{r: bytes.NewReader(b)}, nil), o)
	// any other end is the other targets' business
	if err := c.Serve(); errors.Is(err, ErrUndrawn) {
		panic(err)
	}
	return all
}

// forward is what a server behind us is sent for k.
func (k *taken) forward(t *testing.T) []byte {
	nc := &reel{r: strings.NewReader("")}
	c := NewClient(wire.New(nc, nil), Options{StreamWindow: 1 << 30, MaxOutput: 1 << 30})
	s, err := c.OpenStream(k.fields, k.headOnly, k)
	if err != nil {
		t.Fatalf("cannot forward %v: %v", k.fields, err)
	}
	if !k.headOnly {
		s.WriteData(k.body, k.trailers == nil)
		if k.trailers != nil {
			s.WriteHeaders(k.trailers, true)
		}
	}
	c.w.CloseWrite()
	c.w.Wait()
	nc.mu.Lock()
	defer nc.mu.Unlock()
	return nc.out.Bytes()
}

// Whatever we accept, net/http reads the same from what we forward: as many requests, and each with
// the same method, target, host, fields, body and trailers.
func FuzzForward(f *testing.F) {
	for _, s := range requestSeeds {
		f.Add([]byte(s + s))
	}
	f.Add([]byte("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" +
		"5;x=y\r\nhello\r\n0\r\nX: y\r\n\r\nGET /2 HTTP/1.1\r\nHost: b\r\n\r\n"))
	f.Add([]byte("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n" +
		"DELETE / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc"))
	f.Fuzz(func(t *testing.T, b []byte) {
		var wire []byte
		var sent []*taken
		for _, k := range take(b) {
			if k.whole && value(k.fields, ":protocol") == "" {
				sent = append(sent, k)
				wire = append(wire, k.forward(t)...)
			}
		}
		r := bufio.NewReaderSize(bytes.NewReader(wire), 1<<20)
		for _, k := range sent {
			if !sameRequest(t, k, r, wire) {
				return
			}
		}
		if rest, _ := io.ReadAll(r); len(rest) > 0 {
			t.Fatalf("%d requests became more: %q is left of %q", len(sent), rest, wire)
		}
	})
}

func value(fields []hpack.HeaderField, name string) string {
	for _, f := range fields {
		if f.Name == name {
			return f.Value
		}
	}
	return ""
}

// sameRequest is false where net/url refuses an escape or a host that we pass on as it is.
func sameRequest(t *testing.T, k *taken, r *bufio.Reader, wire []byte) bool {
	q, err := http.ReadRequest(r)
	if err != nil {
		if strings.Contains(err.Error(), "parse ") || strings.Contains(err.Error(), "invalid URI") {
			return false
		}
		t.Fatalf("net/http refuses %q: %v", wire, err)
	}
	body, err := io.ReadAll(q.Body)
	if err != nil || !bytes.Equal(body, k.body) {
		t.Fatalf("the body %q became %q (%v) in %q", k.body, body, err, wire)
	}
	if q.Method != value(k.fields, ":method") || q.RequestURI != targetOf(k.fields) ||
		q.Host != value(k.fields, ":authority") {
		t.Fatalf("%v became %s %s for %s", k.fields, q.Method, q.RequestURI, q.Host)
	}
	sameFields(t, k.fields, q.Header)
	sameFields(t, k.trailers, q.Trailer)
	return true
}

func targetOf(fields []hpack.HeaderField) string {
	path := value(fields, ":path")
	if value(fields, AbsoluteField) == "" {
		return path
	}
	return value(fields, ":scheme") + "://" + value(fields, ":authority") +
		strings.TrimPrefix(path, "*")
}

func sameFields(t *testing.T, sent []hpack.HeaderField, got http.Header) {
	want := http.Header{}
	for _, f := range sent {
		switch f.Name {
		case "content-length", "te", "trailer", "host", AbsoluteField:
		default:
			if f.Name[0] != ':' {
				want.Add(f.Name, f.Value)
			}
		}
	}
	for name, values := range want {
		if !slices.Equal(got.Values(name), values) {
			t.Fatalf("%s: %q became %q", name, values, got.Values(name))
		}
	}
	for name := range got {
		switch name {
		case "Content-Length", "Te", "Connection", "Trailer":
		default:
			if want[name] == nil {
				t.Fatalf("%s: %q came from nowhere", name, got[name])
			}
		}
	}
}
