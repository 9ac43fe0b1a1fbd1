package serve_test

import (
	"context"
	"crypto/tls"
	"io"
	"log/slog"
	"net"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"golang.org/x/net/http2"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"github.com/tulle-mesh/tulle/identity"
	"github.com/tulle-mesh/tulle/identity/serve"
	"github.com/tulle-mesh/tulle/identity/spiffe"
)

// running is a server of the health service, behind mutual TLS.
type running struct {
	t       *testing.T
	ca      *identity.Dev
	ctx     context.Context // of the SVIDs
	addr    string
	metrics *prometheus.Registry
	trust   *spiffe.Source // the server's
	server  *serve.GRPC
}

// small is what a test can exceed.
func small() serve.Limits {
	return serve.Limits{
		Connections: 8, PerAddress: 6, PerIdentity: 2, Handshakes: 8, HandshakesPerAddress: 4,
		Handshake: time.Minute, Ask: time.Minute, Idle: time.Minute, Age: time.Hour,
		Streams: 4, Message: 1 << 10,
	}
}

func start(t *testing.T, limits serve.Limits) *running {
	t.Helper()
	return startWith(t, limits, func(*running, *serve.GRPC) {})
}

// startWith has prepare called before the server serves.
func startWith(
	t *testing.T, limits serve.Limits, prepare func(*running, *serve.GRPC),
) *running {
	t.Helper()
	ca, err := identity.NewDev(identity.DevConfig{
		TrustDomain: spiffeid.RequireTrustDomainFromString("cluster.local"),
		Log:         slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(func() { cancel(); ca.Wait() })
	r := &running{t: t, ca: ca, ctx: ctx, metrics: prometheus.NewRegistry()}
	r.trust = r.source("server")
	cfg := spiffe.ServerConfig(r.trust, []string{"h2"}, spiffe.AnyPeer)
	g := serve.NewGRPC("test", cfg, limits, r.metrics)
	r.server = g
	healthpb.RegisterHealthServer(g, health.NewServer())
	prepare(r, g)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r.addr = l.Addr().String()
	done := make(chan error, 1)
	go func() { done <- g.Serve(l) }()
	t.Cleanup(func() { g.Stop(); <-done })
	return r
}

func idOf(name string) spiffeid.ID {
	return spiffeid.RequireFromString("spiffe://cluster.local/ns/shop/sa/" + name)
}

func (r *running) source(name string) *spiffe.Source {
	r.t.Helper()
	src, err := r.ca.Source(r.ctx, idOf(name))
	if err != nil {
		r.t.Fatal(err)
	}
	return src
}

// socket is a connection from one of loopback's addresses, before TLS.
func (r *running) socket(from string) net.Conn {
	r.t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}, Timeout: 10 * time.Second}
	c, err := d.Dial("tcp", r.addr)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { c.Close() })
	return c
}

// idle shows a certificate, greets in HTTP/2, answers pings and asks nothing. gone is closed when
// the server has hung up.
func (r *running) idle(src *spiffe.Source, from string) (gone chan struct{}) {
	gone = make(chan struct{})
	c := tls.Client(r.socket(from), spiffe.ClientConfig(src, idOf("server"), []string{"h2"}, ""))
	if err := c.Handshake(); err != nil {
		close(gone)
		return gone
	}
	io.WriteString(c, http2.ClientPreface) // an error is found by reading
	f := http2.NewFramer(c, c)
	f.WriteSettings()
	greeted := make(chan struct{})
	go func() {
		defer close(gone)
		for first := true; ; first = false {
			frame, err := f.ReadFrame()
			if first {
				close(greeted)
			}
			if err != nil {
				return
			}
			if p, ok := frame.(*http2.PingFrame); ok && !p.IsAck() {
				f.WritePing(true, p.Data)
			}
		}
	}()
	<-greeted
	return gone
}

func (r *running) dial(name, from string) *grpc.ClientConn {
	r.t.Helper()
	cfg := spiffe.ClientConfig(r.source(name), idOf("server"), []string{"h2"}, "")
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	conn, err := grpc.NewClient(r.addr, grpc.WithTransportCredentials(credentials.NewTLS(cfg)),
		grpc.WithContextDialer(func(ctx context.Context, to string) (net.Conn, error) {
			return d.DialContext(ctx, "tcp", to)
		}))
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { conn.Close() })
	return conn
}

