package contract

import (
	"context"
	"crypto/tls"
	"net"
	"sync/atomic"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"github.com/tulle-mesh/tulle/destination/api"
	"github.com/tulle-mesh/tulle/identity/spiffe"
)

// relay stands between one proxy and a destination, and changes what destination says: as a later
// release of it would.
type relay struct {
	to     string
	caller *tls.Config
	change atomic.Pointer[func(*api.Resource)]
}

// relay returns where it listens.
func (m *mesh) relay(to string) (*relay, string) {
	r := &relay{to: to, caller: m.as("web", "destination")}
	cfg := spiffe.ServerConfig(m.source(serverID("destination")), []string{"h2"}, spiffe.AnyPeer)
	return r, m.serve(func(ctx context.Context, l net.Listener) error {
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
			if change := r.change.Load(); change != nil {
				(*change)(one)
			}
		}
		if err := near.SendMsg(resp); err != nil {
			return err
		}
	}
}
