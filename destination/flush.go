package destination

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"unique"

	"google.golang.org/protobuf/proto"

	"github.com/tulle-mesh/tulle/destination/api"
	"github.com/tulle-mesh/tulle/destination/registry"
)

// round is what one flush must look at.
type round struct {
	keys      map[*interest]struct{} // whether they have an answer
	resources map[resourceID]struct{}
	policies  map[registry.PolicyRef]struct{} // how they stand with the proxy
}

// flush brings the proxy from what it has to what its keys are answered with now.
func (s *stream) flush() error {
	said, ok := s.takeReceived()
	if !ok {
		return nil
	}
	r := s.look(said)
	s.markUnusable(said.rejected, r)
	if err := s.refuse(r); err != nil {
		return err
	}
	batches := batches(s.difference(r))
	s.tellStandings(r)
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
	s.lend(said.demands)
	return s.sendShares(said.shares)
}

// look follows the keys that came and went, and the answers that have changed.
func (s *stream) look(said received) *round {
	r := &round{
		map[*interest]struct{}{}, map[resourceID]struct{}{}, map[registry.PolicyRef]struct{}{},
	}
	for id, version := range said.held { // what nothing refers to any more is removed
		s.view.hold(id, version)
		r.resources[id] = struct{}{}
	}
	for c := range s.watcher.take() {
		if u := s.view.uses[c]; u != nil {
			s.refresh(u, r)
		}
	}
	for name, key := range said.added {
		i := &interest{name: unique.Make(name)}
		s.view.keys[i.name] = i
		i.own = s.use(s.caller.question(key), i, r)
		s.refer(i, r)
		r.keys[i] = struct{}{}
	}
	for name := range said.dropped {
		i := s.view.keys[unique.Make(name)]
		delete(s.view.keys, unique.Make(name))
		for _, u := range append(slices.Clone(i.clusters), i.own) {
			s.leave(u, i, r)
		}
		delete(r.keys, i)
	}
	return r
}

// noAnswer is what a stream has of a cell before it has looked.
var noAnswer = &answer{}

// use watches a question for a key.
func (s *stream) use(q question, i *interest, r *round) *use {
	c := s.hub.watch(q, s.watcher)
	u := s.view.uses[c]
	if u == nil {
		u = &use{cell: c, answer: noAnswer}
		u.by = u.one[:0]
		s.view.uses[c] = u
		s.refresh(u, r)
	}
	if !slices.Contains(u.by, i) {
		u.by = append(u.by, i)
	}
	return u
}

// leave lets go of what a key no longer needs.
func (s *stream) leave(u *use, i *interest, r *round) {
	at := slices.Index(u.by, i)
	if at < 0 {
		return // an answer may name a cluster twice
	}
	if u.by = slices.Delete(u.by, at, at+1); len(u.by) > 0 {
		return
	}
	for _, res := range s.caller.resourcesOf(u.answer) {
		s.view.provide(res.id, u, false)
		r.resources[res.id] = struct{}{}
	}
	delete(s.view.uses, u.cell)
	s.hub.release(u.cell, s.watcher)
}

// refresh looks at a cell's answer.
func (s *stream) refresh(u *use, r *round) {
	s.hub.examined.Add(1)
	last, next := u.answer, u.cell.answer.Load()
	if last == next {
		return
	}
	u.answer = next
	for _, res := range s.caller.resourcesOf(last) {
		s.view.provide(res.id, u, false)
		r.resources[res.id] = struct{}{}
	}
	for _, res := range s.caller.resourcesOf(next) {
		s.view.provide(res.id, u, true)
		r.resources[res.id] = struct{}{}
	}
	for _, i := range slices.Clone(u.by) {
		if i.own == u {
			s.refer(i, r)
		}
		if i.own == u || last.isPartial() || next.isPartial() {
			r.keys[i] = struct{}{}
		}
	}
}

// isPartial says whether there may be a proxy that does not get all of the answer.
func (a *answer) isPartial() bool {
	return a.invalid != "" || slices.ContainsFunc(a.resources, func(r *resource) bool {
		return len(r.needs) > 0
	})
}

// refer watches the clusters that a key's answer names now, and no longer those of the last one.
func (s *stream) refer(i *interest, r *round) {
	last := slices.Clone(i.clusters)
	i.clusters = i.one[:0]
	for _, ref := range i.own.answer.refs {
		for _, q := range ref.questions(s.caller) {
			i.clusters = append(i.clusters, s.use(q, i, r))
		}
	}
	for _, u := range last {
		if !slices.Contains(i.clusters, u) {
			s.leave(u, i, r)
		}
	}
}

