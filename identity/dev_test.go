package identity

import (
	"context"
	"net"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/tulle-mesh/tulle/identity/api"
	"github.com/tulle-mesh/tulle/identity/spiffe"
)

// outside takes the test out of a cluster, should it run in one.
func outside(t *testing.T) { t.Setenv("KUBERNETES_SERVICE_HOST", "") }

func startDev(t *testing.T) (*Dev, string) {
	t.Helper()
	outside(t)
	d, err := NewDev(DevConfig{TrustDomain: td, Log: quiet})
	if err != nil {
		t.Fatal(err)
	}
	l := listen(t)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- d.Serve(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	return d, l.Addr().String()
}

func byJoin(token, expected string, csr []byte) *api.CertifyRequest {
	return &api.CertifyRequest{Attestation: &api.CertifyRequest_JoinToken{JoinToken: token},
		ExpectedId: expected, Csr: csr}
}

func TestJoinTokens(t *testing.T) {
	d, addr := startDev(t)
	roots, err := spiffe.ParseRoots(d.Roots())
	if err != nil {
		t.Fatal(err)
	}
	conn := dial(t, addr, spiffe.BootstrapClientConfig(roots, d.ServerID(), []string{"h2"}))
	token, other := d.Token(webID, "web"), d.Token(apiID, "api")
	if len(token) < 43 || token == other {
		t.Fatalf("tokens %q, %q", token, other)
	}
	csr := request(t, newKey(t), nil)
	for range 2 { // the second is a renewal
		resp, err := certify(t, conn, byJoin(token, webID.String(), csr))
		if err != nil {
			t.Fatal(err)
		}
		if peer, err := verifyRaw(resp.Certificates, d.authority.source); err != nil ||
			peer.ID != webID || peer.Pod != "web" {
			t.Fatalf("certified %+v, %v", peer, err)
		}
	}
	for name, c := range map[string]struct {
		req  *api.CertifyRequest
		code codes.Code
		want string
	}{
		"another's ID": {byJoin(token, apiID.String(), csr), codes.PermissionDenied,
			apiID.String()},
		"the server's ID": {byJoin(token, d.ServerID().String(), csr), codes.PermissionDenied,
			"expects to be"},
		"unknown": {byJoin(token+"x", webID.String(), csr), codes.Unauthenticated,
			"meshctl dev up"},
		"none": {byJoin("", webID.String(), csr), codes.InvalidArgument, "no join token"},
		"Kubernetes token": {byToken(token, webID.String(), csr), codes.InvalidArgument,
			"no join token"},
	} {
		_, err := certify(t, conn, c.req)
		if status.Code(err) != c.code || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if got := receive(t, bundleStream(t, conn)); len(got) != 1 || !got[0].Equal(roots[0]) {
		t.Error("the bundle is not the roots")
	}
}

func TestDevSource(t *testing.T) {
	outside(t)
	d, err := NewDev(DevConfig{TrustDomain: td, Log: quiet})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	src, err := d.Source(ctx, apiID)
	if err != nil || src.SVID().ID != apiID || len(src.Bundles()[td]) != 1 {
		t.Fatalf("Source: %v", err)
	}
	if _, err := d.Source(ctx, identityIDOf("other.example")); err == nil {
		t.Error("an ID of another trust domain")
	}
	cancel()
	d.Wait()
}

func TestDevRefuses(t *testing.T) {
	outside(t)
	d, err := NewDev(DevConfig{TrustDomain: td, Log: quiet})
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", ":0")
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Serve(timeout(t), l); err == nil ||
		!strings.Contains(err.Error(), "loopback only") {
		t.Errorf("off loopback: %v", err)
	}
	if _, err := l.Accept(); err == nil {
		t.Error("the listener is still open")
	}
	t.Setenv("KUBERNETES_SERVICE_HOST", "10.96.0.1")
	if _, err := NewDev(DevConfig{TrustDomain: td}); err == nil {
		t.Error("dev mode inside a cluster")
	}
}
