package h1

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/textproto"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// The oracle is net/http at both ends, with our codecs between them.
func behindRelay(t testing.TB, opt Options, h http.HandlerFunc) *relay {
	backend := httptest.NewServer(h)
	t.Cleanup(backend.Close)
	return newRelay(t, backend.Listener.Addr().String(), opt)
}

func client(t testing.TB) *http.Client {
	tr := &http.Transport{DisableCompression: true, ExpectContinueTimeout: time.Minute}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, CheckRedirect: func(*http.Request, []*http.Request) error {
		return http.ErrUseLastResponse
	}}
}

func pattern(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i ^ i>>8 ^ i>>16)
	}
	return b
}

func TestOracleEcho(t *testing.T) {
	r := behindRelay(t, Options{}, func(w http.ResponseWriter, q *http.Request) {
		if q.ContentLength >= 0 {
			w.Header().Set("Content-Length", fmt.Sprint(q.ContentLength))
		}
		w.Header().Set("X-Method", q.Method)
		http.NewResponseController(w).EnableFullDuplex()
		io.Copy(w, q.Body)
	})
	c := client(t)
	for _, size := range []int{0, 1, 100, 64 << 10, 64<<10 + 1, 300 << 10, 5 << 20} {
		for _, chunked := range []bool{false, true} {
			body := pattern(size)
			var in io.Reader = bytes.NewReader(body)
			if chunked {
				in = struct{ io.Reader }{in}
			}
			q, _ := http.NewRequest("PUT", r.url(), in)
			resp, err := c.Do(q)
			if err != nil {
				t.Fatalf("%d chunked %v: %v", size, chunked, err)
			}
			got, err := io.ReadAll(resp.Body)
			resp.Body.Close()
			if err != nil || sha256.Sum256(got) != sha256.Sum256(body) ||
				resp.Header.Get("X-Method") != "PUT" {
				t.Fatalf("%d chunked %v: %d bytes back, %v", size, chunked, len(got), err)
			}
			if !chunked && resp.ContentLength != int64(size) {
				t.Errorf("%d: content-length %d", size, resp.ContentLength)
			}
		}
	}
}

func TestOracleConcurrent(t *testing.T) {
	r := behindRelay(t, Options{}, func(w http.ResponseWriter, q *http.Request) {
		b, _ := io.ReadAll(q.Body)
		w.Header().Set("X-Id", q.Header.Get("X-Id"))
		w.Write(b)
	})
	c := client(t)
	c.Transport.(*http.Transport).MaxIdleConnsPerHost = 16
	var failed atomic.Int32
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 50 {
				id := fmt.Sprintf("%d-%d", g, i)
				body := bytes.Repeat([]byte(id+","), i*i)
				q, _ := http.NewRequest("POST", r.url()+"/"+id, bytes.NewReader(body))
				q.Header.Set("X-Id", id)
				resp, err := c.Do(q)
				if err != nil {
					failed.Add(1)
					continue
				}
				got, err := io.ReadAll(resp.Body)
				resp.Body.Close()
				if err != nil || !bytes.Equal(got, body) || resp.Header.Get("X-Id") != id {
					failed.Add(1)
				}
			}
		})
	}
	wg.Wait()
	if failed.Load() > 0 || r.dials > 16 {
		t.Errorf("%d of 400 failed, %d connections", failed.Load(), r.dials)
	}
}

