package spiffe

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/spiffe/go-spiffe/v2/bundle/x509bundle"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"
)

// Bundles are the roots of each trust domain that is believed. A published one is never changed.
type Bundles map[spiffeid.TrustDomain][]*x509.Certificate

// Source is what a process is and whom it trusts, today. Reading it never blocks.
type Source struct {
	state atomic.Pointer[state]
	mu    sync.Mutex // one writer at a time: each makes a new state from the last
}

type state struct {
	svid    *x509svid.SVID
	leaf    *tls.Certificate
	bundles Bundles
	// counts how often the bundles were set, to what they were or to others
	version        uint64
	problem        error
	changed        chan struct{}
	bundlesChanged chan struct{}
}

// NewSource makes a Source without an SVID and without roots.
func NewSource() *Source {
	s := &Source{}
	s.state.Store(&state{changed: make(chan struct{}), bundlesChanged: make(chan struct{})})
	return s
}

// SVID is nil until there is one.
func (s *Source) SVID() *x509svid.SVID { return s.state.Load().svid }

// Bundles must not be changed.
func (s *Source) Bundles() Bundles { return s.state.Load().bundles }

// Changed is closed at the next change. Take it before looking at what may change.
func (s *Source) Changed() <-chan struct{} { return s.state.Load().changed }

// BundlesChanged is closed at the next change of the bundles, and at no other. Who must verify
// thousands of peers again waits for this one: a renewal that fails closes Changed every few
// seconds, and identity says its bundles again on each new stream.
func (s *Source) BundlesChanged() <-chan struct{} { return s.state.Load().bundlesChanged }

// SetSVID replaces the SVID: handshakes from now on use the new one.
func (s *Source) SetSVID(svid *x509svid.SVID) {
	leaf := &tls.Certificate{PrivateKey: svid.PrivateKey, Leaf: svid.Certificates[0]}
	for _, c := range svid.Certificates {
		leaf.Certificate = append(leaf.Certificate, c.Raw)
	}
	s.update(func(next *state) { next.svid, next.leaf, next.problem = svid, leaf, nil })
}

// SetBundles replaces every bundle.
func (s *Source) SetBundles(b Bundles) {
	b = maps.Clone(b)
	s.update(func(next *state) { next.setBundles(b) })
}

// SetBundle replaces one trust domain's roots and keeps the others.
func (s *Source) SetBundle(td spiffeid.TrustDomain, roots []*x509.Certificate) {
	s.update(func(next *state) {
		b := maps.Clone(next.bundles)
		if b == nil {
			b = Bundles{}
		}
		b[td] = slices.Clone(roots)
		next.setBundles(b)
	})
}

func (st *state) setBundles(b Bundles) {
	if !st.bundles.equal(b) {
		st.bundlesChanged = make(chan struct{})
	}
	st.bundles = b
	st.version++
}

func (b Bundles) equal(other Bundles) bool {
	return maps.EqualFunc(b, other, func(x, y []*x509.Certificate) bool {
		return slices.EqualFunc(x, y, (*x509.Certificate).Equal)
	})
}

func (s *Source) update(change func(*state)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	last := s.state.Load()
	next := *last
	next.changed = make(chan struct{})
	change(&next)
	s.state.Store(&next)
	close(last.changed)
	if next.bundlesChanged != last.bundlesChanged {
		close(last.bundlesChanged)
	}
}

// SetProblem says why there is no fresh SVID; Ready repeats it. SetSVID clears it.
func (s *Source) SetProblem(err error) {
	s.update(func(next *state) { next.problem = err })
}

// Ready is nil while there is an SVID that has not expired; otherwise it says what is missing and
// why.
func (s *Source) Ready() error {
	st := s.state.Load()
	why := st.problem
	if why == nil {
		why = errors.New("identity has not answered yet")
	}
	if st.svid == nil {
		return fmt.Errorf("no certificate: %w", why)
	}
	if end := st.svid.Certificates[0].NotAfter; !time.Now().Before(end) {
		return fmt.Errorf("certificate expired at %s: %w", end.Format(time.RFC3339), why)
	}
	return nil
}

// Wait blocks until there is an SVID.
func (s *Source) Wait(ctx context.Context) (*x509svid.SVID, error) {
	for {
		changed := s.Changed()
		if svid := s.SVID(); svid != nil {
			return svid, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, fmt.Errorf("wait for a certificate: %w (%w)", ctx.Err(), s.Ready())
		}
	}
}

// GetX509BundleForTrustDomain makes Source an x509bundle.Source.
func (s *Source) GetX509BundleForTrustDomain(td spiffeid.TrustDomain) (*x509bundle.Bundle, error) {
	roots := s.Bundles()[td]
	if len(roots) == 0 {
		return nil, fmt.Errorf("trust domain %q is not trusted here", td)
	}
	return x509bundle.FromX509Authorities(td, roots), nil
}

func (s *Source) certificate() (*tls.Certificate, error) {
	if leaf := s.state.Load().leaf; leaf != nil {
		return leaf, nil
	}
	return nil, s.Ready()
}
