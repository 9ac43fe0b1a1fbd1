package proxy_test

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	testgrpc "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/status"

	"github.com/tulle-mesh/tulle/destination/api"
	"github.com/tulle-mesh/tulle/test/await"
	"github.com/tulle-mesh/tulle/test/collector"
	"github.com/tulle-mesh/tulle/test/loopback"
	"github.com/tulle-mesh/tulle/test/output"
)

// everything has all traces sampled that begin at a proxy.
func everything(endpoint string) *api.Tracing {
	return &api.Tracing{Endpoint: endpoint, Ratio: api.MaxRatio, SpansPerSecond: 1e4,
		Protocol: api.Transport_TRANSPORT_GRPC}
}

// tracingMesh is one whose proxies export to a collector.
func tracingMesh(t *testing.T) (*testMesh, *collector.Collector) {
	m, c := newMesh(t, 0), collector.New(t)
	m.tracing = everything(c.GRPC)
	m.limits.SpanAge = 20 * time.Millisecond
	return m, c
}

// awaitTree asks until a trace has these spans, and says so by their tree. Proxies are told of
// tracing after they are ready, and export within seconds.
func awaitTree(t *testing.T, c *collector.Collector, trace, want string) {
	t.Helper()
	got := ""
	for deadline := time.Now().Add(await.Limit); time.Now().Before(deadline); {
		if got = collector.Tree(c.Of(trace)); got == want {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("the trace is\n%s want\n%s", got, want)
}

// allTrace asks until as many spans of a trace are exported: proxies are told of tracing after they
// are ready.
func allTrace(t *testing.T, c *collector.Collector, client *http.Client, url string, spans int) {
	t.Helper()
	await.True(t, "all proxies trace", func() bool {
		parent, trace := newTrace("01")
		askWith(t, client, url, "traceparent", parent)
		for range 50 {
			if len(c.Of(trace)) >= spans {
				return true
			}
			time.Sleep(10 * time.Millisecond)
		}
		return false
	})
}

// heads keeps those of the requests that reach an application.
type heads struct {
	mu   sync.Mutex
	list []http.Header
}

func (s *heads) take(r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.list = append(s.list, r.Header.Clone())
}

func (s *heads) last() http.Header {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.list) == 0 {
		return nil
	}
	return s.list[len(s.list)-1]
}

// all are those since the last call.
func (s *heads) all() (all []http.Header) {
	s.mu.Lock()
	defer s.mu.Unlock()
	all, s.list = s.list, nil
	return all
}

// newTrace is a traceparent that is sampled, and its trace's ID.
func newTrace(flags string) (parent, trace string) {
	trace = fmt.Sprintf("%016x%016x", rand.Uint64()|1, rand.Uint64())
	return "00-" + trace + "-00000000000000aa-" + flags, trace
}

func askWith(t *testing.T, c *http.Client, url string, fields ...string) int {
	t.Helper()
	req, err := http.NewRequestWithContext(within(t, clientTimeout), http.MethodGet, url, nil)
	check(t, err)
	for i := 0; i < len(fields); i += 2 {
		req.Header.Add(fields[i], fields[i+1])
	}
	resp, err := c.Do(req)
	check(t, err)
	_, err = io.Copy(io.Discard, resp.Body)
	check(t, err)
	resp.Body.Close()
	return resp.StatusCode
}

// A collector of the mesh is called as any callee is: by the identity that destination names, over
// mTLS. This one takes nothing else, and nobody but destination knows where its name leads.
func TestACollectorOfTheMeshIsCalledByItsIdentity(t *testing.T) {
	for name, overHTTP := range map[string]bool{"grpc": false, "http": true} {
		t.Run(name, func(t *testing.T) {
			m, c := tracingMesh(t)
			otel := pod{"otel-0", c.GRPC, loopback.Free()}
			if overHTTP {
				otel.app, m.tracing.Protocol = c.HTTP, api.Transport_TRANSPORT_HTTP
			}
			m.tracing.Endpoint = authority("otel")
			m.service("otel", otel)
			m.write("namespace.yaml", "apiVersion: v1\nkind: Namespace\n"+
				"metadata: {name: shop, annotations: {tulle.dev/mode: strict}}\n")
			m.proxy("otel", otel)
			url, _, _ := m.pair(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
			allTrace(t, c, http1Client(t), url+"/", 2)
		})
	}
}

// A request that is tried twice is one tree: the caller's proxy has a span for it and one for each
// try, and the application's proxy has one below each. The application is told of that one.
func TestATraceIsATree(t *testing.T) {
	m, c := tracingMesh(t)
	m.write("profile.yaml", `apiVersion: tulle.dev/v1alpha1
kind: ServiceProfile
metadata: {name: web.shop.svc.cluster.local, namespace: shop}
spec:
  routes:
  - {name: "GET /flaky", condition: {pathRegex: /flaky}, isRetryable: true}
  retryBudget: {retryRatio: 1, minRetriesPerSecond: 100, ttl: 10s}
`)
	var seen heads
	var asked atomic.Int32
	url, _, _ := m.pair(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen.take(r)
		if r.URL.Path == "/flaky" && asked.Add(1)%2 == 1 {
			w.WriteHeader(503)
		}
		if r.URL.Path == "/broken" {
			w.WriteHeader(500)
		}
	}))
	for _, client := range []*http.Client{http1Client(t), http2Client(t)} {
		allTrace(t, c, client, url+"/", 2)
		flaky, flakyID := newTrace("01")
		broken, brokenID := newTrace("03")
		seen.all()
		askWith(t, client, url+"/flaky?token=secret&x=1", "traceparent", flaky,
			"tracestate", "a=b", "authorization", "secret")
		told := seen.all()
		askWith(t, client, url+"/broken", "traceparent", broken)
		awaitTree(t, c, flakyID, `client-0 client GET /flaky 200
  client-0 client GET /flaky 503 503
    web-0 server GET /flaky 503 503
  client-0 client GET /flaky 200 resent 1
    web-0 server GET /flaky 200
`)
		awaitTree(t, c, brokenID, `client-0 client GET 500 500
  web-0 server GET 500 500
`)
		var servers []string
		for _, s := range c.Of(flakyID) {
			if s.Server() {
				servers = append(servers, "00-"+flakyID+"-"+s.ID()+"-01")
			}
			said := fmt.Sprint(s.Attributes)
			if strings.Contains(said, "secret") || s.TraceState != "a=b" {
				t.Errorf("%s has the state %q and says %s", s.Name, s.TraceState, said)
			}
			if s.Server() && s.Attributes["url.query"] != "token=REDACTED&x=REDACTED" {
				t.Errorf("the query is %q", s.Attributes["url.query"])
			}
		}
		for _, h := range told {
			if p := h.Get("traceparent"); !slices.Contains(servers, p) ||
				h.Get("tracestate") != "a=b" {
				t.Errorf("the application is told %v, spans are %q", h, servers)
			}
		}
	}
}

