package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"github.com/tulle-mesh/tulle/destination/api"
	"github.com/tulle-mesh/tulle/destination/api/destinationgrpc"
	"github.com/tulle-mesh/tulle/proxy/balance"
	"github.com/tulle-mesh/tulle/proxy/config"
	"github.com/tulle-mesh/tulle/proxy/discover"
	"github.com/tulle-mesh/tulle/proxy/metric"
)

const (
	// largeTime is for one answer about the large service.
	largeTime = time.Minute
	// window is a proxy's, of a stream.
	window = 64 << 10
)

// meter counts what a connection receives.
type meter struct {
	net.Conn
	n *atomic.Int64
}

func (m meter) Read(p []byte) (int, error) {
	n, err := m.Conn.Read(p)
	m.n.Add(int64(n))
	return n, err
}

// large is one service of as many pods as there are in all, and one proxy, whose messages package
// discover applies. grpc-go receives them, for its connection can be metered.
func (r *run) large(ctx context.Context) error {
	s, err := r.stage(shape{Services: 1, Pods: r.shape.pods()}, 0)
	if err != nil {
		return err
	}
	return errors.Join(s.largeRows(ctx), s.child.stop())
}

func (s *stage) largeRows(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, largeTime)
	defer cancel()
	var received atomic.Int64
	conn, err := s.metered(&received)
	if err != nil {
		return err
	}
	defer conn.Close()
	stream, err := destinationgrpc.NewDestinationClient(conn).Discover(ctx)
	if err != nil {
		return err
	}
	key := &api.Key{Key: &api.Key_Authority{Authority: authorityOf(hot)}}
	for _, m := range []*api.DiscoverRequest{
		{Message: &api.DiscoverRequest_Hello{Hello: &api.Hello{}}},
		{Message: &api.DiscoverRequest_Subscribe{Subscribe: &api.Subscribe{Key: key}}},
		{Message: &api.DiscoverRequest_Resume{Resume: &api.Resume{Last: true}}},
	} {
		if err := stream.Send(m); err != nil {
			return err
		}
	}
	proxy := newSession()
	target := proxy.Target(key)
	want := s.orders.Shape.Pods
	for endpoints(target) != want {
		if _, err := applyNext(stream, proxy); err != nil {
			return fmt.Errorf("of %d endpoints: %w", want, err)
		}
	}
	return s.largeChanges(stream, proxy, target, &received)
}

// largeChanges makes the changes; each comes in one message.
func (s *stage) largeChanges(stream discoverStream, proxy *discover.Session,
	target *discover.Target, received *atomic.Int64) error {
	var bytes, took []float64
	changes := 2 * s.changes // each is one proxy's
	for range changes {
		before := received.Load()
		had := endpoints(target)
		if _, err := s.child.ask(opToggle, hot); err != nil {
			return err
		}
		d, err := applyNext(stream, proxy)
		if err != nil {
			return err
		}
		if now := endpoints(target); now == had {
			return fmt.Errorf("a change left the proxy with %d endpoints as before", now)
		}
		bytes = append(bytes, float64(received.Load()-before))
		took = append(took, milliseconds(d))
	}
	note := fmt.Sprintf("of %d endpoints, %d changes", s.orders.Shape.Pods, changes)
	typical := median(bytes) // sorts
	s.measured(rowLargeBytes, bytes[len(bytes)-1], fmt.Sprintf(
		"the most, on the wire; median %.0f; %s", typical, note))
	middle := median(took)
	s.measured(rowLargeTime, middle, fmt.Sprintf("the median, from %.2f to %.2f ms; %s", took[0],
		took[len(took)-1], note))
	return nil
}

// discoverStream is a proxy's end of its stream.
type discoverStream = grpc.BidiStreamingClient[api.DiscoverRequest, api.DiscoverResponse]

// applyNext has the proxy apply one message, and says how long that took.
func applyNext(stream discoverStream, proxy *discover.Session) (time.Duration, error) {
	m, err := stream.Recv()
	if err != nil {
		return 0, err
	}
	began := time.Now()
	proxy.Apply(m)
	return time.Since(began), nil
}

// metered is a connection of the first pod's proxy.
func (s *stage) metered(received *atomic.Int64) (*grpc.ClientConn, error) {
	src, err := s.ca.Source(namespaceOf(hot), serviceName(hot), pod{}.name(), svidLife)
	if err != nil {
		return nil, err
	}
	return grpc.NewClient(s.child.up.Addr,
		grpc.WithTransportCredentials(credentials.NewTLS(clientTLS(src, serverDestination))),
		// as a proxy of ours: no PINGs that measure the way, whose answers would be counted
		grpc.WithStaticStreamWindowSize(window), grpc.WithStaticConnWindowSize(window),
		grpc.WithContextDialer(func(ctx context.Context, addr string) (net.Conn, error) {
			nc, err := dialFrom(ctx, 0, addr)
			return meter{nc, received}, err
		}))
}

// newSession is a proxy's discovery without a stream: what is received is applied by hand.
func newSession() *discover.Session {
	return discover.New(discover.Options{
		Cfg: config.Config{Limits: config.DefaultLimits()}, Log: slog.New(slog.DiscardHandler),
		Attach: func() any { return nil }, Applied: func(balance.Change) {},
		Configure: func(*api.Config) error { return nil }, Metrics: metric.NewRegistry(),
	})
}

// endpoints are how many a target has; -1 without an answer.
func endpoints(t *discover.Target) int {
	a := t.Now()
	if a == nil || len(a.Members) == 0 || a.Members[0].Current() == nil {
		return -1
	}
	return len(a.Members[0].Current().All)
}
