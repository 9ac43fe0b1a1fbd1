package destination

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

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
	able       map[string]bool // the proxy's capabilities

	mu       sync.Mutex // guards what the reader changes
	keys     map[string]*api.Key
	fresh    bool                  // a key was subscribed since the last flush
	resumed  bool                  // all that is held has been named
	held     map[resourceID]string // versions from an earlier stream, until the first flush
	closed   bool
	weight   int                          // bytes, about: this stream's part of share
	passing  int                          // of them, what is held until the next flush
	rejected map[resourceID]*api.Rejected // since the last flush

	// what only the flushing goroutine touches
	cells map[question]*cell
	sent  map[resourceID]string // the proxy's versions, as far as it could use them
	// the versions that it rejected, or was not sent for what it lacks
	unusable map[resourceID]string
	refused  map[string]string
}

// newStream begins a stream of a proxy that has said Hello.
func newStream(h *hub, c caller, r *rejections, send func(*api.DiscoverResponse) error) *stream {
	return &stream{
		hub: h, caller: c, share: &podShare{}, rejections: r, send: send, watcher: newWatcher(),
		able: map[string]bool{},
		keys: map[string]*api.Key{}, held: map[resourceID]string{},
		rejected: map[resourceID]*api.Rejected{},
		cells:    map[question]*cell{}, sent: map[resourceID]string{},
		unusable: map[resourceID]string{},
		refused:  map[string]string{},
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
	if s.keys[name] == nil {
		if err := s.weighLocked(keyWeight + len(name)); err != nil {
			return err
		}
	}
	s.keys[name] = sub.Key
	s.fresh = true
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
	if s.keys[name] == nil {
		return nil
	}
	delete(s.keys, name)
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
		s.held[resourceID{h.Kind, h.Name}] = h.Version
	}
	if len(s.held) > api.MaxHeld {
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
	s.rejected[resourceID{r.GetKind(), r.GetName()}] = r
	if len(s.rejected) > api.MaxKeys {
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
	keys     map[string]*api.Key
	fresh    bool
	held     map[resourceID]string
	rejected map[resourceID]*api.Rejected
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
	out := received{maps.Clone(s.keys), s.fresh, s.held, s.rejected}
	s.fresh, s.held, s.rejected = false, nil, map[resourceID]*api.Rejected{}
	return out, true
}

// flush brings the proxy from what it has to what its keys are answered with now.
func (s *stream) flush() error {
	said, ok := s.takeReceived()
	if !ok {
		return nil
	}
	// on the first flush; what nothing refers to any more is then removed
	maps.Copy(s.sent, said.held)
	s.markUnusable(said.rejected)
	w := s.collect(said.keys)
	if err := s.refuse(said.keys, w.invalid); err != nil {
		return err
	}
	batches := s.difference(w)
	if len(batches) == 0 && said.fresh {
		batches = append(batches, nil)
	}
	for _, batch := range batches {
		all := &api.DiscoverResponse_Resources{Resources: &api.Resources{Resources: batch}}
		err := s.send(&api.DiscoverResponse{Message: all})
		if err != nil {
			return err
		}
	}
	return nil
}

// markUnusable believes a proxy about the version that it was sent last, and no other.
func (s *stream) markUnusable(rejected map[resourceID]*api.Rejected) {
	for id, r := range rejected {
		if version, sent := s.sent[id]; sent && version == r.GetVersion() {
			s.unusable[id] = r.GetVersion()
			s.rejections.add(s, id, r.GetVersion(), r.GetReason())
		}
	}
}

// wanted is what the keys are answered with now.
type wanted struct {
	resources map[resourceID]*resource
	withheld  map[resourceID]bool // the proxy lacks what these need: it keeps what it has of them
	invalid   map[string]string   // why keys have no answer
}

// collect watches what the keys need, directly and through their routes, and lets go of the rest.
func (s *stream) collect(keys map[string]*api.Key) wanted {
	w := wanted{map[resourceID]*resource{}, map[resourceID]bool{}, map[string]string{}}
	used := map[question]struct{}{}
	for name, key := range keys {
		a := s.answer(s.caller.question(key), used)
		if a.invalid != "" {
			w.invalid[name] = a.invalid
		}
		s.add(&w, name, a)
		for _, ref := range a.refs {
			s.add(&w, name, s.answer(question{cluster: ref.on(s.caller.node)}, used))
		}
	}
	for q, c := range s.cells {
		if _, ok := used[q]; !ok {
			s.hub.release(c, s.watcher)
			delete(s.cells, q)
		}
	}
	return w
}

// add takes the resources of one answer, but for those that are beyond the proxy: it would reject
// them.
func (s *stream) add(w *wanted, key string, a *answer) {
	for _, r := range a.resources {
		lacking := slices.DeleteFunc(slices.Clone(r.needs), func(c string) bool {
			return s.able[c]
		})
		if len(lacking) == 0 {
			w.resources[r.id] = r
			continue
		}
		w.withheld[r.id] = true
		w.invalid[key] = "the proxy lacks what the answer needs: " + strings.Join(lacking, ", ")
		if s.unusable[r.id] != r.version {
			s.unusable[r.id] = r.version
			s.rejections.add(s, r.id, r.version, w.invalid[key])
		}
	}
}

func (s *stream) answer(q question, used map[question]struct{}) *answer {
	used[q] = struct{}{}
	c := s.cells[q]
	if c == nil {
		c = s.hub.watch(q, s.watcher)
		s.cells[q] = c
	}
	return c.answer.Load()
}

// refuse says why keys have no answer, once for each reason.
func (s *stream) refuse(keys map[string]*api.Key, invalid map[string]string) error {
	maps.DeleteFunc(s.refused, func(name, _ string) bool { return invalid[name] == "" })
	for name, reason := range invalid {
		if s.refused[name] == reason {
			continue
		}
		s.refused[name] = reason
		answer := &api.DiscoverResponse_Invalid{Invalid: &api.Invalid{Key: keys[name],
			Reason: reason}}
		if err := s.send(&api.DiscoverResponse{Message: answer}); err != nil {
			return fmt.Errorf("refuse %s: %w", name, err)
		}
	}
	return nil
}

// difference lists what the proxy must be sent. What is referred to comes before what refers to it,
// and removals come last, so that each batch is consistent with those before it.
func (s *stream) difference(w wanted) [][]*api.Resource {
	var out []*api.Resource
	for _, id := range slices.SortedFunc(maps.Keys(w.resources), inOrder) {
		out = append(out, s.update(w.resources[id])...)
	}
	for _, id := range slices.SortedFunc(maps.Keys(s.sent), inOrder) {
		if w.resources[id] == nil && !w.withheld[id] {
			delete(s.sent, id)
			out = append(out, id.removal())
		}
	}
	for id := range s.unusable {
		if w.resources[id] == nil && !w.withheld[id] {
			s.forgive(id)
		}
	}
	return batches(out)
}

// update returns what the proxy must be sent to have a resource as it is now. What it rejected it
// does not have: it gets the next version whole.
func (s *stream) update(r *resource) []*api.Resource {
	has := s.sent[r.id]
	if has == r.version {
		return nil
	}
	if s.unusable[r.id] == has {
		has = ""
	}
	s.forgive(r.id)
	s.sent[r.id] = r.version
	if delta := r.deltas[has]; delta != nil {
		return delta
	}
	return r.parts
}

// forgive forgets that the proxy cannot use a resource, for it is about to be sent another version,
// or none.
func (s *stream) forgive(id resourceID) {
	if _, ok := s.unusable[id]; ok {
		delete(s.unusable, id)
		s.rejections.remove(s, id)
	}
}

// batches puts resources into messages.
func batches(all []*api.Resource) [][]*api.Resource {
	return cut(all, func(r *api.Resource) int { return proto.Size(r) })
}

// inOrder puts clusters and their endpoints before routes.
func inOrder(a, b resourceID) int {
	if r := rank(a.kind) - rank(b.kind); r != 0 {
		return r
	}
	return strings.Compare(a.name, b.name)
}

func rank(k api.Kind) int {
	if k == api.Kind_KIND_ROUTE || k == api.Kind_KIND_INBOUND {
		return int(k) + 10
	}
	return int(k)
}

// close lets go of everything.
func (s *stream) close() {
	s.unweigh()
	for _, c := range s.cells {
		s.hub.release(c, s.watcher)
	}
	clear(s.cells)
	for id := range s.unusable {
		s.rejections.remove(s, id)
	}
}
