package admin

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/tulle-mesh/tulle/proxy/metric"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// rig is a real server on a real loopback port.
type rig struct {
	*Server
	base      string
	registry  *metric.Registry
	level     *slog.LevelVar
	why       atomic.Pointer[[]string]
	shutdowns atomic.Int32
}

func newRig(t *testing.T, listen string) *rig { return newRigWith(t, listen, defaultTimeouts) }

func newRigWith(t *testing.T, listen string, limits timeouts) *rig {
	t.Helper()
	r := &rig{registry: metric.NewRegistry(), level: new(slog.LevelVar)}
	r.why.Store(&[]string{})
	r.Server = New(Options{
		Registry: r.registry, Level: r.level, Version: "1.2.3",
		Unready:  func() []string { return *r.why.Load() },
		Shutdown: func() { r.shutdowns.Add(1) },
	})
	r.timeouts = limits
	l, err := net.Listen("tcp", listen)
	if err != nil {
		t.Fatal(err)
	}
	r.base = "http://" + l.Addr().String()
	served := make(chan error, 1)
	go func() { served <- r.Serve(l) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := r.Close(ctx); err != nil {
			t.Error(err)
		}
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return r
}

func (r *rig) do(t *testing.T, method, path, body string, header ...string) (int, string) {
	t.Helper()
	req, err := http.NewRequest(method, r.base+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(text)
}

func TestPaths(t *testing.T) {
	r := newRig(t, "127.0.0.1:0")
	for _, tt := range []struct {
		method, path, body string
		status             int
		contains           string
	}{
		{"GET", "/ready", "", 200, "ready\n"},
		{"HEAD", "/ready", "", 200, ""},
		{"POST", "/ready", "", 405, ""},
		{"GET", "/live", "", 200, "live\n"},
		{"DELETE", "/live", "", 405, ""},
		{"GET", "/metrics", "", 200, "tulle_build_info"},
		{"POST", "/metrics", "", 405, ""},
		{"GET", "/metrics", "a body", 200, "tulle_build_info"},
		{"HEAD", "/metrics", "", 200, ""},
		{"GET", "/ready?verbose=1", "", 200, "ready\n"},
		{"GET", "/shutdown", "", 405, ""},
		{"GET", "/log-level", "", 200, "info\n"},
		{"PUT", "/log-level", "DEBUG\n", 200, "debug\n"},
		{"PUT", "/log-level", "info+3", 400, "debug, info, warn or error"},
		{"PUT", "/log-level", "", 400, "debug, info, warn or error"},
		{"PUT", "/log-level", strings.Repeat("x", maxBody+1), 413, "name of a level"},
		{"POST", "/log-level", "debug", 405, ""},
		{"GET", "/", "", 404, ""},
		{"GET", "/debug/pprof/", "", 404, ""},
	} {
		status, text := r.do(t, tt.method, tt.path, tt.body)
		if status != tt.status || !strings.Contains(text, tt.contains) {
			t.Errorf("%s %s %.20q: %d %q, want %d with %q",
				tt.method, tt.path, tt.body, status, text, tt.status, tt.contains)
		}
	}
	if r.level.Level() != slog.LevelDebug {
		t.Errorf("level is %v", r.level.Level())
	}
	if r.shutdowns.Load() != 0 {
		t.Error("shut down by a GET")
	}
}

func TestNotReadySaysWhy(t *testing.T) {
	r := newRig(t, "127.0.0.1:0")
	r.why.Store(&[]string{
		"no certificate yet: identity refused: token expired", "destination has not answered",
	})
	status, text := r.do(t, "GET", "/ready", "")
	want := "not ready:\n  no certificate yet: identity refused: token expired\n" +
		"  destination has not answered\n"
	if status != 503 || text != want {
		t.Fatalf("%d %q", status, text)
	}
	r.why.Store(&[]string{})
	if status, _ := r.do(t, "GET", "/ready", ""); status != 200 {
		t.Fatalf("ready answers %d", status)
	}
}

func TestShutdownHappensOnce(t *testing.T) {
	r := newRig(t, "127.0.0.1:0")
	for range 3 {
		if status, text := r.do(t, "POST", "/shutdown", ""); status != 200 || text != "draining\n" {
			t.Fatalf("%d %q", status, text)
		}
	}
	if n := r.shutdowns.Load(); n != 1 {
		t.Fatalf("shut down %d times", n)
	}
}

// A page in a developer's browser must not drain the proxy on the same machine.
func TestCrossOriginIsRefused(t *testing.T) {
	r := newRig(t, "127.0.0.1:0")
	status, _ := r.do(t, "POST", "/shutdown", "",
		"Origin", "https://evil.example", "Sec-Fetch-Site", "cross-site")
	if status != 403 || r.shutdowns.Load() != 0 {
		t.Fatalf("%d, shut down %d times", status, r.shutdowns.Load())
	}
}

// From an address that is not loopback (the machine's own, where it has one) the pod's own paths
// are closed.
func TestOnlyLoopbackControls(t *testing.T) {
	r := newRig(t, net.JoinHostPort(outsideAddr(t), "0"))
	for _, tt := range []struct{ method, path string }{
		{"POST", "/shutdown"}, {"GET", "/log-level"}, {"PUT", "/log-level"},
	} {
		status, text := r.do(t, tt.method, tt.path, "debug", "X-Forwarded-For", "127.0.0.1")
		if status != 403 || !strings.Contains(text, "kubectl port-forward") {
			t.Errorf("%s %s: %d %q", tt.method, tt.path, status, text)
		}
	}
	if status, _ := r.do(t, "GET", "/ready", ""); status != 200 {
		t.Errorf("ready from outside: %d", status)
	}
	if r.shutdowns.Load() != 0 || r.level.Level() != slog.LevelInfo {
		t.Error("a peer from outside changed the proxy")
	}
}

func outsideAddr(t *testing.T) string {
	t.Helper()
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range addrs {
		if n, ok := a.(*net.IPNet); ok && n.IP.IsGlobalUnicast() {
			return n.IP.String()
		}
	}
	t.Fatal("this test needs a network interface besides loopback")
	return ""
}

// from is a connection of a peer's.
type from struct {
	net.Conn
	addr *net.TCPAddr
}

func (f from) RemoteAddr() net.Addr { return f.addr }

func TestMappedLoopbackIsLoopback(t *testing.T) {
	for peer, want := range map[string]bool{
		"::ffff:127.0.0.1": true, "::1": true, "127.8.8.8": true,
		"10.0.0.1": false, "fd00::1": false,
	} {
		nc := from{addr: &net.TCPAddr{IP: net.ParseIP(peer), Port: 1}}
		if got := addrOf(nc).IsLoopback(); got != want {
			t.Errorf("%s is loopback: %v", peer, got)
		}
	}
}

// A peer that holds connections loses the ones beyond its share at once, and gets a place back when
// it lets one go.
func TestConnectionsPerPeerAreLimited(t *testing.T) {
	r := newRig(t, "127.0.0.1:0")
	addr := strings.TrimPrefix(r.base, "http://")
	held := make([]net.Conn, maxConnsPerPeer)
	for i := range held {
		held[i] = dialLive(t, addr)
		defer held[i].Close()
	}
	extra, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer extra.Close()
	extra.SetDeadline(time.Now().Add(5 * time.Second))
	if n, err := extra.Read(make([]byte, 1)); n != 0 || err == nil {
		t.Fatalf("connection beyond the limit: read %d, %v", n, err)
	}
	fmt.Fprint(held[0], "GET /live HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
	if _, err := io.Copy(io.Discard, held[0]); err != nil {
		t.Fatal(err)
	}
	held[0].Close()
	r.awaitPlace(t)
	dialLive(t, addr).Close()
}

func (r *rig) awaitPlace(t *testing.T) {
	t.Helper()
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(time.Millisecond) {
		r.limiter.mu.Lock()
		total := r.limiter.total
		r.limiter.mu.Unlock()
		if total < maxConnsPerPeer {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("the place of a connection that was let go is not given back")
		}
	}
}

// dialLive opens a connection and has one answer on it, so that the server surely holds it.
func dialLive(t *testing.T, addr string) net.Conn {
	t.Helper()
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	nc.SetDeadline(time.Now().Add(5 * time.Second))
	fmt.Fprint(nc, "GET /live HTTP/1.1\r\nHost: x\r\n\r\n")
	resp, err := http.ReadResponse(bufio.NewReader(nc), nil)
	if err != nil || resp.StatusCode != 200 {
		t.Fatalf("live: %v %v", resp, err)
	}
	return nc
}

func TestGarbageIsAnsweredAndHeadersAreBounded(t *testing.T) {
	r := newRig(t, "127.0.0.1:0")
	for name, in := range map[string]string{
		"garbage":  "\x16\x03\x01\x02\x00\x01\x00\r\n\r\n",
		"not http": "SSH-2.0-x\r\n\r\n",
		"long": "GET /live HTTP/1.1\r\nHost: x\r\nX: " +
			strings.Repeat("a", 64<<10) + "\r\n\r\n",
		"no host":    "GET /live HTTP/1.1\r\n\r\n",
		"bad length": "PUT /log-level HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
	} {
		nc, err := net.Dial("tcp", strings.TrimPrefix(r.base, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		nc.SetDeadline(time.Now().Add(5 * time.Second))
		io.WriteString(nc, in)
		head := make([]byte, 10)
		_, err = io.ReadFull(nc, head)
		if err != nil || !bytes.HasPrefix(head, []byte("HTTP/1.1 4")) {
			t.Errorf("%s: %q %v, want a 4xx", name, head, err)
		}
		nc.Close()
	}
}

// A connection that says nothing is closed as soon as one whose head does not end.
func TestSilenceIsNotHeard(t *testing.T) {
	limits := defaultTimeouts
	limits.header = 100 * time.Millisecond
	r := newRigWith(t, "127.0.0.1:0", limits)
	for name, first := range map[string]string{"nothing": "", "half a head": "GET /live HT"} {
		nc, err := net.Dial("tcp", strings.TrimPrefix(r.base, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		io.WriteString(nc, first)
		nc.SetDeadline(time.Now().Add(defaultTimeouts.idle))
		began := time.Now()
		if _, err := io.ReadAll(nc); err != nil {
			t.Errorf("%s: not closed: %v", name, err)
		}
		if took := time.Since(began); took > defaultTimeouts.idle/4 {
			t.Errorf("%s: closed after %v", name, took)
		}
	}
}

// Scrapers that do not read hold no more than their pages, and others are told to come later until
// their time is over.
func TestScrapesAreLimited(t *testing.T) {
	limits := defaultTimeouts
	limits.request = 3 * time.Second
	r := newRigWith(t, "127.0.0.1:0", limits)
	fill(r.registry)
	for range maxScrapes {
		nc := dialLive(t, strings.TrimPrefix(r.base, "http://"))
		defer nc.Close()
		nc.(*net.TCPConn).SetReadBuffer(4 << 10)
		fmt.Fprint(nc, "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
		r.awaitScrapes(t, 1)
	}
	r.awaitScrapes(t, maxScrapes)
	if status, text := r.do(t, "GET", "/metrics", ""); status != 503 {
		t.Errorf("one scrape more than may be: %d %.80q", status, text)
	}
	if status, _ := r.do(t, "GET", "/ready", ""); status != 200 {
		t.Errorf("ready beside scrapes: %d", status)
	}
	deadline := time.Now().Add(10 * limits.request)
	for ; r.scrapes.Load() > 0; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("a scraper that does not read is waited for")
		}
	}
	if status, _ := r.do(t, "GET", "/metrics", ""); status != 200 {
		t.Errorf("after them: %d", status)
	}
}

func (r *rig) awaitScrapes(t *testing.T, n int32) {
	t.Helper()
	deadline := time.Now().Add(5 * time.Second)
	for ; r.scrapes.Load() < n; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d scrapes are under way, want %d", r.scrapes.Load(), n)
		}
	}
}

// What is under way is answered, an idle connection ends, and no new one is served.
func TestCloseLetsRequestsEnd(t *testing.T) {
	r := newRig(t, "127.0.0.1:0")
	addr := strings.TrimPrefix(r.base, "http://")
	idle := dialLive(t, addr)
	defer idle.Close()
	asking := dialLive(t, addr)
	defer asking.Close()
	fmt.Fprint(asking, "PUT /log-level HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nde")
	time.Sleep(10 * time.Millisecond) // the head arrives, or the connection counts as idle
	closed := make(chan error, 1)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		closed <- r.Close(ctx)
	}()
	if _, err := io.ReadAll(idle); err != nil {
		t.Errorf("the idle connection: %v", err)
	}
	fmt.Fprint(asking, "bug")
	resp, err := http.ReadResponse(bufio.NewReader(asking), nil)
	if err != nil || resp.StatusCode != 200 {
		t.Errorf("the request under way: %v, %v", resp, err)
	}
	if err := <-closed; err != nil {
		t.Error(err)
	}
	if nc, err := net.Dial("tcp", addr); err == nil {
		nc.Close()
		t.Error("a connection is accepted after the end")
	}
}
