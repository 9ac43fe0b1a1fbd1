package rpc

import (
	"context"
	"errors"
	"io"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tulle-mesh/tulle/proxy/wire"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

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
