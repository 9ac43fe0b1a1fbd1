package destination

import (
	"sync"
	"unique"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/tulle-mesh/tulle/destination/api"
)

// Limits of one stream: what one caller can make this process remember or compute.
//
// The rest of them are package api's, for a proxy must know them too.
const maxCapabilities = 64

// stream is what one proxy asks, and what it has.
type stream struct {
	hub     *hub
	caller  caller
	watcher *watcher
	// blocks while the proxy is slow; changes meanwhile fall together
	send func(*api.DiscoverResponse) error

	share      *podShare
	rejections *rejections
	standings  *standings
	healths    *healths
	lendings   *lendings
	able       map[string]bool // the proxy's capabilities

	mu      sync.Mutex // guards what the reader changes
	keys    map[unique.Handle[string]]struct{}
	said    received // since the last flush
	resumed bool     // all that is held has been named
	closed  bool
	weight  int // bytes, about: this stream's part of share
	passing int // of them, what is held until the next flush

	view streamView // what only the flushing goroutine touches
}

// newStream begins a stream of a proxy that has said Hello.
func newStream(h *hub, c caller, r *rejections, send func(*api.DiscoverResponse) error) *stream {
	return &stream{
		hub: h, caller: c, share: &podShare{}, rejections: r, send: send, watcher: newWatcher(),
		able: map[string]bool{}, keys: map[unique.Handle[string]]struct{}{},
		said: newReceived(), view: newStreamView(),
		standings: newStandings(h.registry), healths: newHealths(h.registry),
		lendings: newLendings(),
	}
}

// greet keeps what the proxy is able to do. It comes before anything is sent.
func (s *stream) greet(hello *api.Hello) error {
	if len(hello.GetCapabilities()) > maxCapabilities {
		return status.Errorf(codes.InvalidArgument, "more than %d capabilities", maxCapabilities)
	}
	for _, c := range hello.GetCapabilities() {
		s.able[c] = true
	}
	return nil
}

