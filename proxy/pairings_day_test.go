//go:build pairings

package proxy_test

import (
	"context"
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"testing"
	"time"

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
	c, dials := channel(t, url)
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
