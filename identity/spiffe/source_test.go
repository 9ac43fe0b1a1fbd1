package spiffe

import (
	"crypto/x509"
	"errors"
	"testing"
)

// Who waits for the roots is woken by a change of them, and by nothing else: a failing renewal, or
// identity saying again what it has said, must not make a server verify every caller's chain again.
func TestOnlyAChangeOfTheRootsWakesWhoVerifiesPeers(t *testing.T) {
	one, other := newAuthority(t).cert, newAuthority(t).cert
	s := NewSource()
	for _, step := range []struct {
		name  string
		do    func()
		wakes bool
	}{
		{"a problem", func() { s.SetProblem(errors.New("identity is away")) }, false},
		{"a first root", func() { s.SetBundle(td, []*x509.Certificate{one}) }, true},
		{"the same root", func() { s.SetBundle(td, []*x509.Certificate{one}) }, false},
		{"the same bundles", func() { s.SetBundles(Bundles{td: {one}}) }, false},
		{"a second root", func() { s.SetBundles(Bundles{td: {one, other}}) }, true},
		{"a root less", func() { s.SetBundle(td, []*x509.Certificate{other}) }, true},
		{"no domain", func() { s.SetBundles(Bundles{}) }, true},
	} {
		all, roots := s.Changed(), s.BundlesChanged()
		step.do()
		if !closed(all) {
			t.Errorf("%s: nobody is woken", step.name)
		}
		if closed(roots) != step.wakes {
			t.Errorf("%s: who verifies peers is woken: %v", step.name, !step.wakes)
		}
		if now := s.BundlesChanged(); step.wakes == (now == roots) {
			t.Errorf("%s: the next change would be missed", step.name)
		}
	}
}

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
