package proxy

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
	destination "github.com/tulle-mesh/tulle/destination/api"
	"github.com/tulle-mesh/tulle/identity/api"
	"github.com/tulle-mesh/tulle/identity/spiffe"
	"github.com/tulle-mesh/tulle/proxy/authorize"
	"github.com/tulle-mesh/tulle/proxy/balance"
	"github.com/tulle-mesh/tulle/proxy/config"
	"github.com/tulle-mesh/tulle/proxy/detect"
	"github.com/tulle-mesh/tulle/proxy/discover"
	"github.com/tulle-mesh/tulle/proxy/forward"
	"github.com/tulle-mesh/tulle/proxy/metric"
	"github.com/tulle-mesh/tulle/proxy/outcome"
	"github.com/tulle-mesh/tulle/proxy/tunnel"
	"github.com/tulle-mesh/tulle/proxy/wire"
)

const (
	certifyMethod = "/tulle.identity.v1.Identity/Certify"
	bundlesMethod = "/tulle.identity.v1.Identity/Bundles"
	// a peer with a busy core signs late; a silent one is dropped
	handshakeTimeout = 10 * time.Second
	maxToken         = 16 << 10
	controlALPN      = "h2" // gRPC's
)

// newToken reads how the proxy proves who it is: a file, read anew for each call, or a token handed
// over once.
func newToken(cfg config.Config) (func() (string, error), error) {
	if cfg.TokenFD == 0 {
		return func() (string, error) {
			b, err := os.ReadFile(cfg.TokenFile)
			if err != nil {
				return "", fmt.Errorf("read the service account token: %w", err)
			}
			return strings.TrimSpace(string(b)), nil
		}, nil
	}
	f := os.NewFile(uintptr(cfg.TokenFD), "token")
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxToken))
	if err != nil || len(b) == 0 {
		return nil, fmt.Errorf("%s=%d: no join token could be read from this descriptor: %w",
			config.EnvTokenFD, cfg.TokenFD, err)
	}
	token := strings.TrimSpace(string(b))
	return func() (string, error) { return token, nil }, nil
}

// certify asks identity for an SVID.
func (p *Proxy) certify(ctx context.Context, csr []byte) (chain, roots [][]byte, err error) {
	token, err := p.token()
	if err != nil {
		return nil, nil, err
	}
	req := &api.CertifyRequest{ExpectedId: p.cfg.Identity, Csr: csr}
	if p.cfg.TokenFD != 0 {
		req.Attestation = &api.CertifyRequest_JoinToken{JoinToken: token}
	} else {
		req.Attestation = &api.CertifyRequest_KubernetesToken{KubernetesToken: token}
	}
	resp := &api.CertifyResponse{}
	if err := p.identity.Call(ctx, certifyMethod, req, resp); err != nil {
		p.controlErrors.identity.Inc()
		return nil, nil, fmt.Errorf("identity at %s: %w", p.cfg.IdentityAPI.Addr, err)
	}
	return resp.Certificates, resp.Authorities, nil
}

// dialIdentity trusts what the process trusts, and before it has an SVID the roots of the trust
// file as they are today.
func (p *Proxy) dialIdentity(ctx context.Context) (*wire.Conn, error) {
	id, err := spiffeid.FromString(p.cfg.IdentityAPI.ID)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", config.EnvIdentityID, err)
	}
	roots := p.source.Bundles()[id.TrustDomain()]
	if len(roots) == 0 {
		pem, err := os.ReadFile(p.cfg.TrustFile)
		if err != nil {
			return nil, fmt.Errorf("read the roots to trust: %w", err)
		}
		if roots, err = spiffe.ParseRoots(pem); err != nil {
			return nil, fmt.Errorf("%s: %w", p.cfg.TrustFile, err)
		}
	}
	return p.dialControl(ctx, p.cfg.IdentityAPI.Addr,
		spiffe.BootstrapClientConfig(roots, id, []string{controlALPN}))
}

