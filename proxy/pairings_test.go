package proxy_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"runtime"
	"runtime/metrics"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tulle-mesh/tulle/test/loopback"
)

// pairing is a client of one protocol and a way to the backend. Undeclared, the backend is spoken
// to in the client's protocol: through two proxies an HTTP/1 engine meets an HTTP/2 one twice,
// through one proxy each engine meets its like. translate_test.go has the other two.
type pairing struct {
	name   string
	url    string
	client *http.Client
	seen   *calls
}

// soonLeft is Limits.HalfClosed where it is how every client in HTTP/1 cancels.
const soonLeft = 50 * time.Millisecond

// pairings has every client on every way.
func pairings(t *testing.T) []pairing {
	t.Helper()
	m := newMesh(t, 0)
	m.limits.HalfClosed = soonLeft
	seen := &calls{}
	addr := app(t, seen)
	web := pod{"web-0", addr, loopback.Free()}
	m.service("web", web)
	m.service("plain", pod{"plain-0", addr, ""})
	m.proxy("web", web)
	caller := m.caller("web", "plain")
	var list []pairing
	for _, c := range []struct {
		name   string
		client *http.Client
	}{{"http1", http1Client(t)}, {"http2", http2Client(t)}} {
		for _, way := range []struct{ name, addr string }{{"outbound", caller.out["plain"]},
			{"inbound", web.mesh}, {"two hops", caller.out["web"]}} {
			p := pairing{c.name + ", " + way.name, "http://" + way.addr, c.client, seen}
			list = append(list, p)
		}
	}
	return list
}

// calls is the backend. A path is what it does.
type calls struct {
	mu    sync.Mutex // guards ended
	ended map[string]chan struct{}
	sent  atomic.Int64
}

// over is closed when the backend's request of this name has ended.
func (c *calls) over(name string) chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended == nil {
		c.ended = map[string]chan struct{}{}
	}
	if c.ended[name] == nil {
		c.ended[name] = make(chan struct{})
	}
	return c.ended[name]
}

func (c *calls) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	flush := http.NewResponseController(w)
	w.Header().Set("X-Proto", r.Proto)
	switch r.URL.Path {
	case "/status":
		code, _ := strconv.Atoi(r.URL.Query().Get("code"))
		w.Header().Set("X-Body", fmt.Sprint(r.ContentLength))
		w.Header().Set("Etag", `"x"`)
		w.WriteHeader(code)
	case "/length":
		w.Header().Set("Content-Length", "1234")
		if r.Method != "HEAD" {
			w.Write(make([]byte, 1234))
		}
	case "/echo":
		flush.EnableFullDuplex()
		w.Header().Set("Trailer", "X-After")
		n, err := io.Copy(countingWriter{w, &c.sent}, r.Body)
		w.Header().Set("X-After",
			strings.TrimSpace(fmt.Sprintf("%s %v %d", r.Trailer.Get("X-Sum"), err, n)))
	case "/talk":
		flush.EnableFullDuplex()
		for in := bufio.NewScanner(r.Body); in.Scan(); flush.Flush() {
			fmt.Fprintln(w, in.Text())
		}
	case "/early":
		w.Header().Set("Link", "</style.css>; rel=preload")
		w.WriteHeader(http.StatusEarlyHints)
		w.WriteHeader(http.StatusProcessing)
		w.Header().Del("Link")
		io.WriteString(w, "after hints")
	case "/refuse":
		w.WriteHeader(http.StatusExpectationFailed)
	case "/hang", "/begun":
		flush.EnableFullDuplex()
		if r.URL.Path == "/begun" {
			io.WriteString(w, "begun")
			flush.Flush()
		}
		defer close(c.over(r.URL.RawQuery))
		// net/http hears of a client that left while it reads
		if _, err := io.Copy(io.Discard, r.Body); err == nil {
			<-r.Context().Done()
		}
	case "/cut":
		panic(http.ErrAbortHandler)
	case "/cut-begun":
		io.WriteString(w, "begun")
		flush.Flush()
		panic(http.ErrAbortHandler)
	}
}

type countingWriter struct {
	io.Writer
	n *atomic.Int64
}

