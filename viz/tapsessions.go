package viz

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/tulle-mesh/tulle/identity/names"
	"github.com/tulle-mesh/tulle/viz/api"
)

// Bounds of those who want to tap where a session is needed.
const (
	// sessionWait is how long a session that somebody has just made may take to be known here.
	sessionWait = 3 * time.Second
	// maxSessionWaits is how many may wait for that; the others are refused at once, or who makes
	// nonces up would take the places of all who ask.
	maxSessionWaits = 16
	// tappedWait is how long a tap may wait until it is written down that it is there.
	tappedWait = 3 * time.Second
	// maxNonce bounds a nonce, bytes.
	maxNonce = 128
)

// Session is leave to tap: who shows the nonce of which Hash is the SHA-256 may watch requests of
// which one side is in the namespace.
type Session struct {
	Namespace string // "": any
	Name      string
	UID       string
	Hash      [sha256.Size]byte
}

// Tapping is a tap that begins, for who writes down who watches what.
type Tapping struct {
	Session Session
	// Kind, Name and Namespace say whose requests: "deployment", "web", "shop". They are empty
	// where that is not one object in the session's namespace.
	Kind, Name, Namespace string
	Conditions            string // in the words of the query API
}

// SetSessions says who may tap, and replaces what was said before; of two sessions with the same
// hash the first counts. A tap ends with its session. It may be called at any time.
func (v *Server) SetSessions(all []Session) { v.sessions.set(all) }

// sessions are who may tap, if that is asked.
type sessions struct {
	needed  bool
	waiting chan struct{} // places

	mu   sync.Mutex // guards what follows
	all  map[[sha256.Size]byte]*session
	news chan struct{} // closed when there are others
}

// session is one that is there.
type session struct {
	Session
	over chan struct{} // closed when it is not any more
}

func newSessions(needed bool) *sessions {
	return &sessions{needed: needed, waiting: make(chan struct{}, maxSessionWaits),
		news: make(chan struct{})}
}

func (s *sessions) set(all []Session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	next := make(map[[sha256.Size]byte]*session, len(all))
	for _, one := range all {
		was := s.all[one.Hash]
		switch {
		case next[one.Hash] != nil: // whoever may read a session could else take its place
		case was != nil && was.Session == one:
			next[one.Hash] = was
		default:
			next[one.Hash] = &session{Session: one, over: make(chan struct{})}
		}
	}
	for hash, was := range s.all {
		if next[hash] != was {
			close(was.over)
		}
	}
	s.all = next
	close(s.news)
	s.news = make(chan struct{})
}

func (s *sessions) get(hash [sha256.Size]byte) (*session, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.all[hash], s.news
}

// find is the session of a nonce, waited for; nil: there is none.
func (s *sessions) find(ctx context.Context, nonce string) *session {
	if nonce == "" || len(nonce) > maxNonce {
		return nil
	}
	hash := sha256.Sum256([]byte(nonce))
	one, news := s.get(hash)
	select {
	case s.waiting <- struct{}{}:
		defer func() { <-s.waiting }()
	default:
		return one
	}
	late := time.NewTimer(sessionWait)
	defer late.Stop()
	for one == nil {
		select {
		case <-news:
			one, news = s.get(hash)
		case <-late.C:
			return nil
		case <-ctx.Done():
			return nil
		}
	}
	return one
}

// ErrSession is why a tap is refused whose asker has no session for it.
var ErrSession = errors.New("who taps needs a TapSession")

// permit confines a tap to what its asker may see, and to as long as that is so.
func (s *sessions) permit(ctx context.Context, nonce string, p *tapPlan) error {
	if !s.needed {
		return nil
	}
	one := s.find(ctx, nonce)
	switch {
	case one == nil && nonce == "":
		return fmt.Errorf("%w: %s; 'meshctl viz tap' makes one", ErrSession, p.right())
	case one == nil:
		return fmt.Errorf("%w: that of this nonce has ended, or is not known: %s", ErrSession,
			p.right())
	case one.Namespace != "" && !p.within(one.Namespace):
		return fmt.Errorf("%w: that of this nonce is for namespace %s: %s", ErrSession,
			one.Namespace, p.right())
	}
	p.session = one
	return nil
}

// right says what the API server must permit.
func (p *tapPlan) right() string {
	spaces := p.namespaces()
	if len(spaces) == 0 {
		return "whoever may create clustertapsessions in the cluster may watch all namespaces"
	}
	return "whoever may create tapsessions in namespace " + strings.Join(spaces, " or ") +
		" may watch this"
}

// over is closed when a tap is not permitted any more; nil: that is never.
func (p *tapPlan) over() <-chan struct{} {
	if p.session == nil {
		return nil
	}
	return p.session.over
}

// nonceOf is what a request's sender knows of a session.
func nonceOf(r *http.Request) string { return r.Header.Get(names.TapNonceHeader) }

// refuseTap answers who has no session.
func refuseTap(w http.ResponseWriter, err error) {
	failWith(w, http.StatusForbidden, Failure{Error: err.Error(),
		NeedsSession: errors.Is(err, ErrSession)})
}

// writeDown has it said that a tap begins, if somebody is there for that.
func (v *Server) writeDown(ctx context.Context, p *tapPlan) error {
	if p.session == nil || v.cfg.Tapped == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, tappedWait)
	defer cancel()
	if err := v.cfg.Tapped(ctx, p.tapping()); err != nil {
		return fmt.Errorf("no tap without a word of it: %w", err)
	}
	return nil
}

func (p *tapPlan) tapping() Tapping {
	s := p.session.Session
	t := Tapping{Session: s, Conditions: p.conditions()}
	for _, r := range []resource{p.target, p.to, p.from} {
		ours := s.Namespace == "" || r.namespace == s.Namespace
		if r.name != "" && r.namespace != "" && ours {
			t.Kind, t.Name, t.Namespace = r.kind, r.name, r.namespace
			break
		}
	}
	return t
}

// tellsAnyhow reports whether a proxy tells of a request though no tap asks for it. Where taps need
// a session, others than its holder are told no more than that.
func tellsAnyhow(m *api.Record) bool {
	untapped := len(m.Taps) == 0 && m.Hop == 0
	return untapped || m.Failed || m.Reason != "" || m.Trace != nil && !m.Trace.Held
}
