package h2

import "golang.org/x/net/http2/hpack"

// table is the fields that one side of a connection has sent and may refer to: HPACK's dynamic
// table (RFC 7541 §2.3.2), the encoder's or the decoder's. It is a ring. Its counters may overflow,
// for only their differences are used.
type table struct {
	ring         []hpack.HeaderField // nil until something enters; its length is a power of two
	added, first uint32              // how many ever entered; how many of them have left
	size         int
}

const (
	firstRing  = 16
	fieldExtra = 32 // what an entry costs beyond its text (§4.1)
)

func fieldCost(f *hpack.HeaderField) int { return len(f.Name) + len(f.Value) + fieldExtra }

// newest is the field that entered k before the last, or nil.
func (t *table) newest(k uint32) *hpack.HeaderField {
	if k >= t.added-t.first {
		return nil
	}
	return &t.ring[(t.added-1-k)&uint32(len(t.ring)-1)]
}

// enter adds a field and drops the oldest ones, so that the table has at most limit. A field that
// is larger than limit empties the table (§4.4).
func (t *table) enter(f *hpack.HeaderField, limit int) {
	cost := fieldCost(f)
	t.evict(limit - cost)
	if cost > limit {
		return
	}
	if int(t.added-t.first) == len(t.ring) {
		t.grow()
	}
	t.ring[t.added&uint32(len(t.ring)-1)] = *f
	t.added++
	t.size += cost
}

func (t *table) grow() {
	bigger := make([]hpack.HeaderField, max(firstRing, 2*len(t.ring)))
	for n := t.first; n != t.added; n++ {
		bigger[n&uint32(len(bigger)-1)] = t.ring[n&uint32(len(t.ring)-1)]
	}
	t.ring = bigger
}

// evict drops the oldest entries until the rest fits into size.
func (t *table) evict(size int) {
	for t.size > size && t.first != t.added {
		f := &t.ring[t.first&uint32(len(t.ring)-1)]
		t.size -= fieldCost(f)
		*f = hpack.HeaderField{}
		t.first++
	}
}
