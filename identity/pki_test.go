package identity

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"log/slog"
	"testing"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"

	"github.com/tulle-mesh/tulle/identity/spiffe"
)

var (
	td    = spiffeid.RequireTrustDomainFromString("cluster.local")
	webID = spiffeid.RequireFromString("spiffe://cluster.local/ns/shop/sa/web")
	apiID = spiffeid.RequireFromString("spiffe://cluster.local/ns/shop/sa/api")
	quiet = slog.New(slog.DiscardHandler)
)

// pair is a certificate and its key, as a test wants them.
type pair struct {
	cert *x509.Certificate
	key  crypto.Signer
}

func caTemplate() *x509.Certificate {
	return &x509.Certificate{
		SerialNumber: newSerial(), Subject: pkix.Name{CommonName: "test " + newSerial().Text(36)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(100 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
}

// issue signs a certificate; without a parent it signs itself.
func issue(t testing.TB, template *x509.Certificate, parent *pair, key crypto.Signer) *pair {
	t.Helper()
	signer, above := key, template
	if parent != nil {
		signer, above = parent.key, parent.cert
	}
	der, err := x509.CreateCertificate(rand.Reader, template, above, key.Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &pair{cert, key}
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func newRoot(t testing.TB) *pair { return issue(t, caTemplate(), nil, newKey(t)) }

func (p *pair) keyPEM(t testing.TB) []byte {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(p.key)
	if err != nil {
		t.Fatal(err)
	}
	return encodePEM("PRIVATE KEY", der)
}

// materialOf is a Secret's content: the issuer, what leads to a root, and the roots.
func materialOf(t testing.TB, chain []*pair, roots ...*pair) material {
	t.Helper()
	return material{chain: certs(chain...), key: chain[0].keyPEM(t), roots: certs(roots...)}
}

func certs(ps ...*pair) []byte {
	var list []*x509.Certificate
	for _, p := range ps {
		list = append(list, p.cert)
	}
	return encodeRoots(list)
}

func ownIssuer(t testing.TB) *issuer {
	t.Helper()
	m, err := makeIssuer(td)
	if err != nil {
		t.Fatal(err)
	}
	i, err := parseIssuer(td, m)
	if err != nil {
		t.Fatal(err)
	}
	return i
}

func testAuthority(t testing.TB, life time.Duration) *authority {
	t.Helper()
	a := &authority{trustDomain: td, namespace: "tulle", clusterDomain: "cluster.local", life: life,
		source: spiffe.NewSource()}
	a.use(ownIssuer(t))
	return a
}

// request is a CSR for a key, with whatever else a caller may claim.
func request(t testing.TB, key crypto.Signer, claims *x509.CertificateRequest) []byte {
	t.Helper()
	if claims == nil {
		claims = &x509.CertificateRequest{}
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, claims, key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func verifyRaw(ders [][]byte, src *spiffe.Source) (spiffe.Peer, error) {
	var chain []*x509.Certificate
	for _, der := range ders {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			return spiffe.Peer{}, err
		}
		chain = append(chain, c)
	}
	return spiffe.Verify(chain, src)
}

func identityIDOf(domain string) spiffeid.ID {
	return spiffeid.RequireFromString("spiffe://" + domain + "/ns/tulle/sa/tulle-identity")
}
