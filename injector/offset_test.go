package injector

import (
	"strings"
	"testing"
)

func TestLineOfEveryOffset(t *testing.T) {
	for _, text := range []string{"", "a", "a\nb", "\n\na: b\r\nc: d\n", "\ufeffa\nb\n"} {
		s := newSplicer([]byte(text))
		for at := range len(text) + 1 {
			if got, want := s.lineOf(at), 1+strings.Count(text[:at], "\n"); got != want {
				t.Errorf("%q: offset %d is on line %d, want %d", text, at, got, want)
			}
		}
	}
}
