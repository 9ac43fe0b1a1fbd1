package proxy_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
)

// few is a server that admits few streams at a time, and says so in the SETTINGS that a client's
// first streams may cross.
func few(t *testing.T, streams uint32, h http.Handler) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	serveFew(t, l, streams, h)
	return l.Addr().String()
}

func serveFew(t *testing.T, l net.Listener, streams uint32, h http.Handler) {
	s := &http.Server{Handler: h, Protocols: &http.Protocols{},
		HTTP2: &http.HTTP2Config{MaxConcurrentStreams: int(streams)}}
	s.Protocols.SetUnencryptedHTTP2(true)
	go s.Serve(l)
	t.Cleanup(func() { s.Close() })
}

// What a new connection gets beyond a limit that it had not told yet is refused, unprocessed (RFC
// 9113 §5.1.2, §8.7), and nobody hears of that: each request is processed once, whatever its
// method, with all of its body.
func TestTheSurplusOfANewConnectionIsNotLost(t *testing.T) {
	for _, tt := range []struct {
		streams       uint32
		callers, size int // the bodies of those that wait fit into the window of their connection
		client        func(testing.TB) *http.Client
	}{
		{1, 100, 0, http2Client}, {1, 100, 4 << 10, http2Client}, {1, 10, 48 << 10, http2Client},
		{10, 100, 4 << 10, http2Client}, {10, 100, 0, http1Client}, {10, 100, 4 << 10, http1Client},
	} {
		name := fmt.Sprintf("%d callers for %d streams, %d bytes", tt.callers, tt.streams, tt.size)
		t.Run(name, func(t *testing.T) {
			seen := &processed{by: map[string]int{}}
			for way, to := range declared(t, "http2", few(t, tt.streams, seen)) {
				c := tt.client(t)
				var all sync.WaitGroup
				for i := range tt.callers {
					all.Go(func() {
						seen.ask(t, c, fmt.Sprintf("http://%s/%s-%d", to, way[:3], i), tt.size)
					})
				}
				all.Wait()
			}
			seen.once(t, 3*tt.callers)
		})
	}
}

// processed counts what a server has begun, by path.
type processed struct {
	mu sync.Mutex
	by map[string]int
}

func (p *processed) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	p.by[r.URL.Path]++
	p.mu.Unlock()
	n, err := io.Copy(io.Discard, r.Body)
	fmt.Fprint(w, n, err)
}

func (p *processed) ask(t *testing.T, c *http.Client, url string, size int) {
	resp, err := c.Post(url, "text/plain", strings.NewReader(strings.Repeat("x", size)))
	if err != nil {
		t.Error(err)
		return
	}
	defer resp.Body.Close()
	b, _ := io.ReadAll(resp.Body)
	if resp.StatusCode != 200 || string(b) != fmt.Sprint(size, " <nil>") {
		t.Errorf("%s: %d %q", url, resp.StatusCode, b)
	}
}

func (p *processed) once(t *testing.T, want int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.by) != want {
		t.Errorf("%d requests were processed of %d", len(p.by), want)
	}
	for path, n := range p.by {
		if n != 1 {
			t.Errorf("%s was processed %d times", path, n)
		}
	}
}
