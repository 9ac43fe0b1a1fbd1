package proxy_test

import (
	"context"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"syscall"
	"testing"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/tulle-mesh/tulle/identity/spiffe"
	"github.com/tulle-mesh/tulle/test/loopback"
)

// serveTCP is a TCP server that calls begin with each connection, one after the other.
func serveTCP(t testing.TB, begin func(net.Conn)) (addr string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			begin(c)
		}
	}()
	return l.Addr().String()
}

// echo is a TCP server that says back what it hears.
func echo(t testing.TB) string {
	t.Helper()
	return serveTCP(t, func(c net.Conn) {
		go func() {
			defer c.Close()
			io.Copy(c, c)
		}()
	})
}

// tunnels is a service whose port is opaque, and its caller.
func (m *testMesh) tunnels() (addr string, caller, callee *running) {
	m.t.Helper()
	web := pod{"web-0", echo(m.t), loopback.Free()}
	m.profile("  opaquePorts: [\"80\"]\n")
	m.service("web", web)
	callee = m.proxy("web", web)
	caller = m.caller("web")
	return caller.out["web"], caller, callee
}

// ping sends through a tunnel and waits for the echo.
func ping(c net.Conn) error {
	if err := c.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		return err
	}
	if _, err := io.WriteString(c, "ping"); err != nil {
		return err
	}
	_, err := io.ReadFull(c, make([]byte, 4))
	return err
}

func open(t testing.TB, addr string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	check(t, err)
	t.Cleanup(func() { c.Close() })
	check(t, ping(c))
	return c
}

// awaitEnd fails unless the peer ends c.
func awaitEnd(t testing.TB, c net.Conn) {
	t.Helper()
	check(t, c.SetReadDeadline(time.Now().Add(10*time.Second)))
	if _, err := c.Read(make([]byte, 1)); err == nil || isTimeout(err) {
		t.Fatalf("the connection goes on: %v", err)
	}
}

func isTimeout(err error) bool {
	ne, ok := err.(net.Error)
	return ok && ne.Timeout()
}

// A proxy whose certificate has run out can call nobody; it must live to be certified again.
func TestAnExpiredCertificateIsAnErrorAndNoCrash(t *testing.T) {
	m := newMesh(t, 4*time.Second)
	addr := app(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {}))
	web := pod{"web-0", addr, loopback.Free()}
	m.service("web", web)
	caller := m.caller("web")
	url := "http://" + caller.out["web"]
	get(t, http1Client(t), url)         // destination is asked now; nobody is there yet
	time.Sleep(1500 * time.Millisecond) // the callee's certificate must outlive the caller's
	m.proxy("web", web)
	m.stopID()
	ends := caller.p.Source().SVID().Certificates[0].NotAfter
	time.Sleep(time.Until(ends) + 20*time.Millisecond)
	if status, _, _ := get(t, http1Client(t), url); status < 500 {
		t.Errorf("status %d with an expired certificate", status)
	}
}

func TestATunnelEndsWithItsCertificate(t *testing.T) {
	m := newMesh(t, 3*time.Second)
	addr, _, _ := m.tunnels()
	for range 3 {
		c, began := open(t, addr), time.Now()
		for ping(c) == nil {
			if time.Since(began) > 4*time.Second {
				t.Fatal("a tunnel outlived the certificates it was made with")
			}
			time.Sleep(10 * time.Millisecond)
		}
	}
}

// distrust leaves r with a root that vouched for nobody.
func (r *running) distrust(t testing.TB, other *testMesh) {
	roots, err := spiffe.ParseRoots(other.dev.Roots())
	check(t, err)
	td := spiffeid.RequireTrustDomainFromString(trustDomain)
	r.p.Source().SetBundles(spiffe.Bundles{td: []*x509.Certificate(roots)})
}

func TestRemovingARootEndsWhatItVouchedFor(t *testing.T) {
	other := newMesh(t, 0)
	for _, role := range []string{"server", "client"} {
		t.Run("tunnel, "+role, func(t *testing.T) {
			m := newMesh(t, 0)
			addr, caller, callee := m.tunnels()
			c := open(t, addr)
			map[string]*running{"server": callee, "client": caller}[role].distrust(t, other)
			awaitEnd(t, c)
			again, err := net.Dial("tcp", addr)
			if errors.Is(err, syscall.ECONNRESET) {
				return // refused before the dial had noticed that it succeeded
			}
			check(t, err)
			defer again.Close()
			if ping(again) == nil {
				t.Error("a new tunnel was made")
			}
		})
		t.Run("http, "+role, func(t *testing.T) {
			m := newMesh(t, 0)
			hang := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.WriteHeader(200)
				http.NewResponseController(w).Flush()
				<-r.Context().Done()
			})
			url, caller, callee := m.pair(hang)
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			req, err := http.NewRequestWithContext(ctx, "GET", url, nil)
			check(t, err)
			resp, err := http2Client(t).Do(req)
			check(t, err)
			defer resp.Body.Close()
			map[string]*running{"server": callee, "client": caller}[role].distrust(t, other)
			if _, err := io.ReadAll(resp.Body); err == nil || ctx.Err() != nil {
				t.Errorf("the response went on: %v", err)
			}
			if status, _, _ := get(t, http1Client(t), url); status < 500 {
				t.Errorf("a new request was answered with %d", status)
			}
		})
	}
}

func TestAPolicyChangeEndsTunnelsItRefuses(t *testing.T) {
	m := newMesh(t, 0)
	addr, _, callee := m.tunnels()
	meshed := open(t, addr)
	c := open(t, callee.inbound)
	m.write("namespace.yaml", "apiVersion: v1\nkind: Namespace\n"+
		"metadata: {name: shop, annotations: {tulle.dev/mode: strict}}\n")
	awaitEnd(t, c)
	check(t, ping(meshed))
}
