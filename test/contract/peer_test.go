package contract

import (
	"context"
	"net"
	"net/netip"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"github.com/tulle-mesh/tulle/destination"
	"github.com/tulle-mesh/tulle/destination/api"
	"github.com/tulle-mesh/tulle/destination/registry"
	"github.com/tulle-mesh/tulle/identity/spiffe"
	"github.com/tulle-mesh/tulle/test/await"
)

// peer is another replica of destination, which says what a test tells it to.
type peer struct {
	addr  string
	say   chan raw
	ended chan struct{} // one for each stream
}

func (m *mesh) peer() *peer {
	m.t.Helper()
	p := &peer{say: make(chan raw), ended: make(chan struct{}, maxSaid)}
	cfg := spiffe.ServerConfig(m.source(serverID("destination")), []string{"h2"}, spiffe.AnyPeer)
	p.addr = m.serve(func(ctx context.Context, l net.Listener) error {
		g := grpc.NewServer(grpc.Creds(credentials.NewTLS(cfg)),
			grpc.ForceServerCodecV2(rawCodec{}))
		g.RegisterService(&grpc.ServiceDesc{
			ServiceName: "tulle.destination.v1.Destination", HandlerType: (*any)(nil),
			Streams: []grpc.StreamDesc{{StreamName: "Relay", ServerStreams: true,
				Handler: func(_ any, rpc grpc.ServerStream) error { return p.relay(rpc) }}},
		}, nil)
		defer context.AfterFunc(ctx, g.Stop)()
		return g.Serve(l)
	})
	return p
}

func (p *peer) relay(rpc grpc.ServerStream) error {
	defer func() { p.ended <- struct{}{} }()
	for {
		select {
		case m := <-p.say:
			if err := rpc.SendMsg(m); err != nil {
				return err
			}
		case <-rpc.Context().Done():
			return rpc.Context().Err()
		}
	}
}

// beside is a real destination that has the peer for its other replica.
func (m *mesh) beside(p *peer) (w *town) {
	m.t.Helper()
	source := make(byHand, 1)
	w = &town{mesh: m, metrics: prometheus.NewRegistry()}
	self := registry.Name{Namespace: "tulle", Name: "self"}
	d := destination.New(destination.Config{
		Mesh:   destination.Mesh{TrustDomain: trustDomain, ClusterDomain: domain, Replica: self},
		Source: source, Identity: m.source(serverID("destination")), Log: m.log,
		Metrics: w.metrics,
	})
	w.addr = m.serve(d.Serve)
	w.owner = (<-source).Owner("test")
	addr := netip.MustParseAddrPort(p.addr)
	w.owner.Apply(changed(&registry.Slice{
		Meta:    registry.Meta{Namespace: "tulle", Name: "all"},
		Service: registry.Name{Namespace: "tulle", Name: "tulle-destination"},
		Family:  registry.IPv4, Ports: []registry.NamedPort{{Name: "tls", Number: addr.Port()}},
		Endpoints: []registry.Endpoint{
			{Address: netip.MustParseAddr("127.0.0.2"), Workload: self},
			{Address: addr.Addr(), Workload: registry.Name{Namespace: "tulle", Name: "other"}},
		},
	}))
	return w
}

// What a replica does not know in what another one relays it does not take, nor what comes with it:
// the stream ends by a reason that says where it is, and another one begins.
func TestWhatAReplicaDoesNotKnowIsNotTaken(t *testing.T) {
	m := newMesh(t)
	p := m.peer()
	w := m.beside(p)
	good := func() *api.RelayResponse {
		return &api.RelayResponse{Healths: []*api.PodHealth{{
			Namespace: "shop", Pod: "dev", LifetimeMs: 60_000,
			Health: &api.Health{Port: 80, State: api.State_STATE_UNHEALTHY},
		}}}
	}
	say := func(text []byte) {
		t.Helper()
		select {
		case p.say <- text:
		case <-t.Context().Done():
		}
	}
	const ports = "tulle_destination_checked_ports"
	for _, place := range places(&api.RelayResponse{}) {
		for _, f := range place.faults() {
			say(encode(t, place.in(good(), f.plant)))
			await.Receive(t, f.name+": the stream ends", p.ended)
			await.True(t, f.name+": the log says where", func() bool {
				return names(w.said.String(), place)
			})
		}
	}
	if n := w.figure(ports); n != 0 {
		t.Errorf("%v ports are known of what was not taken", n)
	}
	say(encode(t, good()))
	await.True(t, "what is known is taken", func() bool { return w.figure(ports) == 1 })
}
