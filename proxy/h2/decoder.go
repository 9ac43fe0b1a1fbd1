package h2

import (
	"errors"
	"hash/maphash"
	"slices"

	"golang.org/x/net/http2/hpack"
)

// decoder reads header blocks in HPACK (RFC 7541), fragment by fragment, so that what makes a block
// too large is known before all of it is here. The library's decoder took a sixth of the proxy's
// CPU between two servers that repeat their literals, as nginx does. It keeps maps of the table,
// which only an encoder needs, and makes a string of every literal.
type decoder struct {
	table
	// chosen is the table's size that the peer has chosen. It is at most tableSize, the default,
	// which our SETTINGS do not change.
	chosen    int
	maxString int
	emit      func(*hpack.HeaderField) // the field is valid during the call
	muted     bool                     // nothing is emitted any more, but the table is kept up

	begun   bool // a field of this block was read: the table's size may not change now (§4.2)
	rest    []byte
	literal hpack.HeaderField
	texts   *texts // nil until a literal comes
}

var (
	errStringLength = errors.New("header field too long")
	errIncomplete   = errors.New("header block ends within a field")
	errIndex        = errors.New("no field has this index")
	errInteger      = errors.New("integer too large")
	errTableSize    = errors.New("table size larger than allowed")
	errLateSize     = errors.New("table size changed within a header block")
)

func newDecoder(maxString int, emit func(*hpack.HeaderField)) *decoder {
	return &decoder{chosen: tableSize, maxString: maxString, emit: emit}
}

// write reads a fragment. If the fragment ends within a field, the field's bytes are kept for the
// next fragment: as many as a string may have.
func (d *decoder) write(p []byte) error {
	if len(d.rest) > 0 {
		d.rest = append(d.rest, p...)
		p = d.rest
	}
	for len(p) > 0 {
		n, err := d.field(p)
		if err != nil {
			return err
		}
		if n == 0 {
			break
		}
		p = p[n:]
	}
	d.rest = append(d.rest[:0], p...)
	return nil
}

// end is after a block's last fragment.
func (d *decoder) end() error {
	if len(d.rest) > 0 {
		return errIncomplete
	}
	d.begun, d.rest = false, nil
	return nil
}

// field reads one representation (§6). It returns 0 if the representation is not complete.
func (d *decoder) field(p []byte) (n int, err error) {
	switch b := p[0]; {
	case b&0x80 != 0:
		return d.indexed(p)
	case b&0xc0 == 0x40:
		return d.literalField(p, 6, true)
	case b&0xe0 == 0x20:
		return d.resize(p)
	}
	return d.literalField(p, 4, false)
}

func (d *decoder) indexed(p []byte) (n int, err error) {
	i, n, err := readInt(p, 7)
	if n == 0 {
		return 0, err
	}
	f := d.at(i)
	if f == nil {
		return 0, errIndex
	}
	d.say(f)
	return n, nil
}

// at is the field of an index, or nil (§2.3.3).
func (d *decoder) at(i uint64) *hpack.HeaderField {
	switch {
	case i == 0:
		return nil
	case i <= uint64(staticLen):
		return &staticFields[i-1]
	case i > uint64(staticLen)+tableSize: // so it fits into 32 bits
		return nil
	}
	return d.newest(uint32(i) - uint32(staticLen) - 1)
}

func (d *decoder) say(f *hpack.HeaderField) {
	d.begun = true
	if !d.muted {
		d.emit(f)
	}
}

// literalField reads a field that stands there in full. Its prefix has so many bits for the index
// of its name; enters says whether the field enters the table.
func (d *decoder) literalField(p []byte, bits uint, enters bool) (n int, err error) {
	i, n, err := readInt(p, bits)
	if n == 0 {
		return 0, err
	}
	f := &d.literal
	*f = hpack.HeaderField{Sensitive: !enters && p[0]&0x10 != 0}
	var m int
	keep := enters || !d.muted
	if i > 0 {
		named := d.at(i)
		if named == nil {
			return 0, errIndex
		}
		f.Name = named.Name
	} else {
		if f.Name, m, err = d.text(p[n:], keep, true); m == 0 {
			return 0, err
		}
		n += m
	}
	if f.Value, m, err = d.text(p[n:], keep, !f.Sensitive); m == 0 {
		return 0, err
	}
	if enters {
		d.enter(f, d.chosen)
	}
	d.say(f)
	return n + m, nil
}