// The attributes of one request, at both ends; a line of the access log names its span.
func TestSpansSayWhatTheyAreOf(t *testing.T) {
	m, c := tracingMesh(t)
	m.annotate(accessLogOn)
	log := &output.Buffer{}
	m.access = log
	url, _, _ := m.pair(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	client := http1Client(t)
	allTrace(t, c, client, url+"/", 2)
	parent, trace := newTrace("01")
	askWith(t, client, url+"/a/b?c", "traceparent", parent)
	awaitTree(t, c, trace, "client-0 client GET 200\n  web-0 server GET 200\n")
	host := strings.TrimPrefix(url, "http://")
	for _, s := range c.Of(trace) {
		want := map[string]string{
			"http.request.method": "GET", "http.response.status_code": "200",
			"network.protocol.version": "1.1", "tulle.security": "mtls", "error.type": "",
			"tulle.client.id": workloadID("client"), "tulle.server.id": workloadID("web"),
			"url.full": "http://" + host + "/a/b?REDACTED", "url.path": "",
		}
		resource := map[string]string{"service.name": "client-0", "service.namespace": "shop",
			"service.instance.id": "client-0", "k8s.pod.name": "client-0"}
		if s.Server() {
			want["url.full"], want["url.path"], want["url.query"] = "", "/a/b", "REDACTED"
			want["url.scheme"], want["client.address"] = "http", "127.0.0.1"
			resource["service.name"], resource["k8s.pod.name"] = "web-0", "web-0"
			resource["service.instance.id"] = "web-0"
		}
		for name, value := range want {
			if s.Attributes[name] != value {
				t.Errorf("%s: %s is %q, want %q", s.Service, name, s.Attributes[name], value)
			}
		}
		for name, value := range resource {
			if s.Resource[name] != value {
				t.Errorf("%s: %s is %q, want %q", s.Service, name, s.Resource[name], value)
			}
		}
		if s.EndTimeUnixNano < s.StartTimeUnixNano || s.Failed() {
			t.Errorf("%v", s)
		}
		awaitLine(t, log, map[string]any{"trace_id": trace, "span_id": s.ID()})
	}
}

// A proxy that traces nothing, and one whose callers want no trace, pass on every field as it came,
// whatever it holds: all formats, fields twice, and what is not valid.
func TestWhatIsNotTracedIsPassedOnAsItCame(t *testing.T) {
	for name, on := range map[string]bool{"off": false, "no trace is sampled": true} {
		t.Run(name, func(t *testing.T) {
			m, c := tracingMesh(t)
			m.tracing = nil
			if on {
				m.tracing = everything(c.GRPC)
				m.tracing.Ratio = 0
			}
			var seen heads
			url, _, _ := m.pair(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				seen.take(r)
			}))
			random := rand.New(rand.NewPCG(1, uint64(len(name))))
			for _, client := range []*http.Client{http1Client(t), http2Client(t)} {
				if on {
					allTrace(t, c, client, url+"/", 2)
				}
				for range 50 {
					fields := traceFields(random, on)
					seen.all()
					askWith(t, client, url+"/", fields...)
					want := http.Header{}
					for i := 0; i < len(fields); i += 2 {
						want.Add(fields[i], fields[i+1])
					}
					got := seen.last()
					for name, values := range want {
						if !slices.Equal(got[name], values) {
							t.Fatalf("%s: %q arrives as %q", name, values, got[name])
						}
					}
					for _, name := range traceNames {
						name = http.CanonicalHeaderKey(name)
						if len(got[name]) > len(want[name]) {
							t.Fatalf("%s arrives as %q", name, got[name])
						}
					}
				}
			}
		})
	}
}

