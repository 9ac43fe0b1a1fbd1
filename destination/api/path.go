package api

import (
	"fmt"
	"strings"
)

// CheckTarget refuses what a check cannot ask for: a path that does not begin with a slash, or what
// must be escaped in a path and a query (RFC 3986 §3.4). It has no more than MaxPath bytes.
func CheckTarget(s string) error {
	switch {
	case !strings.HasPrefix(s, "/"):
		return fmt.Errorf("path %q does not begin with a slash", s)
	case len(s) > MaxPath:
		return fmt.Errorf("a path of %d bytes, more than %d", len(s), MaxPath)
	}
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c > '~' || c == '#' {
			return fmt.Errorf("path %q has byte %#02x in it, which must be escaped", s, c)
		}
	}
	return nil
}

// CheckPath refuses a path that a PathModifier cannot have: one that does not begin with a slash,
// or begins with two, which some take for a host (RFC 3986 §4.2); is longer than MaxPath; or has in
// it what must be escaped in a path (§3.3). A query or a fragment would end it early.
func CheckPath(s string) error {
	switch {
	case !strings.HasPrefix(s, "/") || strings.HasPrefix(s, "//"):
		return fmt.Errorf("path %q does not begin with one slash", s)
	case strings.Contains(s, "?"):
		return fmt.Errorf("path %q has byte 0x3f in it, which must be escaped", s)
	}
	return CheckTarget(s)
}
