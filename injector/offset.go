package injector

import (
	"bytes"
	"sort"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// column of a block collection's entries: of its keys, or of its dashes.
func (s *splicer) column(n *yaml.Node) int {
	first := n.Content[0]
	if n.Kind == yaml.MappingNode {
		return first.Column - 1
	}
	at := s.dash(first)
	line := s.lineOf(at)
	return utf8.RuneCount(s.text[s.lineStart(line):at])
}

// dash is where a block list's item begins: at the dash before its content.
func (s *splicer) dash(item *yaml.Node) int {
	at := s.offset(item)
	for at > 0 && s.text[at-1] != '-' && bytes.IndexByte([]byte(" \t\r\n"), s.text[at-1]) >= 0 {
		at--
	}
	if at == 0 || s.text[at-1] != '-' {
		s.fail(errAt(item, "expected a list's dash before this"))
		return at
	}
	return at - 1
}

// lineOf is the line of an offset. It is asked several times for each object of a text.
func (s *splicer) lineOf(at int) int { return max(1, sort.SearchInts(s.lines, at+1)) }

// startsLine says whether only blanks stand before a node on its line.
func (s *splicer) startsLine(n *yaml.Node) bool {
	return len(bytes.TrimLeft(s.text[s.lineStart(n.Line):s.offset(n)], " ")) == 0
}

// indentation is the blanks that begin the line of an offset.
func (s *splicer) indentation(at int) string {
	line := s.text[s.lineStart(s.lineOf(at)):at]
	return string(line[:len(line)-len(bytes.TrimLeft(line, " \t"))])
}

// open is where a flow collection's bracket stands, after its anchor and tag; -1: there is none.
func (s *splicer) open(n *yaml.Node) int {
	at := s.offset(n)
	i := bytes.IndexAny(s.text[at:], "{[")
	if i < 0 {
		return -1
	}
	return at + i
}

// flowEnd is the offset behind a value in flow style that starts at an offset.
func (s *splicer) flowEnd(at int) int {
	depth := 0
	for i := at; i < len(s.text); i++ {
		switch s.text[i] {
		case '"', '\'':
			i = s.stringEnd(i)
		case '{', '[':
			depth++
		case '}', ']':
			if depth--; depth < 0 {
				return i
			}
		case ',', '\n', '\r':
			if depth == 0 {
				return i
			}
			continue
		default:
			continue
		}
		if depth == 0 {
			return i + 1
		}
	}
	return len(s.text)
}

// stringEnd is the offset of the quote that closes a string.
func (s *splicer) stringEnd(at int) int {
	quote := s.text[at]
	for i := at + 1; i < len(s.text); i++ {
		switch {
		case s.text[i] == '\\' && quote == '"':
			i++
		case s.text[i] == quote:
			return i
		}
	}
	return len(s.text)
}

// lastLine is the last line that a block value has something on.
func lastLine(n *yaml.Node) int {
	line := n.Line
	for _, c := range n.Content {
		line = max(line, lastLine(c))
	}
	return line
}
