package discover

import (
	"fmt"
	"hash/fnv"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/tulle-mesh/tulle/destination/api"
	"github.com/tulle-mesh/tulle/proxy/balance"
)

// Holding is how much of what destination says this proxy has.
type Holding struct {
	// Revision is a hash over all that is held: the same in two proxies, and from one process to
	// the next, if they hold the same. Empty: destination has told nothing yet.
	Revision string
	// Age is since destination's last word, of which the end of its stream is one: while there is a
	// stream, what is held is current however long ago that was.
	Age       time.Duration
	Connected bool
}

// Holding is what is held at the moment.
func (d *Session) Holding() (h Holding) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.ready.Load() {
		return h
	}
	r := d.revision
	return Holding{Revision: fmt.Sprintf("%08x", uint32(r>>32)^uint32(r)),
		Age: time.Since(d.heardAt), Connected: d.welcomed}
}

// Held are the resources that are held, by kind and name. They are not to be changed.
func (d *Session) Held() []*api.Resource {
	d.mu.Lock()
	all := slices.Collect(maps.Values(d.messages))
	d.mu.Unlock()
	slices.SortFunc(all, func(a, b *api.Resource) int {
		if a.Kind != b.Kind {
			return int(a.Kind) - int(b.Kind)
		}
		return strings.Compare(a.Name, b.Name)
	})
	return all
}

// Clusters are those that destination or a route knows, by their names.
func (d *Session) Clusters() []*balance.Cluster {
	d.mu.Lock()
	all := make([]*balance.Cluster, 0, len(d.clusters))
	for _, e := range d.clusters {
		all = append(all, e.Cluster)
	}
	d.mu.Unlock()
	slices.SortFunc(all, func(a, b *balance.Cluster) int { return strings.Compare(a.Name, b.Name) })
	return all
}

// hold keeps a message in place of the one before.
func (s *store) hold(m *api.Resource) {
	k := keyOf(m)
	s.revision ^= mark(s.messages[k]) ^ mark(m)
	s.messages[k] = m
}

// lose forgets a message, if it is held.
func (s *store) lose(k resourceKey) {
	s.revision ^= mark(s.messages[k])
	delete(s.messages, k)
}

// mark is a message's part of the revision, which is the exclusive or of them all, so that a change
// costs no look at the others.
func mark(m *api.Resource) uint64 {
	if m == nil {
		return 0
	}
	h := fnv.New64a()
	h.Write([]byte{byte(m.Kind)})
	io.WriteString(h, m.Name)
	h.Write([]byte{0})
	io.WriteString(h, m.Version)
	return h.Sum64()
}
