package serve_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/encoding/gzip"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/tulle-mesh/tulle/identity/serve"
	"github.com/tulle-mesh/tulle/identity/spiffe"
	"github.com/tulle-mesh/tulle/test/await"
)

// echo is a service of one unary method and one stream, whose handlers a test gives.
type echo struct {
	unary  func(ctx context.Context, in []byte) ([]byte, error)
	stream func(grpc.ServerStream) error
}

var echoService = grpc.ServiceDesc{
	ServiceName: "test.Echo", HandlerType: (*any)(nil),
	Methods: []grpc.MethodDesc{{MethodName: "Unary", Handler: echoUnary}},
	Streams: []grpc.StreamDesc{{StreamName: "Stream", ServerStreams: true, ClientStreams: true,
		Handler: func(srv any, s grpc.ServerStream) error { return srv.(*echo).stream(s) }}},
}

func echoUnary(
	srv any, ctx context.Context, dec func(any) error, _ grpc.UnaryServerInterceptor,
) (any, error) {
	in := &wrapperspb.BytesValue{}
	if err := dec(in); err != nil {
		return nil, err
	}
	out, err := srv.(*echo).unary(ctx, in.Value)
	return wrapperspb.Bytes(out), err
}

// echoing says everything again.
func echoing() *echo {
	return &echo{
		unary: func(_ context.Context, in []byte) ([]byte, error) { return in, nil },
		stream: func(s grpc.ServerStream) error {
			for {
				m := &wrapperspb.BytesValue{}
				err := s.RecvMsg(m)
				if errors.Is(err, io.EOF) {
					return nil
				}
				if err == nil {
					err = s.SendMsg(m)
				}
				if err != nil {
					return err
				}
			}
		},
	}
}

// served is an echo that runs.
type served struct {
	*running
	server *serve.GRPC
	conn   *grpc.ClientConn
}

func startEcho(t *testing.T, e *echo) *served {
	t.Helper()
	limits := small()
	limits.Message = 1 << 20
	s := &served{running: startWith(t, limits, func(r *running, g *serve.GRPC) {
		g.RegisterService(&echoService, e)
		g.Trust = r.trust
	})}
	s.server, s.conn = s.running.server, s.dial("caller", "127.0.0.1")
	return s
}

func (s *served) call(ctx context.Context, in []byte, o ...grpc.CallOption) ([]byte, error) {
	out := &wrapperspb.BytesValue{}
	err := s.conn.Invoke(ctx, "/test.Echo/Unary", wrapperspb.Bytes(in), out, o...)
	return out.Value, err
}

func (s *served) open(ctx context.Context) grpc.ClientStream {
	s.t.Helper()
	stream, err := s.conn.NewStream(ctx, &echoService.Streams[0], "/test.Echo/Stream")
	if err != nil {
		s.t.Fatal(err)
	}
	return stream
}

