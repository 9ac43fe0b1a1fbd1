package spiffe

import (
	"errors"
	"testing"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
)

// A reader of the roots can tell their changes from all others: a failing renewal must not make a
// server verify every caller's chain again.
func TestBundlesVersion(t *testing.T) {
	s := NewSource()
	first := s.BundlesVersion()
	s.SetProblem(errors.New("identity is away"))
	if v := s.BundlesVersion(); v != first {
		t.Errorf("a problem changed the version from %d to %d", first, v)
	}
	s.SetBundle(spiffeid.RequireTrustDomainFromString("cluster.local"), nil)
	second := s.BundlesVersion()
	s.SetBundles(Bundles{})
	if third := s.BundlesVersion(); second == first || third == second {
		t.Errorf("versions are %d, %d, %d after each change of the roots", first, second, third)
	}
}
