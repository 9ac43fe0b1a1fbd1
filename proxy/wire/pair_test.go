package wire

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"math/big"
	"net"
	"testing"
	"time"
)

func tcpPair(t testing.TB) (a, b net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if a, err = net.Dial("tcp", l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if b, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close(); b.Close() })
	return a, b
}

func tlsConfigs(t testing.TB) (server, client *tls.Config) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		DNSNames:     []string{"peer"},
		NotAfter:     time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(leaf)
	server = &tls.Config{
		Certificates: []tls.Certificate{
			{Certificate: [][]byte{der}, PrivateKey: key},
		},
		MinVersion:                  tls.VersionTLS13,
		DynamicRecordSizingDisabled: true,
	}
	client = &tls.Config{
		RootCAs:                     roots,
		ServerName:                  "peer",
		MinVersion:                  tls.VersionTLS13,
		DynamicRecordSizingDisabled: true,
	}
	return server, client
}

// pairs runs a test over plaintext and over TLS.
func pairs(t *testing.T, run func(t *testing.T, client, server *Conn)) {
	t.Run("plain", func(t *testing.T) {
		a, b := tcpPair(t)
		run(t, New(a, nil), New(b, nil))
	})
	t.Run("tls", func(t *testing.T) {
		a, b := tcpPair(t)
		sc, cc := tlsConfigs(t)
		client, server := NewTLSClient(a, cc), NewTLSServer(b, nil, sc)
		shake(t, client, server)
		run(t, client, server)
	})
}

func shake(t *testing.T, client, server *Conn) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	failed := make(chan error, 1)
	go func() { failed <- client.Handshake(ctx) }()
	if err := server.Handshake(ctx); err != nil {
		t.Fatal(err)
	}
	if err := <-failed; err != nil {
		t.Fatal(err)
	}
}

func put(c *Conn, p []byte) {
	c.Lock()
	c.AppendLocked(p...)
	c.Unlock()
}

// readN reads n bytes or fails.
func readN(t *testing.T, c *Conn, n int) []byte {
	t.Helper()
	c.SetReadDeadline(time.Now().Add(20 * time.Second))
	var got []byte
	for len(got) < n {
		if b := c.Buffered(); len(b) > 0 {
			got = append(got, b...)
			c.Discard(len(b))
			continue
		}
		if err := c.Fill(); err != nil {
			t.Fatalf("after %d of %d bytes: %v", len(got), n, err)
		}
	}
	return got
}
