package rpc

import (
	"context"
	"errors"
	"io"
	"runtime"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

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
