//go:build pairings

package proxy_test

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	testgrpc "google.golang.org/grpc/interop/grpc_testing"
)

const (
	// dayOfStreams is what a busy channel carries before its process ends.
	dayOfStreams = 100_000
	dayWorkers   = 32
)

// A gRPC channel carries 100,000 streams through two proxies over its one connection, calls and
// conversations, of which some are given up. None fails, and the proxies do not grow.
func TestADayOfOneChannel(t *testing.T) {
	nothing := func(context.Context) error { return nil }
	addr, _ := serveGRPC(t, &scripted{unary: nothing, stream: repeatAll})
	url, _, pids := processesBefore(t, addr)
	var dials atomic.Int64
	cc, err := grpc.NewClient(url, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDisableRetry(),
		grpc.WithContextDialer(func(ctx context.Context, to string) (net.Conn, error) {
			dials.Add(1)
			return new(net.Dialer).DialContext(ctx, "tcp", to)
		}))
	check(t, err)
	defer cc.Close()
	c := testgrpc.NewTestServiceClient(cc)
	live(t, c, dayOfStreams/100) // it warms up
	idle := []int64{resident(t, pids[0]), resident(t, pids[1])}
	began := time.Now()
	live(t, c, dayOfStreams)
	t.Logf("%d streams in %v", dayOfStreams, time.Since(began).Round(time.Second))
	if n := dials.Load(); n != 1 {
		t.Errorf("the channel had %d connections, want one", n)
	}
	for i, name := range []string{"caller's", "callee's"} {
		now := resident(t, pids[i])
		t.Logf("the %s proxy: %.1f MiB idle, %.1f after", name, float64(idle[i])/(1<<20),
			float64(now)/(1<<20))
		if now-idle[i] > grownAtMost {
			t.Errorf("the %s proxy grew by %d KiB", name, (now-idle[i])>>10)
		}
	}
}

// live opens n streams, so many at a time as there are workers.
func live(t *testing.T, c testgrpc.TestServiceClient, n int64) {
	var next atomic.Int64
	var all sync.WaitGroup
	for range dayWorkers {
		all.Go(func() {
			for i := next.Add(1); i <= n && !t.Failed(); i = next.Add(1) {
				if err := streamOfADay(t.Context(), c, i); err != nil {
					t.Errorf("stream %d: %v", i, err)
				}
			}
		})
	}
	all.Wait()
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

// streamOfADay is a call, or a conversation, which every other time is given up in the middle.
func streamOfADay(ctx context.Context, c testgrpc.TestServiceClient, n int64) error {
	if n%50 != 0 {
		_, err := c.EmptyCall(ctx, &testgrpc.Empty{})
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s, err := c.FullDuplexCall(ctx)
	if err != nil {
		return err
	}
	for range 3 {
		if err := s.Send(&testgrpc.StreamingOutputCallRequest{}); err != nil {
			return err
		}
		if _, err := s.Recv(); err != nil {
			return err
		}
	}
	if n%100 == 0 {
		return nil
	}
	s.CloseSend()
	if _, err := s.Recv(); !errors.Is(err, io.EOF) {
		return err
	}
	return nil
}