func TestOracleKinds(t *testing.T) {
	r := behindRelay(t, Options{}, func(w http.ResponseWriter, q *http.Request) {
		switch q.URL.Path {
		case "/trailers":
			io.Copy(io.Discard, q.Body)
			w.Header().Set("Trailer", "X-Sum")
			w.WriteHeader(200)
			w.Write([]byte("body"))
			w.Header().Set("X-Sum", q.Trailer.Get("X-In"))
		case "/204":
			w.WriteHeader(204)
		case "/304":
			w.Header().Set("ETag", "e")
			w.WriteHeader(304)
		case "/hints":
			w.Header().Set("Link", "l")
			w.WriteHeader(103)
			w.WriteHeader(200)
		case "/flush":
			w.Write([]byte("a"))
			w.(http.Flusher).Flush()
			w.Write([]byte("b"))
		case "/close":
			w.Header().Set("Connection", "close")
			w.Write([]byte("x"))
		case "/cookies":
			fmt.Fprint(w, q.Header["Cookie"])
		case "/expect":
			io.Copy(w, q.Body)
		}
	})
	c := client(t)
	do := func(
		method, path string, body io.Reader, set func(*http.Request),
	) (*http.Response, string) {
		t.Helper()
		q, _ := http.NewRequest(method, r.url()+path, body)
		if set != nil {
			set(q)
		}
		resp, err := c.Do(q)
		if err != nil {
			t.Fatalf("%s %s: %v", method, path, err)
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatalf("%s %s: %v", method, path, err)
		}
		return resp, string(b)
	}
	x := struct{ io.Reader }{strings.NewReader("x")}
	if resp, b := do("POST", "/trailers", x, func(q *http.Request) {
		q.Trailer = http.Header{"X-In": {"42"}}
	}); b != "body" || resp.Trailer.Get("X-Sum") != "42" {
		t.Errorf("trailers: %q %v", b, resp.Trailer)
	}
	if resp, _ := do("GET", "/204", nil, nil); resp.StatusCode != 204 {
		t.Errorf("204: %v", resp)
	}
	if resp, _ := do("GET", "/304", nil, nil); resp.StatusCode != 304 ||
		resp.Header.Get("ETag") != "e" {
		t.Errorf("304: %v", resp)
	}
	if resp, _ := do("HEAD", "/flush", nil, nil); resp.StatusCode != 200 {
		t.Errorf("HEAD: %v", resp)
	}
	hints := 0
	do("GET", "/hints", nil, func(q *http.Request) {
		*q = *q.WithContext(httptrace.WithClientTrace(q.Context(), &httptrace.ClientTrace{
			Got1xxResponse: func(code int, h textproto.MIMEHeader) error {
				hints += code
				return nil
			},
		}))
	})
	if hints != 103 {
		t.Errorf("hints: %d", hints)
	}
	if _, b := do("GET", "/flush", nil, nil); b != "ab" {
		t.Errorf("flush: %q", b)
	}
	for range 3 {
		if resp, b := do("GET", "/close", nil, nil); b != "x" || resp.Close {
			t.Errorf("close: %q, the client's connection should stay: %v", b, resp.Close)
		}
	}
	expect := func(q *http.Request) { q.Header.Set("Expect", "100-continue") }
	if _, b := do("POST", "/expect", strings.NewReader("payload"), expect); b != "payload" {
		t.Errorf("expect: %q", b)
	}
}

