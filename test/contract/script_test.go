package contract

import (
	"context"
	"errors"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"

	"github.com/tulle-mesh/tulle/destination/api"
	"github.com/tulle-mesh/tulle/identity/spiffe"
	"github.com/tulle-mesh/tulle/test/await"
)

// raw is a message's bytes, as they are.
type raw []byte

// rawCodec sends what it is given, message or bytes, and receives messages.
type rawCodec struct{}

func (rawCodec) Name() string { return "proto" }

func (rawCodec) Marshal(v any) (mem.BufferSlice, error) {
	if b, ok := v.(raw); ok {
		return mem.BufferSlice{mem.SliceBuffer(b)}, nil
	}
	b, err := proto.Marshal(v.(proto.Message))
	return mem.BufferSlice{mem.SliceBuffer(b)}, err
}

func (rawCodec) Unmarshal(data mem.BufferSlice, v any) error {
	return proto.Unmarshal(data.Materialize(), v.(proto.Message))
}

// script is a destination of one proxy that says what a test tells it to.
type script struct {
	t        testing.TB
	addr     string
	rejected chan *api.Rejected
	// the names of keys that are subscribed to; "-" before one that no longer is
	asked   chan string
	resumed chan resumed
	healths chan *api.Health

	mu      sync.Mutex // guards what follows, and sending
	stream  grpc.ServerStream
	resume  resumed          // so far
	answers map[string][]raw // by the name of a key
}

const maxSaid = 1 << 14 // by a proxy, in a test

// resumed is what a proxy says that it holds, at the beginning of a stream.
type resumed struct {
	held    []*api.Held
	largest int // bytes of a message
}

// names are those of what is held, with their kinds.
func (r resumed) names() (out []string) {
	for _, h := range r.held {
		out = append(out, strings.ToLower(strings.TrimPrefix(h.Kind.String(), "KIND_"))+" "+h.Name)
	}
	slices.Sort(out)
	return out
}

func newScript(m *mesh) *script {
	s := &script{t: m.t, rejected: make(chan *api.Rejected, maxSaid),
		asked: make(chan string, maxSaid), resumed: make(chan resumed, 1),
		healths: make(chan *api.Health, maxSaid), answers: map[string][]raw{}}
	src := m.source(serverID("destination"))
	cfg := spiffe.ServerConfig(src, []string{"h2"}, spiffe.AnyPeer)
	s.addr = m.serve(func(ctx context.Context, l net.Listener) error {
		g := grpc.NewServer(grpc.Creds(credentials.NewTLS(cfg)),
			grpc.ForceServerCodecV2(rawCodec{}))
		g.RegisterService(&grpc.ServiceDesc{
			ServiceName: "tulle.destination.v1.Destination", HandlerType: (*any)(nil),
			Streams: []grpc.StreamDesc{{
				StreamName: "Discover", ServerStreams: true, ClientStreams: true,
				Handler: func(_ any, rpc grpc.ServerStream) error { return s.converse(rpc) },
			}},
		}, nil)
		defer context.AfterFunc(ctx, g.Stop)()
		return g.Serve(l)
	})
	return s
}

func (s *script) converse(rpc grpc.ServerStream) error {
	for {
		req := &api.DiscoverRequest{}
		if err := rpc.RecvMsg(req); err != nil {
			return err
		}
		if err := s.hear(rpc, req); err != nil {
			return err
		}
	}
}

func (s *script) hear(rpc grpc.ServerStream, req *api.DiscoverRequest) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch m := req.Message.(type) {
	case *api.DiscoverRequest_Hello:
		s.stream, s.resume = rpc, resumed{}
		welcome := &api.Welcome{Workload: &api.Workload{
			Namespace: "shop", Kind: "deployment", Name: "web", Pod: "web-0",
		}}
		return rpc.SendMsg(&api.DiscoverResponse{
			Message: &api.DiscoverResponse_Welcome{Welcome: welcome},
		})
	case *api.DiscoverRequest_Resume:
		s.resume.held = append(s.resume.held, m.Resume.Held...)
		s.resume.largest = max(s.resume.largest, proto.Size(req))
		if m.Resume.Last {
			return tell(s.resumed, s.resume)
		}
	case *api.DiscoverRequest_Unsubscribe:
		return tell(s.asked, "-"+api.KeyString(m.Unsubscribe.Key))
	case *api.DiscoverRequest_Subscribe:
		if err := tell(s.asked, api.KeyString(m.Subscribe.Key)); err != nil {
			return err
		}
		for _, b := range s.answers[api.KeyString(m.Subscribe.Key)] {
			if err := rpc.SendMsg(b); err != nil {
				return err
			}
		}
	case *api.DiscoverRequest_Rejected:
		return tell(s.rejected, m.Rejected)
	case *api.DiscoverRequest_Health:
		return tell(s.healths, m.Health)
	}
	return nil
}

// tell does not wait: a test that does not listen must not hold up the proxy.
func tell[T any](c chan<- T, v T) error {
	select {
	case c <- v:
		return nil
	default:
		return errors.New("a proxy says more than the test takes")
	}
}

// answer is what a key is answered with from now on.
func (s *script) answer(key string, messages ...raw) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answers[key] = messages
}

// say sends a message that nobody asked for. The proxy must be connected.
func (s *script) say(message raw) {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	check(s.t, s.stream.SendMsg(message))
}

// send says what is good.
func (s *script) send(list ...*api.Resource) {
	s.t.Helper()
	s.say(encode(s.t, resources(list...)))
}

// rejects waits for the next rejection.
func (s *script) rejects(what string) *api.Rejected {
	s.t.Helper()
	return await.Receive(s.t, "the proxy rejects "+what, s.rejected)
}

// encode is a message as it goes on the wire, with the fields that no version knows.
func encode(t testing.TB, m proto.Message) []byte {
	t.Helper()
	b, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
