package proxy

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"math/rand/v2"
	"net"
	"sync/atomic"
	"time"

	"github.com/spiffe/go-spiffe/v2/svid/x509svid"
	"github.com/tulle-mesh/tulle/identity/spiffe"
	"github.com/tulle-mesh/tulle/proxy/timer"
)

// meshLife ends a mesh connection in time: with the certificates it was made with, and when a root
// that vouched for its peer is removed.
type meshLife struct {
	p      *Proxy
	peer   []*x509.Certificate
	from   net.Addr
	drain  func() // asks for an end: no new streams
	end    func() // at once; it must not block
	expiry time.Time
	timer  timer.Timer
	ending atomic.Bool
}

// started makes times monotonic: a wall clock that is set back must not prolong anything.
var started = time.Now()

// lifeShare is the part of a connection's life for which its end is announced. A connection is
// asked to end between two such parts before its certificate's end and one: at a random moment, so
// that the connections of one rollout do not all end together, and in time for its requests to end.
const lifeShare = 10

// watchMesh begins a connection's life, which is bounded unless state is nil, as it is in
// plaintext. The returned function ends the watch.
func (p *Proxy) watchMesh(
	state *tls.ConnectionState,
	from net.Addr,
	drain, end func(),
) (stop func()) {
	if state == nil || len(state.PeerCertificates) == 0 {
		return func() {}
	}
	l := &meshLife{p: p, peer: state.PeerCertificates, from: from, drain: drain, end: end}
	l.expiry = l.peer[0].NotAfter
	if own := p.source.SVID(); own != nil && own.Certificates[0].NotAfter.Before(l.expiry) {
		l.expiry = own.Certificates[0].NotAfter
	}
	// TLS 1.3 lets a client finish with a certificate that has run out, before the server has
	// looked at it.
	left := max(0, time.Until(l.expiry))
	p.wheel.Arm(&l.timer, left-notice(left), l)
	p.lives.Add(l)
	if time.Since(started)-time.Duration(p.rootsAt.Load()) < 2*handshakeTimeout {
		l.recheck() // the handshake may have seen the roots of before
	}
	return func() {
		p.wheel.Disarm(&l.timer)
		p.lives.Remove(l)
	}
}

// notice is how long before its end a connection that has so much time left is asked to end.
func notice(left time.Duration) time.Duration {
	part := left / lifeShare
	return part + rand.N(part+1)
}

// Expired asks the connection to end, and the second time, with its certificate over, ends it.
func (l *meshLife) Expired(*timer.Timer) {
	if l.ending.Swap(true) {
		l.end()
		return
	}
	l.p.wheel.Arm(&l.timer, time.Until(l.expiry), l)
	l.drain()
}

// recheck verifies the peer against today's roots.
func (l *meshLife) recheck() {
	if _, err := spiffe.Verify(l.peer, l.p.source); err != nil {
		l.p.log.Info("ending a connection whose peer is no longer trusted", "peer", l.from, "err",
			err)
		l.end()
	}
}

// watchRoots rechecks every mesh connection when the roots change, and leaves destination's
// connection when this proxy's own certificate does: a stream to viz has one of its own.
func (p *Proxy) watchRoots(ctx context.Context) {
	var last *x509svid.SVID
	var roots <-chan struct{}
	for {
		changed := p.source.Changed()
		if now := p.source.BundlesChanged(); now != roots {
			roots = now
			// Before the look: a connection is in the list, or sees this.
			p.rootsAt.Store(int64(time.Since(started)))
			p.lives.Each(func(l *meshLife) { l.recheck() })
		}
		if own := p.source.SVID(); own != last {
			last = own
			p.destination.Renew()
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return
		}
	}
}
