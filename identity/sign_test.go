package identity

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"net"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
)

// The CSR claims to be a CA, a server, and somebody else. None of it may be in the certificate.
func TestOnlyTheAttestedIdentityIsSigned(t *testing.T) {
	a := testAuthority(t, time.Hour)
	key := newKey(t)
	basic, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{
		Subject:        pkix.Name{CommonName: "admin", Organization: []string{"system:masters"}},
		DNSNames:       []string{"tulle-identity.tulle.svc"},
		EmailAddresses: []string{"a@b.c"}, IPAddresses: []net.IP{{1, 2, 3, 4}},
		URIs: []*url.URL{apiID.URL()},
		ExtraExtensions: []pkix.Extension{{Id: []int{2, 5, 29, 19}, Critical: true,
			Value: []byte{0x30, 3, 1, 1, 0xff}}},
	}, key)
	if err != nil {
		t.Fatal(err)
	}
	public, err := requestedKey(basic)
	if err != nil {
		t.Fatal(err)
	}
	chain, _, err := a.certify(attested{ID: webID, Pod: "web-7d9f"}, public)
	if err != nil {
		t.Fatal(err)
	}
	leaf := chain[0]
	if got := leaf.Subject.String(); got != "CN=web-7d9f" {
		t.Errorf("subject %q", got)
	}
	if len(leaf.URIs) != 1 || leaf.URIs[0].String() != webID.String() ||
		len(leaf.DNSNames)+len(leaf.EmailAddresses)+len(leaf.IPAddresses) != 0 {
		t.Errorf("names %v %v %v %v", leaf.URIs, leaf.DNSNames, leaf.EmailAddresses,
			leaf.IPAddresses)
	}
	if leaf.IsCA || leaf.KeyUsage != x509.KeyUsageDigitalSignature || len(leaf.ExtKeyUsage) != 2 ||
		!key.PublicKey.Equal(leaf.PublicKey) {
		t.Errorf("CA %v, usage %v, extended %v", leaf.IsCA, leaf.KeyUsage, leaf.ExtKeyUsage)
	}
	if leaf.SerialNumber.BitLen() > 128 || leaf.SerialNumber.BitLen() < 64 {
		t.Errorf("serial %x", leaf.SerialNumber)
	}
	skew, life := time.Since(leaf.NotBefore), time.Until(leaf.NotAfter)
	if skew < backdate || life > time.Hour || life < 59*time.Minute {
		t.Errorf("valid from %v ago for %v", skew, life)
	}
}

func TestLifeEndsWithTheIssuers(t *testing.T) {
	root := newRoot(t)
	short := caTemplate()
	short.NotAfter = time.Now().Add(time.Hour)
	i, err := parseIssuer(td, materialOf(t, []*pair{issue(t, short, root, newKey(t))}, root))
	if err != nil {
		t.Fatal(err)
	}
	chain, err := i.sign(subject{ID: webID}, &newKey(t).PublicKey, 24*time.Hour)
	if err != nil || chain[0].NotAfter.After(short.NotAfter) {
		t.Fatalf("ends %v, the issuer %v, %v", chain[0].NotAfter, short.NotAfter, err)
	}
	_, err = i.template(subject{ID: webID}, short.NotAfter.Add(time.Second), time.Hour)
	if err == nil || !strings.Contains(err.Error(), "expired") {
		t.Fatalf("an expired issuer signs: %v", err)
	}
}

func TestServersHaveDNSNames(t *testing.T) {
	a := testAuthority(t, time.Hour)
	for id, want := range map[string][]string{
		"spiffe://cluster.local/ns/tulle/sa/tulle-injector": {"tulle-injector.tulle.svc",
			"tulle-injector.tulle.svc.cluster.local"},
		"spiffe://cluster.local/ns/shop/sa/tulle-injector": nil,
		"spiffe://cluster.local/ns/tulle/sa/default":       nil,
	} {
		chain, _, err := a.certify(attested{ID: spiffeid.RequireFromString(id)},
			&newKey(t).PublicKey)
		if err != nil || !slices.Equal(chain[0].DNSNames, want) {
			t.Errorf("%s: %v, %v", id, chain[0].DNSNames, err)
		}
	}
	foreign := attested{ID: spiffeid.RequireFromString("spiffe://other.example/ns/shop/sa/web")}
	if _, _, err := a.certify(foreign, &newKey(t).PublicKey); err == nil {
		t.Error("signed for another trust domain")
	}
}

// badRequests are CSRs that no caller gets a certificate for, and what it is told.
func badRequests(t testing.TB) map[string]badRequest {
	good := request(t, newKey(t), nil)
	forged := bytes.Clone(good)
	forged[len(forged)-1] ^= 1
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return map[string]badRequest{
		"none":           {nil, "missing"},
		"garbage":        {[]byte("-----BEGIN CERTIFICATE REQUEST-----"), "parse"},
		"truncated":      {good[:len(good)/2], "parse"},
		"trailing bytes": {append(bytes.Clone(good), 0), "parse"},
		"huge":           {make([]byte, maxCSR+1), "at most"},
		"bad signature":  {forged, "signature"},
		"RSA":            {request(t, rsaKey, nil), "RSA, only ECDSA P-256"},
		"Ed25519":        {request(t, ed, nil), "Ed25519, only ECDSA P-256"},
		"ECDSA P-384":    {request(t, p384, nil), "P-384, only ECDSA P-256"},
		"another's key":  {swapKey(t, good), "signature"},
	}
}

type badRequest struct {
	csr  []byte
	want string
}

// swapKey puts another public key into a request, of which the caller does not have the private
// one.
func swapKey(t testing.TB, der []byte) []byte {
	t.Helper()
	csr, err := x509.ParseCertificateRequest(der)
	if err != nil {
		t.Fatal(err)
	}
	victim, err := x509.MarshalPKIXPublicKey(newKey(t).Public())
	if err != nil {
		t.Fatal(err)
	}
	return bytes.Replace(der, csr.RawSubjectPublicKeyInfo, victim, 1)
}

func TestBadRequests(t *testing.T) {
	for name, c := range badRequests(t) {
		if _, err := requestedKey(c.csr); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

func FuzzRequest(f *testing.F) {
	f.Add(request(f, newKey(f), nil))
	for _, c := range badRequests(f) {
		f.Add(c.csr)
	}
	f.Fuzz(func(t *testing.T, der []byte) {
		key, err := requestedKey(der)
		if err == nil && key.Curve != elliptic.P256() {
			t.Error("a key that is not P-256 passed")
		}
	})
}
