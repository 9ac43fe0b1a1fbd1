package proxy_test

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"

	"github.com/tulle-mesh/tulle/test/await"
	"github.com/tulle-mesh/tulle/test/loopback"
	"github.com/tulle-mesh/tulle/viz"
)

// realViz runs a real viz, which proxies that are run next report to, and gives its address for
// questions.
func (m *testMesh) realViz() string {
	m.t.Helper()
	src, err := m.dev.Source(m.t.Context(), spiffeid.RequireFromString(serverID("viz")))
	check(m.t, err)
	queries, err := net.Listen("tcp", "127.0.0.1:0")
	check(m.t, err)
	v := viz.New(viz.Config{Source: src, Log: m.log,
		TrustDomain: spiffeid.RequireTrustDomainFromString(trustDomain)})
	m.viz, _ = m.background("", func(ctx context.Context, l net.Listener) error {
		return v.Serve(ctx, l, queries)
	})
	return queries.Addr().String()
}

// tapped is what a tap has shown so far.
type tapped struct {
	mu      sync.Mutex // guards what follows
	records []*viz.TapRecord
	counts  viz.TapCounts
}

// tap opens one until the test ends.
func (m *testMesh) tap(addr string, q viz.TapQuery) *tapped {
	m.t.Helper()
	seen := &tapped{}
	ctx, cancel := context.WithCancel(context.Background())
	var done sync.WaitGroup
	done.Go(func() {
		err := viz.NewClient(addr).Tap(ctx, &q, func(line viz.TapLine) error {
			seen.mu.Lock()
			defer seen.mu.Unlock()
			if seen.counts = line.Counts; line.Record != nil {
				seen.records = append(seen.records, line.Record)
			}
			return nil
		})
		if err != nil && ctx.Err() == nil {
			m.t.Errorf("the tap has ended: %v", err)
		}
	})
	m.t.Cleanup(func() { cancel(); done.Wait() })
	return seen
}

// find returns the first record that is right.
func (s *tapped) find(right func(*viz.TapRecord) bool) *viz.TapRecord {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.records {
		if right(r) {
			return r
		}
	}
	return nil
}

// await asks until a record is right.
func (s *tapped) await(t *testing.T, what string, ask func(), right func(*viz.TapRecord) bool,
) (found *viz.TapRecord) {
	t.Helper()
	await.True(t, what, func() bool {
		ask()
		time.Sleep(20 * time.Millisecond)
		found = s.find(right)
		return found != nil
	})
	return found
}

// A tap shows what both proxies saw of a request as one record, in either version of HTTP.
func TestATapShowsBothHalvesOfARequest(t *testing.T) {
	m := newMesh(t, 0)
	addr := m.realViz()
	seen := make(chan http.Header, 1000)
	url, _, _ := m.pair(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen <- r.Header.Clone()
		if r.URL.Path == "/broken" {
			w.WriteHeader(500)
		}
	}))
	all := m.tap(addr, viz.TapQuery{Namespace: "shop"})
	broken := m.tap(addr, viz.TapQuery{Resource: "svc/web", MinStatus: 500, MaxStatus: 599})
	for name, c := range map[string]*http.Client{"1.1": http1Client(t), "2": http2Client(t)} {
		for path, status := range map[string]uint32{"/fine": 200, "/broken": 500} {
			is := func(r *viz.TapRecord) bool {
				return r.Path == path && r.Version == name && r.Inbound != nil
			}
			ask := func() { get(t, c, url+path+"?token=1") }
			r := all.await(t, "HTTP/"+name+" "+path, ask, is)
			if r.Status != status || r.Inbound.Status != status || r.Method != "GET" ||
				r.Direction != "outbound" || r.Inbound.Direction != "inbound" ||
				r.ClientPod != "client-0" || r.ServerPod != "web-0" ||
				r.Inbound.ServerPod != "web-0" || r.Security != "mtls" || r.Tries != 1 ||
				r.ClientID != workloadID("client") || r.Inbound.ClientID != r.ClientID ||
				r.Duration < r.Inbound.Duration || r.Service != "web" {
				t.Errorf("HTTP/%s %s: %+v and %+v", name, path, r, r.Inbound)
			}
		}
		broken.await(t, "a failure", func() { get(t, c, url+"/broken") },
			func(r *viz.TapRecord) bool { return r.Version == name && r.Inbound != nil })
	}
	if r := broken.find(func(r *viz.TapRecord) bool { return r.Status < 500 }); r != nil {
		t.Errorf("it shows %+v", r)
	}
	close(seen)
	for h := range seen {
		for name := range h {
			if strings.HasPrefix(strings.ToLower(name), "tulle-") && name != "Tulle-Client-Id" {
				t.Fatalf("the application sees %s", name)
			}
		}
	}
}

