package agent

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/keepalive"

	"github.com/tulle-mesh/tulle/identity/api"
	"github.com/tulle-mesh/tulle/identity/api/identitygrpc"
	"github.com/tulle-mesh/tulle/identity/spiffe"
	"github.com/tulle-mesh/tulle/proxy/backoff"
)

const (
	followMin   = time.Second      // between streams of bundles
	followMax   = 30 * time.Second // roots change a few times a year
	pingAfter   = 30 * time.Second // an identity that vanished without a word is noticed
	pingTimeout = 10 * time.Second
	maxFile     = 256 << 10 // of the token and the trust file: more is not what was meant
)

// Config says who the process is to be, and where to prove it.
type Config struct {
	ID           spiffeid.ID // what identity must certify; anything else is refused
	IdentityAddr string      // host:port
	IdentityID   spiffeid.ID // the exact ID of the server there
	TokenFile    string      // a projected service account token with identity's audience
	TrustFile    string      // PEM roots for calls to identity
	Log          *slog.Logger
}

// Start returns at once. Source.Wait waits for the first SVID, and Source.Ready says what is
// missing until then.
func Start(ctx context.Context, cfg Config) (*spiffe.Source, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	a := &agent{Config: cfg, source: spiffe.NewSource()}
	renewer := &spiffe.Renewer{Source: a.source, Expected: cfg.ID, Certify: a.certify, Log: cfg.Log}
	go renewer.Run(ctx)
	go a.follow(ctx)
	return a.source, nil
}

func (c Config) check() error {
	if _, _, err := spiffe.Workload(c.ID); err != nil {
		return fmt.Errorf("own ID: %w", err)
	}
	if _, _, err := spiffe.Workload(c.IdentityID); err != nil {
		return fmt.Errorf("identity's ID: %w", err)
	}
	if c.IdentityAddr == "" || c.TokenFile == "" || c.TrustFile == "" {
		return errors.New("identity's address, the token file and the trust file are needed")
	}
	return nil
}

type agent struct {
	Config
	source *spiffe.Source
}

func (a *agent) certify(ctx context.Context, csr []byte) (chain, roots [][]byte, err error) {
	token, err := readFile(a.TokenFile)
	if err != nil {
		return nil, nil, fmt.Errorf("read the token: %w", err)
	}
	conn, err := a.dial()
	if err != nil {
		return nil, nil, err
	}
	defer conn.Close()
	resp, err := identitygrpc.NewIdentityClient(conn).Certify(ctx, &api.CertifyRequest{
		Attestation: &api.CertifyRequest_KubernetesToken{KubernetesToken: strings.TrimSpace(
			string(token))},
		ExpectedId: a.ID.String(), Csr: csr,
	})
	return resp.GetCertificates(), resp.GetAuthorities(), err
}

// dial trusts the roots of the moment, so a connection is made for each call; calls are hours
// apart.
func (a *agent) dial() (*grpc.ClientConn, error) {
	roots, err := a.roots()
	if err != nil {
		return nil, err
	}
	conn, err := grpc.NewClient(a.IdentityAddr,
		grpc.WithTransportCredentials(credentials.NewTLS(
			spiffe.BootstrapClientConfig(roots, a.IdentityID, []string{"h2"}))),
		grpc.WithNoProxy(), grpc.WithDisableServiceConfig(),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(api.MaxResponse)),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: pingAfter, Timeout: pingTimeout}),
	)
	if err != nil {
		return nil, fmt.Errorf("dial identity at %s: %w", a.IdentityAddr, err)
	}
	return conn, nil
}

// roots are the trust file's and those learnt since: after a rotation either may be ahead of the
// other.
func (a *agent) roots() ([]*x509.Certificate, error) {
	learnt := a.source.Bundles()[a.IdentityID.TrustDomain()]
	text, err := readFile(a.TrustFile)
	if err != nil && len(learnt) == 0 {
		return nil, fmt.Errorf(
			"read the trust file: %w (identity keeps it in a ConfigMap; is identity up?)", err)
	}
	mounted, err := spiffe.ParseRoots(text)
	if err != nil && len(learnt) == 0 {
		return nil, fmt.Errorf("trust file %s: %w", a.TrustFile, err)
	}
	return append(mounted, learnt...), nil
}

// follow keeps a stream of bundles open until the context ends.
func (a *agent) follow(ctx context.Context) {
	retry := backoff.Backoff{Min: followMin, Max: followMax}
	for ctx.Err() == nil {
		started := time.Now()
		err := a.followOnce(ctx)
		wait := retry.After(started)
		if err != nil && ctx.Err() == nil {
			a.Log.Debug("the stream of trust bundles ended", "err", err, "retry", wait)
		}
		if pause(ctx, wait) != nil {
			return
		}
	}
}

func (a *agent) followOnce(ctx context.Context) error {
	conn, err := a.dial()
	if err != nil {
		return err
	}
	defer conn.Close()
	s, err := identitygrpc.NewIdentityClient(conn).Bundles(ctx, &api.BundlesRequest{})
	if err != nil {
		return err
	}
	for {
		resp, err := s.Recv()
		if err != nil {
			return err
		}
		if err := a.learn(resp); err != nil {
			a.Log.Error("ignored what identity says of trust bundles", "err", err)
		}
	}
}

// learn takes the bundles over, all or none.
func (a *agent) learn(resp *api.BundlesResponse) error {
	all := spiffe.Bundles{}
	for _, b := range resp.GetBundles() {
		td, err := spiffeid.TrustDomainFromString(b.GetTrustDomain())
		if err != nil {
			return fmt.Errorf("trust domain %q: %w", b.GetTrustDomain(), err)
		}
		if all[td], err = spiffe.ParseAuthorities(b.GetAuthorities()); err != nil {
			return fmt.Errorf("trust domain %s: %w", td, err)
		}
	}
	if len(all[a.ID.TrustDomain()]) == 0 {
		return fmt.Errorf("there is none of our own trust domain %s", a.ID.TrustDomain())
	}
	a.source.SetBundles(all)
	return nil
}

func readFile(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(text) > maxFile {
		err = fmt.Errorf("%s is larger than %d bytes", name, maxFile)
	}
	return text, err
}

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