var traceNames = []string{"traceparent", "tracestate", "baggage", "b3", "x-b3-traceid",
	"x-b3-spanid", "x-b3-parentspanid", "x-b3-sampled", "x-b3-flags"}

// traceFields are some that say something of traces; with unsampled none asks for one.
func traceFields(random *rand.Rand, unsampled bool) (out []string) {
	const id, span = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
	values := map[string][]string{
		"traceparent": {"00-" + id + "-" + span + "-00", "01-" + id + "-" + span + "-02-more",
			"00-" + id + "-" + span, "", "x", "ff-" + id + "-" + span + "-00",
			"00-" + strings.Repeat("0", 32) + "-" + span + "-01"},
		"tracestate": {"a=1,b=2", "=", strings.Repeat("a=b,", 40) + "a=b",
			"a=" + strings.Repeat("v", 1000)},
		"baggage":      {"userId=alice,serverNode=DF%2028", strings.Repeat("k=v,", 100) + "k=v"},
		"b3":           {id + "-" + span + "-0", "0", id + "-" + span + "-0-" + span, "zz"},
		"x-b3-traceid": {id, id[16:], "x"}, "x-b3-spanid": {span, "x"},
		"x-b3-parentspanid": {span}, "x-b3-sampled": {"0", "false", "x"}, "x-b3-flags": {"0", "x"},
	}
	if !unsampled {
		values["traceparent"] = append(values["traceparent"], "00-"+id+"-"+span+"-01")
		values["b3"] = append(values["b3"], "1", "d", id+"-"+span+"-1")
		values["x-b3-sampled"], values["x-b3-flags"] = []string{"1", "0"}, []string{"1"}
	}
	for _, name := range traceNames {
		for range random.IntN(3) { // none, one or two
			out = append(out, name, values[name][random.IntN(len(values[name]))])
		}
	}
	return out
}

