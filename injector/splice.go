package injector

import (
	"bytes"
	"cmp"
	"slices"
	"sort"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// splicer changes a text at the places that parsed nodes name.
type splicer struct {
	text  []byte
	lines []int // where each line starts
	edits []edit
	back  []edit // those that add, as they are read back: see add
	dry   bool   // what is inserted is not written
	err   error  // the first place that could not be edited
	memo  *memo
}

// edit replaces text[from:to].
type edit struct {
	from, to int
	insert   string
}

func newSplicer(text []byte) *splicer {
	s := &splicer{text: text, lines: []int{0}, memo: newMemo()}
	if bytes.HasPrefix(text, []byte("\ufeff")) {
		s.lines[0] = len("\ufeff") // yaml does not count a byte order mark
	}
	for i := 0; i < len(text); {
		r, n := utf8.DecodeRune(text[i:])
		i += n
		switch r {
		case '\r':
			if i < len(text) && text[i] == '\n' {
				i++
			}
		case '\n', '\u0085', '\u2028',
			'\u2029': // YAML 1.1 §4.2: what the parser counts as line breaks
		default:
			continue
		}
		s.lines = append(s.lines, i)
	}
	return s
}

// lineStart is where a line (from 1) begins; beyond the last it is the end of the text.
func (s *splicer) lineStart(line int) int {
	if line > len(s.lines) {
		return len(s.text)
	}
	return s.lines[line-1]
}

// offset of a node; columns count characters.
func (s *splicer) offset(n *yaml.Node) int {
	at := s.lineStart(n.Line)
	for col := 1; col < n.Column && at < len(s.text); col++ {
		_, size := utf8.DecodeRune(s.text[at:])
		at += size
	}
	return at
}

func (s *splicer) insert(at int, text string) { s.edits = append(s.edits, edit{at, at, text}) }

func (s *splicer) replace(from, to int, text string) {
	s.edits = append(s.edits, edit{from, to, text})
}

func (s *splicer) fail(err error) {
	if s.err == nil {
		s.err = err
	}
}

// spliced is a text with edits. Edits never overlap; those at one place stay in their order.
func spliced(text []byte, edits []edit) []byte {
	sort.SliceStable(edits, func(i, j int) bool { return edits[i].from < edits[j].from })
	size := len(text)
	for _, e := range edits {
		size += len(e.insert) - (e.to - e.from)
	}
	var out bytes.Buffer
	out.Grow(size)
	at := 0
	for _, e := range edits {
		out.Write(text[at:e.from])
		out.WriteString(e.insert)
		at = e.to
	}
	out.Write(text[at:])
	return out.Bytes()
}

// newline is the line break that the line at an offset ends with: ours must be the same.
func (s *splicer) newline(line int) string {
	end := s.lineStart(line + 1)
	if end >= 2 && s.text[end-2] == '\r' && s.text[end-1] == '\n' {
		return "\r\n"
	}
	return "\n"
}

// insertLines puts whole lines after a line of the text.
func (s *splicer) insertLines(after int, lines []string) {
	at, nl := s.lineStart(after+1), s.newline(after)
	block := strings.Join(lines, nl)
	if after >= len(s.lines) { // the text's last line has no break of its own
		s.insert(at, s.newline(after-1)+strings.Join(lines, s.newline(after-1)))
		return
	}
	s.insert(at, block+nl)
}

// deleteLines takes whole lines out, the break included that came with them.
func (s *splicer) deleteLines(first, last int) {
	from, to := s.lineStart(first), s.lineStart(last+1)
	if last >= len(s.lines) && first > 1 {
		from -= len(s.newline(first - 1))
	}
	s.replace(from, to, "")
}

// add splices a change into a pod template, with the annotation that remembers what it had to
// create or replace besides. It returns the tree of what will be found when that is read back.
//
// Nearly all workloads of a text get the same lines, which are five times as long as theirs. Those
// are read back in full where they first come at their column; from then on each of their items is
// read back as its first line. What is in question then is the place, and whether what is there can
// be found and taken out again, and not what the lines mean.
func (s *splicer) add(at location, c Change) (*yaml.Node, error) {
	spec, err := s.memo.spec(c)
	if err != nil {
		return nil, err
	}
	probe := s.beside()
	probe.dry = true
	m := merger{s: probe, style: probe.styleOf(at)}
	m.merge(at, c.tree(spec.whole))
	if probe.err != nil {
		return nil, probe.err
	}
	slices.Sort(m.records)
	// The records go into the annotations, so the second time they are part of what is spliced.
	c = c.withRecords(m.records)
	first, tree := len(s.edits), c.tree(spec.whole)
	s.memo.used = s.memo.used[:0]
	second := merger{s: s, style: m.style}
	second.merge(at, tree)
	if !s.memo.familiar(spec) {
		s.back = append(s.back, s.edits[first:]...)
		return tree, s.err
	}
	short := s.beside()
	tree = c.tree(spec.short)
	third := merger{s: short, style: m.style}
	third.merge(at, tree)
	s.back = append(s.back, short.edits...)
	return tree, cmp.Or(s.err, short.err)
}

// beside is for other edits of the same text.
func (s *splicer) beside() *splicer {
	return &splicer{text: s.text, lines: s.lines, memo: s.memo}
}

// withRecords adds the annotation that remembers them.
func (c Change) withRecords(records []string) Change {
	if len(records) == 0 {
		return c
	}
	c.Annotations = merge(merge(nil, c.Annotations),
		map[string]string{annotationKeys: strings.Join(records, ",")})
	return c
}
