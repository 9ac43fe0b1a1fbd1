package spiffe

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"fmt"
	"log/slog"
	mathrand "math/rand/v2"
	"time"

	"github.com/spiffe/go-spiffe/v2/bundle/x509bundle"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"
)

const (
	// one try: a TokenReview on a loaded API server takes seconds
	certifyTimeout  = 10 * time.Second
	retryMin        = time.Second
	retryMax        = 60 * time.Second // the old SVID still works meanwhile
	retryMaxWithout = 10 * time.Second // without an SVID the pod is not ready
	// a retry waits at most this fraction of the life that is left ...
	retryShare = 8
	retryFloor = 50 * time.Millisecond
	// an issuer about to expire gives ever shorter lives: no busy loop on it
	renewFloor = 500 * time.Millisecond
	// a removed root reaches every proxy at once; their calls should not
	rotateSpread = 10 * time.Second
)

// Renewer keeps a Source's SVID fresh. Every try makes a new key, which never leaves the memory of
// the process.
type Renewer struct {
	Source   *Source
	Expected spiffeid.ID // an SVID for anybody else is refused
	// Certify asks identity. It is called by one goroutine, and again after each failure.
	Certify func(ctx context.Context, csrDER []byte) (chain, roots [][]byte, err error)
	Log     *slog.Logger
}

// Run renews until the context ends, which is all that it returns for. Source.Wait tells of the
// first success.
func (r *Renewer) Run(ctx context.Context) error {
	for failures := 0; ; {
		judged := r.Source.state.Load().version
		err := r.renew(ctx)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err == nil {
			failures = 0
			err = r.untilDue(ctx, judged)
		} else {
			failures++
			err = r.pause(ctx, err, failures)
		}
		if err != nil {
			return err
		}
	}
}

func (r *Renewer) pause(ctx context.Context, failed error, failures int) error {
	wait := backoff(failures, r.remaining())
	r.Source.SetProblem(failed)
	r.Log.Warn("cannot renew the certificate", "id", r.Expected, "err", failed, "retry", wait,
		"valid", r.remaining())
	return sleep(ctx, wait)
}

// untilDue waits for half of the SVID's life, or until bundles newer than the judged ones no longer
// vouch for it. Bundles that were there before it was asked for are no reason to ask again: the
// answer would be the same.
func (r *Renewer) untilDue(ctx context.Context, judged uint64) error {
	due := time.NewTimer(jitter(max(renewFloor, r.remaining()/2)))
	defer due.Stop()
	for {
		st := r.Source.state.Load()
		if st.version != judged {
			judged = st.version
			if _, err := Verify(st.svid.Certificates, r.Source); err != nil {
				r.Log.Info("the trust bundle changed, renewing the certificate", "id", r.Expected,
					"reason", err)
				return sleep(ctx, mathrand.N(min(rotateSpread, max(r.remaining()/retryShare, 1))))
			}
		}
		select {
		case <-due.C:
			return nil
		case <-st.changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// remaining is the life left to the SVID in hand; NotBefore says nothing, for it is backdated.
func (r *Renewer) remaining() time.Duration {
	svid := r.Source.SVID()
	if svid == nil {
		return 0
	}
	return max(0, time.Until(svid.Certificates[0].NotAfter))
}

func (r *Renewer) renew(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, certifyTimeout)
	defer cancel()
	key, csr, err := newRequest()
	if err != nil {
		return err
	}
	chain, roots, err := r.Certify(ctx, csr)
	if err != nil {
		return fmt.Errorf("ask identity for a certificate: %w", err)
	}
	return r.accept(key, chain, roots)
}

// newRequest makes a key and a request that says nothing but the key: identity believes nothing
// else in it.
func newRequest() (*ecdsa.PrivateKey, []byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, fmt.Errorf("make a key: %w", err)
	}
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	if err != nil {
		return nil, nil, fmt.Errorf("make a certificate request: %w", err)
	}
	return key, csr, nil
}

// accept takes identity's answer over, if it is what was asked for. Its roots only fill an empty
// bundle: the Bundles stream is newer than an answer of a replica that lags behind, and must not
// have a removed root put back.
func (r *Renewer) accept(key *ecdsa.PrivateKey, chainDER, rootsDER [][]byte) error {
	chain, err := parseChain(chainDER)
	if err != nil {
		return fmt.Errorf("parse the new certificate: %w", err)
	}
	roots, err := ParseAuthorities(rootsDER)
	if err != nil {
		return err
	}
	td := r.Expected.TrustDomain()
	peer, err := Verify(chain, x509bundle.FromX509Authorities(td, roots))
	if err != nil {
		return fmt.Errorf("verify the new certificate: %w", err)
	}
	if peer.ID != r.Expected {
		return fmt.Errorf("identity certified %s, expected %s", peer.ID, r.Expected)
	}
	if !key.PublicKey.Equal(peer.Leaf.PublicKey) {
		return fmt.Errorf("identity certified a key that is not ours")
	}
	if len(r.Source.Bundles()[td]) == 0 {
		r.Source.SetBundle(td, roots)
	}
	r.Source.SetSVID(&x509svid.SVID{ID: peer.ID, Certificates: chain, PrivateKey: key})
	return nil
}

// backoff doubles from a second, and never sleeps through what is left of the SVID.
func backoff(failures int, remaining time.Duration) time.Duration {
	limit := retryMaxWithout
	if remaining > 0 {
		limit = min(retryMax, max(retryFloor, remaining/retryShare))
	}
	wait := min(retryMin<<min(failures-1, 6), limit)
	return wait/2 + mathrand.N(wait/2) // an outage fails everybody at the same moment: spread wide
}

// jitter is ±10 %: proxies that started together drift apart.
func jitter(d time.Duration) time.Duration {
	return time.Duration(float64(d) * (0.9 + 0.2*mathrand.Float64()))
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
