// Package svid makes SVIDs for tests and demonstrations, of the shape that identity's have, without
// identity. It starts nothing, and no server of ours imports it.
package svid

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	"net/url"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"

	"github.com/tulle-mesh/tulle/identity/spiffe"
)

// CA signs SVIDs of one trust domain, for an hour.
type CA struct {
	td   spiffeid.TrustDomain
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// NewCA makes a CA with a key of its own.
func NewCA(td spiffeid.TrustDomain) (*CA, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageCertSign, URIs: []*url.URL{td.ID().URL()},
	}
	cert, err := sign(template, template, key.Public(), key)
	return &CA{td, cert, key}, err
}

// Root is what vouches for the CA's SVIDs.
func (ca *CA) Root() *x509.Certificate { return ca.cert }

// Source is a process with an SVID for an account and a pod, that lasts for life and trusts the CA.
func (ca *CA) Source(ns, account, pod string, life time.Duration) (*spiffe.Source, error) {
	id, err := spiffe.ForWorkload(ca.td, ns, account)
	if err != nil {
		return nil, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	leaf, err := ca.Certify(id, pod, key.Public(), life)
	if err != nil {
		return nil, err
	}
	src := spiffe.NewSource()
	src.SetSVID(&x509svid.SVID{ID: id, Certificates: []*x509.Certificate{leaf}, PrivateKey: key})
	src.SetBundle(ca.td, []*x509.Certificate{ca.cert})
	return src, nil
}

// Certify makes an SVID for who has the key to a public one.
func (ca *CA) Certify(
	id spiffeid.ID, pod string, public crypto.PublicKey, life time.Duration,
) (*x509.Certificate, error) {
	return sign(&x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: pod},
		URIs: []*url.URL{id.URL()}, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(life),
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}, ca.cert, public, ca.key)
}

func sign(
	template, parent *x509.Certificate, public crypto.PublicKey, parentKey *ecdsa.PrivateKey,
) (*x509.Certificate, error) {
	der, err := x509.CreateCertificate(rand.Reader, template, parent, public, parentKey)
	if err != nil {
		return nil, fmt.Errorf("sign: %w", err)
	}
	return x509.ParseCertificate(der)
}
