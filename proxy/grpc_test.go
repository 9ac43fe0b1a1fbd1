package proxy_test

import (
	"context"
	"errors"
	"io"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	testgrpc "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/tulle-mesh/tulle/test/await"
	"github.com/tulle-mesh/tulle/test/loopback"
)

// scripted is a grpc-go server that does what the test says.
type scripted struct {
	testgrpc.UnimplementedTestServiceServer
	unary  func(context.Context) error
	stream func(testgrpc.TestService_FullDuplexCallServer) error
}

func (s *scripted) EmptyCall(ctx context.Context, _ *testgrpc.Empty) (*testgrpc.Empty, error) {
	return &testgrpc.Empty{}, s.unary(ctx)
}

func (s *scripted) FullDuplexCall(c testgrpc.TestService_FullDuplexCallServer) error {
	return s.stream(c)
}

// serveGRPC runs one, and stop cuts its connections.
func serveGRPC(t *testing.T, s *scripted) (addr string, stop func()) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	g := grpc.NewServer()
	testgrpc.RegisterTestServiceServer(g, s)
	go g.Serve(l)
	t.Cleanup(g.Stop)
	return l.Addr().String(), g.Stop
}

// grpcPair is a grpc-go client two hops from a grpc-go server.
func grpcPair(t *testing.T, s *scripted, profile string) (testgrpc.TestServiceClient, func()) {
	t.Helper()
	m := newMesh(t, 0)
	addr, stop := serveGRPC(t, s)
	web := pod{"web-0", addr, loopback.Free()}
	m.service("web", web)
	if profile != "" {
		m.profile(profile)
	}
	m.proxy("web", web)
	return dialGRPC(t, m.caller("web").out["web"]), stop
}

func dialGRPC(t *testing.T, addr string) testgrpc.TestServiceClient {
	t.Helper()
	cc, err := grpc.NewClient(addr, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDisableRetry())
	check(t, err)
	t.Cleanup(func() { cc.Close() })
	return testgrpc.NewTestServiceClient(cc)
}

