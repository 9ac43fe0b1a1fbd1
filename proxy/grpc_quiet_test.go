package proxy_test

import (
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"github.com/tulle-mesh/tulle/test/loopback"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/emptypb"
)

// A gRPC stream may say nothing for as long as it likes. grpc-go's servers end the connection of
// who sends them PINGs while it does, so only proxies get ours: no unmeshed backend does, nor the
// application behind a proxy.
func TestAQuietStreamIsNotDisturbed(t *testing.T) {
	const quiet = 2 * time.Second
	l, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	s := grpc.NewServer(grpc.UnknownServiceHandler(func(_ any, s grpc.ServerStream) error {
		err := errors.Join(s.RecvMsg(&emptypb.Empty{}), s.SendMsg(&emptypb.Empty{}))
		if err != nil {
			return err
		}
		select {
		case <-time.After(quiet):
			return nil
		case <-s.Context().Done():
			return s.Context().Err()
		}
	}))
	go s.Serve(l)
	t.Cleanup(s.Stop)
	m := newMesh(t, 0)
	m.limits.MeshKeepAlive = quiet / 20 // no two proxies speak with each other here
	web := pod{"web-0", l.Addr().String(), loopback.Free()}
	m.service("bare", pod{"bare-0", web.app, ""})
	m.service("web", web)
	m.proxy("web", web)
	for name, to := range map[string]string{"an unmeshed backend": m.caller("bare").out["bare"],
		"the application behind a proxy": web.mesh} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cc, err := grpc.NewClient(to, grpc.WithTransportCredentials(insecure.NewCredentials()))
			check(t, err)
			defer cc.Close()
			st, err := cc.NewStream(within(t, 30*time.Second),
				&grpc.StreamDesc{ServerStreams: true}, "/x.Y/Watch")
			check(t, err)
			check(t, errors.Join(st.SendMsg(&emptypb.Empty{}), st.CloseSend(),
				st.RecvMsg(&emptypb.Empty{})))
			if err := st.RecvMsg(&emptypb.Empty{}); !errors.Is(err, io.EOF) {
				t.Errorf("the stream was cut: %v", err)
			}
		})
	}
}
