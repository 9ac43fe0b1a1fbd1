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
const (
	maxKeys = 8192        // a proxy remembers 4,096 targets; inbound ports, and some room
	maxHeld = 4 * maxKeys // what a proxy says it holds: three resources a key, and some room
	maxName = maxKey + 64 // of a held resource; ours are never longer
	// maxBatch is what one message aims at: larger sets are sent in several, each consistent.
	maxBatch = 1 << 20
)

// stream is what one proxy asks, and what it has.
type stream struct {
	hub     *hub
	caller  caller
	watcher *watcher
	send    func(*api.DiscoverResponse) error // blocks while the proxy is slow; changes meanwhile fall together

	mu    sync.Mutex // guards what the reader changes
	keys  map[string]*api.Key
	fresh bool                  // a key was subscribed since the last flush
	held  map[resourceID]string // versions from an earlier stream, until they are compared

	// what only the flushing goroutine touches
	cells   map[question]*cell
	sent    map[resourceID]string // the proxy's versions
	refused map[string]string
}

func newStream(h *hub, c caller, send func(*api.DiscoverResponse) error) *stream {
	return &stream{
		hub: h, caller: c, send: send, watcher: newWatcher(),
		keys: map[string]*api.Key{}, held: map[resourceID]string{},
		cells: map[question]*cell{}, sent: map[resourceID]string{}, refused: map[string]string{},
	}
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
		delete(s.keys, api.KeyString(m.Unsubscribe.GetKey()))
	case *api.DiscoverRequest_Hello:
		return status.Error(codes.InvalidArgument, "Hello comes once, first")
	default:
		return nil // of a newer proxy
	}
	s.watcher.notify()
	return nil
}

func (s *stream) subscribe(sub *api.Subscribe) error {
	name := api.KeyString(sub.GetKey())
	if name == "" || len(name) > maxName {
		return status.Error(codes.InvalidArgument, "Subscribe needs a key: an address, an authority or an inbound port")
	}
	s.keys[name] = sub.Key
	s.fresh = true
	if len(s.keys) > maxKeys {
		return status.Errorf(codes.ResourceExhausted, "more than %d keys: unsubscribe those not in use", maxKeys)
	}
	for _, h := range sub.Held {
		if len(h.Name) <= maxName && len(h.Version) == 2*versionBytes {
			s.held[resourceID{h.Kind, h.Name}] = h.Version
		}
	}
	if len(s.held) > maxHeld {
		return status.Errorf(codes.ResourceExhausted, "more than %d held resources", maxHeld)
	}
	return nil
}

// take returns what to answer now.
func (s *stream) take() (keys map[string]*api.Key, fresh bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	keys, fresh = maps.Clone(s.keys), s.fresh
	s.fresh = false
	return keys, fresh
}

// flush brings the proxy from what it has to what its keys are answered with now.
func (s *stream) flush() error {
	keys, fresh := s.take()
	want, invalid := s.collect(keys)
	if err := s.refuse(keys, invalid); err != nil {
		return err
	}
	batches := s.difference(want)
	if len(batches) == 0 && fresh {
		batches = append(batches, nil)
	}
	for _, batch := range batches {
		err := s.send(&api.DiscoverResponse{Message: &api.DiscoverResponse_Resources{Resources: &api.Resources{Resources: batch}}})
		if err != nil {
			return err
		}
	}
	return nil
}

// collect watches what the keys need, directly and through their routes, and lets go of the rest.
func (s *stream) collect(keys map[string]*api.Key) (want map[resourceID]*resource, invalid map[string]string) {
	want, invalid = map[resourceID]*resource{}, map[string]string{}
	used := map[question]struct{}{}
	for name, key := range keys {
		a := s.answer(s.caller.question(key), used)
		if a.invalid != "" {
			invalid[name] = a.invalid
		}
		a.addTo(want)
		for _, ref := range a.refs {
			s.answer(question{cluster: ref.on(s.caller.node)}, used).addTo(want)
		}
	}
	for q, c := range s.cells {
		if _, ok := used[q]; !ok {
			s.hub.release(c, s.watcher)
			delete(s.cells, q)
		}
	}
	return want, invalid
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

func (a *answer) addTo(want map[resourceID]*resource) {
	for _, r := range a.resources {
		want[r.id] = r
	}
}

// refuse says why keys have no answer, once for each reason.
func (s *stream) refuse(keys map[string]*api.Key, invalid map[string]string) error {
	maps.DeleteFunc(s.refused, func(name, _ string) bool { return invalid[name] == "" })
	for name, reason := range invalid {
		if s.refused[name] == reason {
			continue
		}
		s.refused[name] = reason
		answer := &api.Invalid{Key: keys[name], Reason: reason}
		if err := s.send(&api.DiscoverResponse{Message: &api.DiscoverResponse_Invalid{Invalid: answer}}); err != nil {
			return fmt.Errorf("refuse %s: %w", name, err)
		}
	}
	return nil
}

// difference lists what the proxy must be sent. What is referred to comes before what refers to it, and removals come
// last, so that each batch is consistent with those before it.
func (s *stream) difference(want map[resourceID]*resource) [][]*api.Resource {
	var out []*api.Resource
	for _, id := range slices.SortedFunc(maps.Keys(want), inOrder) {
		r := want[id]
		has, ok := s.sent[id]
		if !ok {
			has = s.takeHeld(id)
		}
		s.sent[id] = r.version
		if has == r.version {
			continue
		}
		if delta := r.deltas[has]; delta != nil {
			out = append(out, delta)
		} else {
			out = append(out, r.snapshot)
		}
	}
	for _, id := range slices.SortedFunc(maps.Keys(s.sent), inOrder) {
		if want[id] == nil {
			delete(s.sent, id)
			out = append(out, id.removal())
		}
	}
	return batches(out)
}

func (s *stream) takeHeld(id resourceID) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	version := s.held[id]
	delete(s.held, id)
	return version
}

func batches(all []*api.Resource) [][]*api.Resource {
	var out [][]*api.Resource
	first, size := 0, 0
	for i, r := range all {
		n := proto.Size(r)
		if i > first && size+n > maxBatch {
			out = append(out, all[first:i])
			first, size = i, 0
		}
		size += n
	}
	if first < len(all) {
		out = append(out, all[first:])
	}
	return out
}

// inOrder puts clusters and their endpoints before routes.
func inOrder(a, b resourceID) int {
	if r := rank(a.kind) - rank(b.kind); r != 0 {
		return r
	}
	return strings.Compare(a.name, b.name)
}

func rank(k api.Kind) int {
	if k == api.Kind_ROUTE || k == api.Kind_INBOUND {
		return int(k) + 10
	}
	return int(k)
}

// close lets go of everything.
func (s *stream) close() {
	for _, c := range s.cells {
		s.hub.release(c, s.watcher)
	}
	clear(s.cells)
}
