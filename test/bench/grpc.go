package main

import (
	"context"
	"encoding/binary"
	"net"
	"os"
	"path/filepath"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

const (
	grpcPayload  = 64  // bytes of each message
	grpcMessages = 100 // of each streaming call
	grpcUnary    = "/bench.Echo/Unary"
	grpcStream   = "/bench.Echo/Stream"
)

// serveGRPC is grpc-go: it answers a message with the same, or with many.
func serveGRPC(addr string) error {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	s := grpc.NewServer()
	s.RegisterService(&grpc.ServiceDesc{ServiceName: "bench.Echo", HandlerType: (*any)(nil),
		Methods: []grpc.MethodDesc{{MethodName: "Unary", Handler: echoUnary}},
		Streams: []grpc.StreamDesc{
			{StreamName: "Stream", Handler: echoStream, ServerStreams: true},
		}}, struct{}{})
	return s.Serve(l)
}

func echoUnary(
	_ any, _ context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor,
) (any, error) {
	m := new(wrapperspb.BytesValue)
	return m, decode(m)
}

func echoStream(_ any, s grpc.ServerStream) error {
	m := new(wrapperspb.BytesValue)
	if err := s.RecvMsg(m); err != nil {
		return err
	}
	for range grpcMessages {
		if err := s.SendMsg(m); err != nil {
			return err
		}
	}
	return nil
}

// writeMessage writes what a client sends: a message in gRPC's framing.
func writeMessage(dir string) (path string, size int, err error) {
	m, err := proto.Marshal(wrapperspb.Bytes(make([]byte, grpcPayload)))
	if err != nil {
		return "", 0, err
	}
	framed := append(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(m))), m...)
	path = filepath.Join(dir, "message")
	return path, len(framed), os.WriteFile(path, framed, 0o600)
}

// gRPC's requests as h2load makes them. A call that fails has no message, which is missed when the
// bytes are counted.
func grpcQuestion(path, message string) question {
	return question{path: path, conns: 8, streams: 16,
		args: []string{"-d", message, "-H", "content-type: application/grpc", "-H", "te: trailers"}}
}