func (w countingWriter) Write(p []byte) (int, error) {
	n, err := w.Writer.Write(p)
	w.n.Add(int64(n))
	return n, err
}

func (p pairing) do(
	t *testing.T, method, path string, body io.Reader, edit func(*http.Request),
) *http.Response {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	req, err := http.NewRequestWithContext(ctx, method, p.url+path, body)
	check(t, err)
	if edit != nil {
		edit(req)
	}
	resp, err := p.client.Do(req)
	check(t, err)
	t.Cleanup(func() { resp.Body.Close() })
	return resp
}

func read(t *testing.T, resp *http.Response) string {
	t.Helper()
	b, err := io.ReadAll(resp.Body)
	check(t, err)
	return string(b)
}

func TestPairings(t *testing.T) {
	for _, p := range pairings(t) {
		p.all(t)
	}
}

func (p pairing) all(t *testing.T) {
	for _, tt := range []struct {
		name string
		run  func(*testing.T, pairing)
	}{
		{"without a body", withoutBody}, {"head", head}, {"small", small}, {"trailers", trailers},
		{"hints", hints}, {"continue", continued}, {"expectation failed", expectationFailed},
		{"answered early", answeredEarly}, {"cancelled", cancelled},
		{"cancelled in the answer", cancelledBegun}, {"cancelled while sending", cancelledSending},
		{"cut", cut}, {"cut in the answer", cutBegun},
	} {
		t.Run(p.name+"/"+tt.name, func(t *testing.T) { tt.run(t, p) })
	}
}

func withoutBody(t *testing.T, p pairing) {
	for _, code := range []int{200, 204, 304, 404, 500} {
		for _, method := range []string{"GET", "POST", "HEAD", "OPTIONS", "DELETE"} {
			resp := p.do(t, method, "/status?code="+strconv.Itoa(code), nil, nil)
			body := read(t, resp)
			if resp.StatusCode != code || body != "" || resp.Header.Get("X-Body") != "0" ||
				resp.Header.Get("Etag") != `"x"` {
				t.Errorf("%s %d: %d %q %v", method, code, resp.StatusCode, body, resp.Header)
			}
		}
	}
}

func head(t *testing.T, p pairing) {
	resp := p.do(t, "HEAD", "/length", nil, nil)
	if body := read(t, resp); resp.ContentLength != 1234 || body != "" {
		t.Errorf("HEAD: length %d, %d bytes", resp.ContentLength, len(body))
	}
	resp = p.do(t, "GET", "/length", nil, nil)
	if body := read(t, resp); resp.ContentLength != 1234 || len(body) != 1234 {
		t.Errorf("GET: length %d, %d bytes", resp.ContentLength, len(body))
	}
}

func small(t *testing.T, p pairing) {
	for _, unknown := range []bool{false, true} {
		var body io.Reader = strings.NewReader("hello")
		if unknown {
			body = io.MultiReader(body)
		}
		if got := read(t, p.do(t, "POST", "/echo", body, nil)); got != "hello" {
			t.Errorf("length unknown %v: %q", unknown, got)
		}
	}
}

func trailers(t *testing.T, p pairing) {
	hello := io.MultiReader(strings.NewReader("hello"))
	resp := p.do(t, "POST", "/echo", hello, func(r *http.Request) {
		r.Trailer = http.Header{"X-Sum": {"42"}}
	})
	body := read(t, resp)
	if got := resp.Trailer.Get("X-After"); body != "hello" || got != "42 <nil> 5" {
		t.Errorf("%q, trailer %q", body, got)
	}
}

func hints(t *testing.T, p pairing) {
	var got []string
	trace := &httptrace.ClientTrace{Got1xxResponse: func(code int, h textproto.MIMEHeader) error {
		got = append(got, fmt.Sprintf("%d %s", code, h.Get("Link")))
		return nil
	}}
	resp := p.do(t, "GET", "/early", nil, traced(trace))
	body := read(t, resp)
	if s := strings.Join(got, "; "); body != "after hints" ||
		!strings.HasPrefix(s, "103 </style.css>; rel=preload; 102") {
		t.Errorf("%q after %q", body, s)
	}
}

