package identity

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/x509"
	"errors"
	"fmt"
)

// maxCSR: one with a P-256 key is about 200 bytes; names and extensions in it are ignored, so they
// need no room.
const maxCSR = 4 << 10

// requestedKey takes the public key out of a request whose signature proves that the caller holds
// the private one. It looks at nothing else: what the request says of names, usages or extensions
// is a claim, not an attestation.
func requestedKey(der []byte) (*ecdsa.PublicKey, error) {
	if len(der) == 0 {
		return nil, errors.New("the certificate request is missing")
	}
	if len(der) > maxCSR {
		return nil, fmt.Errorf("the certificate request has %d bytes, at most %d are accepted",
			len(der), maxCSR)
	}
	csr, err := x509.ParseCertificateRequest(der)
	if err != nil {
		return nil, fmt.Errorf("parse the certificate request (PKCS #10, DER): %w", err)
	}
	key, ok := csr.PublicKey.(*ecdsa.PublicKey)
	if !ok || key.Curve != elliptic.P256() {
		return nil, fmt.Errorf("the certificate request's key is %s, only ECDSA P-256 is accepted",
			keyKind(csr))
	}
	if err := csr.CheckSignature(); err != nil {
		return nil, fmt.Errorf("the certificate request's signature: %w", err)
	}
	return key, nil
}

func keyKind(csr *x509.CertificateRequest) string {
	if key, ok := csr.PublicKey.(*ecdsa.PublicKey); ok {
		return "ECDSA " + key.Curve.Params().Name
	}
	return csr.PublicKeyAlgorithm.String()
}
