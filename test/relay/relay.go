// Package relay stands between proxies and destination in tests, and changes what destination says:
// as a later release of it would. Serve owns its goroutines.
package relay

import (
	"context"
	"crypto/tls"
	"net"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"github.com/tulle-mesh/tulle/destination/api"
)

// Relay passes on each proxy's stream with destination.
type Relay struct {
	To     string              // destination's address
	Caller *tls.Config         // of the proxy, to destination
	Server *tls.Config         // of destination, to proxies
	Change func(*api.Resource) // what destination says; called by many goroutines
}

// Serve serves on l until ctx ends.
func (r *Relay) Serve(ctx context.Context, l net.Listener) error {
	g := grpc.NewServer(grpc.Creds(credentials.NewTLS(r.Server)))
	g.RegisterService(&grpc.ServiceDesc{
		ServiceName: "tulle.destination.v1.Destination", HandlerType: (*any)(nil),
		Streams: []grpc.StreamDesc{{
			StreamName: "Discover", ServerStreams: true, ClientStreams: true,
			Handler: func(_ any, rpc grpc.ServerStream) error { return r.converse(rpc) },
		}},
	}, nil)
	defer context.AfterFunc(ctx, g.Stop)()
	return g.Serve(l)
}

func (r *Relay) converse(near grpc.ServerStream) error {
	conn, err := grpc.NewClient(r.To, grpc.WithTransportCredentials(credentials.NewTLS(r.Caller)))
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
			r.Change(one)
		}
		if err := near.SendMsg(resp); err != nil {
			return err
		}
	}
}
