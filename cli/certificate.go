package cli

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/spiffe/go-spiffe/v2/bundle/x509bundle"
	corev1 "k8s.io/api/core/v1"

	"github.com/tulle-mesh/tulle/identity/spiffe"
	"github.com/tulle-mesh/tulle/proxy/config"
)

// handshakeTimeout is for one handshake through a port-forward.
const handshakeTimeout = 10 * time.Second

// servedChain is the certificate chain that a pod shows on a port. In TLS 1.3 a server shows its
// own before it asks for ours, so it is seen although we have none.
func (a *app) servedChain(
	ctx context.Context, pod *corev1.Pod, port int, serverName string,
) ([]*x509.Certificate, error) {
	addr, stop, err := a.forwardPod(ctx, pod, port)
	if err != nil {
		return nil, err
	}
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, handshakeTimeout)
	defer cancel()
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("connect to %s/%s port %d: %w", pod.Namespace, pod.Name, port, err)
	}
	defer conn.Close()
	chain, err := readChain(ctx, conn, serverName)
	if err != nil {
		return nil, fmt.Errorf("look at the certificate of %s/%s port %d: %w", pod.Namespace,
			pod.Name, port, err)
	}
	return chain, nil
}

func readChain(
	ctx context.Context, conn net.Conn, serverName string,
) ([]*x509.Certificate, error) {
	var chain []*x509.Certificate
	client := tls.Client(conn, &tls.Config{
		MinVersion: tls.VersionTLS13, ServerName: serverName,
		NextProtos:         []string{config.ALPNHTTP, "h2"},
		InsecureSkipVerify: true, // nothing is sent; whoever calls verifies what was shown
		VerifyConnection: func(cs tls.ConnectionState) error {
			chain = cs.PeerCertificates
			return nil
		},
	})
	err := client.HandshakeContext(ctx)
	if len(chain) == 0 {
		return nil, errors.Join(errors.New("no certificate was shown"), err)
	}
	return chain, nil
}

// verifyChain checks a control-plane server's certificate against the roots and the one ID that it
// may have.
func verifyChain(chain, roots []*x509.Certificate, namespace, account string) error {
	if len(chain[0].URIs) == 0 {
		return errors.New("its certificate holds no SPIFFE ID")
	}
	id, err := spiffe.ParseWorkload(chain[0].URIs[0].String())
	if err != nil {
		return err
	}
	peer, err := spiffe.Verify(chain, x509bundle.FromX509Authorities(id.TrustDomain(), roots))
	if err != nil {
		return err
	}
	want, err := spiffe.ForWorkload(id.TrustDomain(), namespace, account)
	if err != nil {
		return err
	}
	if peer.ID != want {
		return fmt.Errorf("it shows %s, expected %s", peer.ID, want)
	}
	return nil
}
