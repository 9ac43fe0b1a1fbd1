package rpc

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/wrapperspb"
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
