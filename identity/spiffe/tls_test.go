package spiffe

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
)

var protocols = []string{"tulle/h2"}

// server answers each connection with one byte, and tells what became of it.
type server struct {
	addr    string
	results chan result
}

type result struct {
	state tls.ConnectionState
	err   error
}

func serve(t *testing.T, cfg *tls.Config) *server {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &server{l.Addr().String(), make(chan result, 8)}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			s.results <- answer(tls.Server(nc, cfg))
		}
	}()
	t.Cleanup(func() { l.Close(); <-done })
	return s
}

func answer(c *tls.Conn) result {
	defer c.Close()
	c.SetDeadline(time.Now().Add(10 * time.Second))
	if err := c.Handshake(); err != nil {
		return result{err: err}
	}
	_, err := c.Write([]byte{1})
	return result{c.ConnectionState(), err}
}

// dial connects and reads the server's byte: in TLS 1.3 a client learns of a refusal only when it
// reads.
func (s *server) dial(cfg *tls.Config) (tls.ConnectionState, error) {
	c, err := tls.Dial("tcp", s.addr, cfg)
	if err != nil {
		return tls.ConnectionState{}, err
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
		return c.ConnectionState(), err
	}
	return c.ConnectionState(), nil
}

func TestMutual(t *testing.T) {
	ca := newAuthority(t)
	s := serve(t, ServerConfig(ca.source(t, api, ca), protocols, OnlyPeer(web)))
	cs, err := s.dial(ClientConfig(ca.source(t, web, ca), api, protocols, "8080.tulle"))
	if err != nil {
		t.Fatal(err)
	}
	if cs.Version != tls.VersionTLS13 || cs.NegotiatedProtocol != "tulle/h2" {
		t.Errorf("client negotiated %x, %q", cs.Version, cs.NegotiatedProtocol)
	}
	got := <-s.results
	peer, err := PeerOf(got.state)
	if err != nil || peer.ID != web || peer.Pod != "web-0" || got.state.ServerName != "8080.tulle" {
		t.Errorf("server saw %+v as %q, %v", peer, got.state.ServerName, err)
	}
}

func TestServerRefuses(t *testing.T) {
	ca, other := newAuthority(t), newAuthority(t)
	deny := errors.New("not today")
	nobody := NewSource()
	nobody.SetBundles(Bundles{td: roots(ca)})
	for name, c := range map[string]struct {
		authorize func(Peer) error
		client    *tls.Config
		want      string
	}{
		"no authorizer": {nil, ClientConfig(ca.source(t, web, ca), api, protocols, ""),
			"no peer is authorized"},
		"authorizer denies": {func(Peer) error { return deny },
			ClientConfig(ca.source(t, web, ca), api, protocols, ""), "not today"},
		"another peer": {OnlyPeer(api), ClientConfig(ca.source(t, web, ca), api, protocols, ""),
			"expected " + api.String()},
		"other root": {AnyPeer, ClientConfig(other.source(t, web, ca), api, protocols, ""),
			"unknown authority"},
		"no certificate": {AnyPeer, BootstrapClientConfig(roots(ca), api, protocols),
			"didn't provide a certificate"},
		"client is nobody": {AnyPeer, ClientConfig(nobody, api, protocols, ""),
			"no certificate: identity has not answered yet"},
		"foreign ALPN": {AnyPeer, ClientConfig(ca.source(t, web, ca), api, []string{"h2"}, ""),
			"unsupported application protocols"},
		"TLS 1.2": {AnyPeer, &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS12,
			NextProtos: protocols}, "unsupported versions"},
	} {
		t.Run(name, func(t *testing.T) {
			s := serve(t, ServerConfig(ca.source(t, api, ca), protocols, c.authorize))
			_, err := s.dial(c.client)
			if err == nil {
				t.Error("the client was let in")
			}
			got := <-s.results
			if got.err == nil || !strings.Contains(got.err.Error()+err.Error(), c.want) {
				t.Errorf("server: %v, client: %v; want %q", got.err, err, c.want)
			}
		})
	}
}

