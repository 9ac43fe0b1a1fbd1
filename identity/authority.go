package identity

import (
	"context"
	"crypto/ecdsa"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"

	"github.com/tulle-mesh/tulle/identity/names"
	"github.com/tulle-mesh/tulle/identity/spiffe"
)

// authority signs with the issuer of the moment.
type authority struct {
	trustDomain   spiffeid.TrustDomain
	namespace     string // the control plane's
	clusterDomain string // of the control plane's DNS names
	life          time.Duration

	source *spiffe.Source // identity's own SVID, and the bundles that it tells everybody
	issuer atomic.Pointer[issuer]
}

// use makes an issuer the one of the moment. The issuer is stored before its roots are published:
// hasIssuer is woken by the roots, and looks for the issuer then.
func (a *authority) use(i *issuer) {
	a.issuer.Store(i)
	a.source.SetBundle(a.trustDomain, i.roots)
}

// certify signs for who was attested, and adds the roots that the caller is to believe.
func (a *authority) certify(
	who attested, key *ecdsa.PublicKey,
) (chain, roots []*x509.Certificate, err error) {
	i := a.issuer.Load()
	if i == nil {
		return nil, nil, errors.New("identity has no issuer yet")
	}
	if !who.ID.MemberOf(a.trustDomain) {
		return nil, nil, fmt.Errorf("%s is not of the trust domain %s", who.ID, a.trustDomain)
	}
	chain, err = i.sign(subject{ID: who.ID, Pod: who.Pod, DNS: a.names(who.ID)}, key, a.life)
	return chain, i.roots, err
}

// isServer knows the control-plane servers, each with a service account and a Service of one name.
func isServer(account string) bool {
	switch account {
	case names.Identity, names.Destination, names.Injector, names.Viz:
		return true
	}
	return false
}

// names are the DNS names of a control-plane server; a workload has none, for a DNS name is no
// identity here.
func (a *authority) names(id spiffeid.ID) []string {
	ns, account, err := spiffe.Workload(id)
	if err != nil || ns != a.namespace || !isServer(account) {
		return nil
	}
	short := account + "." + ns + ".svc"
	return []string{short, short + "." + a.clusterDomain}
}

func (a *authority) ready() error {
	i := a.issuer.Load()
	if i == nil {
		return a.source.Ready()
	}
	if !time.Now().Before(i.notAfter) {
		return fmt.Errorf("the issuer expired at %s: store a new one",
			i.notAfter.Format(time.RFC3339))
	}
	return a.source.Ready()
}

// expiry is a figure for /metrics.
func (a *authority) expiry() float64 {
	i := a.issuer.Load()
	if i == nil {
		return 0
	}
	return float64(i.notAfter.Unix())
}

// hasIssuer waits for the first issuer.
func (a *authority) hasIssuer(ctx context.Context) error {
	for {
		changed := a.source.Changed()
		if a.issuer.Load() != nil {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// renewer keeps an SVID of a process that has the issuer in its own memory.
func (a *authority) renewer(src *spiffe.Source, who attested, log *slog.Logger) *spiffe.Renewer {
	return &spiffe.Renewer{
		Source: src, Expected: who.ID, Log: log,
		Certify: func(_ context.Context, csr []byte) (chain, roots [][]byte, err error) {
			key, err := requestedKey(csr)
			if err != nil {
				return nil, nil, err
			}
			c, r, err := a.certify(who, key)
			return rawCertificates(c), rawCertificates(r), err
		},
	}
}
