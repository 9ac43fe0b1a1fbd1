package identity

import (
	"cmp"
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/tulle-mesh/tulle/identity/api"
	"github.com/tulle-mesh/tulle/identity/api/identitygrpc"
	"github.com/tulle-mesh/tulle/identity/serve"
	"github.com/tulle-mesh/tulle/identity/spiffe"
)

const (
	streamAge = 30 * time.Minute // at least, at most twice that: proxies spread over replicas
	stopGrace = 5 * time.Second  // calls in flight when identity ends
	// askTimeout is for the one message of a call.
	askTimeout = 10 * time.Second
)

// connectionLimits are what callers may hold. They have no SVID yet, so an address, which is a pod
// or behind a NAT a node of them, is all that they are counted by.
var connectionLimits = serve.Limits{
	Connections: maxCalls, PerAddress: maxCallsPerSource,
	Handshakes: 1024, HandshakesPerAddress: 128, Handshake: 5 * time.Second, Ask: askTimeout,
	Idle: time.Minute, Age: 2 * streamAge, // a stream's own age ends it before
	Streams: 4, Message: api.MaxRequest, // a proxy needs two
	Base: 64 << 20, Each: 24 << 10, // measured: 14 KiB, and 5 of garbage
}

// ConnectionLimits are the server's, from which follows what memory it needs.
func ConnectionLimits() serve.Limits { return connectionLimits }

// service answers Certify and Bundles.
type service struct {
	authority *authority
	attestor  attestor
	admission *admission
	log       *slog.Logger
	// done, if set, is told of each answered Certify: who was attested, if anybody, and the error,
	// if any.
	done func(attested, error)

	limits  serve.Limits
	metrics prometheus.Registerer // may be nil

	followers followers
}

// serve answers until the context ends, and returns when every call has ended.
func (s *service) serve(ctx context.Context, l net.Listener, cfg *tls.Config) error {
	server := serve.NewGRPC("identity", cfg, s.limits, s.metrics)
	server.Admit = s.admission.enterCall
	identitygrpc.RegisterIdentityServer(server, s)
	var announcer sync.WaitGroup
	defer announcer.Wait()
	announcing, end := context.WithCancel(ctx)
	defer end()
	announcer.Go(func() { s.announce(announcing) })
	ended := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(ended)
		s.followers.end(errStopping)
		hard := time.AfterFunc(stopGrace, server.Stop)
		defer hard.Stop()
		server.GracefulStop()
	})
	err := server.Serve(l)
	if stop() {
		return err // the listener failed before the context ended
	}
	<-ended
	return nil
}

// Certify admits a call, answers it and tells done of the answer. The generated code calls it.
func (s *service) Certify(
	ctx context.Context, req *api.CertifyRequest,
) (*api.CertifyResponse, error) {
	source := sourceOf(ctx)
	if err := s.admission.enter(source); err != nil {
		s.done(attested{}, err)
		return nil, err
	}
	defer s.admission.leave()
	who, resp, err := s.certify(ctx, req, source)
	if err != nil {
		s.log.Warn("certificate refused", "source", source, "attested", who.ID, "pod", who.Pod,
			"expected", req.GetExpectedId(), "err", err)
	}
	s.done(who, err)
	return resp, err
}

// certify checks what costs nothing before it asks Kubernetes, and signs only for who was attested.
func (s *service) certify(
	ctx context.Context, req *api.CertifyRequest, source netip.Addr,
) (attested, *api.CertifyResponse, error) {
	expected, err := spiffe.ParseWorkload(req.GetExpectedId())
	if err != nil {
		return attested{}, nil, status.Errorf(codes.InvalidArgument, "expected_id: %v", err)
	}
	key, err := requestedKey(req.GetCsr())
	if err != nil {
		return attested{}, nil, status.Error(codes.InvalidArgument, err.Error())
	}
	who, err := s.attestor.attest(ctx, req)
	if err != nil {
		return attested{}, nil, err
	}
	if who.ID != expected {
		return who, nil, status.Errorf(codes.PermissionDenied,
			"the token is of %s, the caller expects to be %s", who.ID, expected)
	}
	chain, roots, err := s.authority.certify(who, key)
	if err != nil {
		return who, nil, status.Error(codes.Unavailable, err.Error())
	}
	s.log.Info("certificate issued", "id", who.ID, "pod", who.Pod, "serial",
		chain[0].SerialNumber.Text(16),
		"expires", chain[0].NotAfter, "source", source)
	return who, &api.CertifyResponse{Certificates: rawCertificates(chain),
		Authorities: rawCertificates(roots)}, nil
}

func bundles(all spiffe.Bundles) *api.BundlesResponse {
	resp := &api.BundlesResponse{}
	for td, roots := range all {
		resp.Bundles = append(resp.Bundles, bundle(td, rawCertificates(roots)))
	}
	slices.SortFunc(resp.Bundles, func(a, b *api.Bundle) int {
		return cmp.Compare(a.TrustDomain, b.TrustDomain)
	})
	return resp
}

func bundle(td spiffeid.TrustDomain, authorities [][]byte) *api.Bundle {
	return &api.Bundle{TrustDomain: td.Name(), Authorities: authorities}
}