// deadline bounds what waits on something that happens at once when all is well.
func deadline(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// Messages larger than every window go both ways, as small and empty ones do.
func TestMessagesOfEverySize(t *testing.T) {
	s := startEcho(t, echoing())
	stream := s.open(deadline(t))
	for _, n := range []int{0, 1, 100, 40_000, 70_000, 900_000, 0} {
		in := bytes.Repeat([]byte{7}, n)
		out, err := s.call(deadline(t), in)
		if err != nil || !bytes.Equal(out, in) {
			t.Errorf("a call with %d bytes: %d bytes, %v", n, len(out), err)
		}
		m := &wrapperspb.BytesValue{}
		err = errors.Join(stream.SendMsg(wrapperspb.Bytes(in)), stream.RecvMsg(m))
		if err != nil || !bytes.Equal(m.Value, in) {
			t.Errorf("a stream with %d bytes: %d bytes, %v", n, len(m.Value), err)
		}
	}
	if err := errors.Join(stream.CloseSend()); err != nil {
		t.Fatal(err)
	}
	if err := stream.RecvMsg(&wrapperspb.BytesValue{}); !errors.Is(err, io.EOF) {
		t.Errorf("the stream ended with %v", err)
	}
}

// A handler that rests after each message has all of them, has its end, and is woken.
func TestHandlersRest(t *testing.T) {
	e := echoing()
	contexts, ends := make(chan context.Context, 1), make(chan error, 1)
	e.stream = func(s grpc.ServerStream) error {
		contexts <- s.Context()
		turns := byte(0)
		var next func() error
		next = func() error {
			turns++
			m := wrapperspb.Bytes([]byte{turns})
			for serve.Received(s.Context()) {
				if err := s.RecvMsg(m); err != nil {
					ends <- err
					return err
				}
			}
			if err := s.SendMsg(m); err != nil {
				return err
			}
			return &serve.Rest{Next: next}
		}
		return next()
	}
	s := startEcho(t, e)
	stream := s.open(deadline(t))
	m := &wrapperspb.BytesValue{}
	hear := func(want byte) {
		t.Helper()
		if err := stream.RecvMsg(m); err != nil || m.Value[0] != want {
			t.Fatalf("heard %v, %v, want %d", m.Value, err, want)
		}
	}
	hear(1) // nothing was said yet
	for i := range 100 {
		if err := stream.SendMsg(wrapperspb.Bytes([]byte{100 + byte(i)})); err != nil {
			t.Fatal(err)
		}
		hear(100 + byte(i))
	}
	serve.Wake(await.Receive(t, "the handler", contexts))
	hear(102)
	stream.CloseSend()
	if err := await.Receive(t, "the end", ends); !errors.Is(err, io.EOF) {
		t.Errorf("the handler's end is %v", err)
	}
}

// A caller that sends many messages before it reads one loses none, and is held up by its window.
func TestManyMessagesAtOnce(t *testing.T) {
	s := startEcho(t, echoing())
	stream := s.open(deadline(t))
	const messages, size = 500, 3000
	sent := make(chan error, 1)
	go func() {
		var err error
		for i := 0; i < messages && err == nil; i++ {
			err = stream.SendMsg(wrapperspb.Bytes(bytes.Repeat([]byte{byte(i)}, size)))
		}
		sent <- errors.Join(err, stream.CloseSend())
	}()
	for i := range messages {
		m := &wrapperspb.BytesValue{}
		if err := stream.RecvMsg(m); err != nil || len(m.Value) != size || m.Value[0] != byte(i) {
			t.Fatalf("message %d: %d bytes, %v", i, len(m.Value), err)
		}
	}
	if err := <-sent; err != nil {
		t.Error(err)
	}
}

// What a handler says of its failure arrives, whatever letters it has.
func TestStatusesArrive(t *testing.T) {
	e := echoing()
	want := status.Error(codes.NotFound, "50% of \"n\u00f6thing\"\nis here")
	e.unary = func(context.Context, []byte) ([]byte, error) { return nil, want }
	e.stream = func(s grpc.ServerStream) error {
		return errors.Join(s.SendMsg(wrapperspb.Bytes(nil)), want)
	}
	s := startEcho(t, e)
	if _, err := s.call(deadline(t), nil); status.Convert(err).String() !=
		status.Convert(want).String() {
		t.Errorf("a call failed with %v", err)
	}
	stream := s.open(deadline(t))
	m := &wrapperspb.BytesValue{}
	if err := stream.RecvMsg(m); err != nil {
		t.Fatal(err)
	}
	if err := stream.RecvMsg(m); status.Code(err) != codes.NotFound {
		t.Errorf("a stream failed with %v", err)
	}
}

func TestWhatIsRefused(t *testing.T) {
	s := startEcho(t, echoing())
	large := make([]byte, 1<<20+1)
	for name, c := range map[string]struct {
		err  error
		want codes.Code
	}{
		"another method": {s.conn.Invoke(deadline(t), "/test.Echo/Nothing",
			&wrapperspb.BytesValue{}, &wrapperspb.BytesValue{}), codes.Unimplemented},
		"a large message": {second(s.call(deadline(t), large)), codes.ResourceExhausted},
		"a compressed message": {second(s.call(deadline(t), []byte("x"),
			grpc.UseCompressor(gzip.Name))), codes.Unimplemented},
	} {
		if status.Code(c.err) != c.want {
			t.Errorf("%s: %v, want %v", name, c.err, c.want)
		}
	}
	if _, err := s.call(deadline(t), nil); err != nil {
		t.Errorf("after that: %v", err)
	}
}

func second(_ []byte, err error) error { return err }

// A call's end, by whatever, is its handler's context's.
func TestHandlersHearOfTheEnd(t *testing.T) {
	for name, end := range map[string]func(s *served, cancel context.CancelFunc){
		"the caller has cancelled": func(_ *served, cancel context.CancelFunc) { cancel() },
		"the connection is gone":   func(s *served, _ context.CancelFunc) { s.conn.Close() },
		"another one ends it":      nil,
		"the server stops":         func(s *served, _ context.CancelFunc) { s.server.Stop() },
	} {
		t.Run(name, func(t *testing.T) {
			began, over := make(chan context.Context, 1), make(chan error, 1)
			e := echoing()
			e.stream = func(s grpc.ServerStream) error {
				began <- s.Context()
				err := s.RecvMsg(&wrapperspb.BytesValue{})
				over <- err
				return err
			}
			s := startEcho(t, e)
			ctx, cancel := context.WithCancel(deadline(t))
			defer cancel()
			stream := s.open(ctx)
			handler := await.Receive(t, "the handler", began)
			if end == nil {
				end = func(*served, context.CancelFunc) {
					serve.End(handler, status.Error(codes.Aborted, "enough"))
				}
			}
			end(s, cancel)
			if err := await.Receive(t, "the handler's end", over); status.Code(err) == codes.OK {
				t.Error("it received a message")
			}
			if err := stream.RecvMsg(&wrapperspb.BytesValue{}); name == "another one ends it" &&
				(status.Code(err) != codes.Aborted || !strings.Contains(err.Error(), "enough")) {
				t.Errorf("the caller heard %v", err)
			}
		})
	}
}

// A caller's deadline is the handler's. On a slow machine the first ones pass before it is called.
func TestDeadlinesReachTheHandler(t *testing.T) {
	e := echoing()
	over := make(chan error, 1)
	e.unary = func(ctx context.Context, _ []byte) ([]byte, error) {
		<-ctx.Done()
		over <- ctx.Err()
		return nil, ctx.Err()
	}
	s := startEcho(t, e)
	for d := 10 * time.Millisecond; d < await.Limit; d *= 2 {
		ctx, cancel := context.WithTimeout(t.Context(), d)
		_, err := s.call(ctx, nil)
		cancel()
		if status.Code(err) != codes.DeadlineExceeded {
			t.Errorf("the call ended with %v", err)
		}
		select {
		case err := <-over:
			if !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, context.Canceled) {
				t.Errorf("the handler's context ended with %v", err)
			}
			return
		default:
		}
	}
	t.Error("the handler was never called, or never ended")
}

