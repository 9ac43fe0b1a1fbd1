package spiffe

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/spiffe/go-spiffe/v2/bundle/x509bundle"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"
)

// maxRoots bounds a bundle: every handshake builds a pool of them. A rotation needs two, a
// federation a few.
const maxRoots = 64

// Peer is who is at the other end.
type Peer struct {
	ID spiffeid.ID
	// the SVID's common name, which the CA takes from the attested token; empty where none was
	// attested
	Pod  string
	Leaf *x509.Certificate
}

// PeerOf names the peer of a connection made with one of this package's mutual configs, which have
// verified it.
func PeerOf(cs tls.ConnectionState) (Peer, error) {
	if len(cs.PeerCertificates) == 0 {
		return Peer{}, errors.New("the peer showed no certificate")
	}
	leaf := cs.PeerCertificates[0]
	id, err := x509svid.IDFromCert(leaf)
	if err != nil {
		return Peer{}, fmt.Errorf("read the peer's SPIFFE ID: %w", err)
	}
	return Peer{ID: id, Pod: leaf.Subject.CommonName, Leaf: leaf}, nil
}

// Verify checks a chain, leaf first, against today's bundles. The TLS configs call it at each
// handshake; whoever holds a connection may call it again after Source.Changed, to end what a
// removed root vouched for.
func Verify(chain []*x509.Certificate, roots x509bundle.Source) (Peer, error) {
	id, _, err := x509svid.Verify(chain, roots)
	if err != nil {
		return Peer{}, err
	}
	leaf := chain[0]
	if err := checkLeaf(id, leaf); err != nil {
		return Peer{}, fmt.Errorf("certificate of %s: %w", id, err)
	}
	return Peer{ID: id, Pod: leaf.Subject.CommonName, Leaf: leaf}, nil
}

// NotYetValid reports whether a handshake failed for a certificate that begins later than it is by
// this process's clock. Identity backdates what it signs, so that one of the two clocks is wrong.
func NotYetValid(err error) bool {
	var invalid x509.CertificateInvalidError
	return errors.As(err, &invalid) && invalid.Reason == x509.Expired &&
		time.Now().Before(invalid.Cert.NotBefore)
}

// checkLeaf is what go-spiffe leaves open: it accepts any extended key usage and any path.
func checkLeaf(id spiffeid.ID, leaf *x509.Certificate) error {
	if _, _, err := Workload(id); err != nil {
		return err
	}
	if leaf.KeyUsage&x509.KeyUsageDigitalSignature == 0 {
		return errors.New("key usage lacks digitalSignature")
	}
	for _, usage := range []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth,
		x509.ExtKeyUsageClientAuth} {
		if !slices.Contains(leaf.ExtKeyUsage, usage) {
			return errors.New("extended key usage lacks serverAuth or clientAuth")
		}
	}
	return nil
}

// ParseRoots reads roots from PEM, as in a trust file.
func ParseRoots(text []byte) ([]*x509.Certificate, error) {
	var ders [][]byte
	for {
		var block *pem.Block
		block, text = pem.Decode(text)
		if block == nil {
			return ParseAuthorities(ders)
		}
		if block.Type == "CERTIFICATE" {
			ders = append(ders, block.Bytes)
		}
	}
}

// ParseAuthorities reads roots from DER, as identity sends them. None at all is an error: a bundle
// that trusts nobody is a mistake somewhere, and must not replace one that works.
func ParseAuthorities(ders [][]byte) ([]*x509.Certificate, error) {
	if len(ders) == 0 {
		return nil, errors.New("no certificate in the trust bundle")
	}
	if len(ders) > maxRoots {
		return nil, fmt.Errorf("%d certificates in the trust bundle: at most %d are accepted",
			len(ders), maxRoots)
	}
	roots, err := parseChain(ders)
	if err != nil {
		return nil, fmt.Errorf("parse the trust bundle: %w", err)
	}
	for _, root := range roots {
		if !root.IsCA {
			return nil, fmt.Errorf("certificate %q in the trust bundle is not a CA's", root.Subject)
		}
	}
	return roots, nil
}

func parseChain(ders [][]byte) ([]*x509.Certificate, error) {
	chain := make([]*x509.Certificate, 0, len(ders))
	for i, der := range ders {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, fmt.Errorf("certificate %d: %w", i+1, err)
		}
		chain = append(chain, c)
	}
	return chain, nil
}