// receive takes what the proxy says after its Hello. An error ends the stream.
func (s *stream) receive(req *api.DiscoverRequest) error {
	if m, ok := req.GetMessage().(*api.DiscoverRequest_Health); ok {
		return s.hear(m.Health)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch m := req.GetMessage().(type) {
	case *api.DiscoverRequest_Subscribe:
		if err := s.subscribe(m.Subscribe); err != nil {
			return err
		}
	case *api.DiscoverRequest_Unsubscribe:
		if err := s.unsubscribe(m.Unsubscribe); err != nil {
			return err
		}
	case *api.DiscoverRequest_Resume:
		if err := s.resume(m.Resume); err != nil {
			return err
		}
	case *api.DiscoverRequest_Rejected:
		if err := s.reject(m.Rejected); err != nil {
			return err
		}
	case *api.DiscoverRequest_Demand:
		if err := s.demand(m.Demand); err != nil {
			return err
		}
	case *api.DiscoverRequest_Hello:
		return status.Error(codes.InvalidArgument, "Hello comes once, first")
	default:
		return status.Error(codes.Unimplemented,
			"the message is of a kind that this destination does not know")
	}
	s.watcher.notify()
	return nil
}

func (s *stream) subscribe(sub *api.Subscribe) error {
	name := api.KeyString(sub.GetKey())
	if name == "" || len(name) > api.MaxName {
		return status.Error(codes.InvalidArgument,
			"Subscribe needs a key: an address, an authority, an inbound port or oneself")
	}
	s.said.fresh = true
	key := unique.Make(name)
	if _, again := s.keys[key]; again {
		return nil
	}
	if err := s.weighLocked(keyWeight + len(name)); err != nil {
		return err
	}
	s.keys[key] = struct{}{}
	if _, back := s.said.dropped[name]; back {
		delete(s.said.dropped, name)
	} else {
		s.said.added[name] = sub.Key
	}
	if len(s.keys) > api.MaxKeys {
		return status.Errorf(codes.ResourceExhausted,
			"more than %d keys: unsubscribe those not in use", api.MaxKeys)
	}
	return nil
}

func (s *stream) unsubscribe(un *api.Unsubscribe) error {
	name := api.KeyString(un.GetKey())
	if name == "" {
		return status.Error(codes.InvalidArgument,
			"Unsubscribe needs a key of those that were subscribed to")
	}
	key := unique.Make(name)
	if _, there := s.keys[key]; !there {
		return nil
	}
	delete(s.keys, key)
	if _, pending := s.said.added[name]; pending {
		delete(s.said.added, name)
	} else {
		s.said.dropped[name] = struct{}{}
	}
	return s.weighLocked(-keyWeight - len(name))
}

// resume takes a kind that this destination does not know: the proxy has it from a later one, and
// is told to drop it.
func (s *stream) resume(r *api.Resume) error {
	if s.resumed {
		return status.Error(codes.InvalidArgument,
			"Resume comes before the first answer, and the last one says so")
	}
	for _, h := range r.GetHeld() {
		if h.Kind == api.Kind_KIND_UNSPECIFIED || len(h.Name) > api.MaxName ||
			len(h.Version) != api.VersionLen {
			return status.Error(codes.InvalidArgument,
				"Resume names a resource of a kind, a name or a version that no destination has "+
					"sent")
		}
		if err := s.weighPassingLocked(h.Name, len(h.Version)); err != nil {
			return err
		}
		s.said.held[resourceID{h.Kind, h.Name}] = h.Version
	}
	if len(s.said.held) > api.MaxHeld {
		return status.Errorf(codes.ResourceExhausted, "more than %d held resources", api.MaxHeld)
	}
	s.resumed = r.GetLast()
	return nil
}

// reject keeps what the proxy says until the next flush.
func (s *stream) reject(r *api.Rejected) error {
	if !isKind(r.GetKind()) {
		return status.Errorf(codes.InvalidArgument,
			"Rejected has a kind (%d) of which nothing was sent", r.GetKind())
	}
	if len(r.GetReason()) > api.MaxReason || len(r.GetName()) > api.MaxName ||
		len(r.GetVersion()) > api.VersionLen {
		return status.Error(codes.InvalidArgument,
			"Rejected needs a name, a version and a reason of bounded length")
	}
	more := len(r.GetVersion()) + len(r.GetReason())
	if err := s.weighPassingLocked(r.GetName(), more); err != nil {
		return err
	}
	s.said.rejected[resourceID{r.GetKind(), r.GetName()}] = r
	if len(s.said.rejected) > api.MaxKeys {
		return status.Errorf(codes.ResourceExhausted, "more than %d resources are rejected at once",
			api.MaxKeys)
	}
	return nil
}

func isKind(k api.Kind) bool {
	return k != api.Kind_KIND_UNSPECIFIED && api.Kind_name[int32(k)] != ""
}

// received is what the reader has taken since the last flush.
type received struct {
	added    map[string]*api.Key
	dropped  map[string]struct{} // none of added
	fresh    bool                // a key was subscribed to
	held     map[resourceID]string
	rejected map[resourceID]*api.Rejected
	demands  map[string]*api.Demand // by pool; nil: none
	shares   map[string]*api.Share  // to be said, by pool; nil: none
}

func newReceived() received {
	return received{
		added: map[string]*api.Key{}, dropped: map[string]struct{}{},
		held: map[resourceID]string{}, rejected: map[resourceID]*api.Rejected{},
	}
}

// takeReceived returns what to answer now, and whether the time has come to answer at all.
func (s *stream) takeReceived() (received, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.resumed {
		return received{}, false
	}
	_ = s.weighLocked(-s.passing) // an error says that the stream has ended
	s.passing = 0
	out := s.said
	s.said = newReceived()
	return out, true
}

// close lets go of everything.
func (s *stream) close() {
	s.unweigh()
	for c := range s.view.uses {
		s.hub.release(c, s.watcher)
	}
	s.view.uses = nil
	for id := range s.view.unusable {
		s.rejections.remove(s, id)
	}
	for ref := range s.view.made {
		s.standings.remove(ref, s)
	}
	for pool, m := range s.view.members {
		s.lendings.leave(pool, m)
	}
}