// A call that is open when the server is to stop ends well, and new ones go elsewhere.
func TestGracefulStopLetsCallsEnd(t *testing.T) {
	s := startEcho(t, echoing())
	stream := s.open(deadline(t))
	say := func() error {
		return errors.Join(stream.SendMsg(wrapperspb.Bytes(nil)),
			stream.RecvMsg(&wrapperspb.BytesValue{}))
	}
	if err := say(); err != nil {
		t.Fatal(err)
	}
	stopped := make(chan struct{})
	go func() { s.server.GracefulStop(); close(stopped) }()
	if err := say(); err != nil {
		t.Errorf("while it stops: %v", err)
	}
	stream.CloseSend()
	if err := stream.RecvMsg(&wrapperspb.BytesValue{}); !errors.Is(err, io.EOF) {
		t.Errorf("the call ended with %v", err)
	}
	await.Receive(t, "the server's end", stopped)
	if _, err := net.Dial("tcp", s.addr); err == nil {
		t.Error("it still listens")
	}
}

// Who is no longer vouched for is sent away, with its calls.
func TestRemovedRootsEndCalls(t *testing.T) {
	s := startEcho(t, echoing())
	stream := s.open(deadline(t))
	if err := stream.SendMsg(wrapperspb.Bytes(nil)); err != nil {
		t.Fatal(err)
	}
	m := &wrapperspb.BytesValue{}
	if err := stream.RecvMsg(m); err != nil {
		t.Fatal(err)
	}
	s.trust.SetBundles(spiffe.Bundles{})
	if err := stream.RecvMsg(m); status.Code(err) != codes.Unauthenticated {
		t.Errorf("the call ended with %v", err)
	}
}
