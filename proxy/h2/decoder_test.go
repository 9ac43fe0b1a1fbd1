package h2

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"golang.org/x/net/http2/hpack"
)

// decodeAll is what a decoder makes of blocks, each of which comes in fragments; blocks end with an
// error.
func decodeAll(d *decoder, got *[]hpack.HeaderField, blocks [][]byte, fragment int) error {
	d.emit = func(f *hpack.HeaderField) { *got = append(*got, *f) }
	for _, b := range blocks {
		for len(b) > 0 {
			n := min(fragment, len(b))
			if err := d.write(b[:n]); err != nil {
				return err
			}
			b = b[n:]
		}
		if err := d.end(); err != nil {
			return err
		}
	}
	return nil
}

func TestDecoderReadsWhatTheLibraryWrites(t *testing.T) {
	var buf strings.Builder
	e := hpack.NewEncoder(&buf)
	var want []hpack.HeaderField
	var blocks [][]byte
	for i := range 200 {
		if i == 100 {
			e.SetMaxDynamicTableSize(64)
			e.SetMaxDynamicTableSize(512)
		}
		for _, f := range []hpack.HeaderField{
			{Name: ":status", Value: "200"}, {Name: "server", Value: "one of them"},
			{Name: "x-" + strings.Repeat("n", i%7), Value: strings.Repeat("v", i)},
			{Name: "authorization", Value: "secret", Sensitive: true}, {Name: "empty"},
		} {
			want = append(want, f)
			e.WriteField(f)
		}
		blocks = append(blocks, []byte(buf.String()))
		buf.Reset()
	}
	for _, fragment := range []int{1, 3, 1 << 20} {
		var got []hpack.HeaderField
		if err := decodeAll(newDecoder(1<<20, nil), &got, blocks, fragment); err != nil ||
			!slices.Equal(got, want) {
			t.Errorf("in fragments of %d: %v, %d fields of %d", fragment, err, len(got), len(want))
		}
	}
}

func TestDecoderRefuses(t *testing.T) {
	for _, tt := range []struct {
		name  string
		block string
		want  error
	}{
		{"index 0", "\x80", errIndex},
		{"an index beyond the table", "\xbe", errIndex},
		{"a name's index beyond the table", "\x7f\x00\x01v", errIndex},
		{"an integer of 36 bits", "\xff\x80\x80\x80\x80\x80\x01", errInteger},
		{"a string longer than allowed", "\x40\x01n\x7f\x80\x10", errStringLength},
		{"a table larger than allowed", "\x3f\xe2\x1f", errTableSize},
		{"a new size after a field", "\x40\x01n\x01v\x20", errLateSize},
		{"a field without its value", "\x40\x01n", errIncomplete},
		{"half a string", "\x40\x01n\x05v", errIncomplete},
	} {
		var got []hpack.HeaderField
		err := decodeAll(newDecoder(1000, nil), &got, [][]byte{[]byte(tt.block)}, 1<<20)
		if !errors.Is(err, tt.want) {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
	var got []hpack.HeaderField
	if decodeAll(newDecoder(1000, nil), &got, [][]byte{[]byte("\x40\x01n\x81\x00")}, 1<<20) == nil {
		t.Error("Huffman padding of zeros was taken")
	}
}

// Literals are remembered from the second time on, by their bytes and by how those are to be read;
// what must not be indexed never is.
func TestDecoderRemembersLiterals(t *testing.T) {
	d := newDecoder(1000, nil)
	var got []hpack.HeaderField
	huffman := string(hpack.AppendHuffmanString(nil, "gzip"))
	block := append([]byte("\x00\x01n\x04gzip\x00\x01n"), 0x80|byte(len(huffman)))
	block = append(block, huffman...)
	block = append(block, "\x00\x01n"+string(rune(len(huffman)))+huffman...)
	if err := decodeAll(d, &got, slices.Repeat([][]byte{block}, 4), 1<<20); err != nil {
		t.Fatal(err)
	}
	for i, f := range got {
		if want := []string{"gzip", "gzip", huffman}[i%3]; f.Name != "n" || f.Value != want {
			t.Errorf("field %d is %q", i, f)
		}
	}
	// the last has the bytes of the one before it
	d.emit, block = func(*hpack.HeaderField) {}, block[:len(block)-3-1-len(huffman)]
	if n := testing.AllocsPerRun(100, func() { d.write(block); d.end() }); n > 0 {
		t.Errorf("%v allocations for literals that came before", n)
	}
	secret := []byte("\x10\x01n\x06secret")
	for range 3 {
		d.write(secret)
		d.end()
	}
	for _, e := range d.texts.kept {
		if e.text == "secret" {
			t.Error("a field that must not be indexed was remembered")
		}
	}
}

// FuzzDecoder: the library's decoder and ours read the same, in whatever fragments it comes.
func FuzzDecoder(f *testing.F) {
	f.Add([]byte("\x82\x86\x84\x41\x8c\xf1\xe3\xc2\xe5\xf2\x3a\x6b\xa0\xab\x90\xf4\xff"), uint8(3))
	f.Add([]byte("\x3f\x21\x40\x01n\x01v\xbe\x00\x01n\x01v\x10\x01n\x01v\x7e\x01w"), uint8(1))
	f.Fuzz(func(t *testing.T, block []byte, fragment uint8) {
		const maxString = 100
		var theirs, ours []hpack.HeaderField
		lib := hpack.NewDecoder(tableSize, func(f hpack.HeaderField) { theirs = append(theirs, f) })
		lib.SetMaxStringLength(maxString)
		d := newDecoder(maxString, nil)
		for range 3 { // what the first left in the table and among the texts is the next one's
			_, want := lib.Write(block)
			if want == nil {
				want = lib.Close()
			}
			err := decodeAll(d, &ours, [][]byte{block}, int(fragment)+1)
			if stricter := errors.Is(err, errInteger); (err == nil) != (want == nil) && !stricter &&
				!laxer(want) {
				t.Fatalf("the library says %v, we say %v", want, err)
			}
			if err != nil || want != nil {
				return
			}
			if !slices.Equal(theirs, ours) {
				t.Fatalf("the library reads %v, we read %v", theirs, ours)
			}
		}
	})
}

// laxer: RFC 7541 §4.2 allows two changes of the table's size, the library one.
func laxer(err error) bool {
	return err != nil && strings.Contains(err.Error(), "beginning of a header block")
}

func BenchmarkDecodeRepeatedLiterals(b *testing.B) {
	d := newDecoder(1<<16, func(*hpack.HeaderField) {})
	var block []byte // as nginx answers
	for _, f := range [][2]string{
		{"server", "nginx/1.22.1"}, {"date", "Sat, 28 Nov 2026 07:33:25 GMT"},
		{"content-type", "text/plain"}, {"content-length", "13"},
	} {
		block = appendInt(block, 0x40, 6, staticName(f[0]))
		block = appendInt(block, 0x80, 7, int(hpack.HuffmanEncodeLength(f[1])))
		block = hpack.AppendHuffmanString(block, f[1])
	}
	b.ReportAllocs()
	for b.Loop() {
		if d.write(block) != nil || d.end() != nil {
			b.Fatal("not decoded")
		}
	}
}