// A trace that begins at a proxy is told of in W3C's format, and goes on in B3's where that came.
func TestATraceBeginsAtAProxy(t *testing.T) {
	m, c := tracingMesh(t)
	var seen heads
	url, _, _ := m.pair(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		seen.take(r)
	}))
	client := http1Client(t)
	allTrace(t, c, client, url+"/", 2)
	askWith(t, client, url+"/", "b3", "1")
	told := seen.last()
	version, rest, _ := strings.Cut(told.Get("traceparent"), "-")
	trace, rest, _ := strings.Cut(rest, "-")
	span, flags, _ := strings.Cut(rest, "-")
	if version != "00" || flags != "03" || told.Get("tracestate") != "" ||
		!strings.HasPrefix(told.Get("b3"), trace+"-"+span+"-1-") {
		t.Errorf("the application is told %v", told)
	}
	awaitTree(t, c, trace, "client-0 client GET 200\n  web-0 server GET 200\n")
	askWith(t, client, url+"/")
	if state := seen.last().Get("tracestate"); state != "ot=th:0" {
		t.Errorf("the state of a trace that began at a proxy is %q", state)
	}
	askWith(t, client, url+"/", "b3", "0")
	if h := seen.last(); h.Get("traceparent") != "" || h.Get("b3") != "0" {
		t.Errorf("nobody wants a trace, and the application is told %v", h)
	}
}

// What is not sampled is exported all the same if it fails, with what the proxy has done for it
// before; the trace stays unsampled for everybody.
func TestWhatFailsIsKept(t *testing.T) {
	m, c := tracingMesh(t)
	m.tracing.Ratio, m.tracing.KeepFailed = 0, true
	var seen heads
	url, _, _ := m.pair(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen.take(r)
		if r.URL.Path == "/broken" {
			w.WriteHeader(500)
		}
	}))
	client := http1Client(t)
	allTrace(t, c, client, url+"/", 2)
	good, goodID := newTrace("00")
	broken, brokenID := newTrace("00")
	askWith(t, client, url+"/", "traceparent", good)
	askWith(t, client, url+"/broken", "traceparent", broken)
	told := seen.last().Get("traceparent")
	if !strings.HasPrefix(told, "00-"+brokenID) || !strings.HasSuffix(told, "-00") {
		t.Errorf("the application is told %q", told)
	}
	awaitTree(t, c, brokenID, "client-0 client GET 500 500\n  web-0 server GET 500 500\n")
	for _, s := range c.Of(brokenID) {
		if s.Attributes["sampled.by"] != "tail-local" || s.Flags&1 != 0 {
			t.Errorf("%v is not marked", s)
		}
	}
	if spans := c.Of(goodID); len(spans) > 0 {
		t.Errorf("what goes well is exported: %v", spans)
	}
}

// A call of gRPC has its method for a name, and its status; one that nobody implements has none.
func TestSpansOfCalls(t *testing.T) {
	m, c := tracingMesh(t)
	addr, stop := serveGRPC(t, &scripted{unary: func(context.Context) error {
		return status.Error(codes.NotFound, "secret")
	}})
	defer stop()
	web := pod{"web-0", addr, loopback.Free()}
	m.service("web", web)
	m.proxy("web", web)
	client := dialGRPC(t, m.caller("web").out["web"])
	const name = "grpc.testing.TestService/EmptyCall"
	want := map[string]bool{ // by name and kind: whether the span's status is an error
		name + " CLIENT": true, name + " SERVER": false,
		"_OTHER CLIENT": true, "_OTHER SERVER": true,
	}
	await.True(t, "all spans are exported", func() bool {
		client.EmptyCall(within(t, await.Limit), &testgrpc.Empty{})
		client.UnimplementedCall(within(t, await.Limit), &testgrpc.Empty{})
		time.Sleep(10 * time.Millisecond)
		got := map[string]bool{}
		for _, s := range c.All() {
			got[s.Name+" "+strings.TrimPrefix(s.Kind.String(), "SPAN_KIND_")] = s.Failed()
		}
		return len(got) == len(want)
	})
	for _, s := range c.All() {
		bad, known := want[s.Name+" "+strings.TrimPrefix(s.Kind.String(), "SPAN_KIND_")]
		code := "NOT_FOUND"
		if s.Name != name {
			code = "UNIMPLEMENTED"
		}
		if !known || s.Failed() != bad || s.Attributes["rpc.response.status_code"] != code ||
			s.Attributes["rpc.system.name"] != "grpc" || s.Attributes["rpc.method"] != s.Name {
			t.Errorf("%v %v", s.Name, s.Attributes)
		}
	}
}