// served: a good caller from an address of its own has its answer.
func (r *running) served() {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	client := healthpb.NewHealthClient(r.dial("honest", "127.0.0.1"))
	if _, err := client.Check(ctx, &healthpb.HealthCheckRequest{}); err != nil {
		r.t.Errorf("a good caller: %v", err)
	}
}

func (r *running) refused(reason string) (n float64) {
	r.t.Helper()
	families, err := r.metrics.Gather()
	if err != nil {
		r.t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			for _, l := range m.GetLabel() {
				if f.GetName() == "tulle_server_refused_connections_total" &&
					l.GetValue() == reason {
					n = m.GetCounter().GetValue()
				}
			}
		}
	}
	return n
}

func TestSilentSocketsLeaveTheDoorOpen(t *testing.T) {
	r := start(t, small())
	for i := range 60 {
		r.socket([]string{"127.0.0.2", "127.0.0.3", "127.0.0.4"}[i%3])
	}
	r.served()
	if n := r.refused("fairness"); n == 0 {
		t.Error("no socket gave way, or it was not counted")
	}
}

func TestOneCertificateHasItsBound(t *testing.T) {
	r := start(t, small())
	greedy := r.source("greedy")
	r.idle(greedy, "127.0.0.2")
	r.idle(greedy, "127.0.0.3")
	<-r.idle(greedy, "127.0.0.4")
	if n := r.refused("identity"); n != 1 {
		t.Errorf("%v refused by identity", n)
	}
	r.served()
}

func TestOneAddressHasItsBound(t *testing.T) {
	r := start(t, small())
	for _, name := range []string{"a", "b", "c"} {
		src := r.source(name)
		r.idle(src, "127.0.0.2")
		r.idle(src, "127.0.0.2")
	}
	<-r.idle(r.source("d"), "127.0.0.2")
	if n := r.refused("address"); n != 1 {
		t.Errorf("%v refused by address", n)
	}
	r.served()
}

func TestAFullServerIsShared(t *testing.T) {
	r := start(t, small())
	var all []chan struct{}
	for i, name := range []string{"a", "b", "c", "d"} {
		src, at := r.source(name), []string{"127.0.0.2", "127.0.0.3"}[i%2]
		all = append(all, r.idle(src, at), r.idle(src, at))
	}
	r.served()
	closed := make(chan struct{}, len(all))
	for _, gone := range all {
		go func() { <-gone; closed <- struct{}{} }()
	}
	<-closed // one of them gave way
	if n := r.refused("fairness"); n == 0 {
		t.Error("it was not counted")
	}
}

func TestIdleConnectionsEnd(t *testing.T) {
	limits := small()
	limits.Idle = 20 * time.Millisecond
	r := start(t, limits)
	<-r.idle(r.source("idle"), "127.0.0.2")
	r.served()
}

// A call is a caller's own from its headers on; one that says no more ends.
func TestSilentCallsEnd(t *testing.T) {
	limits := small()
	limits.Ask = 20 * time.Millisecond
	r := start(t, limits)
	for _, method := range []string{"Check", "Watch"} {
		conn := r.dial("silent", "127.0.0.2")
		s, err := conn.NewStream(t.Context(),
			&grpc.StreamDesc{ServerStreams: true, ClientStreams: true},
			"/grpc.health.v1.Health/"+method)
		if err == nil {
			err = s.RecvMsg(&healthpb.HealthCheckResponse{})
		}
		if c := status.Code(err); c != codes.DeadlineExceeded && c != codes.Canceled {
			t.Errorf("%s ended with %v", method, err)
		}
	}
	r.served()
}

// What was asked in time may take longer than that.
func TestAnsweredCallsGoOn(t *testing.T) {
	limits := small()
	limits.Ask = 50 * time.Millisecond
	r := start(t, limits)
	client := healthpb.NewHealthClient(r.dial("watcher", "127.0.0.2"))
	ctx, cancel := context.WithTimeout(t.Context(), 4*limits.Ask)
	defer cancel()
	began := time.Now()
	s, err := client.Watch(ctx, &healthpb.HealthCheckRequest{})
	for err == nil {
		_, err = s.Recv()
	}
	// The server knows the deadline too, and may be the first to end the call by it.
	if lasted := time.Since(began); lasted < 3*limits.Ask {
		t.Errorf("it ended after %v: %v", lasted, err)
	}
}

func TestCallsHaveMetrics(t *testing.T) {
	r := start(t, small())
	r.served()
	families, err := r.metrics.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == "grpc_server_handled_total" {
			return
		}
	}
	t.Error("no gRPC metrics")
}