// resize takes the table's size that the peer chooses (§6.3).
func (d *decoder) resize(p []byte) (n int, err error) {
	size, n, err := readInt(p, 5)
	switch {
	case n == 0:
		return 0, err
	case d.begun && d.size > 0:
		return 0, errLateSize
	case size > tableSize:
		return 0, errTableSize
	}
	d.chosen = int(size)
	d.evict(d.chosen)
	return n, nil
}

// text reads a string literal (§5.2). Unless keep is set it only skips it. A literal to remember is
// looked up among those that came before.
func (d *decoder) text(p []byte, keep, remember bool) (s string, n int, err error) {
	if len(p) == 0 {
		return "", 0, nil
	}
	length, n, err := readInt(p, 7)
	switch {
	case n == 0:
		return "", 0, err
	case length > uint64(d.maxString):
		return "", 0, errStringLength
	case len(p)-n < int(length):
		return "", 0, nil
	}
	raw, huffman := p[n:n+int(length)], p[0]&0x80 != 0
	n += len(raw)
	switch {
	case !keep:
		return "", n, nil
	case remember && len(raw) <= maxRemembered:
		if d.texts == nil {
			d.texts = new(texts)
		}
		s, err = d.texts.decode(raw, huffman)
	default:
		s, err = decodeText(raw, huffman)
	}
	if err == nil && len(s) > d.maxString {
		err = errStringLength
	}
	if err != nil {
		return "", 0, err
	}
	return s, n, nil
}

// forget frees what only makes later blocks cheaper to read.
func (d *decoder) forget() { d.texts = nil }

// readInt reads an integer with a prefix of so many bits (§5.1). It returns an n of 0 if the
// integer is not complete.
func readInt(p []byte, bits uint) (v uint64, n int, err error) {
	top := uint64(1)<<bits - 1
	v = uint64(p[0]) & top
	if v < top {
		return v, 1, nil
	}
	for i, b := range p[1:] {
		if i == maxIntBytes {
			return 0, 0, errInteger
		}
		v += uint64(b&0x7f) << (7 * i)
		if b&0x80 == 0 {
			return v, i + 2, nil
		}
	}
	return 0, 0, nil
}

// maxIntBytes is how many bytes an integer may have behind its prefix. That is 35 bits, far more
// than any length here, and no sum of them overflows.
const maxIntBytes = 5

// texts remembers literals that came twice, by the bytes in which they came. Servers without a
// table of their own send the same ones again and again. Those need neither decoding nor a new
// string.
type texts struct {
	hashes [32]uint32 // of kept; 0: none
	kept   [32]struct {
		raw, text string
		huffman   bool
	}
	// seen has the hashes of literals that came once. Most ids and dates do not come again, so they
	// are not kept.
	seen       [32]uint32
	next, last int // where the next one is kept, and seen
}

// maxRemembered is how long a literal may be to be kept. 32 of them, with their texts, are 11 KiB
// at most.
const maxRemembered = 128

var textSeed = maphash.MakeSeed()

func (t *texts) decode(raw []byte, huffman bool) (string, error) {
	h := uint32(maphash.Bytes(textSeed, raw))&^3 | 1
	if huffman {
		h |= 2
	}
	i := slices.Index(t.hashes[:], h)
	if i >= 0 && t.kept[i].huffman == huffman && t.kept[i].raw == string(raw) {
		return t.kept[i].text, nil
	}
	s, err := decodeText(raw, huffman)
	if err != nil || i >= 0 {
		return s, err
	}
	if !slices.Contains(t.seen[:], h) {
		t.seen[t.last%len(t.seen)] = h
		t.last++
		return s, nil
	}
	e := &t.kept[t.next%len(t.kept)]
	e.raw, e.text, e.huffman = s, s, huffman
	if huffman {
		e.raw = string(raw)
	}
	t.hashes[t.next%len(t.hashes)] = h
	t.next++
	return s, nil
}

func decodeText(raw []byte, huffman bool) (string, error) {
	if huffman {
		return hpack.HuffmanDecodeToString(raw)
	}
	return string(raw), nil
}
