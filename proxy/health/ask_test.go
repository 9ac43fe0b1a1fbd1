package health

import (
	"context"
	"net"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthgrpc "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/tulle-mesh/tulle/destination/api"
	"github.com/tulle-mesh/tulle/test/await"
)

func dialTCP(ctx context.Context, addr string) (net.Conn, error) {
	return (&net.Dialer{}).DialContext(ctx, "tcp", addr)
}

// What grpc-go's own health service says is what counts.
func TestAServerOfGRPC(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server, service := grpc.NewServer(), health.NewServer()
	healthgrpc.RegisterHealthServer(server, service)
	done := make(chan error, 1)
	go func() { done <- server.Serve(l) }()
	defer func() {
		server.Stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}()
	service.SetServingStatus("down", healthgrpc.HealthCheckResponse_NOT_SERVING)
	for name, want := range map[string]string{
		"": "", "down": "status 2, not SERVING", "nobody": "unknown service",
	} {
		c := compiled(t, &api.HealthCheck{
			Check:      &api.HealthCheck_Grpc{Grpc: &api.GRPCCheck{Service: name}},
			IntervalMs: 60_000, TimeoutMs: 60_000, HealthyThreshold: 1, UnhealthyThreshold: 1,
		}, api.Protocol_PROTOCOL_DETECT)
		ctx, cancel := context.WithTimeout(t.Context(), await.Limit)
		err := c.ask(ctx, dialTCP, l.Addr().String())
		cancel()
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("of %q: %v, want %q", name, err, want)
		}
	}
}

// A server that takes connections and says nothing is found out at the timeout.
func TestASilentServerOfGRPC(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c := compiled(t, &api.HealthCheck{
		Check:      &api.HealthCheck_Grpc{Grpc: &api.GRPCCheck{}},
		IntervalMs: 1000, TimeoutMs: 50, HealthyThreshold: 1, UnhealthyThreshold: 1,
	}, api.Protocol_PROTOCOL_DETECT)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := c.ask(ctx, dialTCP, l.Addr().String()); err == nil ||
		!strings.Contains(err.Error(), "no answer within 50ms") {
		t.Errorf("%v", err)
	}
}
