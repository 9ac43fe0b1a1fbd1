package identity

import (
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	"net/url"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
)

// backdate is how far a peer's clock may lag behind identity's. Nodes without time synchronisation
// are minutes off; Linkerd's 20 s show as failed handshakes there. It costs nothing: before
// a certificate is issued, no one has it.
const backdate = 5 * time.Minute

// subject is what was attested, and all that goes into an SVID besides the key.
type subject struct {
	ID spiffeid.ID
	// becomes the common name; X.520's bound of 64 characters is ignored by Go, and pods' names are
	// longer
	Pod string
	// a control-plane server's Service, for those who speak plain HTTPS to it (the API server to
	// the webhook)
	DNS []string
}

// sign returns the leaf and what leads from it to a root, the root left out.
func (i *issuer) sign(
	s subject, key *ecdsa.PublicKey, life time.Duration,
) ([]*x509.Certificate, error) {
	template, err := i.template(s, time.Now(), life)
	if err != nil {
		return nil, err
	}
	der, err := x509.CreateCertificate(rand.Reader, template, i.cert, key, i.key)
	if err != nil {
		return nil, fmt.Errorf("sign %s: %w", s.ID, err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("sign %s: %w", s.ID, err)
	}
	return append([]*x509.Certificate{leaf}, i.between...), nil
}

func (i *issuer) template(s subject, now time.Time, life time.Duration) (*x509.Certificate, error) {
	if !now.Before(i.notAfter) {
		return nil, fmt.Errorf("the issuer expired at %s: store a new one",
			i.notAfter.Format(time.RFC3339))
	}
	end := now.Add(life)
	if end.After(i.notAfter) {
		end = i.notAfter
	}
	return &x509.Certificate{
		SerialNumber: newSerial(),
		Subject:      pkix.Name{CommonName: s.Pod},
		URIs:         []*url.URL{s.ID.URL()},
		DNSNames:     s.DNS,
		NotBefore:    now.Add(-backdate), NotAfter: end,
		KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth,
			x509.ExtKeyUsageClientAuth},
		BasicConstraintsValid: true,
	}, nil
}

// newSerial draws 128 bits: replicas and restarts need not agree on a counter (RFC 5280 §4.1.2.2
// allows 20 octets).
func newSerial() *big.Int {
	var b [16]byte
	rand.Read(b[:]) // never fails: crypto/rand ends the process instead
	return new(big.Int).SetBytes(b[:])
}

func rawCertificates(chain []*x509.Certificate) [][]byte {
	var ders [][]byte
	for _, c := range chain {
		ders = append(ders, c.Raw)
	}
	return ders
}