func TestOracleWebSocket(t *testing.T) {
	up := websocket.Upgrader{Subprotocols: []string{"chat"}}
	r := behindRelay(t, Options{}, func(w http.ResponseWriter, q *http.Request) {
		if q.URL.Path == "/no" {
			w.WriteHeader(403)
			io.WriteString(w, "no")
			return
		}
		if q.URL.Path == "/plain" {
			io.WriteString(w, "I know no WebSocket")
			return
		}
		c, err := up.Upgrade(w, q, nil)
		if err != nil {
			return
		}
		defer c.Close()
		for {
			kind, b, err := c.ReadMessage()
			if err != nil || c.WriteMessage(kind, b) != nil {
				return
			}
		}
	})
	ws := "ws" + strings.TrimPrefix(r.url(), "http")
	d := websocket.Dialer{Subprotocols: []string{"chat"}}
	c, _, err := d.Dial(ws+"/", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if c.Subprotocol() != "chat" {
		t.Errorf("subprotocol %q", c.Subprotocol())
	}
	for _, n := range []int{0, 1, 1000, 1 << 20} {
		want := pattern(n)
		var wg sync.WaitGroup
		wg.Go(func() { c.WriteMessage(websocket.BinaryMessage, want) })
		_, got, err := c.ReadMessage()
		wg.Wait()
		if err != nil || !bytes.Equal(got, want) {
			t.Fatalf("%d: %d bytes back, %v", n, len(got), err)
		}
	}
	if _, resp, err := d.Dial(ws+"/no", nil); err == nil || resp.StatusCode != 403 {
		t.Errorf("declined: %v %v", resp, err)
	}
	_, resp, err := d.Dial(ws+"/plain", nil)
	if err == nil || resp.StatusCode != 200 || resp.Header.Get(DeclinedField) != "" {
		t.Fatalf("ignored: %v %v", resp, err)
	}
	if b, _ := io.ReadAll(resp.Body); string(b) != "I know no WebSocket" {
		t.Errorf("ignored: %q", b)
	}
}

// An upgraded connection passes on each half's end, and what came right behind the request or the
// 101.
func TestUpgradeHalfClose(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	heard := make(chan string, 1)
	go func() {
		nc, err := l.Accept()
		if err != nil {
			return
		}
		defer nc.Close()
		br := bufio.NewReader(nc)
		q, err := http.ReadRequest(br)
		if err != nil {
			return
		}
		io.WriteString(nc, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: "+q.Header.Get("Upgrade")+
			"\r\nConnection: upgrade\r\n\r\nfirst")
		b, _ := io.ReadAll(br) // to the client's half-close
		heard <- string(b)
		io.WriteString(nc, " last")
	}()
	r := newRelay(t, l.Addr().String(), Options{})
	nc, err := net.Dial("tcp", r.l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	nc.SetDeadline(time.Now().Add(20 * time.Second))
	io.WriteString(nc,
		"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: foo/1\r\nConnection: Upgrade\r\n\r\nhasty")
	br := bufio.NewReader(nc)
	resp, err := http.ReadResponse(br, nil)
	if err != nil || resp.StatusCode != 101 || resp.Header.Get("Upgrade") != "foo/1" {
		t.Fatalf("%v %v", resp, err)
	}
	io.WriteString(nc, " bytes")
	nc.(*net.TCPConn).CloseWrite()
	if got := <-heard; got != "hasty bytes" {
		t.Errorf("server heard %q", got)
	}
	rest, err := io.ReadAll(br)
	if string(rest) != "first last" || err != nil {
		t.Errorf("client heard %q, %v", rest, err)
	}
}

// An HTTP/1.0 client gets a body of unknown length by the end of the connection, never chunked.
func TestOracleHTTP10(t *testing.T) {
	body := strings.Repeat("0123456789", 50_000)
	r := behindRelay(t, Options{}, func(w http.ResponseWriter, q *http.Request) {
		io.WriteString(w, body)
	})
	nc, err := net.Dial("tcp", r.l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	nc.SetDeadline(time.Now().Add(20 * time.Second))
	io.WriteString(nc, "GET / HTTP/1.0\r\nHost: a\r\n\r\n")
	b, err := io.ReadAll(nc)
	if err != nil || !strings.HasSuffix(string(b), "\r\n\r\n"+body) ||
		strings.Contains(string(b[:200]), "transfer-encoding") {
		t.Errorf("%d bytes, %v", len(b), err)
	}
}

// A client that uploads more than it is allowed to still reads why.
func TestOracleEarlyResponse(t *testing.T) {
	r := behindRelay(t, Options{}, func(w http.ResponseWriter, q *http.Request) {
		http.Error(w, "too much", http.StatusRequestEntityTooLarge)
	})
	c := client(t)
	resp, err := c.Post(r.url(), "", bytes.NewReader(make([]byte, 8<<20)))
	if err != nil {
		t.Fatal(err)
	}
	b, _ := io.ReadAll(resp.Body)
	resp.Body.Close()
	if resp.StatusCode != 413 || string(b) != "too much\n" {
		t.Errorf("%d %q", resp.StatusCode, b)
	}
}

// A client that is gone altogether, after its half-close was passed on, must not leave the server
// talking to nobody.
func TestUpgradeClientGone(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	written := make(chan error, 1)
	go func() {
		nc, err := l.Accept()
		if err != nil {
			return
		}
		defer nc.Close()
		br := bufio.NewReader(nc)
		if _, err := http.ReadRequest(br); err != nil {
			return
		}
		io.WriteString(nc,
			"HTTP/1.1 101 Switching Protocols\r\nUpgrade: foo\r\nConnection: upgrade\r\n\r\n")
		io.Copy(io.Discard, br)
		nc.SetDeadline(time.Now().Add(20 * time.Second))
		for err == nil {
			_, err = nc.Write(make([]byte, 1024))
		}
		written <- err
	}()
	r := newRelay(t, l.Addr().String(), Options{})
	nc, err := net.Dial("tcp", r.l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	io.WriteString(nc, "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: foo\r\nConnection: Upgrade\r\n\r\n")
	if _, err := http.ReadResponse(bufio.NewReader(nc), nil); err != nil {
		t.Fatal(err)
	}
	nc.Close()
	if err := <-written; isTimeout(err) {
		t.Error("the server's writes go nowhere, and it is not told")
	}
}