func within(t *testing.T, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

// The backend is told of the caller's deadline and of the profile's, whichever is first.
func TestGRPCDeadlinesReachTheBackend(t *testing.T) {
	granted := make(chan time.Duration, 1)
	s := &scripted{unary: func(ctx context.Context) error {
		d, ok := ctx.Deadline()
		if !ok {
			granted <- 0
			return nil
		}
		granted <- time.Until(d)
		return nil
	}}
	c, _ := grpcPair(t, s,
		"  routes:\n  - {name: all, condition: {pathRegex: /.*}, timeout: 30s}\n")
	for caller, most := range map[time.Duration]time.Duration{
		10 * time.Second: 10 * time.Second, time.Hour: 30 * time.Second, 0: 30 * time.Second,
	} {
		ctx := t.Context()
		if caller > 0 {
			ctx = within(t, caller)
		}
		_, err := c.EmptyCall(ctx, &testgrpc.Empty{})
		check(t, err)
		if got := await.Receive(t, "the backend is called", granted); got <= 0 || got > most {
			t.Errorf("a caller with %v: the backend has %v, want up to %v", caller, got, most)
		}
	}
}

// A backend that heeds no deadline does not keep its caller beyond it, before an answer or in one.
func TestGRPCDeadlinesAreEnforced(t *testing.T) {
	held := make(chan struct{})
	s := &scripted{unary: func(context.Context) error { <-held; return nil },
		stream: func(c testgrpc.TestService_FullDuplexCallServer) error {
			c.Send(&testgrpc.StreamingOutputCallResponse{})
			<-held
			return nil
		}}
	c, _ := grpcPair(t, s,
		"  routes:\n  - {name: all, condition: {pathRegex: /.*}, timeout: 300ms}\n")
	t.Cleanup(func() { close(held) })
	_, err := c.EmptyCall(t.Context(), &testgrpc.Empty{})
	if status.Code(err) != codes.DeadlineExceeded {
		t.Errorf("before an answer: %v", err)
	}
	stream, err := c.FullDuplexCall(t.Context())
	check(t, err)
	_, err = stream.Recv()
	check(t, err)
	if _, err = stream.Recv(); status.Code(err) != codes.DeadlineExceeded {
		t.Errorf("in an answer: %v", err)
	}
}

func TestGRPCCancellationReachesTheBackend(t *testing.T) {
	begun, over := make(chan struct{}, 1), make(chan struct{}, 1)
	s := &scripted{unary: func(ctx context.Context) error {
		begun <- struct{}{}
		<-ctx.Done()
		over <- struct{}{}
		return ctx.Err()
	}}
	s.stream = func(c testgrpc.TestService_FullDuplexCallServer) error {
		return s.unary(c.Context())
	}
	c, _ := grpcPair(t, s, "")
	for name, call := range map[string]func(context.Context){
		"unary": func(ctx context.Context) { c.EmptyCall(ctx, &testgrpc.Empty{}) },
		"stream": func(ctx context.Context) {
			if st, err := c.FullDuplexCall(ctx); err == nil {
				st.Recv()
			}
		},
	} {
		ctx, cancel := context.WithCancel(t.Context())
		go call(ctx)
		await.Receive(t, name+": the backend is called", begun)
		cancel()
		select {
		case <-over:
		case <-time.After(30 * time.Second):
			t.Errorf("%s: the backend works on", name)
		}
	}
}

// A connection that breaks in a response is UNAVAILABLE, as it is without a mesh.
func TestABrokenGRPCStreamIsUnavailable(t *testing.T) {
	begun := make(chan struct{}, 1)
	s := &scripted{stream: func(c testgrpc.TestService_FullDuplexCallServer) error {
		c.Send(&testgrpc.StreamingOutputCallResponse{})
		begun <- struct{}{}
		<-c.Context().Done()
		return nil
	}}
	c, stop := grpcPair(t, s, "")
	stream, err := c.FullDuplexCall(within(t, 30*time.Second))
	check(t, err)
	_, err = stream.Recv()
	check(t, err)
	await.Receive(t, "the backend has answered", begun)
	stop()
	if _, err = stream.Recv(); status.Code(err) != codes.Unavailable {
		t.Errorf("%v, want UNAVAILABLE", err)
	}
}

// What failed by its gRPC status is tried again, if the profile says so; what is the caller's doing
// is not.
func TestGRPCRetriesByStatus(t *testing.T) {
	var calls atomic.Int64
	var code atomic.Uint32
	var early atomic.Bool // a head of its own comes before the status
	s := &scripted{unary: func(ctx context.Context) error {
		if early.Load() {
			grpc.SendHeader(ctx, metadata.MD{})
		}
		if calls.Add(1) <= 2 {
			return status.Error(codes.Code(code.Load()), "scripted")
		}
		return nil
	}}
	c, _ := grpcPair(t, s,
		"  routes:\n  - {name: all, condition: {pathRegex: /.*}, isRetryable: true}\n"+
			"  retryBudget: {retryRatio: 1, minRetriesPerSecond: 100, ttl: 10s}\n")
	for want, again := range map[codes.Code]bool{codes.Unavailable: true, codes.Internal: true,
		codes.Unknown: true, codes.DataLoss: true, codes.DeadlineExceeded: true,
		codes.NotFound: false, codes.InvalidArgument: false, codes.Aborted: false,
		codes.ResourceExhausted: false, codes.PermissionDenied: false} {
		for _, first := range []bool{false, true} {
			calls.Store(0)
			code.Store(uint32(want))
			early.Store(first)
			_, err := c.EmptyCall(within(t, 30*time.Second), &testgrpc.Empty{})
			if again && (err != nil || calls.Load() != 3) ||
				!again && (status.Code(err) != want || calls.Load() != 1) {
				t.Errorf("%v, a head first: %v: %v after %d calls", want, first, err, calls.Load())
			}
		}
	}
}

// A call that has had a message is answered, whatever its status says then.
func TestAGRPCAnswerThatHasBegunIsFinal(t *testing.T) {
	var calls atomic.Int64
	s := &scripted{stream: func(c testgrpc.TestService_FullDuplexCallServer) error {
		calls.Add(1)
		_, err := c.Recv()
		if !errors.Is(err, io.EOF) {
			return err
		}
		return errors.Join(c.SendHeader(metadata.MD{}),
			c.Send(&testgrpc.StreamingOutputCallResponse{}),
			status.Error(codes.Unavailable, "scripted"))
	}}
	c, _ := grpcPair(t, s,
		"  routes:\n  - {name: all, condition: {pathRegex: /.*}, isRetryable: true}\n")
	stream, err := c.FullDuplexCall(within(t, 30*time.Second))
	check(t, err)
	check(t, stream.CloseSend())
	if _, err := stream.Recv(); err != nil {
		t.Errorf("the message: %v", err)
	}
	if _, err := stream.Recv(); status.Code(err) != codes.Unavailable || calls.Load() != 1 {
		t.Errorf("%v after %d calls", err, calls.Load())
	}
}

// An endpoint that fails at once is the fastest, and must not draw the calls for it: its status
// tells, not its speed.
func TestAFailingGRPCEndpointIsAvoided(t *testing.T) {
	var bad, good atomic.Int64
	broken, _ := serveGRPC(t, &scripted{unary: func(context.Context) error {
		bad.Add(1)
		return status.Error(codes.Unavailable, "scripted")
	}})
	sound, _ := serveGRPC(t, &scripted{unary: func(context.Context) error {
		good.Add(1)
		time.Sleep(2 * time.Millisecond) // slower
		return nil
	}})
	m := newMesh(t, 0)
	m.service("web", pod{"web-0", broken, ""}, pod{"web-1", sound, ""})
	c := dialGRPC(t, m.caller("web").out["web"])
	for range 200 {
		c.EmptyCall(within(t, 30*time.Second), &testgrpc.Empty{})
	}
	if b, g := bad.Load(), good.Load(); b == 0 || b > g/2 {
		t.Errorf("%d calls went to the endpoint that fails, %d to the other", b, g)
	}
}
