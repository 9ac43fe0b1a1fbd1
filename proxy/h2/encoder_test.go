package h2

import (
	"fmt"
	"slices"
	"testing"

	"golang.org/x/net/http2/hpack"
)

// FuzzEncoder: the library's decoder reads what our encoder writes, whatever the fields and the
// table's sizes are.
func FuzzEncoder(f *testing.F) {
	f.Add([]byte("\x00\x05:path\x03/ab\x00\x05:path\x03/ab\x00\x05:path\x03/ab"))
	f.Add([]byte("\xff\x00\x00\x01a\x01b\x00\x01a\x01b\xff\x10\x00\x01a\x01b"))
	f.Fuzz(func(t *testing.T, script []byte) {
		e := encoder{limit: tableSize}
		d := hpack.NewDecoder(tableSize, nil)
		for len(script) > 0 {
			fields, limit, rest := nextBlock(script)
			if script = rest; limit >= 0 {
				e.resize(limit)
			}
			got, err := d.DecodeFull(e.appendBlock(nil, fields))
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(got, fields) {
				t.Fatalf("%v became %v", fields, got)
			}
		}
	})
}

// nextBlock reads from a script: 0xff and a size is a change of the table's; else a field, with its
// flags and lengths.
func nextBlock(script []byte) (fields []hpack.HeaderField, limit int, rest []byte) {
	limit = -1
	for len(script) >= 3 && len(fields) < 20 {
		if script[0] == 0xff {
			return fields, int(script[1]) * 16, script[2:]
		}
		name, value := int(script[1])%64, int(script[2])
		flags := script[0]
		if script = script[3:]; len(script) < name+value {
			return fields, limit, nil
		}
		fields = append(
			fields,
			hpack.HeaderField{
				Name:      string(script[:name]),
				Value:     string(script[name : name+value]),
				Sensitive: flags&3 == 3,
			},
		)
		script = script[name+value:]
	}
	if len(script) < 3 {
		script = nil
	}
	return fields, limit, script
}

// A field is in full twice and an index from then on; one that never comes again does not push it
// out.
func TestEncoderIndexesTheSecondTime(t *testing.T) {
	e := encoder{limit: tableSize}
	stays := hpack.HeaderField{Name: "x-stays", Value: "the same"}
	for i := range 2000 {
		b := e.appendBlock(
			nil,
			[]hpack.HeaderField{stays, {Name: "x-varies", Value: fmt.Sprintf("%064d", i)}},
		)
		if i >= 2 && b[0]&0x80 == 0 {
			t.Fatalf("block %d has a literal for what came before: %x", i, b[:10])
		}
	}
	if e.added > 2 {
		t.Errorf("%d fields entered the table", e.added)
	}
}

// Every entry of the static table is found, and decodes to itself.
func TestEncoderStaticTable(t *testing.T) {
	e := encoder{limit: tableSize}
	d := hpack.NewDecoder(tableSize, nil)
	for i, f := range staticFields {
		b := e.appendBlock(nil, []hpack.HeaderField{f})
		got, err := d.DecodeFull(b)
		if err != nil || len(got) != 1 || got[0] != f {
			t.Errorf("entry %d, %v: %v, %v", i+1, f, got, err)
		}
		if f.Value != "" && f.IsPseudo() && (len(b) != 1 || int(b[0]&0x7f) != i+1) {
			t.Errorf("%v is not sent as index %d: %x", f, i+1, b)
		}
	}
}
