package spiffe

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"

	"github.com/spiffe/go-spiffe/v2/bundle/x509bundle"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
)

// AnyPeer lets every verified peer in: for servers that authorize later, per request.
func AnyPeer(Peer) error { return nil }

// ErrOtherPeer says that a peer has proved an ID, and not the one that it should have.
var ErrOtherPeer = errors.New("the peer is another one")

// OnlyPeer lets exactly one ID in.
func OnlyPeer(id spiffeid.ID) func(Peer) error {
	return func(p Peer) error {
		if p.ID != id {
			return fmt.Errorf("%w: it is %s, expected %s", ErrOtherPeer, p.ID, id)
		}
		return nil
	}
}

// ServerConfig is for servers inside the mesh: both ends show an SVID. Every handshake asks
// authorize, resumed or not; without an authorizer nobody passes.
func ServerConfig(src *Source, alpn []string, authorize func(Peer) error) *tls.Config {
	cfg := serverConfig(src, alpn)
	cfg.ClientAuth = tls.RequireAnyClientCert // verified below, against the bundles of the moment
	cfg.VerifyConnection = verifier(src, authorize)
	return cfg
}

// BootstrapServerConfig is for identity's own port: its callers have no SVID yet, and prove who
// they are by a token.
func BootstrapServerConfig(src *Source, alpn []string) *tls.Config {
	return serverConfig(src, alpn)
}

// ClientConfig shows our SVID and accepts the one exact server. serverName is only the SNI.
func ClientConfig(src *Source, server spiffeid.ID, alpn []string, serverName string) *tls.Config {
	cfg := clientConfig(src, server, alpn, serverName)
	cfg.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
		return src.certificate()
	}
	return cfg
}

// BootstrapClientConfig shows nothing and accepts the one exact server that roots, of its trust
// domain, vouch for.
func BootstrapClientConfig(
	roots []*x509.Certificate, server spiffeid.ID, alpn []string,
) *tls.Config {
	bundle := x509bundle.FromX509Authorities(server.TrustDomain(), roots)
	return clientConfig(bundle, server, alpn, "")
}

func serverConfig(src *Source, alpn []string) *tls.Config {
	cfg := base(alpn)
	cfg.GetCertificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
		return src.certificate()
	}
	return cfg
}

func clientConfig(
	roots x509bundle.Source, server spiffeid.ID, alpn []string, serverName string,
) *tls.Config {
	cfg := base(alpn)
	cfg.ServerName = serverName
	// it would compare DNS names; VerifyConnection verifies chain and SPIFFE ID
	cfg.InsecureSkipVerify = true
	cfg.VerifyConnection = verifier(roots, OnlyPeer(server))
	return cfg
}

func base(alpn []string) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13,
		NextProtos: alpn,
		// a ticket would outlive the SVID and the root that it was made with
		SessionTicketsDisabled: true,
		// many small records cost more than the first byte's latency inside a cluster
		DynamicRecordSizingDisabled: true,
	}
}

func verifier(roots x509bundle.Source, authorize func(Peer) error) func(tls.ConnectionState) error {
	return func(cs tls.ConnectionState) error {
		peer, err := Verify(cs.PeerCertificates, roots)
		if err != nil {
			return err
		}
		if authorize == nil {
			return errors.New("no peer is authorized here")
		}
		return authorize(peer)
	}
}