// dialServer dials a control-plane server that must be exactly s.ID.
func (p *Proxy) dialServer(s config.Service) func(context.Context) (*wire.Conn, error) {
	return func(ctx context.Context) (*wire.Conn, error) {
		id, err := spiffeid.FromString(s.ID)
		if err != nil {
			return nil, fmt.Errorf("server ID %q: %w", s.ID, err)
		}
		if err := p.source.Ready(); err != nil {
			return nil, err
		}
		return p.dialControl(ctx, s.Addr,
			spiffe.ClientConfig(p.source, id, []string{controlALPN}, ""))
	}
}

func (p *Proxy) dialControl(ctx context.Context, addr string, cfg *tls.Config) (*wire.Conn, error) {
	nc, err := p.connectControl(ctx, addr)
	if err != nil {
		return nil, err
	}
	return handshake(ctx, nc, wire.NewTLSClient(nc, counting(cfg, p.early.control)))
}

func handshake(ctx context.Context, nc net.Conn, w *wire.Conn) (*wire.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, handshakeTimeout)
	defer cancel()
	if err := w.Handshake(ctx); err != nil {
		w.Close()
		return nil, fmt.Errorf("TLS with %s: %w", nc.RemoteAddr(), err)
	}
	return w, nil
}

// followBundles keeps the roots of every trust domain up to date, so that they rotate without a
// restart.
func (p *Proxy) followBundles(ctx context.Context) {
	for ctx.Err() == nil {
		err := p.receiveBundles(ctx)
		p.log.Debug("the stream of trust bundles ended", "err", err)
		p.sleep(time.Second + rand.N(4*time.Second))
	}
}

func (p *Proxy) receiveBundles(ctx context.Context) error {
	if _, err := p.source.Wait(ctx); err != nil {
		return err
	}
	s, err := p.identity.Open(ctx, bundlesMethod)
	if err != nil {
		return err
	}
	defer s.Close()
	if err := s.Send(&api.BundlesRequest{}); err != nil {
		return err
	}
	s.CloseSend()
	for {
		m := &api.BundlesResponse{}
		if err := s.Recv(m); err != nil {
			return err
		}
		if err := p.setBundles(m); err != nil {
			p.log.Error("cannot use the trust bundles from identity, keeping the last ones", "err",
				err)
		}
	}
}

func (p *Proxy) setBundles(m *api.BundlesResponse) error {
	all := spiffe.Bundles{}
	for _, b := range m.Bundles {
		td, err := spiffeid.TrustDomainFromString(b.TrustDomain)
		if err != nil {
			return err
		}
		if all[td], err = spiffe.ParseAuthorities(b.Authorities); err != nil {
			return fmt.Errorf("bundle of %s: %w", td, err)
		}
	}
	p.source.SetBundles(all)
	return nil
}

// meshClientConfig dials an endpoint's proxy: it must prove the one identity that destination
// named.
func (p *Proxy) meshClientConfig(e *balance.Endpoint, alpn string) *tls.Config {
	cfg := spiffe.ClientConfig(p.source, e.Identity, []string{alpn},
		strconv.Itoa(int(e.Port))+config.SNISuffix)
	verify := counting(cfg, p.early.endpoint).VerifyConnection
	cfg.VerifyConnection = func(cs tls.ConnectionState) error {
		err := verify(cs)
		if errors.Is(err, spiffe.ErrOtherPeer) {
			return &outcome.Failure{Why: outcome.IdentityMismatch, Err: err}
		}
		return err
	}
	return cfg
}

func (p *Proxy) dialMesh(
	ctx context.Context,
	e *balance.Endpoint,
	alpn string,
) (*wire.Conn, error) {
	if e.Identity.IsZero() {
		return nil, &outcome.Failure{Why: outcome.IdentityMismatch,
			Err: errors.New("the endpoint is meshed, and its identity is not known")}
	}
	dial, cancel := context.WithTimeout(ctx, e.DialTimeout())
	nc, err := p.dialer.DialContext(dial, "tcp", e.Mesh)
	cancel()
	if err != nil {
		return nil, err
	}
	ctx, cancel = context.WithTimeout(ctx, e.HandshakeTimeout())
	defer cancel()
	w, err := handshake(ctx, nc, wire.NewTLSClient(nc, p.meshClientConfig(e, alpn)))
	if err != nil {
		return nil, &outcome.Failure{Why: outcome.Unreached(err, outcome.TLSFailed), Err: err}
	}
	if got := w.TLS().NegotiatedProtocol; got != alpn {
		w.Close()
		return nil, &outcome.Failure{Why: outcome.TLSFailed,
			Err: fmt.Errorf("%s speaks %q, want %q", nc.RemoteAddr(), got, alpn)}
	}
	return w, nil
}

