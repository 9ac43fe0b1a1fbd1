package contract

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tulle-mesh/tulle/destination"
	"github.com/tulle-mesh/tulle/destination/api"
	"github.com/tulle-mesh/tulle/destination/files"
	"github.com/tulle-mesh/tulle/destination/registry"
	"github.com/tulle-mesh/tulle/proxy/balance"
	"github.com/tulle-mesh/tulle/proxy/config"
	"github.com/tulle-mesh/tulle/proxy/discover"
	"github.com/tulle-mesh/tulle/proxy/metric"
	"github.com/tulle-mesh/tulle/proxy/rpc"
	"github.com/tulle-mesh/tulle/proxy/wire"
	"github.com/tulle-mesh/tulle/test/await"
)

// town is a real destination, whose source is the test.
type town struct {
	*mesh
	owner   *registry.Owner
	metrics *prometheus.Registry
	addr    string
}

// byHand is a source that a test fills.
type byHand chan *registry.Registry

func (byHand) Missing() error { return nil }

func (b byHand) Run(ctx context.Context, reg *registry.Registry, synced func()) error {
	b <- reg
	synced()
	<-ctx.Done()
	return nil
}

func newTown(t testing.TB) *town {
	t.Helper()
	source := make(byHand, 1)
	w := &town{mesh: newMesh(t), metrics: prometheus.NewRegistry()}
	d := destination.New(destination.Config{
		Mesh: destination.Mesh{TrustDomain: trustDomain, ClusterDomain: domain, LocalMesh: true,
			Networks: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}},
		Source: source, Identity: w.source(serverID("destination")), Log: w.log, Metrics: w.metrics,
	})
	w.addr = w.serve(d.Serve)
	w.owner = (<-source).Owner("test")
	w.apply(shop)
	return w
}

// apply sets objects that are written as in a file.
func (w *town) apply(text string) {
	w.t.Helper()
	objects, err := files.Parse("test.yaml", []byte(text))
	check(w.t, err)
	w.owner.Apply(registry.Change{Set: objects})
}

// service is one of shop's, with endpoints that are nobody's pods.
func (w *town) service(name string, addresses ...string) {
	w.owner.Apply(registry.Change{Set: []registry.Object{
		&registry.Service{Meta: meta(name), Ports: []registry.ServicePort{{Number: 80}}},
		sliceOf(name, name, addresses...),
	}})
}

func changed(objects ...registry.Object) registry.Change { return registry.Change{Set: objects} }

func meta(name string) registry.Meta { return registry.Meta{Namespace: "shop", Name: name} }

func sliceOf(service, name string, addresses ...string) *registry.Slice {
	out := &registry.Slice{
		Meta: meta(name), Service: registry.Name{Namespace: "shop", Name: service},
		Family: registry.IPv4, Ports: []registry.NamedPort{{Number: 8080}},
	}
	for _, a := range addresses {
		out.Endpoints = append(out.Endpoints,
			registry.Endpoint{Address: netip.MustParseAddr(a), Ready: true})
	}
	return out
}

// figure is the sum of a metric of destination's.
func (w *town) figure(name string) (n float64) {
	w.t.Helper()
	families, err := w.metrics.Gather()
	check(w.t, err)
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == name {
				n += m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
	}
	return n
}

// session is a proxy's discovery, as the proxy has it, without what the proxy does with it.
type session struct {
	*discover.Session
	t testing.TB

	mu   sync.Mutex // guards what follows
	addr string     // where it dials
	conn *wire.Conn // what it dialled last
}

// session connects to addr, as the pod that the SVIDs of dev mode name.
func (m *mesh) session(addr string, limits config.Limits) *session {
	m.t.Helper()
	s := &session{t: m.t, addr: addr}
	cfg := m.as("web", "destination")
	client := rpc.NewClient(rpc.Options{
		Authority: "destination",
		Bounds:    rpc.Bounds{Request: api.MaxRequest, Response: api.MaxResponse},
		Dial:      func(ctx context.Context) (*wire.Conn, error) { return s.dial(ctx, cfg) },
	})
	s.Session = discover.New(discover.Options{
		Cfg: config.Config{Limits: limits}, Client: client, Version: "test", Log: m.log,
		Failures:   metric.NewRegistry().Counter(metric.ControlPlaneError, "destination"),
		Identified: func(context.Context) error { return nil },
		Attach:     func() any { return nil }, Applied: func(balance.Change) {},
		Configure: func(*api.Config) error { return nil }, Metrics: metric.NewRegistry(),
	})
	ctx, cancel := context.WithCancel(m.ctx)
	var done sync.WaitGroup
	done.Go(func() { s.Run(ctx) })
	m.t.Cleanup(func() {
		cancel()
		await.Return(m.t, "the session has ended", done.Wait)
		client.Close()
	})
	return s
}

func (s *session) dial(ctx context.Context, cfg *tls.Config) (*wire.Conn, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	d := net.Dialer{}
	nc, err := d.DialContext(ctx, "tcp", s.addr)
	if err != nil {
		return nil, err
	}
	s.conn = wire.NewTLSClient(nc, cfg)
	return s.conn, s.conn.Handshake(ctx)
}

// move cuts the connection, and lets the session find another destination.
func (s *session) move(addr string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.addr = addr
	if s.conn != nil {
		s.conn.Close()
	}
}

// to is the target of a service of shop's.
func (s *session) to(service string) *discover.Target {
	return s.Target(&api.Key{
		Key: &api.Key_Authority{Authority: service + ".shop.svc.cluster.local:80"},
	})
}

// endpoints are how many a service has, of all clusters of its route; -1 without an answer.
func (s *session) endpoints(service string) int {
	a := s.to(service).Now()
	if a == nil {
		return -1
	}
	n := 0
	for _, c := range a.Members {
		if set := c.Current(); set != nil {
			n += len(set.All)
		}
	}
	return n
}

// settle returns when everything that destination has sent is applied: the stream is in order, and
// a port that nobody has asked for is answered after all of it. A flush that is under way may not
// have seen the first one.
func (s *session) settle(ports ...uint16) {
	s.t.Helper()
	for _, port := range ports {
		in := s.Port(port)
		await.True(s.t, fmt.Sprintf("port %d is known", port), in.Known)
	}
}
