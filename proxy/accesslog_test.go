package proxy_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	testgrpc "google.golang.org/grpc/interop/grpc_testing"

	"github.com/tulle-mesh/tulle/test/await"
	"github.com/tulle-mesh/tulle/test/loopback"
	"github.com/tulle-mesh/tulle/test/output"
)

// annotate says something of all pods of the mesh's namespace.
func (m *testMesh) annotate(annotation string) {
	m.write("namespace.yaml",
		"apiVersion: v1\nkind: Namespace\nmetadata: {name: shop, annotations: {"+annotation+"}}\n")
}

// telemetry says by a TelemetryPolicy how all pods of the mesh's namespace log requests.
func (m *testMesh) telemetry(accessLog string) {
	m.write("telemetry.yaml", `apiVersion: tulle.dev/v1alpha1
kind: TelemetryPolicy
metadata: {name: all, namespace: shop}
spec:
  targetRefs: [{kind: Namespace, name: shop}]
  accessLog: {`+accessLog+"}\n")
}

const accessLogOn = "tulle.dev/access-log: json"

// logged are the lines so far.
func logged(t testing.TB, b *output.Buffer) (out []map[string]any) {
	t.Helper()
	for s := bufio.NewScanner(strings.NewReader(b.String())); s.Scan(); {
		m := map[string]any{}
		if err := json.Unmarshal(s.Bytes(), &m); err != nil {
			t.Fatalf("%q: %v", s.Text(), err)
		}
		out = append(out, m)
	}
	return out
}

// awaitLine returns the first line that has all of it.
func awaitLine(t testing.TB, b *output.Buffer, want map[string]any) map[string]any {
	t.Helper()
	deadline := time.Now().Add(await.Limit)
	for ; time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		for _, line := range logged(t, b) {
			if has(line, want) {
				return line
			}
		}
	}
	t.Fatalf("no line has %v:\n%s", want, b)
	return nil
}

func has(line, want map[string]any) bool {
	for name, value := range want {
		if fmt.Sprint(line[name]) != fmt.Sprint(value) {
			return false
		}
	}
	return true
}

// The log is switched on and off by an annotation, for a connection that lives; both proxies of a
// request write a line, which says who called whom and holds no secret.
func TestTheAccessLogIsSwitchedWhileAConnectionLives(t *testing.T) {
	m := newMesh(t, time.Hour)
	log := &output.Buffer{}
	m.access = log
	url, _, _ := m.pair(http.HandlerFunc(func(w http.ResponseWriter,
		r *http.Request) {
		io.WriteString(w, "hello")
	}))
	c := http1Client(t)
	ask := func(path string) {
		t.Helper()
		req, err := http.NewRequest(http.MethodGet, url+path, nil)
		check(t, err)
		req.Header.Set("authorization", "secret")
		req.Header.Set("cookie", "secret")
		resp, err := c.Do(req)
		check(t, err)
		io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
	}
	ask("/before")
	m.annotate(accessLogOn)
	logs(t, log, func() { ask("/meanwhile") }, "outbound", "inbound")
	ask("/after?token=secret")
	out := awaitLine(t, log, map[string]any{"url.path": "/after", "tulle.direction": "outbound"})
	in := awaitLine(t, log, map[string]any{"url.path": "/after", "tulle.direction": "inbound"})
	for name, want := range map[string]any{
		"http.request.method": "GET", "http.response.status_code": 200,
		"network.protocol.version": "1.1",
		"http.response.body.size":  5, "tulle.tries": 1, "tulle.security": "mtls",
		"tulle.client.id": workloadID("client"), "tulle.server.id": workloadID("web"),
		"tulle.service": "web",
	} {
		for _, line := range []map[string]any{out, in} {
			if fmt.Sprint(line[name]) != fmt.Sprint(want) {
				t.Errorf("%s: %s is %v, want %v", line["tulle.direction"], name, line[name], want)
			}
		}
	}
	if strings.Contains(log.String(), "secret") || strings.Contains(log.String(), "/before") {
		t.Errorf("the log says too much:\n%s", log)
	}
	m.annotate("")
	deadline := time.Now().Add(await.Limit)
	for quiet := false; !quiet && time.Now().Before(deadline); {
		n := len(log.String())
		ask("/late")
		time.Sleep(20 * time.Millisecond)
		quiet = len(log.String()) == n
	}
	n := len(log.String())
	ask("/off")
	if text := log.String()[n:]; strings.Contains(text, "/off") {
		t.Errorf("it is off, and says %s", text)
	}
}