// serveMesh is a connection from another proxy: mTLS, and inside it what the ALPN says.
func (p *Proxy) serveMesh(
	nc net.Conn,
	f detect.First,
	sni string,
	dst netip.AddrPort,
) *forward.ServerConn {
	port, err := strconv.ParseUint(sni, 10, 16)
	if err != nil {
		p.refused.bypass.Inc()
		return nil
	}
	if len(f.Hello.ALPN) == 1 && f.Hello.ALPN[0] == config.ALPNTCP {
		return p.serveTunnel(nc, f, uint16(port), dst)
	}
	w, err := handshake(p.ctx, nc, wire.NewTLSServer(nc, f.Bytes, p.meshServer))
	if err != nil {
		p.handshakeFailed(nc, err)
		return nil
	}
	a := p.meshArrival(nc, *w.TLS(), uint16(port), dst)
	if a == nil || w.TLS().NegotiatedProtocol != config.ALPNHTTP {
		w.Close()
		return nil
	}
	c := p.forward.Inbound(a)
	c.Speak(w, w.TLS(), false)
	return c
}

// serveTunnel is a connection inside mTLS that the caller's proxy takes for opaque. The proxy of
// whoever may reach this port is believed about the caller, and not about what it says.
func (p *Proxy) serveTunnel(
	nc net.Conn,
	f detect.First,
	port uint16,
	dst netip.AddrPort,
) *forward.ServerConn {
	tcp, ok := nc.(*net.TCPConn)
	if !ok {
		return nil
	}
	tl := tunnel.Server(tcp, f.Bytes, p.meshServer)
	ctx, cancel := context.WithTimeout(p.ctx, handshakeTimeout)
	defer cancel()
	if err := tl.HandshakeContext(ctx); err != nil {
		p.handshakeFailed(nc, err)
		return nil
	}
	a := p.meshArrival(nc, tl.ConnectionState(), port, dst)
	switch {
	case a == nil:
		return nil
	case a.Port.Now().Protocol == destination.Protocol_PROTOCOL_OPAQUE:
		p.tunnels.Inbound(tl, a, tunnel.Words{})
		return nil
	}
	return p.serveApplication(tl, a, detect.First{})
}

func (p *Proxy) handshakeFailed(nc net.Conn, err error) {
	p.sampled.Info("refused a mesh connection", "from", nc.RemoteAddr(), "err", err)
	p.refused.handshake.Inc()
}

// meshArrival describes a verified peer's; nil: what it dialed is not served.
func (p *Proxy) meshArrival(
	nc net.Conn,
	state tls.ConnectionState,
	port uint16,
	dst netip.AddrPort,
) *discover.Arrival {
	peer, err := spiffe.PeerOf(state)
	if err != nil {
		p.handshakeFailed(nc, err)
		return nil
	}
	from, _ := netip.ParseAddrPort(nc.RemoteAddr().String())
	who := authorize.Caller{
		ID:       peer.ID.String(),
		Address:  from.Addr().Unmap(),
		Security: metric.MTLS,
		Chose:    p.cfg.Apps != nil || dst.Port() == config.InboundPort,
	}
	return p.arrive(nc, who, port, dst)
}

// meshHello returns the target port when a ClientHello is one of ours: our ALPN and our SNI.
func meshHello(h detect.Hello) (port string, ok bool) {
	ours := slices.Contains(h.ALPN, config.ALPNHTTP) || slices.Contains(h.ALPN, config.ALPNTCP)
	port, suffixed := strings.CutSuffix(h.ServerName, config.SNISuffix)
	return port, ours && suffixed
}

func (p *Proxy) plainSecurity(from netip.Addr) metric.Security {
	if from.IsLoopback() && p.cfg.Apps == nil { // in explicit mode a whole mesh may be on one host
		return metric.Loopback
	}
	return metric.PlaintextUnmeshed
}
