package h1

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/http/httputil"
	"strings"
	"testing"

	"golang.org/x/net/http2/hpack"
)

// feedIn gives b to a parser in pieces of n bytes, as a slow peer would, the way Conn does.
func feedIn(h *head, s section, b []byte, n int) (used int, done bool, err error) {
	h.maxBytes, h.maxFields = defaultHeaderBytes, defaultHeaderFields
	h.begin(s)
	for end := min(n, len(b)); ; end = min(end+n, len(b)) {
		m, done, err := h.feed(b[used:end])
		used += m
		if done || err != nil || end == len(b) {
			return used, done, err
		}
	}
}

var requestSeeds = []string{
	"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
	"POST /x?y=z HTTP/1.1\r\nHost: a:80\r\nContent-Length: 5\r\nX-Y: z\r\n\r\nhello",
	"PUT http://a/ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nConnection: x, close\r\n" +
		"X: 1\r\n\r\n0\r\n\r\n",
	"GET / HTTP/1.0\r\n\r\n",
	"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
	"CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\nx",
	"POST https://a/x HTTP/1.1\r\nHost:\r\nUpgrade: x\r\nConnection: Upgrade\r\n" +
		"Content-Length: 0\r\n\r\n",
	"POST / HTTP/1.1\r\nHost: a\r\nUpgrade: tcp\r\nConnection: Upgrade\r\n" +
		"Content-Length: 5\r\n\r\nhello",
	"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
	"GET / HTTP/1.1\r\nHost: a\r\nA: b\r\n c\r\n\r\n",
	"\r\nOPTIONS * HTTP/1.1\r\nHost: [::1]:80\r\nTE: trailers\r\n\r\n",
}

// What we accept, net/http accepts too and reads the same: method, target, host, framing, fields.
// The other way round we may be stricter. And pieces of any size give the same result.
func FuzzRequestHead(f *testing.F) {
	for _, s := range requestSeeds {
		f.Add([]byte(s), 1)
	}
	f.Fuzz(func(t *testing.T, b []byte, n int) {
		h, whole := new(head), new(head)
		used, done, err := feedIn(h, requestHead, b, max(1, n))
		used2, done2, err2 := feedIn(whole, requestHead, b, len(b)+1)
		if done != done2 || done && used != used2 || (err == nil) != (err2 == nil) {
			t.Fatalf("in pieces: %d %v %v, whole: %d %v %v", used, done, err, used2, done2, err2)
		}
		if err != nil || !done {
			return
		}
		in := bytes.NewReader(bytes.TrimPrefix(b, []byte("\r\n")))
		q, err := http.ReadRequest(bufio.NewReaderSize(in, 1<<20))
		if err != nil {
			if strings.Contains(err.Error(), "parse ") ||
				strings.Contains(err.Error(), "invalid URI") {
				return // net/url dislikes escapes and hosts that we pass on as they are
			}
			t.Fatalf("net/http refuses: %v", err)
		}
		compareRequest(t, h, q)
		emitted(t, h.request(), !h.body() && !h.tunnels())
	})
}

func compareRequest(t *testing.T, h *head, q *http.Request) {
	if q.Method != h.method || !strings.EqualFold(q.Host, h.host) {
		t.Fatalf("method %q host %q, net/http: %q %q", h.method, h.host, q.Method, q.Host)
	}
	if chunked := len(q.TransferEncoding) > 0; chunked != (h.codings > 0) {
		t.Fatalf("chunked %v, net/http: %v", h.codings > 0, q.TransferEncoding)
	}
	if h.codings == 0 && q.ContentLength != h.length {
		t.Fatalf("length %d, net/http: %d", h.length, q.ContentLength)
	}
	for _, f := range h.fields[pseudoSlots:] {
		if f.Name == "te" || f.Name == AbsoluteField || f.Name == UpgradeLengthField ||
			f.Name == "host" && q.Host == "" {
			continue
		}
		found := false
		for k, vs := range q.Header {
			for _, v := range vs {
				found = found ||
					strings.EqualFold(k, f.Name) && (v == f.Value || f.Name == "content-length")
			}
		}
		if !found && f.Name != "content-length" && f.Name != "trailer" {
			t.Fatalf("field %q: %q is not in %v", f.Name, f.Value, q.Header)
		}
	}
}

