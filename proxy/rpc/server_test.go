package rpc

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"io"
	"math/big"
	"net"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/tulle-mesh/tulle/proxy/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	echo   = "/test.Test/Echo"
	stream = "/test.Test/Stream"
	// patience bounds every test; none needs a tenth of it.
	patience = 20 * time.Second
)

// server is a real grpc-go server with the behaviours that the tests set.
type server struct {
	*grpc.Server
	addr   string
	unary  func(ctx context.Context, in []byte) ([]byte, error)
	stream func(s grpc.ServerStream) error
}

func startServer(t *testing.T, opts ...grpc.ServerOption) *server {
	t.Helper()
	s := &server{Server: grpc.NewServer(opts...)}
	s.unary = func(_ context.Context, in []byte) ([]byte, error) { return in, nil }
	s.RegisterService(&grpc.ServiceDesc{
		ServiceName: "test.Test", HandlerType: (*any)(nil),
		Methods: []grpc.MethodDesc{{MethodName: "Echo", Handler: s.handleUnary}},
		Streams: []grpc.StreamDesc{{StreamName: "Stream", ServerStreams: true, ClientStreams: true,
			Handler: func(_ any, gs grpc.ServerStream) error { return s.stream(gs) }}},
	}, nil)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.addr = l.Addr().String()
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	t.Cleanup(func() {
		s.Stop()
		if err := <-served; err != nil && !errors.Is(err, grpc.ErrServerStopped) {
			t.Error(err)
		}
	})
	return s
}

func (s *server) handleUnary(
	_ any, ctx context.Context, dec func(any) error, _ grpc.UnaryServerInterceptor,
) (any, error) {
	in := new(wrapperspb.BytesValue)
	if err := dec(in); err != nil {
		return nil, err
	}
	out, err := s.unary(ctx, in.Value)
	if err != nil {
		return nil, err
	}
	return wrapperspb.Bytes(out), nil
}

// echoStream sends back what it gets.
func echoStream(s grpc.ServerStream) error {
	for {
		m := new(wrapperspb.BytesValue)
		if err := s.RecvMsg(m); err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
		if err := s.SendMsg(m); err != nil {
			return err
		}
	}
}

func dialTo(addr string, cfg *tls.Config) func(context.Context) (*wire.Conn, error) {
	return func(ctx context.Context) (*wire.Conn, error) {
		nc, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
		if err != nil {
			return nil, err
		}
		if cfg == nil {
			return wire.New(nc, nil), nil
		}
		w := wire.NewTLSClient(nc, cfg)
		if err := w.Handshake(ctx); err != nil {
			w.Close()
			return nil, err
		}
		return w, nil
	}
}

// testBounds are the same both ways, for most servers of the tests answer with what they were
// asked.
var testBounds = Bounds{Request: maxMessage, Response: maxMessage}

const maxMessage = 4 << 20

func newTestClient(t *testing.T, dial func(context.Context) (*wire.Conn, error)) *Client {
	t.Helper()
	c := NewClient(Options{
		Dial: dial, Authority: "test.local:1", Bounds: testBounds, UserAgent: "tulle/1.2.3",
	})
	t.Cleanup(c.Close)
	return c
}

func testContext(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

func call(ctx context.Context, c *Client, in string) (string, error) {
	var out wrapperspb.BytesValue
	err := c.Call(ctx, echo, wrapperspb.Bytes([]byte(in)), &out)
	return string(out.Value), err
}

// certificates are a server's and the client's view of it.
func certificates(t *testing.T) (serverTLS, clientTLS *tls.Config) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"},
		DNSNames: []string{"test.local"}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(leaf)
	serverTLS = &tls.Config{
		Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}},
	}
	clientTLS = &tls.Config{
		RootCAs: roots, ServerName: "test.local",
		NextProtos: []string{"h2"}, MinVersion: tls.VersionTLS13,
	}
	return serverTLS, clientTLS
}

// eachTransport runs a test over plaintext and over TLS.
func eachTransport(t *testing.T, test func(t *testing.T, s *server, c *Client)) {
	t.Run("plaintext", func(t *testing.T) {
		s := startServer(t)
		test(t, s, newTestClient(t, dialTo(s.addr, nil)))
	})
	t.Run("tls", func(t *testing.T) {
		serverTLS, clientTLS := certificates(t)
		s := startServer(t, grpc.Creds(credentials.NewTLS(serverTLS)))
		test(t, s, newTestClient(t, dialTo(s.addr, clientTLS)))
	})
}

func metadataOf(ctx context.Context, name string) string {
	md, _ := metadata.FromIncomingContext(ctx)
	if v := md.Get(name); len(v) > 0 {
		return v[0]
	}
	return ""
}

func grpcError(code codes.Code, message string) error { return status.Error(code, message) }