// A retry, a request that nobody answers, one whose answer is broken off: each has its line.
func TestTheAccessLogSaysHowARequestWent(t *testing.T) {
	m, log := loggingMesh(t)
	var flaky atomic.Int32
	m.write("profile.yaml", `apiVersion: tulle.dev/v1alpha1
kind: ServiceProfile
metadata: {name: web.shop.svc.cluster.local, namespace: shop}
spec:
  routes:
  - {name: flaky, condition: {pathRegex: /flaky}, isRetryable: true}
  - {name: slow, condition: {pathRegex: /slow}, timeout: 50ms}
  retryBudget: {retryRatio: 1, minRetriesPerSecond: 100, ttl: 10s}
`)
	url, _, _ := m.pair(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/flaky":
			if flaky.Add(1) == 1 {
				w.WriteHeader(503)
			}
		case "/slow":
			<-r.Context().Done()
		case "/cut":
			io.WriteString(w, "begun")
			w.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		}
	}))
	logs(t, log, func() { get(t, http1Client(t), url) }, "outbound", "inbound")
	for _, c := range []*http.Client{http1Client(t), http2Client(t)} {
		flaky.Store(0)
		for _, path := range []string{"/flaky", "/slow", "/cut"} {
			if resp, err := c.Get(url + path); err == nil {
				io.Copy(io.Discard, resp.Body)
				resp.Body.Close()
			}
		}
	}
	for _, version := range []string{"1.1", "2"} {
		for _, want := range []map[string]any{
			{"url.path": "/flaky", "http.response.status_code": 200, "tulle.tries": 2,
				"tulle.route": "flaky", "tulle.flags": "[retried]"},
			{"url.path": "/slow", "http.response.status_code": 504,
				"tulle.reason": "request_timeout", "tulle.flags": "[failed]"},
			{"url.path": "/cut", "http.response.status_code": 200,
				"tulle.reason": "reset_by_peer", "http.response.body.size": 5,
				"tulle.flags": "[failed cut]"},
		} {
			want["tulle.direction"], want["network.protocol.version"] = "outbound", version
			awaitLine(t, log, want)
		}
	}
	// Both proxies keep the deadline, and either may be the first.
	line := awaitLine(t, log, map[string]any{"url.path": "/slow", "tulle.direction": "inbound"})
	if why := line["tulle.reason"]; why != "client_gone" && why != "request_timeout" {
		t.Errorf("the callee's proxy says %v", line)
	}
}

// Traffic goes on when nobody reads the log, and the proxy ends.
func TestAnAccessLogThatNobodyReadsStallsNothing(t *testing.T) {
	r, w, err := os.Pipe()
	check(t, err)
	m := newMesh(t, time.Hour)
	t.Cleanup(func() { r.Close(); w.Close() })
	m.access = w
	m.telemetry("linesPerSecond: 100000") // more than are asked for here
	url, caller, _ := m.pair(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	c := http1Client(t)
	long := url + "/" + strings.Repeat("x", 1000)
	dropped := func() bool {
		resp, err := asker.Get("http://" + caller.admin + "/metrics")
		check(t, err)
		defer resp.Body.Close()
		page, err := io.ReadAll(resp.Body)
		check(t, err)
		return strings.Contains(string(page), `tulle_work_shed_total{reason="access_log"}`) &&
			!strings.Contains(string(page), `tulle_work_shed_total{reason="access_log"} 0`)
	}
	for deadline := time.Now().Add(2 * await.Limit); !dropped(); {
		if time.Now().After(deadline) {
			t.Fatal("nothing is dropped")
		}
		for range 500 {
			if status, _, _ := get(t, c, long); status != 200 {
				t.Fatalf("status %d", status)
			}
		}
	}
	check(t, caller.stop())
}

// loggingMesh is one whose proxies, those that run next, are to write their access logs.
func loggingMesh(t *testing.T) (*testMesh, *output.Buffer) {
	m, log := newMesh(t, 0), &output.Buffer{}
	m.access = log
	m.annotate(accessLogOn)
	return m, log
}

// logs returns once every proxy has said of a request or connection that ask makes that it has one.
func logs(t testing.TB, b *output.Buffer, ask func(), directions ...string) {
	t.Helper()
	for deadline := time.Now().Add(await.Limit); ; time.Sleep(10 * time.Millisecond) {
		ask()
		seen := map[any]bool{}
		for _, line := range logged(t, b) {
			seen[line["tulle.direction"]] = true
		}
		if missing := slices.DeleteFunc(slices.Clone(directions),
			func(d string) bool { return seen[d] }); len(missing) == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("not every proxy writes: %v", seen)
		}
	}
}

// An opaque connection has its line at its end, in order or not.
func TestTheAccessLogSaysHowAConnectionEnded(t *testing.T) {
	m, log := loggingMesh(t)
	paths := opaquePaths(t, m)
	open := paths["two hops"]
	logs(t, log, func() {
		client, server := open()
		client.Close()
		server.Close()
	}, "outbound", "inbound")
	client, server := open()
	say(t, client, "question")
	wantRead(t, server, "question")
	say(t, server, "answer")
	wantRead(t, client, "answer")
	check(t, client.CloseWrite())
	wantEnd(t, server)
	check(t, server.CloseWrite())
	wantEnd(t, client)
	for _, direction := range []string{"outbound", "inbound"} {
		line := awaitLine(t, log, map[string]any{"tulle.direction": direction,
			"tulle.request.size": 9, "tulle.response.size": 6})
		if line["tulle.flags"] != nil || line["network.transport"] != "tcp" ||
			line["tulle.client.id"] != workloadID("client") {
			t.Errorf("%s: %v", direction, line)
		}
	}
	client, server = open()
	say(t, server, "begun")
	wantRead(t, client, "begun")
	reset(server)
	wantReset(t, client)
	awaitLine(t, log, map[string]any{"tulle.direction": "outbound", "tulle.response.size": 5,
		"tulle.reason": "reset_by_peer", "tulle.flags": "[failed cut]"})
}