// A workload's SVID does not pass for a server, whoever signed it.
func TestClientRefuses(t *testing.T) {
	ca, other := newAuthority(t), newAuthority(t)
	identity := spiffeid.RequireFromString("spiffe://cluster.local/ns/tulle/sa/tulle-identity")
	for name, c := range map[string]struct {
		server *Source
		want   string
	}{
		"a workload": {ca.source(t, web, ca), "expected " + identity.String()},
		"other root": {other.source(t, identity, ca), "unknown authority"},
		"other trust domain": {ca.source(t, spiffeid.RequireFromString(
			"spiffe://evil.example/ns/tulle/sa/tulle-identity"), ca), ""},
		"no certificate": {NewSource(), "internal error"},
	} {
		t.Run(name, func(t *testing.T) {
			for kind, cfg := range map[string]*tls.Config{
				"bootstrap": BootstrapClientConfig(roots(ca), identity, protocols),
				"mutual":    ClientConfig(ca.source(t, web, ca), identity, protocols, ""),
			} {
				s := serve(t, BootstrapServerConfig(c.server, protocols))
				if _, err := s.dial(cfg); err == nil || !strings.Contains(err.Error(), c.want) {
					t.Errorf("%s: %v, want %q", kind, err, c.want)
				}
			}
		})
	}
}

func TestRotationNeedsNoRestart(t *testing.T) {
	before, after := newAuthority(t), newAuthority(t)
	src, client := before.source(t, api, before), before.source(t, web, before)
	s := serve(t, ServerConfig(src, protocols, AnyPeer))
	cfg := ClientConfig(client, api, protocols, "")
	mustDial := func(step string) {
		t.Helper()
		if _, err := s.dial(cfg); err != nil {
			t.Fatalf("%s: %v", step, err)
		}
	}
	mustDial("before")
	src.SetBundles(Bundles{td: roots(before, after)})
	client.SetBundles(Bundles{td: roots(before, after)})
	mustDial("both roots")
	src.SetSVID(after.svid(t, api))
	mustDial("server moved")
	client.SetSVID(after.svid(t, web))
	src.SetBundles(Bundles{td: roots(after)})
	client.SetBundles(Bundles{td: roots(after)})
	mustDial("after")
	client.SetSVID(before.svid(t, web))
	if _, err := s.dial(cfg); err == nil {
		t.Fatal("the removed root still vouches")
	}
}

// Tickets are off. This test turns them on, as a mistake or a future version might, and shows that
// a resumed session is still verified against the roots of today.
func TestResumedSessionIsVerifiedAgain(t *testing.T) {
	ca, next := newAuthority(t), newAuthority(t)
	src := ca.source(t, api, ca)
	serverConfig := ServerConfig(src, protocols, AnyPeer)
	clientConfig := ClientConfig(ca.source(t, web, ca), api, protocols, "8080.tulle")
	clientConfig.ClientSessionCache = tls.NewLRUClientSessionCache(8)

	s := serve(t, serverConfig)
	for range 2 {
		if cs, err := s.dial(clientConfig); err != nil || cs.DidResume {
			t.Fatalf("tickets are off, yet resumed: %v, %v", cs.DidResume, err)
		}
	}
	serverConfig = serverConfig.Clone()
	serverConfig.SessionTicketsDisabled = false
	clientConfig.SessionTicketsDisabled = false
	s = serve(t, serverConfig)
	if _, err := s.dial(clientConfig); err != nil {
		t.Fatal(err)
	}
	<-s.results
	if cs, err := s.dial(clientConfig); err != nil || !cs.DidResume {
		t.Fatalf("no resumption to test: %v, %v", cs.DidResume, err)
	}
	<-s.results
	src.SetBundles(Bundles{td: roots(next)})
	if _, err := s.dial(clientConfig); err == nil {
		t.Fatal("resumed although its root is gone")
	}
	got := <-s.results
	if got.err == nil || !strings.Contains(got.err.Error(), "unknown authority") {
		t.Fatalf("server: %v", got.err)
	}
}
