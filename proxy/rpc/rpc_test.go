package rpc

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/tulle-mesh/tulle/proxy/wire"
)

func TestUnary(t *testing.T) {
	eachTransport(t, func(t *testing.T, s *server, c *Client) {
		ctx := testContext(t)
		s.unary = func(ctx context.Context, in []byte) ([]byte, error) {
			ua, au := metadataOf(ctx, "user-agent"), metadataOf(ctx, ":authority")
			if ua != "tulle/1.2.3" || au != "test.local:1" {
				return nil, grpcError(codes.InvalidArgument, ua+" "+au)
			}
			return append(in, '!'), nil
		}
		for i := range 100 {
			in := strings.Repeat("x", i)
			if out, err := call(ctx, c, in); err != nil || out != in+"!" {
				t.Fatalf("%q: %q %v", in, out, err)
			}
		}
	})
}

func TestUnaryFromMany(t *testing.T) {
	eachTransport(t, func(t *testing.T, s *server, c *Client) {
		ctx := testContext(t)
		var wg sync.WaitGroup
		for i := range 32 {
			wg.Go(func() {
				for j := range 20 {
					in := fmt.Sprint(i, "/", j)
					if out, err := call(ctx, c, in); err != nil || out != in {
						t.Errorf("%q: %q %v", in, out, err)
					}
				}
			})
		}
		wg.Wait()
	})
}