// A copy of a request is a trace of its own, linked to the one that it is a copy of.
func TestACopyIsLinked(t *testing.T) {
	m, c := tracingMesh(t)
	m.mirror()
	var web, copied heads
	handler := func(seen *heads) http.Handler {
		return http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { seen.take(r) })
	}
	pods := map[string]pod{"web": {"web-0", app(t, handler(&web)), loopback.Free()},
		"copy": {"copy-0", app(t, handler(&copied)), loopback.Free()}}
	for name, p := range pods {
		m.service(name, p)
	}
	for name, p := range pods {
		m.proxy(name, p)
	}
	url := "http://" + m.caller("web").out["web"]
	client := http1Client(t)
	allTrace(t, c, client, url, 2)
	await.True(t, "the copy's proxy traces", func() bool {
		askWith(t, client, url)
		time.Sleep(10 * time.Millisecond)
		return slices.ContainsFunc(c.All(), func(s *collector.Span) bool {
			return s.Server() && s.Service == "copy-0"
		})
	})
	parent, trace := newTrace("01")
	askWith(t, client, url, "traceparent", parent)
	awaitTree(t, c, trace, "client-0 client GET web/0 200\n  web-0 server GET web/0 200\n")
	var links []string
	await.True(t, "the copy's span is exported", func() bool {
		for _, s := range c.All() {
			for _, l := range s.Links {
				if fmt.Sprintf("%x", l.TraceId) == trace {
					links = append(links, s.Trace(), fmt.Sprintf("%x", l.SpanId))
				}
			}
		}
		return len(links) == 2
	})
	awaitTree(t, c, links[0], "client-0 client GET web/0 200\n  copy-0 server GET 200\n")
	for _, s := range c.Of(trace) {
		if !s.Server() && s.ID() != links[1] {
			t.Errorf("the copy is linked to %s, want %s", links[1], s.ID())
		}
	}
}

// A hedge is a try beside the other, and the one that loses is no error.
func TestAHedgeIsATry(t *testing.T) {
	m, c := tracingMesh(t)
	m.write("profile.yaml", `apiVersion: tulle.dev/v1alpha1
kind: ServiceProfile
metadata: {name: web.shop.svc.cluster.local, namespace: shop}
spec:
  routes:
  - {name: all, condition: {pathRegex: .*}, isRetryable: true, hedge: {after: 20ms}}
  retryBudget: {retryRatio: 1, minRetriesPerSecond: 100, ttl: 10s}
`)
	var pods []pod
	var first atomic.Bool
	for i := range 2 {
		a := app(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/slow" && first.CompareAndSwap(false, true) {
				<-r.Context().Done()
			}
		}))
		pods = append(pods, pod{fmt.Sprintf("web-%d", i), a, loopback.Free()})
	}
	m.service("web", pods...)
	for _, p := range pods {
		m.proxy("web", p)
	}
	url := "http://" + m.caller("web").out["web"]
	client := http1Client(t)
	await.True(t, "a hedged request's spans are exported", func() bool {
		first.Store(false)
		parent, trace := newTrace("01")
		askWith(t, client, url+"/slow", "traceparent", parent)
		return hedged(c, trace)
	})
}

