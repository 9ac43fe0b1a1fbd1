package proxy_test

import (
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/tulle-mesh/tulle/test/loopback"
)

// A consumer that works on its first message for long gets all the others: that it takes nothing is
// how it slows the producer down.
func TestAConsumerThatPausesGetsEveryMessage(t *testing.T) {
	const messages, size = 40, 60 << 10
	l, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	s := grpc.NewServer(grpc.UnknownServiceHandler(func(_ any, s grpc.ServerStream) error {
		err := s.RecvMsg(&emptypb.Empty{})
		for range messages {
			err = errors.Join(err, s.SendMsg(wrapperspb.Bytes(make([]byte, size))))
		}
		return err
	}))
	go s.Serve(l)
	t.Cleanup(s.Stop)
	m := newMesh(t, 0)
	m.limits.BodyStall = 100 * time.Millisecond
	web := pod{"web-0", l.Addr().String(), loopback.Free()}
	m.service("web", web)
	m.proxy("web", web)
	cc, err := grpc.NewClient(m.caller("web").out["web"],
		grpc.WithTransportCredentials(insecure.NewCredentials()))
	check(t, err)
	defer cc.Close()
	st, err := cc.NewStream(within(t, clientTimeout), &grpc.StreamDesc{ServerStreams: true},
		"/x.Y/Watch")
	check(t, err)
	check(t, errors.Join(st.SendMsg(&emptypb.Empty{}), st.CloseSend()))
	n := 0
	for err == nil {
		if err = st.RecvMsg(&wrapperspb.BytesValue{}); err != nil {
			break
		}
		if n++; n == 1 {
			time.Sleep(10 * m.limits.BodyStall)
		}
	}
	if n != messages || !errors.Is(err, io.EOF) {
		t.Errorf("%d of %d messages, and then %v", n, messages, err)
	}
}
