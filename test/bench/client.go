package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync/atomic"
)

// client dials mutual TLS 1.3 the way a caller's proxy does: always a full handshake, X25519 for
// everybody.
type client struct {
	config *tls.Config
	dials  atomic.Uint32
}

// fileClient has the identity that writeCerts made, and speaks a protocol.
func fileClient(dir, protocol string) (*client, error) {
	cert, err := pemBlock(filepath.Join(dir, "cert.pem"))
	if err != nil {
		return nil, err
	}
	key, err := pemBlock(filepath.Join(dir, "key.pem"))
	if err != nil {
		return nil, err
	}
	return newClient(cert, key, filepath.Join(dir, "ca.pem"), "bench",
		map[string]string{"http1": "http/1.1", "http2": "h2", "grpc": "h2"}[protocol])
}

func pemBlock(path string) ([]byte, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(b)
	if block == nil {
		return nil, fmt.Errorf("%s: no PEM", path)
	}
	return block.Bytes, nil
}

// newClient takes a chain in DER and a key in PKCS #8. Who the server is gets verified by its chain
// alone: an SVID has no name.
func newClient(chain, key []byte, ca, name, alpn string) (*client, error) {
	certs, err := x509.ParseCertificates(chain)
	if err != nil {
		return nil, err
	}
	private, err := x509.ParsePKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	roots, err := os.ReadFile(ca)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(roots) {
		return nil, fmt.Errorf("%s: no certificates", ca)
	}
	own := tls.Certificate{PrivateKey: private}
	for _, c := range certs {
		own.Certificate = append(own.Certificate, c.Raw)
	}
	c := &client{config: &tls.Config{Certificates: []tls.Certificate{own}, ServerName: name,
		MinVersion: tls.VersionTLS13, CurvePreferences: []tls.CurveID{tls.X25519},
		SessionTicketsDisabled: true, InsecureSkipVerify: true, VerifyConnection: chained(pool)}}
	if alpn != "" {
		c.config.NextProtos = []string{alpn}
	}
	return c, nil
}

func chained(roots *x509.CertPool) func(tls.ConnectionState) error {
	return func(s tls.ConnectionState) error {
		between := x509.NewCertPool()
		for _, c := range s.PeerCertificates[1:] {
			between.AddCert(c)
		}
		_, err := s.PeerCertificates[0].Verify(x509.VerifyOptions{
			Roots: roots, Intermediates: between,
		})
		return err
	}
}

func (c *client) dial(ctx context.Context, addr string) (*tls.Conn, error) {
	nc, err := dialFrom(ctx, c.dials.Add(1), addr)
	if err != nil {
		return nil, err
	}
	t := tls.Client(nc, c.config)
	if err := t.HandshakeContext(ctx); err != nil {
		nc.Close()
		return nil, err
	}
	return t, nil
}

// sources is how many loopback addresses connections come from: each has some 28,000 ports.
const sources = 8

func dialFrom(ctx context.Context, n uint32, addr string) (net.Conn, error) {
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, byte(1+n%sources))}}
	return d.DialContext(ctx, "tcp", addr)
}
