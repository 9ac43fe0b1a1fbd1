package proxy_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tulle-mesh/tulle/test/await"
	"github.com/tulle-mesh/tulle/test/loopback"
)

// profile writes a ServiceProfile for web.
func (m *testMesh) profile(spec string) {
	m.t.Helper()
	m.write("profile.yaml", "apiVersion: tulle.dev/v1alpha1\nkind: ServiceProfile\n"+
		"metadata: {namespace: shop, name: web.shop.svc.cluster.local}\nspec:\n"+spec)
}

func TestRetriesOnlyWhatTheProfileMarks(t *testing.T) {
	m := newMesh(t, 0)
	var calls atomic.Int64
	m.profile(`
  routes:
  - {name: flaky, condition: {pathRegex: /flaky}, isRetryable: true}
  - {name: plain, condition: {pathRegex: /plain}}
`)
	url, _, _ := m.pair(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if calls.Add(1)%3 != 0 {
			w.WriteHeader(500)
		}
		fmt.Fprintf(w, "%s", body)
	}))
	for _, tt := range []struct {
		path, body string
		calls      int64
		status     int
	}{
		{"/flaky", "", 3, 200},
		{"/flaky", strings.Repeat("b", 60<<10), 3, 200}, // kept whole
		{"/flaky", strings.Repeat("b", 80<<10), 1, 500}, // too long to keep
		{"/plain", "", 1, 500},
	} {
		t.Run(fmt.Sprintf("%s,%d", tt.path, len(tt.body)), func(t *testing.T) {
			calls.Store(0)
			resp, err := http1Client(t).Post(url+tt.path, "text/plain", strings.NewReader(tt.body))
			check(t, err)
			defer resp.Body.Close()
			body, err := io.ReadAll(resp.Body)
			check(t, err)
			if resp.StatusCode != tt.status || calls.Load() != tt.calls {
				t.Errorf("status %d after %d calls, want %d after %d",
					resp.StatusCode, calls.Load(), tt.status, tt.calls)
			}
			if string(body) != tt.body {
				t.Errorf("%d bytes came back, want the %d that were sent", len(body), len(tt.body))
			}
		})
	}
}

func TestTimeoutEndsARequestWithItsReason(t *testing.T) {
	m := newMesh(t, 0)
	m.profile("  routes:\n  - {name: slow, condition: {pathRegex: /slow}, timeout: 100ms}\n")
	const calls = 50
	arrived, cancelled := make(chan struct{}, calls), make(chan struct{}, calls)
	url, _, _ := m.pair(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		arrived <- struct{}{}
		<-r.Context().Done()
		cancelled <- struct{}{}
	}))
	c := http2Client(t)
	for range calls { // on a busy machine the time may be over before a request arrives
		began := time.Now()
		status, _, header := get(t, c, url+"/slow")
		if status != 504 || !strings.Contains(header.Get("Tulle-Error"), "timeout") {
			t.Fatalf("status %d, tulle-error %q; want 504 and the timeout named",
				status, header.Get("Tulle-Error"))
		}
		if d := time.Since(began); d < 100*time.Millisecond {
			t.Fatalf("ended after %v, before its timeout", d)
		}
		select {
		case <-arrived:
			await.Receive(t, "the application's request is cancelled", cancelled)
			return
		default:
		}
	}
	t.Error("no request reached the application before its timeout")
}

func TestUnknownTargetFailsClosedWithItsReason(t *testing.T) {
	m := newMesh(t, 0)
	caller := m.caller("nowhere")
	status, _, header := get(t, http1Client(t), "http://"+caller.out["nowhere"])
	if status != 503 || !strings.Contains(header.Get("Tulle-Error"), "nowhere") ||
		header.Get("Retry-After") != "1" {
		t.Errorf("status %d, %v", status, header)
	}
}

func TestKnownTargetsOutliveDestination(t *testing.T) {
	m := newMesh(t, 0)
	url, _, _ := m.pair(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/gone" {
			select {
			case <-r.Context().Done():
			case <-time.After(100 * time.Millisecond):
			}
		}
	}))
	c := http1Client(t)
	get(t, c, url)
	m.stopDest()
	for range 10 {
		if status, body, _ := get(t, c, url); status != 200 {
			t.Fatalf("without destination: %d %s", status, body)
		}
	}
	m.startDestination()
	m.profile("  routes:\n  - {name: gone, condition: {pathRegex: /gone}, timeout: 1ms}\n")
	for deadline := time.Now().Add(10 * time.Second); ; {
		status, _, _ := get(t, c, url)
		if status != 200 {
			t.Fatalf("after destination came back: %d", status)
		}
		if time.Now().After(deadline) || m.timesOut(c, url+"/gone") {
			break
		}
	}
	if !m.timesOut(c, url+"/gone") {
		t.Error("a change made after destination came back never arrived")
	}
}

