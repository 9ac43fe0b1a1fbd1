package identity

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"net/url"
	"time"

	"github.com/spiffe/go-spiffe/v2/bundle/x509bundle"
	"github.com/spiffe/go-spiffe/v2/spiffeid"

	"github.com/tulle-mesh/tulle/identity/names"
	"github.com/tulle-mesh/tulle/identity/spiffe"
)

// ownIssuerLife is how long an issuer that identity made for itself lasts. It is never replaced, so
// it is long; who wants a shorter one brings it in the Secret (cert-manager does) and rotates it
// there.
const ownIssuerLife = 10 * 365 * 24 * time.Hour

// material is an issuer as the Secret holds it: cert-manager's layout.
type material struct {
	chain []byte // tls.crt: the issuer's certificate, then what leads to a root
	key   []byte // tls.key
	roots []byte // ca.crt: every root to be trusted, several while rotating
}

// issuer signs for one trust domain. It never changes.
type issuer struct {
	trustDomain spiffeid.TrustDomain
	cert        *x509.Certificate
	key         *ecdsa.PrivateKey
	// what follows a leaf on the wire: from cert to a root, which is left out
	between  []*x509.Certificate
	roots    []*x509.Certificate
	notAfter time.Time // the earliest end in its chain
}

// parseIssuer takes an issuer only if a leaf that it signs passes with the peers: it signs one, and
// asks their code.
func parseIssuer(td spiffeid.TrustDomain, m material) (*issuer, error) {
	key, err := parseKey(m.key)
	if err != nil {
		return nil, err
	}
	chain, err := parseCertificates(m.chain)
	if err != nil {
		return nil, fmt.Errorf("tls.crt: %w", err)
	}
	roots, err := spiffe.ParseRoots(m.roots)
	if err != nil {
		return nil, fmt.Errorf("ca.crt: %w; put the PEM of every root to be trusted there", err)
	}
	i := &issuer{trustDomain: td, cert: chain[0], key: key, roots: roots}
	if err := i.check(time.Now()); err != nil {
		return nil, err
	}
	if err := i.findRoot(chain[1:]); err != nil {
		return nil, err
	}
	return i, i.signTrial()
}

func (i *issuer) check(now time.Time) error {
	cert := i.cert
	switch {
	case !i.key.PublicKey.Equal(cert.PublicKey):
		return errors.New(
			"tls.key does not belong to the first certificate of tls.crt: store the two together")
	case !cert.IsCA || cert.KeyUsage&x509.KeyUsageCertSign == 0:
		return errors.New(
			"tls.crt is not a CA certificate: issue it with isCA and the usage \"cert sign\"")
	case now.After(cert.NotAfter):
		return fmt.Errorf("tls.crt expired at %s: store a new issuer",
			cert.NotAfter.Format(time.RFC3339))
	case now.Before(cert.NotBefore):
		return fmt.Errorf("tls.crt is not valid before %s: check the clocks",
			cert.NotBefore.Format(time.RFC3339))
	}
	return nil
}

// findRoot finds what leads from the issuer to a root, and when the first of it ends.
func (i *issuer) findRoot(rest []*x509.Certificate) error {
	pool, between := x509.NewCertPool(), x509.NewCertPool()
	for _, root := range i.roots {
		pool.AddCert(root)
	}
	for _, c := range rest {
		between.AddCert(c)
	}
	chains, err := i.cert.Verify(x509.VerifyOptions{
		Roots: pool, Intermediates: between, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny},
	})
	if err != nil {
		return fmt.Errorf("tls.crt does not lead to a root in ca.crt: %w", err)
	}
	path := chains[0]
	i.notAfter = path[0].NotAfter
	for _, c := range path {
		if c.NotAfter.Before(i.notAfter) {
			i.notAfter = c.NotAfter
		}
	}
	i.between = path[:len(path)-1]
	return nil
}

func (i *issuer) signTrial() error {
	id, err := spiffe.ForWorkload(i.trustDomain, names.Namespace, "trial")
	if err != nil {
		return err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	chain, err := i.sign(subject{ID: id}, &key.PublicKey, time.Minute)
	if err != nil {
		return err
	}
	if _, err := spiffe.Verify(chain, i.bundle()); err != nil {
		return fmt.Errorf(
			"certificates signed by tls.crt do not verify (name constraints, path length or "+
				"usages?): %w", err)
	}
	return nil
}

func (i *issuer) bundle() *x509bundle.Bundle {
	return x509bundle.FromX509Authorities(i.trustDomain, i.roots)
}

func parseKey(text []byte) (*ecdsa.PrivateKey, error) {
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, errors.New("tls.key: no PEM block; put the issuer's private key there")
	}
	key, err := parsePrivateKey(block)
	if err != nil {
		return nil, fmt.Errorf("tls.key: %w", err)
	}
	ec, ok := key.(*ecdsa.PrivateKey)
	if !ok || ec.Curve != elliptic.P256() {
		return nil, errors.New(
			"tls.key: not an ECDSA P-256 key; with cert-manager set privateKey: {algorithm: " +
				"ECDSA, size: 256}")
	}
	return ec, nil
}

// parsePrivateKey reads PKCS #8 and SEC 1: cert-manager writes either.
func parsePrivateKey(block *pem.Block) (any, error) {
	switch block.Type {
	case "EC PRIVATE KEY":
		return x509.ParseECPrivateKey(block.Bytes)
	case "PRIVATE KEY":
		return x509.ParsePKCS8PrivateKey(block.Bytes)
	case "RSA PRIVATE KEY":
		return x509.ParsePKCS1PrivateKey(block.Bytes)
	}
	return nil, fmt.Errorf("PEM block %q is not a private key", block.Type)
}

func parseCertificates(text []byte) ([]*x509.Certificate, error) {
	var chain []*x509.Certificate
	for {
		var block *pem.Block
		block, text = pem.Decode(text)
		if block == nil {
			break
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("certificate %d: %w", len(chain)+1, err)
		}
		chain = append(chain, c)
	}
	if len(chain) == 0 {
		return nil, errors.New("no certificate; put the PEM of the issuer's there")
	}
	return chain, nil
}

// makeIssuer makes a root that signs leaves itself. An intermediate would add a certificate to
// every handshake, and its root's key would lie in the same Secret.
func makeIssuer(td spiffeid.TrustDomain) (material, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return material{}, fmt.Errorf("make an issuer's key: %w", err)
	}
	root := rootTemplate(td)
	der, err := x509.CreateCertificate(rand.Reader, root, root, key.Public(), key)
	if err != nil {
		return material{}, fmt.Errorf("make an issuer: %w", err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return material{}, fmt.Errorf("encode the issuer's key: %w", err)
	}
	cert := encodePEM("CERTIFICATE", der)
	return material{chain: cert, key: encodePEM("PRIVATE KEY", keyDER), roots: cert}, nil
}

func rootTemplate(td spiffeid.TrustDomain) *x509.Certificate {
	now := time.Now()
	return &x509.Certificate{
		SerialNumber: newSerial(),
		Subject:      pkix.Name{CommonName: "Tulle identity of " + td.Name()},
		// SPIFFE X509-SVID §4.1: a signing certificate's ID has no path
		URIs:      []*url.URL{td.ID().URL()},
		NotBefore: now.Add(-backdate), NotAfter: now.Add(ownIssuerLife),
		IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
}

func encodePEM(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

func encodeRoots(roots []*x509.Certificate) []byte {
	var out []byte
	for _, root := range roots {
		out = append(out, encodePEM("CERTIFICATE", root.Raw)...)
	}
	return out
}
