package identity

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"strings"
	"testing"
	"time"

	"github.com/tulle-mesh/tulle/identity/spiffe"
)

func TestOwnIssuer(t *testing.T) {
	i := ownIssuer(t)
	if left := time.Until(i.notAfter); left < 9*365*24*time.Hour {
		t.Errorf("lasts %v", left)
	}
	chain, err := i.sign(subject{ID: webID}, &newKey(t).PublicKey, time.Hour)
	if err != nil || len(chain) != 1 {
		t.Fatalf("sign = %d certificates, %v: the root must not be sent", len(chain), err)
	}
}

func TestIssuersThatAreAccepted(t *testing.T) {
	root, next := newRoot(t), newRoot(t)
	between := issue(t, caTemplate(), root, newKey(t))
	leaf := issue(t, caTemplate(), between, newKey(t))
	sec1, err := x509.MarshalECPrivateKey(root.key.(*ecdsa.PrivateKey))
	if err != nil {
		t.Fatal(err)
	}
	own := materialOf(t, []*pair{root}, root)
	own.key = encodePEM("EC PRIVATE KEY", sec1)
	for name, c := range map[string]struct {
		m    material
		sent int
	}{
		"root itself":       {materialOf(t, []*pair{root}, root), 1},
		"SEC 1 key":         {own, 1},
		"intermediate":      {materialOf(t, []*pair{between}, root), 2},
		"two intermediates": {materialOf(t, []*pair{leaf, between}, root), 3},
		"root in the chain": {materialOf(t, []*pair{between, root}, root), 2},
		"two roots":         {materialOf(t, []*pair{between}, next, root), 2},
	} {
		t.Run(name, func(t *testing.T) {
			i, err := parseIssuer(td, c.m)
			if err != nil {
				t.Fatal(err)
			}
			chain, err := i.sign(subject{ID: webID}, &newKey(t).PublicKey, time.Hour)
			if err != nil || len(chain) != c.sent {
				t.Fatalf("sign = %d certificates, %v; want %d", len(chain), err, c.sent)
			}
			if peer, err := spiffe.Verify(chain, i.bundle()); err != nil || peer.ID != webID {
				t.Fatalf("Verify = %v, %v", peer.ID, err)
			}
		})
	}
}

func TestIssuersThatAreRefused(t *testing.T) {
	root, stranger := newRoot(t), newRoot(t)
	good := materialOf(t, []*pair{root}, root)
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	with := func(change func(*x509.Certificate)) material {
		c := caTemplate()
		change(c)
		return materialOf(t, []*pair{issue(t, c, root, newKey(t))}, root)
	}
	for name, c := range map[string]struct {
		m    material
		want string
	}{
		"empty":          {material{}, "tls.key: no PEM"},
		"no certificate": {material{key: good.key, roots: good.roots}, "tls.crt: no certificate"},
		"no roots":       {material{chain: good.chain, key: good.key}, "ca.crt"},
		"garbage": {material{chain: []byte("x"), key: []byte("y"), roots: []byte("z")},
			"no PEM"},
		"truncated": {material{chain: good.chain[:len(good.chain)/2], key: good.key,
			roots: good.roots}, "tls.crt"},
		"truncated key": {material{chain: good.chain, key: good.key[:len(good.key)/2],
			roots: good.roots}, "tls.key"},
		"bad DER": {material{chain: encodePEM("CERTIFICATE", []byte{1}), key: good.key,
			roots: good.roots}, "certificate 1"},
		"certificate as key": {material{chain: good.chain, key: good.chain, roots: good.roots},
			"is not a private key"},
		"another key": {material{chain: good.chain, key: stranger.keyPEM(t), roots: good.roots},
			"does not belong"},
		"RSA":   {materialOf(t, []*pair{issue(t, caTemplate(), nil, rsaKey)}, root), "ECDSA P-256"},
		"P-384": {materialOf(t, []*pair{issue(t, caTemplate(), nil, p384)}, root), "ECDSA P-256"},
		"not a CA": {with(func(c *x509.Certificate) {
			c.IsCA, c.KeyUsage = false, x509.KeyUsageDigitalSignature
		}), "not a CA"},
		"does not sign": {with(func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageCRLSign }),
			"not a CA"},
		"expired": {with(func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) }),
			"expired"},
		"not yet valid": {with(func(c *x509.Certificate) {
			c.NotBefore = time.Now().Add(time.Hour)
		}), "not valid before"},
		"foreign root": {materialOf(t, []*pair{root}, stranger), "does not lead to a root"},
		"names constrained": {with(func(c *x509.Certificate) {
			c.PermittedURIDomains = []string{"other.example"}
		}), "do not verify"},
		"path of length 0": {materialOf(t, deepChain(t, root), root), "verif"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := parseIssuer(td, c.m)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("parseIssuer = %v, want %q", err, c.want)
			}
			if bytes.Contains([]byte(err.Error()), []byte("PRIVATE")) {
				t.Error("the error shows the key")
			}
		})
	}
}

// deepChain is an issuer below one that may have no CA below it.
func deepChain(t *testing.T, root *pair) []*pair {
	shallow := caTemplate()
	shallow.MaxPathLenZero = true
	above := issue(t, shallow, root, newKey(t))
	return []*pair{issue(t, caTemplate(), above, newKey(t)), above}
}
