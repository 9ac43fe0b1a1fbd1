package viz

import (
	"crypto/x509"
	"testing"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"

	"github.com/tulle-mesh/tulle/identity/spiffe"
	"github.com/tulle-mesh/tulle/test/svid"
)

var testDomain = spiffeid.RequireTrustDomainFromString("cluster.local")

// testCA makes processes somebody, or ends the test.
type testCA struct {
	t    *testing.T
	ca   *svid.CA
	cert *x509.Certificate
}

func newTestCA(t *testing.T) *testCA {
	ca, err := svid.NewCA(testDomain)
	if err != nil {
		t.Fatal(err)
	}
	return &testCA{t, ca, ca.Root()}
}

func (c *testCA) source(ns, account, pod string, life time.Duration) *spiffe.Source {
	src, err := c.ca.Source(ns, account, pod, life)
	if err != nil {
		c.t.Fatal(err)
	}
	return src
}
