package spiffe

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net/url"
	"testing"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"
)

var (
	td  = spiffeid.RequireTrustDomainFromString("cluster.local")
	web = spiffeid.RequireFromString("spiffe://cluster.local/ns/shop/sa/web")
	api = spiffeid.RequireFromString("spiffe://cluster.local/ns/shop/sa/api")
)

// authority is a root that signs whatever a test asks of it; the real CA, which would refuse, is
// tested in identity.
type authority struct {
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
}

func newAuthority(t testing.TB) *authority {
	t.Helper()
	key := newKey(t)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test root"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(1000 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return &authority{key, parseCertificate(t, der)}
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func parseCertificate(t testing.TB, der []byte) *x509.Certificate {
	t.Helper()
	c, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func good(uris ...string) *x509.Certificate {
	c := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "web-0"},
		NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, BasicConstraintsValid: true,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	for _, s := range uris {
		u, err := url.Parse(s)
		if err != nil {
			panic(err)
		}
		c.URIs = append(c.URIs, u)
	}
	return c
}

func (a *authority) sign(t testing.TB, template *x509.Certificate, public any) *x509.Certificate {
	t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, public, a.key)
	if err != nil {
		t.Fatal(err)
	}
	return parseCertificate(t, der)
}

func (a *authority) svid(t testing.TB, id spiffeid.ID) *x509svid.SVID {
	t.Helper()
	key := newKey(t)
	cert := a.sign(t, good(id.String()), key.Public())
	return &x509svid.SVID{ID: id, Certificates: []*x509.Certificate{cert}, PrivateKey: key}
}

// source is id, and believes the given authorities.
func (a *authority) source(t testing.TB, id spiffeid.ID, trusted ...*authority) *Source {
	t.Helper()
	s := NewSource()
	s.SetSVID(a.svid(t, id))
	s.SetBundles(Bundles{td: roots(trusted...)})
	return s
}

func roots(as ...*authority) []*x509.Certificate {
	var out []*x509.Certificate
	for _, a := range as {
		out = append(out, a.cert)
	}
	return out
}