func traced(trace *httptrace.ClientTrace) func(*http.Request) {
	return func(r *http.Request) {
		*r = *r.WithContext(httptrace.WithClientTrace(r.Context(), trace))
	}
}

// The body is sent when the backend asks for it, and not before: the transport waits, for longer
// than the test has.
func continued(t *testing.T, p pairing) {
	p.client = patient(p.client)
	var asked atomic.Bool
	resp := p.do(t, "POST", "/echo", strings.NewReader("hello"), func(r *http.Request) {
		r.Header.Set("Expect", "100-continue")
		traced(&httptrace.ClientTrace{Got100Continue: func() { asked.Store(true) }})(r)
	})
	if body := read(t, resp); body != "hello" || !asked.Load() {
		t.Errorf("%q, asked %v", body, asked.Load())
	}
}

func patient(c *http.Client) *http.Client {
	tr := c.Transport.(*http.Transport).Clone()
	tr.ExpectContinueTimeout = time.Hour
	return &http.Client{Transport: tr}
}

func expectationFailed(t *testing.T, p pairing) {
	p.client = patient(p.client)
	var sent atomic.Int64
	hello := io.TeeReader(strings.NewReader("hello"), countingWriter{io.Discard, &sent})
	resp := p.do(t, "POST", "/refuse", hello, func(r *http.Request) {
		r.Header.Set("Expect", "100-continue")
		r.ContentLength = 5
	})
	if resp.StatusCode != 417 || sent.Load() != 0 {
		t.Errorf("%d after %d bytes", resp.StatusCode, sent.Load())
	}
}

// answeredEarly: the answer does not wait for a body that has not ended, and what follows is none
// the worse.
func answeredEarly(t *testing.T, p pairing) {
	for range 3 {
		hold := make(chan struct{})
		body := io.MultiReader(strings.NewReader(strings.Repeat("x", 300<<10)), endless{hold})
		resp := p.do(t, "POST", "/status?code=413", io.NopCloser(body), nil)
		got := read(t, resp)
		close(hold)
		if resp.StatusCode != 413 || got != "" {
			t.Errorf("%d %q", resp.StatusCode, got)
		}
		small(t, p)
	}
}

// unique names the backend's call of this test.
func unique(t *testing.T) string {
	return strings.Map(func(r rune) rune {
		if r == ' ' || r == ',' || r == '/' || r == '#' {
			return '-'
		}
		return r
	}, t.Name())
}

func (p pairing) awaitOver(t *testing.T, name string) {
	t.Helper()
	select {
	case <-p.seen.over(name):
	case <-time.After(30 * time.Second):
		t.Error("the backend works on")
	}
}

func cancelled(t *testing.T, p pairing) { p.cancel(t, "/hang", nil) }

func cancelledBegun(t *testing.T, p pairing) { p.cancel(t, "/begun", nil) }

func cancelledSending(t *testing.T, p pairing) {
	r, w := io.Pipe()
	defer w.Close()
	go w.Write(make([]byte, 100<<10))
	p.cancel(t, "/begun", r)
}

// cancel leaves once the backend has the request, and the backend hears of it.
func (p pairing) cancel(t *testing.T, path string, body io.Reader) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	method := "GET"
	if body != nil {
		method = "POST"
	}
	req, err := http.NewRequestWithContext(ctx, method, p.url+path+"?"+unique(t), body)
	check(t, err)
	sent := make(chan struct{})
	wrote := func(httptrace.WroteRequestInfo) { close(sent) }
	traced(&httptrace.ClientTrace{WroteRequest: wrote})(req)
	if path == "/hang" {
		go func() {
			<-sent
			cancel()
		}()
	}
	resp, err := p.client.Do(req)
	if path == "/hang" {
		if !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		return // it may have been cancelled before the backend had it
	}
	check(t, err)
	cancel()
	resp.Body.Close()
	p.awaitOver(t, unique(t))
}

