package otlp

import (
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	tracev1 "go.opentelemetry.io/proto/otlp/trace/v1"
	"golang.org/x/net/http2/hpack"
	"google.golang.org/protobuf/proto"

	"github.com/tulle-mesh/tulle/proxy/metric"
	"github.com/tulle-mesh/tulle/proxy/outcome"
	"github.com/tulle-mesh/tulle/proxy/span"
	"github.com/tulle-mesh/tulle/proxy/trace"
	"github.com/tulle-mesh/tulle/test/collector"
)

var start = time.Unix(1_700_000_000, 0)

// record is that of a request whose caller has decided to sample it.
func record(change func(*outcome.Record)) *outcome.Record {
	c := trace.Extract([]hpack.HeaderField{{Name: "traceparent",
		Value: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}})
	r := &outcome.Record{
		Request: outcome.Request{Outcome: outcome.Answered, Latency: 30 * time.Millisecond},
		Labels: metric.Labels{Direction: metric.Outbound, Protocol: "http/1",
			Authority: "web.shop.svc.cluster.local:80", Service: "web", Namespace: "shop",
			PeerID: "spiffe://a/ns/shop/sa/web", OwnID: "spiffe://a/ns/shop/sa/me",
			Security: metric.MTLS},
		Start: start, Method: "GET", Path: "/p", Authority: "web:81", HTTP1: true,
		ClientAddress: "[::1]:5", Endpoint: "10.0.0.1:8080", Status: 200,
		Trace: &outcome.Trace{Context: c, Span: trace.NewSpanID(), State: "a=b",
			Query: "?q=REDACTED"},
	}
	r.BeginTry(start, true).Leaves(start, "10.0.0.1:8080")
	r.Try(1).Answered(200)
	if change != nil {
		change(r)
	}
	return r
}

// decoded are a record's spans as OpenTelemetry reads them.
func decoded(t testing.TB, r *outcome.Record) []*collector.Span {
	t.Helper()
	var e encoder
	n := e.spans(r)
	workload := metric.Workload{Namespace: "shop", Kind: "Deployment", Name: "me", Pod: "me-0"}
	b := request(e.b, func(a attributes) { resource(workload, "", a) }, "1.2.3")
	in := &tracev1.TracesData{}
	if err := proto.Unmarshal(b, in); err != nil {
		t.Fatal(err)
	}
	if len(in.ProtoReflect().GetUnknown()) > 0 {
		t.Fatal("there is what OpenTelemetry does not know")
	}
	scope := in.ResourceSpans[0].ScopeSpans[0].Scope
	if scope.Name != "tulle" || scope.Version != "1.2.3" ||
		in.ResourceSpans[0].SchemaUrl != span.SchemaURL {
		t.Fatalf("the scope is %v", scope)
	}
	spans := collector.Spans(in)
	if len(spans) != n {
		t.Fatalf("%d spans, and %d were announced", len(spans), n)
	}
	return spans
}

func TestASpanIsWhatOpenTelemetryReads(t *testing.T) {
	s := decoded(t, record(nil))[0]
	if s.Trace() != "0af7651916cd43dd8448eb211c80319c" || s.Parent() != "b7ad6b7169203331" ||
		len(s.SpanId) != 8 || s.TraceState != "a=b" || s.Name != "GET" || s.Server() ||
		s.StartTimeUnixNano != uint64(start.UnixNano()) || s.Flags != 0x301 ||
		s.EndTimeUnixNano != uint64(start.Add(30*time.Millisecond).UnixNano()) || s.Status != nil {
		t.Errorf("%v", s.Span)
	}
	if got := fmt.Sprint(s.Resource); got != "map[k8s.deployment.name:me k8s.namespace.name:shop "+
		"k8s.pod.name:me-0 service.instance.id:me-0 service.name:me service.namespace:shop]" {
		t.Error(got)
	}
	want := "map[http.request.method:GET http.response.status_code:200 " +
		"network.peer.address:10.0.0.1 network.peer.port:8080 network.protocol.version:1.1 " +
		"server.address:web server.port:81 " +
		"tulle.client.id:spiffe://a/ns/shop/sa/me " +
		"tulle.destination:web.shop.svc.cluster.local:80 " +
		"tulle.namespace:shop tulle.security:mtls tulle.server.id:spiffe://a/ns/shop/sa/web " +
		"tulle.service:web url.full:http://web:81/p?q=REDACTED]"
	if got := fmt.Sprint(s.Attributes); got != want {
		t.Errorf("got\n%s want\n%s", got, want)
	}
}

