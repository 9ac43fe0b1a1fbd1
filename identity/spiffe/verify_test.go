package spiffe

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"strings"
	"testing"
	"time"
)

func TestVerify(t *testing.T) {
	ca := newAuthority(t)
	src := ca.source(t, web, ca)
	peer, err := Verify(ca.svid(t, api).Certificates, src)
	if err != nil || peer.ID != api || peer.Pod != "web-0" || peer.Leaf == nil {
		t.Fatalf("Verify = %+v, %v", peer, err)
	}
}

func TestVerifyRefuses(t *testing.T) {
	ca, other := newAuthority(t), newAuthority(t)
	src := ca.source(t, web, ca)
	for name, c := range map[string]struct {
		template *x509.Certificate
		signer   *authority
		want     string
	}{
		"DNS only": {with(good(),
			func(c *x509.Certificate) { c.DNSNames = []string{"web.shop.svc"} }), ca, "no URI SAN"},
		"two URIs":   {good(web.String(), api.String()), ca, "more than one URI SAN"},
		"not SPIFFE": {good("https://cluster.local/ns/shop/sa/web"), ca, "scheme"},
		"other trust domain": {good("spiffe://other.example/ns/shop/sa/web"), ca,
			"not trusted here"},
		"other root":     {good(web.String()), other, "unknown authority"},
		"not a workload": {good("spiffe://cluster.local/web"), ca, "not a workload"},
		"path too long":  {good("spiffe://cluster.local/ns/shop/sa/web/x"), ca, "not a workload"},
		"escaped path":   {good("spiffe://cluster.local/ns/shop/sa/we%62"), ca, "SPIFFE ID"},
		"a port":         {good("spiffe://cluster.local:1/ns/shop/sa/web"), ca, "SPIFFE ID"},
		"userinfo":       {good("spiffe://u@cluster.local/ns/shop/sa/web"), ca, "SPIFFE ID"},
		"a query":        {good("spiffe://cluster.local/ns/shop/sa/web?x"), ca, "SPIFFE ID"},
		"expired": {with(good(web.String()), func(c *x509.Certificate) {
			c.NotAfter = time.Now().Add(-time.Second)
		}), ca, "expired"},
		"not yet valid": {with(good(web.String()), func(c *x509.Certificate) {
			c.NotBefore = time.Now().Add(time.Minute)
		}), ca, "not yet valid"},
		"a CA": {with(good(web.String()), func(c *x509.Certificate) { c.IsCA = true }), ca,
			"CA flag"},
		"signs certificates": {with(good(web.String()),
			func(c *x509.Certificate) { c.KeyUsage |= x509.KeyUsageCertSign }), ca, "KeyCertSign"},
		"signs CRLs": {with(good(web.String()),
			func(c *x509.Certificate) { c.KeyUsage |= x509.KeyUsageCRLSign }), ca, "KeyCrlSign"},
		"signs nothing": {with(good(web.String()), func(c *x509.Certificate) {
			c.KeyUsage = x509.KeyUsageKeyAgreement
		}), ca, "digitalSignature"},
		"server only": {with(good(web.String()),
			func(c *x509.Certificate) { c.ExtKeyUsage = c.ExtKeyUsage[:1] }), ca, "clientAuth"},
		"client only": {with(good(web.String()),
			func(c *x509.Certificate) { c.ExtKeyUsage = c.ExtKeyUsage[1:] }), ca, "clientAuth"},
		"any usage": {with(good(web.String()), func(c *x509.Certificate) {
			c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageAny}
		}), ca, "clientAuth"},
	} {
		t.Run(name, func(t *testing.T) {
			leaf := c.signer.sign(t, c.template, newKey(t).Public())
			_, err := Verify([]*x509.Certificate{leaf}, src)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("Verify = %v, want %q", err, c.want)
			}
			if NotYetValid(err) != (name == "not yet valid") {
				t.Errorf("of a clock that is wrong it says %v", NotYetValid(err))
			}
		})
	}
	if _, err := Verify(nil, src); err == nil {
		t.Error("an empty chain was accepted")
	}
}

func with(c *x509.Certificate, change func(*x509.Certificate)) *x509.Certificate {
	change(c)
	return c
}

func TestParseRoots(t *testing.T) {
	ca, other := newAuthority(t), newAuthority(t)
	two := append(encode(ca.cert), encode(other.cert)...)
	if got, err := ParseRoots(two); err != nil || len(got) != 2 {
		t.Fatalf("ParseRoots = %d roots, %v", len(got), err)
	}
	for name, text := range map[string][]byte{
		"empty":     nil,
		"garbage":   []byte("not PEM"),
		"truncated": two[:len(two)/3],
		"bad DER":   pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte{1, 2, 3}}),
		"a leaf":    encode(ca.svid(t, web).Certificates[0]),
		"too many":  bytes.Repeat(encode(ca.cert), maxRoots+1),
	} {
		if got, err := ParseRoots(text); err == nil {
			t.Errorf("%s: %d roots and no error", name, len(got))
		}
	}
}

func encode(c *x509.Certificate) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})
}
