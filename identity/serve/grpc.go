package serve

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"

	grpcprom "github.com/grpc-ecosystem/go-grpc-middleware/providers/prometheus"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/keepalive"

	"github.com/tulle-mesh/tulle/identity/spiffe"
)

// GRPC is a gRPC server behind a bounded listener.
type GRPC struct {
	*grpc.Server
	// Admit, if set before Serve, is asked for each call as soon as its headers have come; leave is
	// called when the call has ended. It must not block.
	Admit func(context.Context) (leave func(), err error)

	limits  Limits
	metrics *listenerMetrics
}

// NewGRPC makes a server that is called name in the metrics, which to may be nil for.
func NewGRPC(name string, cfg *tls.Config, limits Limits, to prometheus.Registerer) *GRPC {
	g := &GRPC{limits: limits, metrics: newMetrics(name, to)}
	calls := grpcprom.NewServerMetrics()
	if to != nil {
		named(name, to).MustRegister(calls)
	}
	g.Server = grpc.NewServer(
		grpc.Creds(handshaker{credentials.NewTLS(cfg), g.metrics}),
		grpc.InTapHandle(g.begin),
		grpc.ChainUnaryInterceptor(calls.UnaryServerInterceptor(), unaryFirstMessage),
		grpc.ChainStreamInterceptor(calls.StreamServerInterceptor(), streamFirstMessage),
		grpc.MaxRecvMsgSize(limits.Message), grpc.MaxHeaderListSize(maxHeader),
		grpc.MaxConcurrentStreams(limits.Streams), grpc.ConnectionTimeout(limits.Handshake),
		grpc.StaticStreamWindowSize(window), grpc.StaticConnWindowSize(window),
		grpc.ReadBufferSize(readBuffer), grpc.WriteBufferSize(writeBuffer),
		grpc.WaitForHandlers(true),
		grpc.KeepaliveParams(keepalive.ServerParameters{
			Time: pingAfter, Timeout: pingTimeout, MaxConnectionIdle: limits.Idle,
			MaxConnectionAge: limits.Age, MaxConnectionAgeGrace: limits.Age,
		}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{
			MinTime: minPing, PermitWithoutStream: true,
		}),
	)
	return g
}

// Serve answers on l until Stop or GracefulStop. It closes l.
func (g *GRPC) Serve(l net.Listener) error {
	return g.Server.Serve(secure(l, g.limits, g.metrics))
}

// handshaker gives a connection its place among the established once TLS has said who calls.
type handshaker struct {
	credentials.TransportCredentials
	metrics *listenerMetrics
}

// ServerHandshake fails for a caller that holds as many connections as it may.
func (h handshaker) ServerHandshake(raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	secured, info, err := h.TransportCredentials.ServerHandshake(raw)
	if err != nil {
		h.metrics.refused(reasonHandshake)
		return nil, nil, err
	}
	c := raw.(*conn)
	if why := c.from.establish(c, identityOf(info)); why != "" {
		h.metrics.refused(why)
		reset(c.Conn)
		return nil, nil, fmt.Errorf("refuse a connection from %s: %s", c.address, why)
	}
	return secured, info, nil
}

// Clone is asked for by grpc-go.
func (h handshaker) Clone() credentials.TransportCredentials {
	return handshaker{h.TransportCredentials.Clone(), h.metrics}
}

// identityOf is an SVID's ID, and the pod that it was issued to: the pods of a workload share the
// ID.
func identityOf(info credentials.AuthInfo) string {
	t, ok := info.(credentials.TLSInfo)
	if !ok {
		return ""
	}
	who, err := spiffe.PeerOf(t.State)
	if err != nil || who.Pod == "" {
		return "" // their address is what they are counted by
	}
	return who.ID.String() + " " + who.Pod
}