func TestTheAccessLogSaysHowAnUpgradedConnectionEnded(t *testing.T) {
	m, log := loggingMesh(t)
	a := upgrading(t)
	web := pod{"web-0", a.addr, loopback.Free()}
	m.service("web", web)
	m.proxy("web", web)
	addr := m.caller("web").out["web"]
	logs(t, log, func() { get(t, http1Client(t), "http://"+addr) }, "outbound", "inbound")
	client, server := upgraded(t, addr, a)
	say(t, client, "question")
	wantRead(t, server, "question")
	say(t, server, "answer")
	wantRead(t, client, "answer")
	client.CloseWrite()
	wantEnd(t, server)
	server.CloseWrite()
	wantEnd(t, client)
	for _, direction := range []string{"outbound", "inbound"} {
		awaitLine(t, log, map[string]any{"tulle.direction": direction,
			"http.request.body.size": 8, "http.response.body.size": 6, "tulle.flags": "[upgraded]"})
	}
}

// gRPC's status is in the trailers, in the head, or in an answer of ours.
func TestTheAccessLogSaysHowACallEnded(t *testing.T) {
	m, log := loggingMesh(t)
	addr, stop := serveGRPC(t, &scripted{unary: func(context.Context) error { return nil }})
	web := pod{"web-0", addr, loopback.Free()}
	m.service("web", web)
	m.service("nobody")
	m.proxy("web", web)
	caller := m.caller("web", "nobody")
	client := dialGRPC(t, caller.out["web"])
	logs(t, log, func() { client.EmptyCall(within(t, await.Limit), &testgrpc.Empty{}) },
		"outbound", "inbound")
	for _, direction := range []string{"outbound", "inbound"} {
		awaitLine(t, log, map[string]any{"tulle.direction": direction,
			"network.protocol.version": "2", "rpc.response.status_code": "OK",
			"url.path": "/grpc.testing.TestService/EmptyCall"})
	}
	client.UnimplementedCall(within(t, await.Limit), &testgrpc.Empty{})
	awaitLine(t, log, map[string]any{"rpc.response.status_code": "UNIMPLEMENTED"})
	dialGRPC(t, caller.out["nobody"]).EmptyCall(within(t, await.Limit), &testgrpc.Empty{})
	awaitLine(t, log, map[string]any{"rpc.response.status_code": "UNAVAILABLE",
		"tulle.reason": "no_endpoints", "tulle.endpoint": nil, "tulle.flags": "[failed]"})
	stop()
}

// A TelemetryPolicy says what has a line, and in which form, while connections live.
func TestATelemetryPolicySwitchesTheAccessLog(t *testing.T) {
	m, log := newMesh(t, time.Hour), &output.Buffer{}
	m.access = log
	m.telemetry("format: Text, filter: Failures")
	url, _, _ := m.pair(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/fine" {
			w.WriteHeader(500)
		}
	}))
	c := http1Client(t)
	await.True(t, "both proxies write failures as text", func() bool {
		get(t, c, url+"/fine")
		get(t, c, url+"/broken")
		return strings.Contains(log.String(), `"GET /broken HTTP/1.1" 500 - via_upstream - "-" `) &&
			strings.Contains(log.String(), " inbound|")
	})
	if strings.Contains(log.String(), "/fine") {
		t.Errorf("what goes well has a line:\n%s", log)
	}
	m.telemetry("mode: Disabled")
	n := -1
	await.True(t, "nothing is written any more", func() bool {
		last := n
		n = len(log.String())
		get(t, c, url+"/broken")
		time.Sleep(20 * time.Millisecond)
		return n == last
	})
}

// Who is refused has a line that says why, at both ends of a mesh connection or at the one that
// refuses.
func TestTheAccessLogSaysWhoWasRefused(t *testing.T) {
	m, log := loggingMesh(t)
	addr := app(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	web := pod{"web-0", addr, loopback.Free()}
	m.service("web", web)
	m.annotate(accessLogOn + ", tulle.dev/mode: strict")
	m.proxy("web", web)
	logs(t, log, func() { get(t, http1Client(t), "http://"+web.mesh+"/stranger") }, "inbound")
	awaitLine(t, log, map[string]any{"url.path": "/stranger", "http.response.status_code": 403,
		"tulle.reason": "denied", "tulle.tries": 0, "tulle.client.id": nil})
}
