package h2

import (
	"hash/maphash"
	"slices"

	"golang.org/x/net/http2/hpack"
)

// encoder writes header blocks in HPACK (RFC 7541). The library's encoder took a twelfth of the
// proxy's CPU in its maps, and this one also differs in policy. A field enters the table when it is
// sent a second time, so that dates and identifiers, which never come again, do not push others
// out. Strings are sent as they are: Huffman coding saves a quarter of a literal's bytes, and costs
// more CPU at both ends than the bytes do on a short wire.
type encoder struct {
	// the table's size that the peer allows: now, and the least since the last block
	limit, least int
	resized      bool // the next block must say so (§4.2)

	table
	index *encoderIndex
}

// encoderIndex finds fields in the ring by a hash. It has the numbers of entries, counted from 1,
// and the entry that it finds is compared.
type encoderIndex struct {
	pairs [256][2]uint32
	names [64]uint32
	seen  [64]uint32 // hashes of fields that were sent, and have not entered
	next  int        // the oldest of seen
}

var seenSeed = maphash.MakeSeed()

// resize takes the peer's SETTINGS_HEADER_TABLE_SIZE, or as much of it as this encoder uses.
func (e *encoder) resize(limit int) {
	if !e.resized || limit < e.least {
		e.least = limit
	}
	e.limit, e.resized = limit, true
	e.evict(limit)
}

// appendBlock appends the block's representation to b.
func (e *encoder) appendBlock(b []byte, fields []hpack.HeaderField) []byte {
	if e.resized {
		e.resized = false
		if e.least < e.limit {
			b = appendInt(b, 0x20, 5, e.least)
		}
		b = appendInt(b, 0x20, 5, e.limit)
	}
	for i := range fields {
		b = e.append(b, &fields[i])
	}
	return b
}

func (e *encoder) append(b []byte, f *hpack.HeaderField) []byte {
	if i := e.find(f); i > 0 && !f.Sensitive {
		return appendInt(b, 0x80, 7, i)
	}
	name := e.findName(f.Name)
	switch {
	case f.Sensitive:
		b = appendInt(b, 0x10, 4, name)
	case e.enters(f):
		b = appendInt(b, 0x40, 6, name)
		e.add(f)
	default:
		b = appendInt(b, 0, 4, name)
	}
	if name == 0 {
		b = appendText(b, f.Name)
	}
	return appendText(b, f.Value)
}

// find is the index of a field, or 0.
func (e *encoder) find(f *hpack.HeaderField) int {
	if f.Name != "" && f.Name[0] == ':' {
		if i := staticPair(f); i > 0 {
			return i
		}
	}
	if e.index != nil {
		for _, n := range e.pairs(f) {
			if o := e.at(n); o != nil && o.Name == f.Name && o.Value == f.Value {
				return e.indexOf(n)
			}
		}
	}
	return 0
}

func (e *encoder) pairs(f *hpack.HeaderField) *[2]uint32 {
	return &e.index.pairs[fieldHash(f.Name, f.Value)%uint32(len(e.index.pairs))]
}

func (e *encoder) findName(name string) int {
	if i := staticName(name); i > 0 || e.index == nil {
		return i
	}
	n := e.index.names[fieldHash(name, "")%uint32(len(e.index.names))]
	if o := e.at(n); o != nil && o.Name == name {
		return e.indexOf(n)
	}
	return 0
}

// at is the field that entered as the nth, counted from 1, if it is still there.
func (e *encoder) at(n uint32) *hpack.HeaderField {
	if n == 0 {
		return nil
	}
	return e.newest(e.added - n)
}

func (e *encoder) indexOf(n uint32) int { return staticLen + 1 + int(e.added-n) }

// enters decides whether a field is worth an entry: it was sent before, leaves room for others, and
// can be found again.
func (e *encoder) enters(f *hpack.HeaderField) bool {
	if fieldCost(f) > e.limit/2 {
		return false
	}
	if e.index == nil {
		e.index = new(encoderIndex)
	}
	// 0 is none
	h := uint32(maphash.String(seenSeed, f.Name)*31+maphash.String(seenSeed, f.Value)) | 1
	if slices.Contains(e.index.seen[:], h) {
		return e.slot(f) != nil
	}
	e.index.seen[e.index.next%len(e.index.seen)] = h
	e.index.next++
	return false
}

// slot is where a field can be found once it has entered. It is nil if other fields are found
// there.
func (e *encoder) slot(f *hpack.HeaderField) *uint32 {
	p := e.pairs(f)
	for i := range p {
		if e.at(p[i]) == nil {
			return &p[i]
		}
	}
	return nil
}

func (e *encoder) add(f *hpack.HeaderField) {
	e.enter(f, e.limit)
	*e.slot(f) = e.added
	e.index.names[fieldHash(f.Name, "")%uint32(len(e.index.names))] = e.added
}

// appendInt appends an integer with a prefix of so many bits, below the flags (RFC 7541 §5.1).
func appendInt(b []byte, flags byte, bits uint, n int) []byte {
	top := 1<<bits - 1
	if n < top {
		return append(b, flags|byte(n))
	}
	b = append(b, flags|byte(top))
	for n -= top; n >= 0x80; n >>= 7 {
		b = append(b, byte(n)|0x80)
	}
	return append(b, byte(n))
}

func appendText(b []byte, s string) []byte {
	b = appendInt(b, 0, 7, len(s))
	return append(b, s...)
}
