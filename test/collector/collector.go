// Package collector is an OpenTelemetry collector for tests: it takes spans over OTLP/gRPC and
// OTLP/HTTP, and reads them by OpenTelemetry's own messages. Its servers end with the test.
package collector

import (
	"cmp"
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	commonv1 "go.opentelemetry.io/proto/otlp/common/v1"
	tracev1 "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/tulle-mesh/tulle/test/await"
)

// Span is one, and what was said around it.
type Span struct {
	*tracev1.Span
	Service    string            // of the resource
	Resource   map[string]string // its attributes
	Attributes map[string]string // as fmt prints them
}

// ID and Parent are hexadecimal; empty: there is none.
func (s *Span) ID() string     { return hex.EncodeToString(s.SpanId) }
func (s *Span) Parent() string { return hex.EncodeToString(s.ParentSpanId) }
func (s *Span) Trace() string  { return hex.EncodeToString(s.TraceId) }

// Failed reports whether the status is Error.
func (s *Span) Failed() bool { return s.GetStatus().GetCode() == tracev1.Status_STATUS_CODE_ERROR }

// Server reports whether the kind is SERVER; else it is CLIENT.
func (s *Span) Server() bool { return s.Kind == tracev1.Span_SPAN_KIND_SERVER }

// Collector is one.
type Collector struct {
	GRPC, HTTP string // where it listens
	// Refuse, if it is set before the first export, decides about each: an error of gRPC's, or an
	// answer over HTTP, which it has then given.
	Refuse     func() error
	RefuseHTTP func(http.ResponseWriter) bool

	mu    sync.Mutex // guards spans
	spans []*Span
}

// New makes a collector that listens on loopback.
func New(t testing.TB) *Collector {
	t.Helper()
	c := &Collector{}
	overGRPC, overHTTP := listen(t), listen(t)
	c.GRPC, c.HTTP = overGRPC.Addr().String(), overHTTP.Addr().String()
	g := grpc.NewServer()
	g.RegisterService(&grpc.ServiceDesc{
		ServiceName: "opentelemetry.proto.collector.trace.v1.TraceService",
		HandlerType: (*any)(nil),
		Methods:     []grpc.MethodDesc{{MethodName: "Export", Handler: c.export}},
	}, c)
	h := &http.Server{Handler: http.HandlerFunc(c.post)}
	var serving sync.WaitGroup
	serving.Go(func() { g.Serve(overGRPC) })
	serving.Go(func() { h.Serve(overHTTP) })
	t.Cleanup(func() {
		g.Stop()
		h.Close()
		await.Return(t, "the collector has ended", serving.Wait)
	})
	return c
}

func listen(t testing.TB) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func (c *Collector) export(
	_ any, _ context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor,
) (any, error) {
	in := &tracev1.TracesData{} // as an ExportTraceServiceRequest is
	if err := decode(in); err != nil {
		return nil, err
	}
	if c.Refuse != nil {
		if err := c.Refuse(); err != nil {
			return nil, err
		}
	}
	c.take(in)
	return &emptypb.Empty{}, nil
}

func (c *Collector) post(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	in := &tracev1.TracesData{}
	if err == nil {
		err = proto.Unmarshal(body, in)
	}
	switch {
	case err != nil || r.Method != http.MethodPost || r.URL.Path != "/v1/traces" ||
		r.Header.Get("Content-Type") != "application/x-protobuf":
		http.Error(w, fmt.Sprint(r.Method, r.URL, err), http.StatusBadRequest)
	case c.RefuseHTTP != nil && c.RefuseHTTP(w):
	default:
		c.take(in)
		w.Header().Set("Content-Type", "application/x-protobuf")
	}
}

func (c *Collector) take(in *tracev1.TracesData) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.spans = append(c.spans, Spans(in)...)
}

// Spans are those of a message.
func Spans(in *tracev1.TracesData) (out []*Span) {
	for _, r := range in.ResourceSpans {
		resource := texts(r.GetResource().GetAttributes())
		for _, scope := range r.ScopeSpans {
			for _, s := range scope.Spans {
				out = append(out, &Span{Span: s, Service: resource["service.name"],
					Resource: resource, Attributes: texts(s.Attributes)})
			}
		}
	}
	return out
}

func texts(list []*commonv1.KeyValue) map[string]string {
	out := map[string]string{}
	for _, kv := range list {
		switch v := kv.GetValue().GetValue().(type) {
		case *commonv1.AnyValue_StringValue:
			out[kv.Key] = v.StringValue
		case *commonv1.AnyValue_IntValue:
			out[kv.Key] = fmt.Sprint(v.IntValue)
		case *commonv1.AnyValue_BoolValue:
			out[kv.Key] = fmt.Sprint(v.BoolValue)
		}
	}
	return out
}

// All are the spans so far.
func (c *Collector) All() []*Span {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]*Span(nil), c.spans...)
}

// Of are the spans of a trace so far.
func (c *Collector) Of(trace string) (out []*Span) {
	for _, s := range c.All() {
		if s.Trace() == trace {
			out = append(out, s)
		}
	}
	return out
}

// Tree prints a trace, a line for each span below its parent, children in the order of their
// beginnings: service, kind, name, status of HTTP or error's type, and how often it was resent.
func Tree(spans []*Span) string {
	var b strings.Builder
	known := map[string]bool{}
	for _, s := range spans {
		known[s.ID()] = true
	}
	var print func(parent string, depth int)
	print = func(parent string, depth int) {
		for _, s := range sorted(spans) {
			if s.Parent() != parent && (depth > 0 || known[s.Parent()]) {
				continue
			}
			fmt.Fprintf(&b, "%s%s\n", strings.Repeat("  ", depth), line(s))
			print(s.ID(), depth+1)
		}
	}
	print("", 0)
	return b.String()
}

func sorted(spans []*Span) []*Span {
	return slices.SortedStableFunc(slices.Values(spans), func(a, b *Span) int {
		return cmp.Compare(a.StartTimeUnixNano, b.StartTimeUnixNano)
	})
}

func line(s *Span) string {
	kind := "client"
	if s.Server() {
		kind = "server"
	}
	parts := []string{s.Service, kind, s.Name}
	for _, name := range []string{"http.response.status_code", "error.type"} {
		if v := s.Attributes[name]; v != "" {
			parts = append(parts, v)
		}
	}
	if n := s.Attributes["http.request.resend_count"]; n != "" {
		parts = append(parts, "resent "+n)
	}
	return strings.Join(parts, " ")
}
