package api

import (
	"fmt"
	"strings"
)

// CheckPath refuses a path that a PathModifier cannot have: one that does not begin with a slash,
// or begins with two, which some take for a host (RFC 3986 §4.2); is longer than MaxPath; or has in
// it what must be escaped in a path (§3.3). A query or a fragment would end it early.
func CheckPath(s string) error {
	switch {
	case !strings.HasPrefix(s, "/") || strings.HasPrefix(s, "//"):
		return fmt.Errorf("path %q does not begin with one slash", s)
	case len(s) > MaxPath:
		return fmt.Errorf("a path of %d bytes, more than %d", len(s), MaxPath)
	}
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c > '~' || c == '?' || c == '#' {
			return fmt.Errorf("path %q has byte %#02x in it, which must be escaped", s, c)
		}
	}
	return nil
}
