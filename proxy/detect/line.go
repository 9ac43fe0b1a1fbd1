package detect

// Line follows the first line of what a caller says on an opaque connection, as it goes by. Some
// servers take any word for a method, bytes that no method has among them, so that a line is a
// request as soon as it ends in a version of HTTP, and not before. The zero value has seen nothing.
// A Line is not safe for concurrent use.
type Line struct {
	seen    int // bytes, up to maxLine
	matched int // bytes of the last word that spell version; -1: it is another word
	words   int
	inWord  bool
	state   lineState
}

type lineState uint8

const (
	lineEmpty   lineState = iota // empty lines so far
	lineBegun                    // its end is to come
	lineOver                     // no request, or too long for one
	lineRequest                  // a request line
)

const (
	version = "http/"
	// maxLine is as long as the longest request line that a server takes by default (Python's
	// http.server).
	maxLine = 64<<10 + 1
)

// Follow is a Line that has seen b; nil: there is nothing left to follow.
func Follow(b []byte) *Line {
	l := new(Line)
	rest, _ := trimProxyHeader(b)
	l.Next(rest)
	if l.Over() {
		return nil
	}
	return l
}

// Over reports whether the line has ended, or is too long to be a request's.
func (l *Line) Over() bool { return l.state == lineOver || l.state == lineRequest }

// Next takes the bytes that follow, and reports whether a request line ends in them. Nothing after
// its end can have been passed on if these bytes have not.
func (l *Line) Next(b []byte) (request bool) {
	for _, c := range b {
		if l.Over() {
			break
		}
		l.take(c)
	}
	return l.state == lineRequest
}

func (l *Line) take(c byte) {
	l.seen++
	switch {
	case c == '\n':
		l.end()
	case l.seen >= maxLine:
		l.state = lineOver
	case isBlank(c):
		l.inWord = false
	default:
		l.letter(c)
	}
}

// letter is one of a word's bytes.
func (l *Line) letter(c byte) {
	if !l.inWord {
		l.inWord, l.matched, l.state = true, 0, lineBegun
		l.words++
	}
	switch {
	case l.matched < 0 || l.matched == len(version):
	case lower(c) == version[l.matched]:
		l.matched++
	default:
		l.matched = -1
	}
}

// end is a line feed.
func (l *Line) end() {
	switch {
	case l.words > 1 && l.matched == len(version):
		l.state = lineRequest
	case l.words > 0:
		l.state = lineOver
	}
}

// versioned reports whether b has a whole first line, which ends in a version of HTTP.
func versioned(b []byte) bool { return new(Line).Next(b) }

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		c += 'a' - 'A'
	}
	return c
}
