package proxy_test

import (
	"context"
	"crypto/tls"
	"net"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/tulle-mesh/tulle/destination/api"
	"github.com/tulle-mesh/tulle/identity/spiffe"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
)

// relay stands between a proxy and destination, and changes what destination says.
type relay struct {
	to     string
	caller *tls.Config
	change func(*api.Resource)
}

// through has the proxies that are run next hear what a change makes of destination's words. To
// destination they are one pod, whose service account is named.
func (m *testMesh) through(account string, change func(*api.Resource)) {
	m.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	m.t.Cleanup(cancel)
	source := func(id string) *spiffe.Source {
		src, err := m.dev.Source(ctx, spiffeid.RequireFromString(id))
		check(m.t, err)
		return src
	}
	server := spiffeid.RequireFromString(serverID("destination"))
	// the SVIDs of dev mode are of a pod called so
	m.write("pod-dev.yaml", podYAML(account, pod{name: "dev"}))
	r := &relay{to: m.dest, change: change,
		caller: spiffe.ClientConfig(source(workloadID(account)), server, []string{"h2"}, "")}
	cfg := spiffe.ServerConfig(source(serverID("destination")), []string{"h2"}, spiffe.AnyPeer)
	m.dest, _ = m.background("", func(ctx context.Context, l net.Listener) error {
		g := grpc.NewServer(grpc.Creds(credentials.NewTLS(cfg)))
		g.RegisterService(&grpc.ServiceDesc{
			ServiceName: "tulle.destination.v1.Destination", HandlerType: (*any)(nil),
			Streams: []grpc.StreamDesc{{
				StreamName: "Discover", ServerStreams: true, ClientStreams: true,
				Handler: func(_ any, rpc grpc.ServerStream) error { return r.converse(rpc) },
			}},
		}, nil)
		defer context.AfterFunc(ctx, g.Stop)()
		return g.Serve(l)
	})
}

func (r *relay) converse(near grpc.ServerStream) error {
	conn, err := grpc.NewClient(r.to, grpc.WithTransportCredentials(credentials.NewTLS(r.caller)))
	if err != nil {
		return err
	}
	defer conn.Close()
	desc := &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}
	far, err := conn.NewStream(near.Context(), desc, "/tulle.destination.v1.Destination/Discover")
	if err != nil {
		return err
	}
	go func() { // ends with the stream, whose end RecvMsg reports
		for {
			req := &api.DiscoverRequest{}
			if near.RecvMsg(req) != nil || far.SendMsg(req) != nil {
				return
			}
		}
	}()
	for {
		resp := &api.DiscoverResponse{}
		if err := far.RecvMsg(resp); err != nil {
			return err
		}
		for _, one := range resp.GetResources().GetResources() {
			r.change(one)
		}
		if err := near.SendMsg(resp); err != nil {
			return err
		}
	}
}
