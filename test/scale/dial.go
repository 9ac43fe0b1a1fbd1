package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"

	"github.com/tulle-mesh/tulle/identity/spiffe"
	"github.com/tulle-mesh/tulle/proxy/rpc"
	"github.com/tulle-mesh/tulle/proxy/wire"
)

// handshakeTimeout is a proxy's.
const handshakeTimeout = 10 * time.Second

// alpn is gRPC's.
const alpn = "h2"

// sourceAddress is a proxy's own: servers count callers by it.
func sourceAddress(proxy int) net.IP {
	n := proxy + 1<<16 // from 127.1.0.0 on
	return net.IPv4(127, byte(n>>16), byte(n>>8), byte(n))
}

// dialFrom connects as a proxy.
func dialFrom(ctx context.Context, proxy int, addr string) (net.Conn, error) {
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: sourceAddress(proxy)}}
	return d.DialContext(ctx, "tcp", addr)
}

// handshakes has room for those of proxies that are under way. Real proxies have processors of
// their own; here thousands of them share one process, and one whose half of a handshake waited for
// it would run into the server's deadline.
var handshakes = make(chan struct{}, 512)

// newClient calls a server as a proxy does.
func newClient(proxy int, addr string, cfg *tls.Config, bounds rpc.Bounds) *rpc.Client {
	return rpc.NewClient(rpc.Options{
		Authority: addr, Bounds: bounds,
		Dial: func(ctx context.Context) (*wire.Conn, error) {
			select {
			case handshakes <- struct{}{}:
				defer func() { <-handshakes }()
			case <-ctx.Done():
				return nil, ctx.Err()
			}
			nc, err := dialFrom(ctx, proxy, addr)
			if err != nil {
				return nil, err
			}
			ctx, cancel := context.WithTimeout(ctx, handshakeTimeout)
			defer cancel()
			w := wire.NewTLSClient(nc, cfg)
			if err := w.Handshake(ctx); err != nil {
				w.Close()
				return nil, fmt.Errorf("TLS: %w", err)
			}
			return w, nil
		},
	})
}

// serverID is who a server of the control plane is.
func serverID(name string) spiffeid.ID {
	return spiffeid.RequireFromSegments(trustDomain, "ns", "tulle", "sa", "tulle-"+name)
}

// clientTLS is how a proxy with an SVID speaks to a server.
func clientTLS(src *spiffe.Source, server string) *tls.Config {
	return spiffe.ClientConfig(src, serverID(server), []string{alpn}, "")
}

func pemOf(c *x509.Certificate) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw}))
}
