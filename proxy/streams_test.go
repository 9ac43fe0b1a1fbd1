package proxy_test

import (
	"context"
	"fmt"
	"net"
	"sync/atomic"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	testgrpc "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/status"

	"github.com/tulle-mesh/tulle/test/await"
	"github.com/tulle-mesh/tulle/test/loopback"
)

// conversation is a stream of a gRPC channel.
type conversation = testgrpc.TestService_FullDuplexCallClient

// converse opens so many at once, and returns them when each has said and heard a word.
func converse(t *testing.T, c testgrpc.TestServiceClient, n int) []conversation {
	t.Helper()
	all := make([]conversation, n)
	atOnce(t, n, func(i int) (err error) {
		if all[i], err = c.FullDuplexCall(t.Context()); err != nil {
			return err
		}
		return answered(all[i])
	})
	return all
}

// answered says a word and hears one.
func answered(s conversation) error {
	if err := s.Send(&testgrpc.StreamingOutputCallRequest{}); err != nil {
		return err
	}
	_, err := s.Recv()
	return err
}

// channel is a gRPC client, and how often it has dialed.
func channel(t *testing.T, addr string) (testgrpc.TestServiceClient, *atomic.Int64) {
	t.Helper()
	dials := &atomic.Int64{}
	cc, err := grpc.NewClient(addr, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDisableRetry(),
		grpc.WithContextDialer(func(ctx context.Context, to string) (net.Conn, error) {
			dials.Add(1)
			return new(net.Dialer).DialContext(ctx, "tcp", to)
		}))
	check(t, err)
	t.Cleanup(func() { cc.Close() })
	return testgrpc.NewTestServiceClient(cc), dials
}

// atOnce does n things at the same time.
func atOnce(t *testing.T, n int, do func(i int) error) {
	t.Helper()
	results := make(chan error, n)
	for i := range n {
		go func() { results <- do(i) }()
	}
	var last error
	failed := 0
	for range n {
		if err := await.Receive(t, "one of many is done", results); err != nil {
			failed, last = failed+1, err
		}
	}
	if failed > 0 {
		t.Fatalf("%d of %d failed, one of them with: %v", failed, n, last)
	}
}

// A gRPC channel has all its streams on one connection, and lets those beyond the connection's
// limit wait without a word. An application may open thousands at once, and keep them; the proxies
// carry them over as many connections as it takes. When all of them end at once, the channel still
// has its connection.
func TestThousandsOfStreamsOfOneChannel(t *testing.T) {
	const streams, atATime = 2500, 1250 // the callee's MaxQueue has room for so many at a time
	m := newMesh(t, 0)
	m.limits.DiscoveryWait = await.Limit // however slow the machine is
	addr, stop := serveGRPC(t, &scripted{stream: repeatAll})
	web := pod{"web-0", addr, loopback.Free()}
	m.service("web", web)
	m.proxy("web", web)
	c, dials := channel(t, m.caller("web").out["web"])
	all := append(converse(t, c, atATime), converse(t, c, streams-atATime)...)
	atOnce(t, streams, func(i int) error { return answered(all[i]) })
	stop()
	atOnce(t, streams, func(i int) error {
		if _, err := all[i].Recv(); status.Code(err) != codes.Unavailable {
			return fmt.Errorf("its backend has gone: %w", err)
		}
		return nil
	})
	_, err := c.EmptyCall(t.Context(), &testgrpc.Empty{})
	if status.Code(err) != codes.Unavailable {
		t.Errorf("a call after that: %v", err)
	}
	if n := dials.Load(); n != 1 {
		t.Errorf("the channel had %d connections, want one", n)
	}
}

// repeatAll says what it hears.
func repeatAll(s testgrpc.TestService_FullDuplexCallServer) error {
	for {
		if _, err := s.Recv(); err != nil {
			return nil // its end, or the caller has left
		}
		if err := s.Send(&testgrpc.StreamingOutputCallResponse{}); err != nil {
			return err
		}
	}
}