// More calls at once than the server takes wait for their turn.
func TestStreamLimitOfTheServer(t *testing.T) {
	s := startServer(t, grpc.MaxConcurrentStreams(2))
	c := newTestClient(t, dialTo(s.addr, nil))
	ctx := testContext(t)
	var most, now atomic.Int32
	s.unary = func(_ context.Context, in []byte) ([]byte, error) {
		n := now.Add(1)
		defer now.Add(-1)
		for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
		}
		return in, nil
	}
	if _, err := call(ctx, c, "so that the server's SETTINGS are here"); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 40 {
		wg.Go(func() {
			if _, err := call(ctx, c, "x"); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if m := most.Load(); m > 2 {
		t.Errorf("%d calls at once", m)
	}
}

func TestErrors(t *testing.T) {
	eachTransport(t, func(t *testing.T, s *server, c *Client) {
		ctx := testContext(t)
		for _, tt := range []struct {
			code    codes.Code
			message string
		}{
			{codes.PermissionDenied, "identity refused: wrong audience"},
			{codes.Unavailable, ""},
			{codes.Internal, "100 % of\nlines — ünïcode %41"},
			{codes.Code(99), "a code of tomorrow"},
			{codes.Unauthenticated, strings.Repeat("long", 1000)},
		} {
			s.unary = func(context.Context, []byte) ([]byte, error) {
				return nil, grpcError(tt.code, tt.message)
			}
			_, err := call(ctx, c, "x")
			var st *Status
			if !errors.As(err, &st) || uint32(st.Code) != uint32(tt.code) ||
				st.Message != tt.message || codeOf(err) != st.Code {
				t.Errorf("%v %.30q: %v", tt.code, tt.message, err)
			}
			if !strings.HasPrefix(err.Error(), "call "+echo+": ") {
				t.Errorf("%q does not say what was called", err)
			}
		}
	})
}

func TestUnknownMethod(t *testing.T) {
	s := startServer(t)
	c := newTestClient(t, dialTo(s.addr, nil))
	err := c.Call(testContext(t), "/test.Test/None",
		wrapperspb.Bytes(nil), new(wrapperspb.BytesValue))
	if codeOf(err) != Unimplemented {
		t.Fatal(err)
	}
}

func TestDeadline(t *testing.T) {
	eachTransport(t, func(t *testing.T, s *server, c *Client) {
		const given = time.Second // long enough for the call to reach a server on a busy machine
		if _, err := call(testContext(t), c, "so that the connection is here"); err != nil {
			t.Fatal(err)
		}
		told, ended := make(chan time.Duration, 1), make(chan struct{})
		s.unary = func(ctx context.Context, _ []byte) ([]byte, error) {
			deadline, _ := ctx.Deadline()
			told <- time.Until(deadline)
			<-ctx.Done()
			close(ended)
			return nil, ctx.Err()
		}
		ctx, cancel := context.WithTimeout(testContext(t), given)
		defer cancel()
		_, err := call(ctx, c, "x")
		if codeOf(err) != DeadlineExceeded {
			t.Fatal(err)
		}
		if left := <-told; left <= 0 || left > given {
			t.Errorf("the server was given %v", left)
		}
		<-ended
		<-ctx.Done()
		_, err = call(ctx, c, "x")
		if codeOf(err) != DeadlineExceeded || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a call after the deadline: %v", err)
		}
	})
}

// A cancelled call is cancelled at the server too.
func TestCancel(t *testing.T) {
	eachTransport(t, func(t *testing.T, s *server, c *Client) {
		begun, ended := make(chan struct{}), make(chan error, 1)
		s.unary = func(ctx context.Context, _ []byte) ([]byte, error) {
			close(begun)
			<-ctx.Done()
			ended <- ctx.Err()
			return nil, ctx.Err()
		}
		ctx, cancel := context.WithCancel(testContext(t))
		go func() { <-begun; cancel() }()
		_, err := call(ctx, c, "x")
		if codeOf(err) != Canceled || !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
	})
}

func TestCloseCancelsAStream(t *testing.T) {
	s := startServer(t)
	c := newTestClient(t, dialTo(s.addr, nil))
	ended := make(chan error, 1)
	s.stream = func(gs grpc.ServerStream) error {
		ended <- gs.RecvMsg(new(wrapperspb.BytesValue))
		return nil
	}
	st, err := c.Open(testContext(t), stream)
	if err != nil {
		t.Fatal(err)
	}
	st.Close()
	if err := <-ended; err == nil || errors.Is(err, io.EOF) {
		t.Errorf("the server saw %v", err)
	}
	if err := st.Recv(new(wrapperspb.BytesValue)); codeOf(err) != Canceled {
		t.Error(err)
	}
	if err := st.Send(wrapperspb.Bytes(nil)); codeOf(err) != Canceled {
		t.Error(err)
	}
}

func TestStreamBothWays(t *testing.T) {
	eachTransport(t, func(t *testing.T, s *server, c *Client) {
		s.stream = echoStream
		st, err := c.Open(testContext(t), stream)
		if err != nil {
			t.Fatal(err)
		}
		var out wrapperspb.BytesValue
		for i := range 50 { // in lockstep
			in := fmt.Appendf(nil, "message %d", i)
			if err := st.Send(wrapperspb.Bytes(in)); err != nil {
				t.Fatal(err)
			}
			if err := st.Recv(&out); err != nil || !bytes.Equal(out.Value, in) {
				t.Fatalf("%q %v", out.Value, err)
			}
		}
		if err := st.CloseSend(); err != nil {
			t.Fatal(err)
		}
		if err := st.Recv(&out); !errors.Is(err, io.EOF) {
			t.Fatal(err)
		}
		if err := st.Send(&out); !errors.Is(err, io.EOF) {
			t.Fatalf("send after the end: %v", err)
		}
	})
}

// Sender and receiver at full speed, through windows much smaller than what they move.
func TestStreamInFullFlow(t *testing.T) {
	const messages, size = 400, 9973
	eachTransport(t, func(t *testing.T, s *server, c *Client) {
		s.stream = echoStream
		st, err := c.Open(testContext(t), stream)
		if err != nil {
			t.Fatal(err)
		}
		sent := make(chan error, 1)
		go func() {
			for i := range messages {
				m := wrapperspb.Bytes(bytes.Repeat([]byte{byte(i)}, size))
				if err := st.Send(m); err != nil {
					sent <- err
					return
				}
			}
			sent <- st.CloseSend()
		}()
		var out wrapperspb.BytesValue
		for i := range messages {
			err := st.Recv(&out)
			if err != nil || !bytes.Equal(out.Value, bytes.Repeat([]byte{byte(i)}, size)) {
				t.Fatalf("message %d: %d bytes, %v", i, len(out.Value), err)
			}
		}
		if err := st.Recv(&out); !errors.Is(err, io.EOF) {
			t.Fatal(err)
		}
		if err := <-sent; err != nil {
			t.Fatal(err)
		}
	})
}

func TestBigMessages(t *testing.T) {
	eachTransport(t, func(t *testing.T, s *server, c *Client) {
		ctx := testContext(t)
		in := strings.Repeat("0123456789abcdef", 3<<20/16)
		for range 3 {
			if out, err := call(ctx, c, in); err != nil || out != in {
				t.Fatalf("%d bytes, %v", len(out), err)
			}
		}
	})
}

// The messages of the tests are BytesValues: a tag and a length of four bytes are before the bytes.
const overhead = 5

func TestMessagesAtTheBoundsAndBeyond(t *testing.T) {
	s := startServer(t)
	c := newTestClient(t, dialTo(s.addr, nil))
	ctx := testContext(t)
	largest := maxMessage - overhead
	s.unary = func(_ context.Context, in []byte) ([]byte, error) { return in[:1], nil }
	if _, err := call(ctx, c, strings.Repeat("x", largest)); err != nil {
		t.Errorf("sending as much as may be: %v", err)
	}
	if _, err := call(ctx, c, strings.Repeat("x", largest+1)); codeOf(err) != ResourceExhausted {
		t.Errorf("sending a byte more: %v", err)
	}
	s.unary = func(context.Context, []byte) ([]byte, error) { return make([]byte, largest), nil }
	if out, err := call(ctx, c, "x"); err != nil || len(out) != largest {
		t.Errorf("receiving as much as may be: %d bytes, %v", len(out), err)
	}
	s.unary = func(context.Context, []byte) ([]byte, error) { return make([]byte, largest+1), nil }
	if _, err := call(ctx, c, "x"); codeOf(err) != ResourceExhausted {
		t.Errorf("receiving a byte more: %v", err)
	}
	s.unary = func(_ context.Context, in []byte) ([]byte, error) { return in, nil }
	if _, err := call(ctx, c, "x"); err != nil {
		t.Errorf("the connection afterwards: %v", err)
	}
}

// A server that does not read makes Send wait; cancelling the call ends that.
func TestSendWaitsForAServerThatDoesNotRead(t *testing.T) {
	s := startServer(t)
	c := newTestClient(t, dialTo(s.addr, nil))
	release := make(chan struct{})
	s.stream = func(gs grpc.ServerStream) error { <-release; return nil }
	defer close(release)
	ctx, cancel := context.WithCancel(testContext(t))
	st, err := c.Open(ctx, stream)
	if err != nil {
		t.Fatal(err)
	}
	const size = 16 << 10
	ended := make(chan error)
	go func() {
		for {
			if err := st.Send(wrapperspb.Bytes(make([]byte, size))); err != nil {
				ended <- err
				return
			}
		}
	}()
	await(ctx, t, func() bool { return st.unsent > SendBuffer }, st)
	for range 50 {
		if _, err := call(ctx, c, "another call on the same connection"); err != nil {
			t.Fatalf("beside a stuck stream: %v", err)
		}
	}
	await(ctx, t, func() bool {
		if most := SendBuffer + size + 16; st.unsent > most {
			t.Errorf("the stream holds %d bytes, more than %d", st.unsent, most)
		}
		return true
	}, st)
	cancel()
	if err := <-ended; codeOf(err) != Canceled {
		t.Error(err)
	}
}

// await waits until cond, which is asked with the stream's lock held.
func await(ctx context.Context, t *testing.T, cond func() bool, s *Stream) {
	t.Helper()
	for {
		s.mu.Lock()
		ok := cond()
		s.mu.Unlock()
		if ok {
			return
		}
		if ctx.Err() != nil {
			t.Fatal(ctx.Err())
		}
		runtime.Gosched()
	}
}

// A big message behind a small one that nobody takes fills the window; it must go on once the small
// one is taken.
func TestBigMessageBehindASmallOne(t *testing.T) {
	s := startServer(t)
	c := newTestClient(t, dialTo(s.addr, nil))
	s.stream = func(gs grpc.ServerStream) error {
		if err := gs.SendMsg(wrapperspb.Bytes([]byte("small"))); err != nil {
			return err
		}
		return gs.SendMsg(wrapperspb.Bytes(make([]byte, 1<<20)))
	}
	ctx := testContext(t)
	st, err := c.Open(ctx, stream)
	if err != nil {
		t.Fatal(err)
	}
	await(ctx, t, func() bool { return st.unconsumed > streamWindow-1024 }, st)
	for _, want := range []int{5, 1 << 20} {
		var out wrapperspb.BytesValue
		if err := st.Recv(&out); err != nil || len(out.Value) != want {
			t.Fatalf("%d bytes, want %d: %v", len(out.Value), want, err)
		}
	}
}

// A receiver that does not read stops the server, and holds no more than a window; it then gets
// everything.
func TestRecvBoundsWhatIsQueued(t *testing.T) {
	const messages, size = 200, 10_000
	s := startServer(t)
	c := newTestClient(t, dialTo(s.addr, nil))
	s.stream = func(gs grpc.ServerStream) error {
		for range messages {
			if err := gs.SendMsg(wrapperspb.Bytes(make([]byte, size))); err != nil {
				return err
			}
		}
		return nil
	}
	st, err := c.Open(testContext(t), stream)
	if err != nil {
		t.Fatal(err)
	}
	var out wrapperspb.BytesValue
	for range messages {
		if err := st.Recv(&out); err != nil || len(out.Value) != size {
			t.Fatalf("%d %v", len(out.Value), err)
		}
		if n := st.queued(); n > streamWindow+size {
			t.Fatalf("%d bytes in the queue", n)
		}
	}
	if err := st.Recv(&out); !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
}

func (s *Stream) queued() (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, b := range s.queue {
		n += len(b)
	}
	return n
}

// What the server sent before its error is received before the error.
func TestMessagesBeforeAnError(t *testing.T) {
	s := startServer(t)
	c := newTestClient(t, dialTo(s.addr, nil))
	s.stream = func(gs grpc.ServerStream) error {
		for i := range 3 {
			if err := gs.SendMsg(wrapperspb.Bytes([]byte{byte(i)})); err != nil {
				return err
			}
		}
		return grpcError(codes.ResourceExhausted, "enough")
	}
	st, err := c.Open(testContext(t), stream)
	if err != nil {
		t.Fatal(err)
	}
	var out wrapperspb.BytesValue
	for i := range 3 {
		if err := st.Recv(&out); err != nil || out.Value[0] != byte(i) {
			t.Fatalf("%v %v", out.Value, err)
		}
	}
	if err := st.Recv(&out); err == nil || err.Error() != "ResourceExhausted: enough" {
		t.Fatal(err)
	}
	if err := st.Send(&out); codeOf(err) != ResourceExhausted {
		t.Fatalf("send after the end: %v", err)
	}
	if out, err := call(testContext(t), c, "x"); err != nil || out != "x" {
		t.Fatalf("the connection afterwards: %v", err)
	}
}

func TestServerGone(t *testing.T) {
	eachTransport(t, func(t *testing.T, s *server, c *Client) {
		ctx := testContext(t)
		begun := make(chan struct{})
		s.stream = func(gs grpc.ServerStream) error {
			close(begun)
			<-gs.Context().Done()
			return nil
		}
		st, err := c.Open(ctx, stream)
		if err != nil {
			t.Fatal(err)
		}
		<-begun
		s.Stop()
		if err := st.Recv(new(wrapperspb.BytesValue)); codeOf(err) != Unavailable {
			t.Errorf("an open stream: %v", err)
		}
		_, err = call(ctx, c, "x")
		if codeOf(err) != Unavailable || !strings.Contains(err.Error(), "dial") {
			t.Errorf("a new call: %v", err)
		}
	})
}

// A server that goes away in good order ends its streams, and the next call is on another
// connection.
func TestGoAway(t *testing.T) {
	old, fresh := startServer(t), startServer(t)
	fresh.unary = func(context.Context, []byte) ([]byte, error) { return []byte("fresh"), nil }
	old.stream = echoStream
	var dials atomic.Int32
	dialOld, dialFresh := dialTo(old.addr, nil), dialTo(fresh.addr, nil)
	c := newTestClient(t, func(ctx context.Context) (*wire.Conn, error) {
		if dials.Add(1) == 1 {
			return dialOld(ctx)
		}
		return dialFresh(ctx)
	})
	testGoAway(testContext(t), t, old, c)
	if n := dials.Load(); n != 2 {
		t.Errorf("dialled %d times", n)
	}
}

func testGoAway(ctx context.Context, t *testing.T, old *server, c *Client) {
	t.Helper()
	st, err := c.Open(ctx, stream)
	if err != nil {
		t.Fatal(err)
	}
	var out wrapperspb.BytesValue
	exchange := func(in string) {
		t.Helper()
		if err := st.Send(wrapperspb.Bytes([]byte(in))); err != nil {
			t.Fatal(err)
		}
		if err := st.Recv(&out); err != nil || string(out.Value) != in {
			t.Fatalf("%q %v", out.Value, err)
		}
	}
	exchange("before")
	stopped := make(chan struct{})
	go func() { old.GracefulStop(); close(stopped) }()
	<-c.newest().gone
	if out, err := call(ctx, c, "x"); err != nil || out != "fresh" {
		t.Fatalf("a call meanwhile: %q %v", out, err)
	}
	exchange("during")
	if err := st.CloseSend(); err != nil {
		t.Fatal(err)
	}
	if err := st.Recv(&out); !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
	<-stopped
}

func (c *Client) newest() *conn {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.conn
}

// After Renew calls go over a new connection, and what was under way ends as it would have.
func TestRenew(t *testing.T) {
	s := startServer(t)
	s.stream = echoStream
	dials := 0
	dial := dialTo(s.addr, nil)
	c := newTestClient(t, func(ctx context.Context) (*wire.Conn, error) {
		dials++
		return dial(ctx)
	})
	ctx := testContext(t)
	c.Renew() // there is nothing to leave
	open, err := c.Open(ctx, stream)
	if err != nil {
		t.Fatal(err)
	}
	defer open.Close()
	for range 2 {
		c.Renew()
		for range 2 {
			if out, err := call(ctx, c, "hello"); err != nil || out != "hello" {
				t.Fatalf("%q %v", out, err)
			}
		}
	}
	if dials != 3 {
		t.Errorf("%d connections for what was under way and two renewals, want 3", dials)
	}
	got := new(wrapperspb.BytesValue)
	err = errors.Join(open.Send(wrapperspb.Bytes([]byte("still here"))), open.Recv(got))
	if err != nil || string(got.Value) != "still here" {
		t.Errorf("the call under way: %q %v", got.Value, err)
	}
}

func TestDialFails(t *testing.T) {
	refused := errors.New("no route")
	c := newTestClient(t, func(context.Context) (*wire.Conn, error) { return nil, refused })
	_, err := call(testContext(t), c, "x")
	if codeOf(err) != Unavailable || !errors.Is(err, refused) {
		t.Fatal(err)
	}
}

// While one caller dials into the void, another waits no longer than its own deadline.
func TestWaitingForADialEndsWithTheContext(t *testing.T) {
	dialling := make(chan struct{})
	c := newTestClient(t, func(ctx context.Context) (*wire.Conn, error) {
		close(dialling)
		<-ctx.Done()
		return nil, ctx.Err()
	})
	first, cancel := context.WithCancel(testContext(t))
	ended := make(chan error, 1)
	go func() { _, err := call(first, c, "x"); ended <- err }()
	<-dialling
	short, done := context.WithTimeout(testContext(t), time.Millisecond)
	defer done()
	if _, err := call(short, c, "x"); codeOf(err) != DeadlineExceeded {
		t.Error(err)
	}
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestCallAfterClose(t *testing.T) {
	s := startServer(t)
	c := NewClient(Options{Dial: dialTo(s.addr, nil), Authority: "x", Bounds: testBounds})
	if _, err := call(testContext(t), c, "x"); err != nil {
		t.Fatal(err)
	}
	c.Close()
	c.Close()
	_, err := call(testContext(t), c, "x")
	if codeOf(err) != Canceled || !errors.Is(err, errClosed) {
		t.Fatal(err)
	}
}

// A server that is no gRPC server at all.
func TestGarbageForAnAnswer(t *testing.T) {
	for name, answer := range map[string]string{
		"http/1":  "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n",
		"tls":     "\x15\x03\x01\x00\x02\x02\x46",
		"nothing": "",
	} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		served := make(chan struct{})
		go func() {
			defer close(served)
			nc, err := l.Accept()
			if err != nil {
				return
			}
			defer nc.Close()
			io.ReadFull(nc, make([]byte, 24))
			io.WriteString(nc, answer)
		}()
		c := newTestClient(t, dialTo(l.Addr().String(), nil))
		if _, err := call(testContext(t), c, "x"); codeOf(err) != Unavailable {
			t.Errorf("%s: %v", name, err)
		}
		l.Close()
		<-served
	}
}

// codeOf is the code of an error that this package returned; Unknown for any other, OK for nil.
func codeOf(err error) Code {
	if err == nil {
		return OK
	}
	var s *Status
	if errors.As(err, &s) {
		return s.Code
	}
	return Unknown
}