// emitted: what we parsed we can write, and what we wrote we parse to the same.
func emitted(t *testing.T, fields []hpack.HeaderField, end bool) {
	var r request
	if err := r.read(fields, end); err != nil {
		t.Fatalf("cannot write %v: %v", fields, err)
	}
	b := r.append(nil, fields)
	again := new(head)
	used, done, err := feedIn(again, requestHead, b, len(b))
	if r.authority == "" {
		return // a host that nobody named is read as an empty one
	}
	if err != nil || !done || used != len(b) {
		t.Fatalf("wrote %q and read %d %v %v", b, used, done, err)
	}
	var second request
	got := again.request()
	if err := second.read(got, end); err != nil {
		t.Fatal(err)
	}
	if twice := second.append(nil, got); !bytes.Equal(b, twice) {
		t.Fatalf("not canonical:\n%q\n%q", b, twice)
	}
}

func FuzzResponseHead(f *testing.F) {
	for _, s := range []string{
		"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X\r\n\r\n",
		"HTTP/1.0 404 Not Found\r\nServer: x\r\n\r\n",
		"HTTP/1.1 304\r\nETag: \"x\"\r\n\r\n",
		"HTTP/1.1 101 S\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
	} {
		f.Add([]byte(s), 1)
	}
	f.Fuzz(func(t *testing.T, b []byte, n int) {
		h, whole := new(head), new(head)
		used, done, err := feedIn(h, responseHead, b, max(1, n))
		used2, done2, err2 := feedIn(whole, responseHead, b, len(b)+1)
		if done != done2 || done && used != used2 || (err == nil) != (err2 == nil) {
			t.Fatalf("in pieces: %d %v %v, whole: %d %v %v", used, done, err, used2, done2, err2)
		}
		if err != nil || !done {
			return
		}
		resp, err := http.ReadResponse(bufio.NewReaderSize(bytes.NewReader(b), 1<<20),
			&http.Request{Method: "GET"})
		if err != nil {
			t.Fatalf("net/http refuses: %v", err)
		}
		if resp.StatusCode != h.code ||
			len(resp.TransferEncoding) > 0 != (h.codings > 0) && !bodiless("GET", h.code) {
			t.Fatalf("%d %v, net/http: %d %v",
				h.code, h.codings, resp.StatusCode, resp.TransferEncoding)
		}
		if h.lengthSeen && !bodiless("GET", h.code) && resp.ContentLength != h.length {
			t.Fatalf("length %d, net/http: %d", h.length, resp.ContentLength)
		}
		fields := h.response()
		var r response
		if err := r.read(fields); err != nil {
			t.Fatalf("cannot write %v: %v", fields, err)
		}
	})
}

var errShort = errors.New("short")

// decode runs our decoder over b in pieces of n bytes.
func decode(b []byte, n, limit int) (out []byte, rest int, err error) {
	var d chunks
	used := 0
	for end := min(n, len(b)); ; {
		skip, data, err := d.next(b[used:end], limit)
		if err != nil {
			return out, 0, err
		}
		out = append(out, b[used+skip:used+skip+data]...)
		used += skip + data
		if d.state == chunkLast {
			return out, used, nil
		}
		if data > 0 {
			continue
		}
		if end == len(b) {
			return out, 0, errShort
		}
		end = min(end+n, len(b))
	}
}

// What we accept, net/http's reader accepts too, with the same data.
func FuzzChunked(f *testing.F) {
	for _, s := range []string{"0\r\n\r\n", "5\r\nhello\r\n0\r\n\r\n", "5;a=b\r\nhello\r\n00\r\n",
		"A\r\n0123456789\r\n1\r\nx\r\n0\r\n", "5\nhello\n0\n", "ffffffffffffffff\r\n"} {
		f.Add([]byte(s), 1, 3)
	}
	f.Fuzz(func(t *testing.T, b []byte, n, limit int) {
		n, limit = max(1, n), max(1, limit)
		out, used, err := decode(b, n, limit)
		out2, used2, err2 := decode(b, len(b)+1, 1<<20)
		if (err == nil) != (err2 == nil) ||
			err == nil && (used != used2 || !bytes.Equal(out, out2)) {
			t.Fatalf("in pieces: %q %d %v, whole: %q %d %v", out, used, err, out2, used2, err2)
		}
		if err != nil {
			return
		}
		want, err := io.ReadAll(httputil.NewChunkedReader(bytes.NewReader(b)))
		if err != nil || !bytes.Equal(out, want) {
			t.Fatalf("%q, net/http: %q %v", out, want, err)
		}
	})
}