// How a span is called, whose kind it is, whether it is an error and of which type, by how the
// request went.
func TestNamesAndStatus(t *testing.T) {
	server := func(r *outcome.Record) { r.Labels.Direction = metric.Inbound }
	call := func(status string, more ...func(*outcome.Record)) func(*outcome.Record) {
		return func(r *outcome.Record) {
			r.Labels.Protocol, r.Path, r.GRPCStatus = "grpc", "/pkg.Service/Method", status
			for _, f := range more {
				f(r)
			}
		}
	}
	answered := func(status int, more ...func(*outcome.Record)) func(*outcome.Record) {
		return func(r *outcome.Record) {
			r.Status = status
			for _, f := range more {
				f(r)
			}
		}
	}
	because := func(why outcome.Reason) func(*outcome.Record) {
		return func(r *outcome.Record) { r.Because(why, "in words") }
	}
	route := func(name string) func(*outcome.Record) {
		return func(r *outcome.Record) { r.Labels.Route = name }
	}
	method := func(m string) func(*outcome.Record) {
		return func(r *outcome.Record) { r.Method = m }
	}
	for _, tt := range []struct {
		name   string
		change func(*outcome.Record)
		want   string // name, error.type and, of its own, http.route or url.template
	}{
		{"answered", answered(200), "GET  "},
		{"redirected", answered(301), "GET  "},
		{"a caller's mistake", answered(404), "GET 404 "},
		{"a caller's mistake, to the server", answered(404, server), "GET  "},
		{"an error", answered(500), "GET 500 "},
		{"an error, to the server", answered(500, server), "GET 500 "},
		{"refused", answered(403, server, because(outcome.Denied)), "GET  "},
		{"too slow", answered(504, because(outcome.RequestTimeout)), "GET request_timeout "},
		{"nobody answers", answered(0, because(outcome.ConnectFailed)), "GET connect_failed "},
		{"the caller leaves", answered(0, because(outcome.ClientGone)), "GET  "},
		{"broken off", answered(200, because(outcome.ResetByPeer), func(r *outcome.Record) {
			r.Cut = true
		}), "GET reset_by_peer "},
		{"by a rule", answered(200, route("stock")), "GET stock  "},
		{"by a path", answered(200, route("/stock/{id}")), "GET /stock/{id}  /stock/{id}"},
		{"by method and path", answered(200, route("GET /stock"), server), "GET /stock  /stock"},
		{"an odd method", answered(200, method("BREW")), "HTTP  "},
		{"a call", call("0"), "pkg.Service/Method  "},
		{"a call of what there is not", call("5"), "pkg.Service/Method NOT_FOUND "},
		{"a call of what there is not, to the server", call("5", server), "pkg.Service/Method  "},
		{"a call that fails, to the server", call("14", server),
			"pkg.Service/Method UNAVAILABLE "},
		{"a call that nobody implements", call("12"), "_OTHER UNIMPLEMENTED "},
	} {
		s := decoded(t, record(tt.change))[0]
		bad := s.Attributes["error.type"]
		got := s.Name + " " + bad + " " + s.Attributes["http.route"] + s.Attributes["url.template"]
		if got != tt.want || s.Failed() != (bad != "") ||
			s.Server() != (s.Attributes["url.path"] != "") {
			t.Errorf("%s: %q, want %q: %v", tt.name, got, tt.want, s.Span)
		}
	}
}

