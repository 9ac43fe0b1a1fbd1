package main

import (
	"crypto/tls"
	"net"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"

	"github.com/tulle-mesh/tulle/identity/spiffe"
	"github.com/tulle-mesh/tulle/proxy/config"
)

// position is where an attacker stands.
type position struct {
	name   string
	addr   string // outbound to a hostile server
	dial   func() (net.Conn, error)
	mesh   bool // inside mTLS: HTTP/2 only
	victim *victim
	procs  []*process
	hold   func() // waits for as long as what is not forbidden is kept up
}

func plainly(addr string) func() (net.Conn, error) {
	return func() (net.Conn, error) { return net.DialTimeout("tcp", addr, 5*time.Second) }
}

// dialTries: a ClientHello that a busy machine lets lie for a second is nobody's.
const dialTries = 3

// meshed dials as another proxy does, with a certificate of the mesh.
func meshed(
	addr string, src *spiffe.Source, callee spiffeid.ID, port string,
) func() (net.Conn, error) {
	cfg := spiffe.ClientConfig(src, callee, []string{config.ALPNHTTP}, port+config.SNISuffix)
	return func() (nc net.Conn, err error) {
		for range dialTries {
			nc, err = tls.DialWithDialer(&net.Dialer{Timeout: 5 * time.Second}, "tcp", addr, cfg)
			if err == nil {
				return nc, nil
			}
		}
		return nil, err
	}
}
