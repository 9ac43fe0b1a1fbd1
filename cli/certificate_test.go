package cli

import (
	"crypto/tls"
	"crypto/x509"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"

	"github.com/tulle-mesh/tulle/identity/spiffe"
	"github.com/tulle-mesh/tulle/proxy/config"
	"github.com/tulle-mesh/tulle/test/svid"
)

func newCA(t *testing.T) *svid.CA {
	t.Helper()
	ca, err := svid.NewCA(spiffeid.RequireTrustDomainFromString("cluster.local"))
	if err != nil {
		t.Fatal(err)
	}
	return ca
}

// A proxy shows its certificate although whoever asks has none; then it refuses, and nothing is
// said.
func TestChainShownByAServerThatWantsOurs(t *testing.T) {
	ca := newCA(t)
	source, err := ca.Source("shop", "web", "web-1", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	client, server := net.Pipe()
	refused := make(chan error, 1)
	go func() {
		conn := tls.Server(server,
			spiffe.ServerConfig(source, []string{config.ALPNHTTP}, spiffe.AnyPeer))
		refused <- conn.HandshakeContext(t.Context())
		server.Close()
	}()
	chain, err := readChain(t.Context(), client, "8080.tulle")
	client.Close()
	if err != nil {
		t.Fatal(err)
	}
	if <-refused == nil {
		t.Error("the server let a peer without a certificate in")
	}
	if err := verifyChain(chain, []*x509.Certificate{ca.Root()}, "shop", "web"); err != nil {
		t.Error(err)
	}
	const want = "expected spiffe://cluster.local/ns/tulle/sa/tulle-identity"
	err = verifyChain(chain, []*x509.Certificate{ca.Root()}, "tulle", "tulle-identity")
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("another's identity passed: %v", err)
	}
	if err := verifyChain(chain, []*x509.Certificate{newCA(t).Root()}, "shop", "web"); err == nil {
		t.Error("a strange root vouched")
	}
	one := describe(pod("shop", "web-1", nil), chain, []*x509.Certificate{ca.Root()})
	if !one.Trusted || one.ID != "spiffe://cluster.local/ns/shop/sa/web" ||
		one.Pod != "shop/web-1" || one.Serial != "2" {
		t.Errorf("described as %+v", one)
	}
	if strange := describe(pod("shop", "web-1", nil), chain, nil); strange.Trusted ||
		strange.Problem == "" {
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
	_, err := readChain(t.Context(), client, "")
	if err == nil || !strings.Contains(err.Error(), "no certificate was shown") {
		t.Errorf("error %v", err)
	}
}