// Several tries have a span each, which the backend was told of, below one that nobody was.
func TestTriesAreSpans(t *testing.T) {
	r := record(func(r *outcome.Record) {
		first := r.Try(1)
		first.Status = 0
		first.Because(outcome.ConnectFailed)
		first.Ends(start.Add(time.Millisecond))
		hedge := r.BeginTry(start.Add(5*time.Millisecond), true)
		hedge.Beside(true)
		hedge.Leaves(start.Add(7*time.Millisecond), "10.0.0.2:8080")
		hedge.Loses()
		hedge.Ends(start.Add(9 * time.Millisecond))
		r.BeginTry(start.Add(8*time.Millisecond), true).Answered(200)
	})
	spans := decoded(t, r)
	const want = `me client GET 200
  me client GET connect_failed
  me client GET resent 1
  me client GET 200 resent 2
`
	if got := collector.Tree(spans); got != want {
		t.Errorf("got\n%s want\n%s", got, want)
	}
	whole, hedge := spans[0], spans[2]
	for i, s := range spans[1:] {
		if s.ID() != r.Trace.Tries[i].Span.String() || s.Parent() != whole.ID() ||
			s.Flags != 0x101 {
			t.Errorf("try %d is %v", i, s.Span)
		}
	}
	if hedge.Failed() || hedge.Attributes["tulle.lost"] != "true" ||
		hedge.Attributes["network.peer.address"] != "10.0.0.2" || len(hedge.Events) != 1 {
		t.Errorf("the hedge is %v", hedge.Span)
	}
	if e := whole.Events; len(e) != 2 || e[0].Name != "hedge" || e[1].Name != "retry" {
		t.Errorf("the events are %v", whole.Events)
	}
	single := record(nil)
	if s := decoded(t, single)[0]; s.ID() != single.Trace.Tries[0].Span.String() {
		t.Errorf("one try is told of %v, and its span is %s", single.Trace.Tries[0].Span, s.ID())
	}
}

// Whatever peers send, a span is read by OpenTelemetry, and holds no secret.
func FuzzSpan(f *testing.F) {
	f.Add("GET", "/p?token=secret&secret", "user:secret@web:80", "14", "1.2.3.4:5", "x=1")
	f.Add("\xff\n", "//\x00?secret", "[::1", "-1", "", "\xff")
	f.Fuzz(func(t *testing.T, method, path, authority, grpc, address, state string) {
		head := []hpack.HeaderField{{Name: "tracestate", Value: state}, {Name: "traceparent",
			Value: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}}
		var watch outcome.Watch
		var got *outcome.Record
		watch.Set(&outcome.Hook{Traced: func(r *outcome.Record) { got = r },
			Trace: func(head []hpack.HeaderField, _ time.Time) *outcome.Trace {
				c := trace.Extract(head)
				return &outcome.Trace{Context: c, State: c.State(head)}
			}})
		for _, protocol := range []string{"http/1", "grpc"} {
			for _, direction := range []metric.Direction{metric.Inbound, metric.Outbound} {
				r := watch.BeginRequest(start, head, 0)
				r.Asked(&outcome.Texts{}, method, path, authority)
				r.GRPC(grpc)
				r.ClientAddress, r.Endpoint = address, address
				r.Labels.Direction, r.Labels.Protocol = direction, protocol
				r.BeginTry(start, true).Called(grpc)
				r.BeginTry(start, true)
				r.End(outcome.Request{})
				checkFuzzed(t, got, method+authority+grpc+address+state)
			}
		}
	})
}

func checkFuzzed(t *testing.T, r *outcome.Record, shown string) {
	t.Helper()
	for _, s := range decoded(t, r) {
		said := fmt.Sprint(s.Name, s.Attributes, s.TraceState)
		if !utf8.ValidString(said) || len(said) > 32<<10 {
			t.Errorf("%d bytes: %q", len(said), said)
		}
		path, _, _ := strings.Cut(r.Path, "?")
		if strings.Contains(said, "secret") && !strings.Contains(path+shown, "secret") &&
			!strings.Contains(r.Trace.Query, "secret=") {
			t.Errorf("a secret is shown: %q", said)
		}
	}
}