// hedged waits a moment for a trace with a hedge.
func hedged(c *collector.Collector, trace string) bool {
	for range 100 {
		var tries, hedges, lost, bad int
		for _, s := range c.Of(trace) {
			switch {
			case s.Server() || s.Parent() == "00000000000000aa":
				continue
			case s.Attributes["tulle.hedge"] == "true":
				hedges++
			case s.Attributes["tulle.lost"] == "true":
				lost++
			}
			tries++
			if s.Failed() {
				bad++
			}
		}
		if tries == 2 && hedges == 1 && lost == 1 && bad == 0 {
			return true
		}
		time.Sleep(100 * time.Millisecond)
	}
	return false
}

// What waits when a proxy ends is exported.
func TestTheLastSpansAreExported(t *testing.T) {
	m, c := tracingMesh(t)
	m.limits.SpanAge = time.Hour
	var seen heads
	url, caller, callee := m.pair(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		seen.take(r)
	}))
	client := http1Client(t)
	parent, trace := newTrace("01")
	await.True(t, "the request is traced", func() bool {
		askWith(t, client, url+"/", "traceparent", parent)
		return seen.last().Get("traceparent") != parent
	})
	client.CloseIdleConnections()
	if spans := c.Of(trace); len(spans) > 0 {
		t.Errorf("%d spans are exported before their time", len(spans))
	}
	check(t, caller.stop())
	check(t, callee.stop())
	if spans := c.Of(trace); len(spans) == 0 {
		t.Error("the last spans are lost")
	}
}

// What the kubelet asks is no part of any trace.
func TestProbesAreNotTraced(t *testing.T) {
	m, c := tracingMesh(t)
	var seen heads
	addr := app(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { seen.take(r) }))
	web := pod{"web-0", addr, loopback.Free()}
	m.service("web", web)
	_, port, _ := net.SplitHostPort(addr)
	m.edit("service-web.yaml", "{name: app}",
		"{name: app, readinessProbe: {httpGet: {path: /ready, port: "+port+"}}}")
	m.proxy("web", web)
	client := http1Client(t)
	await.True(t, "strangers are traced", func() bool {
		askWith(t, client, "http://"+web.mesh+"/other")
		return seen.last().Get("traceparent") != ""
	})
	askWith(t, client, "http://"+web.mesh+"/ready")
	if parent := seen.last().Get("traceparent"); parent != "" {
		t.Errorf("a probe is told of %s", parent)
	}
	parent, trace := newTrace("01")
	askWith(t, client, "http://"+web.mesh+"/other", "traceparent", parent)
	awaitTree(t, c, trace, "web-0 server GET 200\n")
	for _, s := range c.All() {
		if s.Attributes["url.path"] == "/ready" {
			t.Errorf("a probe is traced: %v", s.Attributes)
		}
	}
}

// Reports point to requests whose spans are exported, and to no others.
func TestReportsHaveExemplars(t *testing.T) {
	m, c := tracingMesh(t)
	var told series
	m.hearReports(20, told.stream)
	url, _, _ := m.pair(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	client := http1Client(t)
	allTrace(t, c, client, url+"/", 2)
	parent, trace := newTrace("01")
	askWith(t, client, url, "traceparent", parent)
	await.True(t, "the exemplar is the last that is sampled", func() bool {
		return told.exemplar("web-0") == trace
	})
	await.True(t, "its spans are exported", func() bool { return len(c.Of(trace)) > 0 })
	parent, _ = newTrace("00")
	before := told.requests("web-0")
	askWith(t, client, url, "traceparent", parent)
	await.True(t, "another request is told", func() bool { return told.requests("web-0") > before })
	if got := told.exemplar("web-0"); got != trace {
		t.Errorf("the exemplar is %s, want %s: the last one is not exported", got, trace)
	}
}

func (s *series) exemplar(pod string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return fmt.Sprintf("%x", s.byPod[pod].GetExemplar().GetTraceId())
}

func (s *series) requests(pod string) uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.byPod[pod].GetRequests()
}