// markUnusable believes a proxy about the version that it was sent last, and no other.
func (s *stream) markUnusable(rejected map[resourceID]*api.Rejected, r *round) {
	for id, m := range rejected {
		if version := s.view.holding(id).version(); version != "" && version == m.GetVersion() {
			s.markOne(id, unusable{version, m.GetReason()})
			for _, ref := range s.view.madeFrom[id] {
				r.policies[ref] = struct{}{}
			}
		}
	}
}

func (s *stream) markOne(id resourceID, u unusable) {
	s.view.unusable[id] = u
	s.rejections.add(s, id, u.version, u.reason)
}

// wanted returns a resource as the proxy should have it, or nil where no key needs it. Withheld is
// why the proxy cannot be sent it: it keeps what it has.
func (s *stream) wanted(id resourceID) (r *resource, withheld string) {
	from := s.view.holding(id).from
	if from == nil {
		return nil, ""
	}
	for _, r = range s.caller.resourcesOf(from.answer) {
		if r.id == id {
			break
		}
	}
	return r, s.withheld(r)
}

// withheld says why a resource is beyond the proxy, which would reject it, or "".
func (s *stream) withheld(r *resource) string {
	lacking := slices.DeleteFunc(slices.Clone(r.needs), func(c string) bool { return s.able[c] })
	if len(lacking) == 0 {
		return ""
	}
	return "the proxy lacks what the answer needs: " + strings.Join(lacking, ", ")
}

// refuse says why keys have no answer, once for each reason.
func (s *stream) refuse(r *round) error {
	for i := range r.keys {
		reason := s.reason(i)
		if reason == i.refused {
			continue
		}
		i.refused = reason
		if reason == "" {
			continue
		}
		key := api.KeyOf(i.name.Value())
		m := &api.DiscoverResponse_Invalid{Invalid: &api.Invalid{Key: key, Reason: reason}}
		if err := s.send(&api.DiscoverResponse{Message: m}); err != nil {
			return fmt.Errorf("refuse %s: %w", i.name.Value(), err)
		}
	}
	return nil
}

// reason is why a key has no answer, or not all of it, or "".
func (s *stream) reason(i *interest) string {
	for _, u := range append(slices.Clone(i.clusters), i.own) {
		for _, r := range u.answer.resources {
			if why := s.withheld(r); why != "" {
				return why
			}
		}
	}
	return i.own.answer.invalid
}

// difference lists what the proxy must be sent of what a flush looks at. What calls must not go to
// any longer comes first: endpoints that are gone from a cluster that the proxy has. Then what is
// referred to comes before what refers to it, and what nothing refers to any more goes last, so
// that each message is consistent with those before it.
func (s *stream) difference(r *round) []*api.Resource {
	var losses, updates, removals []*api.Resource
	for _, id := range slices.SortedFunc(maps.Keys(r.resources), inOrder) {
		now, withheld := s.wanted(id)
		if now != nil {
			s.attribute(id, now.policies, r)
		} else {
			s.attribute(id, nil, r)
		}
		switch {
		case withheld != "":
			s.withhold(now, withheld)
		case now != nil:
			update, loses := s.update(now)
			if loses {
				losses = append(losses, update...)
			} else {
				updates = append(updates, update...)
			}
		default:
			s.forgive(id)
			if s.view.holding(id).version() != "" {
				s.view.hold(id, "")
				removals = append(removals, id.removal())
			}
		}
	}
	return slices.Concat(losses, updates, removals)
}

// withhold remembers that the proxy is not sent a version.
func (s *stream) withhold(r *resource, why string) {
	if s.view.unusable[r.id].version != r.version {
		s.markOne(r.id, unusable{r.version, why})
	}
}

// update returns what the proxy must be sent to have a resource as it is now, and whether it loses
// endpoints by it. What it rejected it does not have: it gets the next version whole.
func (s *stream) update(r *resource) (parts []*api.Resource, loses bool) {
	has := s.view.holding(r.id).version()
	s.view.hold(r.id, r.version) // where they are equal, too: only the answer's text is shared
	if has == r.version {
		return nil, false
	}
	if s.view.unusable[r.id].version == has {
		has = ""
	}
	s.forgive(r.id)
	if delta := r.deltas[has]; delta != nil {
		return delta, len(delta[0].GetEndpointsDelta().GetRemoved()) > 0
	}
	// the whole may lack any of what the proxy has
	return r.parts, has != "" && r.id.kind == api.Kind_KIND_ENDPOINTS
}

// forgive forgets that the proxy cannot use a resource, for it is about to be sent another version,
// or none.
func (s *stream) forgive(id resourceID) {
	if _, ok := s.view.unusable[id]; ok {
		delete(s.view.unusable, id)
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