func cut(t *testing.T, p pairing) {
	for _, method := range []string{"GET", "POST"} {
		resp := p.do(t, method, "/cut", nil, nil)
		if body := read(t, resp); resp.StatusCode != 502 {
			t.Errorf("%s: %d %q", method, resp.StatusCode, body)
		}
	}
}

func cutBegun(t *testing.T, p pairing) {
	req, err := http.NewRequestWithContext(t.Context(), "GET", p.url+"/cut-begun", nil)
	check(t, err)
	resp, err := p.client.Do(req)
	if err != nil {
		return // a reset may overtake what came before it
	}
	defer resp.Body.Close()
	if b, err := io.ReadAll(resp.Body); err == nil {
		t.Errorf("%q was taken for the whole", b)
	}
}

// Where the end of the connection is the end of the body, what was cut must be a reset.
func TestACutAnswerToHTTP10IsNoEnd(t *testing.T) {
	for _, p := range pairings(t) {
		addr := strings.TrimPrefix(p.url, "http://")
		nc, err := net.Dial("tcp", addr)
		check(t, err)
		defer nc.Close()
		check(t, nc.SetDeadline(time.Now().Add(30*time.Second)))
		say(t, nc, "GET /cut-begun HTTP/1.0\r\n\r\n")
		if b, err := io.ReadAll(nc); err == nil {
			t.Errorf("%s: %q was taken for the whole", p.name, b)
		}
	}
}

const (
	// largeBody is twice what the kernel keeps on a way for a proxy: 6 MiB to be read, and 4 MiB
	// sent.
	largeBody = 24 << 20
	// heldAtMost is what all of a pairing may hold for a reader that takes nothing, the test's
	// client and backend included.
	heldAtMost = 10 << 20
)

// A reader that takes nothing stops the writer, through every engine, with little held on the way;
// what then comes is whole.
func TestPairingsLargeBothWaysWithASlowReader(t *testing.T) {
	for _, p := range pairings(t) {
		t.Run(p.name, func(t *testing.T) {
			const size = largeBody
			before := liveHeap()
			p.seen.sent.Store(0)
			body := &pattern{left: size}
			resp := p.do(t, "POST", "/echo", body, nil)
			stopped := awaitStop(&p.seen.sent)
			if grown := liveHeap() - before; grown > heldAtMost {
				t.Errorf("%d KiB are held for a reader that takes nothing", grown>>10)
			}
			n, err := io.Copy(&pattern{left: size}, resp.Body)
			if err != nil || n != size {
				t.Fatalf("%d bytes of %d, %v", n, size, err)
			}
			got, want := resp.Trailer.Get("X-After"), fmt.Sprintf("<nil> %d", size)
			if got != want {
				t.Errorf("trailer %q, want %q", got, want)
			}
			if stopped >= size {
				t.Errorf("nothing was held back")
			}
		})
	}
}

// awaitStop waits until a count stands still; on a loaded machine perhaps too soon, which only asks
// less of what follows.
func awaitStop(n *atomic.Int64) int64 {
	last := n.Load()
	for {
		time.Sleep(200 * time.Millisecond)
		now := n.Load()
		if now == last && now > 0 {
			return now
		}
		last = now
	}
}

func liveHeap() int64 {
	runtime.GC()
	s := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(s)
	return int64(s[0].Value.Uint64())
}

// pattern is a body that can be told from every other at each byte: a source, and a sink that
// compares.
type pattern struct {
	at, left int64
}

func (p *pattern) fill(b []byte) {
	for i := range b {
		at := p.at + int64(i)
		b[i] = byte(at ^ at>>8 ^ at>>16)
	}
}

func (p *pattern) Read(b []byte) (int, error) {
	if p.left == 0 {
		return 0, io.EOF
	}
	n := int(min(int64(len(b)), p.left))
	p.fill(b[:n])
	p.at, p.left = p.at+int64(n), p.left-int64(n)
	return n, nil
}

func (p *pattern) Write(b []byte) (int, error) {
	want := make([]byte, len(b))
	p.fill(want)
	if !bytes.Equal(b, want) {
		return 0, fmt.Errorf("other bytes than were sent, within %d of %d", len(b), p.at)
	}
	p.at += int64(len(b))
	return len(b), nil
}