func (m *testMesh) timesOut(c *http.Client, url string) bool {
	status, _, _ := get(m.t, c, url)
	return status == 504
}

func TestEndpointThatRefusesIsPassedOver(t *testing.T) {
	m := newMesh(t, 0)
	addr := app(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(w, r.Body)
	}))
	good := pod{"web-0", addr, loopback.Free()}
	down := pod{"web-1", loopback.Free(), loopback.Free()}
	m.service("web", good, down) // web-1 has a proxy, and no application behind it
	m.proxy("web", good)
	m.proxy("web", down)
	caller := m.caller("web")
	for i := range 50 { // POST: not delivered is not delivered
		resp, err := http1Client(t).Post("http://"+caller.out["web"], "text/plain",
			strings.NewReader("body"))
		check(t, err)
		body, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if resp.StatusCode != 200 || string(body) != "body" {
			t.Fatalf("request %d: %d %q %v", i, resp.StatusCode, body, resp.Header)
		}
	}
}

func TestUnmeshedEndpointIsCalledInPlaintext(t *testing.T) {
	m := newMesh(t, 0)
	seen := make(chan http.Header, 1)
	addr := app(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen <- r.Header
		w.Header().Set("Tulle-Error", "not a proxy's word")
	}))
	m.service("web", pod{"web-0", addr, ""})
	caller := m.caller("web")
	_, _, header := get(t, http1Client(t), "http://"+caller.out["web"])
	for name := range await.Receive(t, "the request arrives", seen) {
		if strings.HasPrefix(name, "Tulle-") {
			t.Errorf("%s left the mesh", name)
		}
	}
	if header.Get("Tulle-Error") != "" {
		t.Error("an unmeshed endpoint's tulle-error was believed")
	}
}

// greeter is a server that speaks first, echoes until the caller's half ends, and then says bye.
func greeter(t *testing.T) (addr string) {
	t.Helper()
	return serveTCP(t, func(c net.Conn) {
		go func() {
			defer c.Close()
			io.WriteString(c, "220 ready\n")
			io.Copy(c, c)
			io.WriteString(c, "bye")
		}()
	})
}

// greeted waits for the greeting before it says anything, and wants all that the greeter says.
func greeted(t *testing.T, addr string) {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	check(t, err)
	defer c.Close()
	check(t, c.SetDeadline(time.Now().Add(10*time.Second)))
	greeting := make([]byte, 10)
	_, err = io.ReadFull(c, greeting)
	check(t, err)
	io.WriteString(c, "payload")
	check(t, c.(*net.TCPConn).CloseWrite())
	rest, err := io.ReadAll(c)
	check(t, err)
	if got := string(greeting) + string(rest); got != "220 ready\npayloadbye" {
		t.Errorf("got %q", got)
	}
}

func TestOpaqueServerSpeaksFirst(t *testing.T) {
	m := newMesh(t, 0)
	web := pod{"web-0", greeter(t), loopback.Free()}
	m.profile("  opaquePorts: [\"80\"]\n")
	m.service("web", web)
	m.proxy("web", web)
	greeted(t, m.caller("web").out["web"])
}

func TestBodiesOfAnySizeBothWays(t *testing.T) {
	m := newMesh(t, 0)
	url, _, _ := m.pair(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.NewResponseController(w).EnableFullDuplex()
		io.Copy(w, r.Body)
	}))
	for name, c := range map[string]*http.Client{"http1": http1Client(t), "http2": http2Client(t)} {
		for _, size := range []int{0, 1, 100, 16 << 10, 1 << 20, 20 << 20} {
			ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
			sent := strings.Repeat("0123456789abcdef", size/16+1)[:size]
			req, _ := http.NewRequestWithContext(ctx, "POST", url, strings.NewReader(sent))
			resp, err := c.Do(req)
			check(t, err)
			got, err := io.ReadAll(resp.Body)
			resp.Body.Close()
			cancel()
			if err != nil || string(got) != sent {
				t.Errorf("%s, %d bytes: got %d back, equal %v, %v",
					name, size, len(got), string(got) == sent, err)
			}
		}
	}
}
