package serve

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"github.com/tulle-mesh/tulle/identity/spiffe"
	"github.com/tulle-mesh/tulle/proxy/h2"
	"github.com/tulle-mesh/tulle/proxy/wire"
)

// session is a connection whose caller is known. It has no goroutine of its own: its reader's turns
// are on a loop of package wire.
type session struct {
	server *GRPC
	conn   *conn
	h2     *h2.Conn
	ctx    context.Context // says who calls
	chain  []*x509.Certificate

	mu        sync.Mutex // guards what follows
	calls     []*call
	timer     *time.Timer // to what its age, or the caller's certificate, demands next
	dismissed bool        // no more calls
	over      bool
}

var (
	errExpired = status.Error(codes.Unauthenticated, "the caller's certificate has expired")
	errOld     = status.Error(codes.Unavailable, "the connection is too old: connect again")
)

// greet does a new connection's handshake, and makes it a session.
func (g *GRPC) greet(c *conn) {
	var changed <-chan struct{}
	if g.Trust != nil {
		changed = g.Trust.BundlesChanged()
	}
	w := wire.NewTLSServer(c.Conn, nil, g.tls)
	c.take(w)
	if why := g.handshake(c, w); why != "" {
		g.metrics.refused(why)
		c.Close()
		return
	}
	s := g.open(c, w)
	if s == nil {
		c.Close()
		return
	}
	select {
	case <-changed: // the handshake may have been with other roots, and followTrust too early
		s.verify()
	default:
	}
}

// handshake gives a connection its place among the established once TLS has said who calls, or says
// why it must go.
func (g *GRPC) handshake(c *conn, w *wire.Conn) (why reason) {
	ctx, cancel := context.WithTimeout(g.ctx, g.limits.Handshake)
	defer cancel()
	if err := w.Handshake(ctx); err != nil {
		return reasonHandshake
	}
	if w.TLS().NegotiatedProtocol != "h2" {
		return reasonHandshake
	}
	if why := c.from.establish(c, identityOf(w.TLS())); why != "" {
		w.CutAtClose()
		return why
	}
	return ""
}

// identityOf is an SVID's ID, and the pod that it was issued to: the pods of a workload share the
// ID.
func identityOf(state *tls.ConnectionState) string {
	who, err := spiffe.PeerOf(*state)
	if err != nil || who.Pod == "" {
		return "" // their address is what they are counted by
	}
	return who.ID.String() + " " + who.Pod
}

// open begins HTTP/2. It returns nil if the server is to stop.
func (g *GRPC) open(c *conn, w *wire.Conn) *session {
	s := &session{server: g, conn: c, chain: w.TLS().PeerCertificates}
	s.ctx = peer.NewContext(context.Background(), &peer.Peer{
		Addr: w.RemoteAddr(), LocalAddr: w.LocalAddr(), AuthInfo: credentials.TLSInfo{
			State: *w.TLS(),
			CommonAuthInfo: credentials.CommonAuthInfo{
				SecurityLevel: credentials.PrivacyAndIntegrity}},
	})
	s.h2 = h2.NewServer(w, h2.Options{
		OnStream:   s.onStream,
		MaxStreams: int(g.limits.Streams), MaxHeaderBytes: maxHeader,
		StreamWindow: window, ConnWindow: window,
		StartTimeout: g.limits.Handshake, IdleTimeout: g.limits.Idle, KeepAlive: pingAfter,
	})
	if !g.begin(func() { g.sessions[s] = struct{}{} }) {
		return nil
	}
	s.grow()
	s.h2.Start(s.ended)
	return s
}

// ended is the last that is heard of a connection.
func (s *session) ended(error) {
	s.conn.Close()
	s.mu.Lock()
	s.over = true
	if s.timer != nil {
		s.timer.Stop()
	}
	s.mu.Unlock()
	s.server.mu.Lock()
	delete(s.server.sessions, s)
	s.server.mu.Unlock()
	s.server.running.Done()
}

// grow waits for the age at which the caller is asked to go, give or take a tenth, or for the end
// of its certificate.
func (s *session) grow() {
	age := s.server.limits.Age
	tenth := age / 10
	age += rand.N(2*tenth+1) - tenth
	if s.expiresWithin(age) {
		return
	}
	s.after(age, func() {
		s.h2.GoAway()
		if grace := s.server.limits.Age; !s.expiresWithin(grace) {
			s.after(grace, func() { s.dismiss(errOld) })
		}
	})
}

// expiresWithin dismisses the caller at its certificate's end, if that is so soon.
func (s *session) expiresWithin(d time.Duration) bool {
	if len(s.chain) == 0 {
		return false
	}
	left := time.Until(s.chain[0].NotAfter)
	if left > d {
		return false
	}
	s.after(left, func() { s.dismiss(errExpired) })
	return true
}

// after has f called instead of what was to be called next.
func (s *session) after(d time.Duration, f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.timer != nil {
		s.timer.Stop()
	}
	if !s.over {
		s.timer = time.AfterFunc(d, f)
	}
}

// verify holds the caller to today's roots: the handshake was with those of its time.
func (s *session) verify() {
	if _, err := spiffe.Verify(s.chain, s.server.Trust); err != nil {
		s.dismiss(status.Errorf(codes.Unauthenticated,
			"the caller's certificate is no longer trusted: %v", err))
	}
}

// dismiss ends all calls, and the connection as soon as the caller has heard why, or a little
// later.
func (s *session) dismiss(why error) {
	s.mu.Lock()
	s.dismissed = true
	calls := slices.Clone(s.calls)
	s.mu.Unlock()
	for _, c := range calls {
		c.cancel(why)
	}
	s.h2.GoAway()
	s.after(s.server.limits.Handshake, func() { s.conn.Close() })
}

// onStream begins a call.
func (s *session) onStream(stream *h2.Stream) h2.Sink {
	c := newCall(s, stream)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.dismissed {
		return nil
	}
	return c
}

// join keeps a call that has a handler until leave; false: there may be none any more.
func (s *session) join(c *call) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.dismissed {
		return false
	}
	s.calls = append(s.calls, c)
	return true
}

func (s *session) leave(c *call) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls = slices.DeleteFunc(s.calls, func(other *call) bool { return other == c })
}