// Who is not of the mesh hears nothing of it: neither an endpoint, nor a caller.
func TestAHopStaysInTheMesh(t *testing.T) {
	m := newMesh(t, 0)
	addr := m.realViz()
	seen := make(chan message, 1000)
	m.service("plain", pod{"plain-0", app(t, forger(seen)), ""})
	web := pod{"web-0", app(t, forger(seen)), loopback.Free()}
	m.service("web", web)
	m.proxy("web", web)
	caller := m.caller("plain", "web")
	all := m.tap(addr, viz.TapQuery{})
	for name, c := range map[string]*http.Client{"http1": http1Client(t), "http2": http2Client(t)} {
		for _, to := range []string{caller.out["plain"], caller.out["web"], web.mesh} {
			var got message
			all.await(t, name, func() { got = send(t, c, "http://"+to) },
				func(r *viz.TapRecord) bool { return r.Method == "POST" })
			asked := await.Receive(t, "the request arrives", seen)
			for where, h := range map[string]http.Header{"request": asked.head,
				"request's trailers": asked.trailer, "response": got.head} {
				cell(t, name+", "+to+", "+where, h, "tulle-hop", "")
			}
			for len(seen) > 0 {
				<-seen
			}
		}
	}
	if r := all.find(func(r *viz.TapRecord) bool {
		return r.Service == "plain" && r.Inbound != nil
	}); r != nil {
		t.Errorf("an endpoint without a proxy has an inbound half: %+v", r)
	}
}

// Whatever headers, queries and bodies say, none of their values is in what a tap shows.
func TestATapShowsNoSecrets(t *testing.T) {
	m := newMesh(t, 0)
	addr := m.realViz()
	const secret = "5ecre7"
	url, _, _ := m.pair(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("set-cookie", secret)
		w.Header().Set("x-answer", secret)
		io.WriteString(w, secret)
	}))
	req, err := http.NewRequest(http.MethodGet, "http://"+addr+"/api/tap?stream=1", nil)
	check(t, err)
	resp, err := http.DefaultClient.Do(req)
	check(t, err)
	defer resp.Body.Close()
	c := http1Client(t)
	names := []string{"authorization", "cookie", "x-api-key", "proxy-authorization", "referer",
		"x-forwarded-for", "x-real-ip", "traceparent", "baggage"}
	var asking sync.WaitGroup
	defer asking.Wait()
	asking.Go(func() {
		for i := range 200 {
			r, _ := http.NewRequest(http.MethodPost,
				fmt.Sprintf("%s/p%d?token=%s&%s#%s", url, i, secret, secret, secret),
				strings.NewReader(secret))
			for _, name := range names {
				r.Header.Set(name, secret)
			}
			r.Header.Set(fmt.Sprintf("x-%x", rand.Uint64()), secret)
			if resp, err := c.Do(r); err == nil {
				io.Copy(io.Discard, resp.Body)
				resp.Body.Close()
			}
			time.Sleep(5 * time.Millisecond)
		}
	})
	b := make([]byte, 64<<10)
	var text strings.Builder
	for strings.Count(text.String(), "url.path") < 40 {
		n, err := resp.Body.Read(b)
		check(t, err)
		text.Write(b[:n])
	}
	if strings.Contains(text.String(), secret) {
		t.Errorf("it shows a secret:\n%s", text.String())
	}
}
