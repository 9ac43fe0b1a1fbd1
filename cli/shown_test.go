package cli

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"math/big"
	"net"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"

	"github.com/tulle-mesh/tulle/identity/spiffe"
	"github.com/tulle-mesh/tulle/proxy/config"
)

// testRoot signs SVIDs as identity does.
type testRoot struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newTestRoot(t *testing.T) testRoot {
	t.Helper()
	td := spiffeid.RequireTrustDomainFromString("cluster.local")
	cert, key := issue(t, &x509.Certificate{IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign, URIs: []*url.URL{td.ID().URL()}}, nil)
	return testRoot{cert, key}
}

func (r testRoot) source(t *testing.T, id string) *spiffe.Source {
	t.Helper()
	who := spiffeid.RequireFromString(id)
	cert, key := issue(t, &x509.Certificate{
		URIs: []*url.URL{who.URL()}, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}, &r)
	source := spiffe.NewSource()
	source.SetBundle(who.TrustDomain(), []*x509.Certificate{r.cert})
	source.SetSVID(&x509svid.SVID{ID: who, Certificates: []*x509.Certificate{cert}, PrivateKey: key})
	return source
}

func issue(t *testing.T, template *x509.Certificate, by *testRoot) (*x509.Certificate, *ecdsa.PrivateKey) {
	t.Helper()
	template.SerialNumber, template.NotBefore, template.NotAfter = big.NewInt(7), time.Now().Add(-time.Minute), time.Now().Add(time.Hour)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	parent, signer := template, key
	if by != nil {
		parent, signer = by.cert, by.key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert, key
}

// A proxy shows its certificate although whoever asks has none; then it refuses, and nothing is said.
func TestChainShownByAServerThatWantsOurs(t *testing.T) {
	root := newTestRoot(t)
	source := root.source(t, "spiffe://cluster.local/ns/shop/sa/web")
	client, server := net.Pipe()
	refused := make(chan error, 1)
	go func() {
		conn := tls.Server(server, spiffe.ServerConfig(source, []string{config.ALPNHTTP}, spiffe.AnyPeer))
		refused <- conn.HandshakeContext(t.Context())
		server.Close()
	}()
	chain, err := chainShown(t.Context(), client, "8080.tulle")
	client.Close()
	if err != nil {
		t.Fatal(err)
	}
	if <-refused == nil {
		t.Error("the server let a peer without a certificate in")
	}
	if err := verifyShown(chain, []*x509.Certificate{root.cert}, "shop", "web"); err != nil {
		t.Error(err)
	}
	if err := verifyShown(chain, []*x509.Certificate{root.cert}, "tulle", "tulle-identity"); err == nil || !strings.Contains(err.Error(), "expected spiffe://cluster.local/ns/tulle/sa/tulle-identity") {
		t.Errorf("another's identity passed: %v", err)
	}
	if err := verifyShown(chain, []*x509.Certificate{newTestRoot(t).cert}, "shop", "web"); err == nil {
		t.Error("a strange root vouched")
	}
	one := describe(pod("shop", "web-1", nil), chain, []*x509.Certificate{root.cert})
	if !one.Trusted || one.ID != "spiffe://cluster.local/ns/shop/sa/web" || one.Pod != "shop/web-1" || one.Serial != "7" {
		t.Errorf("described as %+v", one)
	}
	if strange := describe(pod("shop", "web-1", nil), chain, nil); strange.Trusted || strange.Problem == "" {
		t.Errorf("trusted without roots: %+v", strange)
	}
}

func TestNothingShown(t *testing.T) {
	client, server := net.Pipe()
	go func() {
		server.Read(make([]byte, 64<<10))
		server.Write([]byte("HTTP/1.1 400 Bad Request\r\n\r\n"))
		server.Close()
	}()
	if _, err := chainShown(t.Context(), client, ""); err == nil || !strings.Contains(err.Error(), "no certificate was shown") {
		t.Errorf("error %v", err)
	}
}
