package destination

import (
	"slices"
	"unique"

	"github.com/tulle-mesh/tulle/destination/registry"
)

// streamView is what the keys of a stream are answered with, as it has looked last, and what of
// that its proxy has. A flush looks at what has changed since, and at nothing else.
//
// It is most of what a proxy costs beside its connection, so it holds nothing that it shares with
// others: texts are interned, and a key is made of its name again when it is needed.
type streamView struct {
	keys      map[unique.Handle[string]]*interest
	uses      map[*cell]*use
	resources map[unique.Handle[resourceID]]holding
	// others are the answers that a resource is in beside the last one, for the few that are in
	// several.
	others map[unique.Handle[resourceID]][]*use

	unusable map[resourceID]unusable
	// the policies that resources of the proxy were made from, and the other way round
	madeFrom map[resourceID][]registry.PolicyRef
	made     map[registry.PolicyRef]map[resourceID]struct{}

	members map[string]*sharer // what it has a share of, by pool; nil: nothing
}

// holding is a resource that the proxy has, or that an answer has for it.
type holding struct {
	from *use                  // the last answer that it is in, which counts; nil: none
	text unique.Handle[string] // of its version; zero: the proxy has none
}

// version is the proxy's, as far as it could use it; "": it has none.
func (h holding) version() string {
	if h.text == (unique.Handle[string]{}) {
		return ""
	}
	return h.text.Value()
}

// unusable is a version that the proxy rejected, or was not sent for what it lacks.
type unusable struct{ version, reason string }

func newStreamView() streamView {
	return streamView{
		keys: map[unique.Handle[string]]*interest{}, uses: map[*cell]*use{},
		resources: map[unique.Handle[resourceID]]holding{},
		others:    map[unique.Handle[resourceID]][]*use{},
		unusable:  map[resourceID]unusable{},
		madeFrom:  map[resourceID][]registry.PolicyRef{},
		made:      map[registry.PolicyRef]map[resourceID]struct{}{},
	}
}

// holding is what is known of a resource: nothing, if it is zero.
func (v *streamView) holding(id resourceID) holding { return v.resources[unique.Make(id)] }

// hold notes the proxy's version of a resource; "": it has none.
func (v *streamView) hold(id resourceID, version string) {
	key := unique.Make(id)
	h := v.resources[key]
	h.text = unique.Handle[string]{}
	if version != "" {
		h.text = unique.Make(version)
	}
	v.keep(key, h)
}

func (v *streamView) keep(key unique.Handle[resourceID], h holding) {
	if h == (holding{}) {
		delete(v.resources, key)
		return
	}
	v.resources[key] = h
}

// provide says that a resource is in an answer, or no longer.
func (v *streamView) provide(id resourceID, u *use, does bool) {
	key := unique.Make(id)
	h, others := v.resources[key], v.others[key]
	switch last := len(others) - 1; {
	case does && h.from == u:
	case does && h.from != nil:
		h.from, others = u, append(others, h.from)
	case does:
		h.from = u
	case h.from == u && last >= 0:
		h.from, others = others[last], others[:last]
	case h.from == u:
		h.from = nil
	default:
		others = slices.DeleteFunc(others, func(other *use) bool { return other == u })
	}
	v.keep(key, h)
	if len(others) > 0 {
		v.others[key] = others
	} else {
		delete(v.others, key)
	}
}

// interest is a key of a stream.
type interest struct {
	name     unique.Handle[string]
	own      *use    // the key's own answer
	clusters []*use  // those that the answer refers to
	one      [1]*use // clusters' memory, for nearly all refer to one
	refused  string  // why there is no answer, as the proxy was told
}

// use is a cell whose answer is that of a key, or a cluster that answers refer to.
type use struct {
	cell   *cell
	answer *answer      // as the stream has looked at it last
	by     []*interest  // of which each is there once
	one    [1]*interest // by's memory, for nearly all are of one key
}
