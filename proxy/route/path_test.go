package route

import (
	"strings"
	"testing"

	"github.com/tulle-mesh/tulle/destination/api"
)

func full(path string) *api.PathModifier {
	return &api.PathModifier{Modifier: &api.PathModifier_Full{Full: path}}
}

func prefix(matched, replacement string) *api.PathModifier {
	return &api.PathModifier{Modifier: &api.PathModifier_Prefix{
		Prefix: &api.PrefixModifier{Matched: matched, Replacement: replacement}}}
}

// The first eleven are the table of Gateway API's HTTPPathModifier.
func TestPathModifiers(t *testing.T) {
	for _, tt := range []struct {
		m            *api.PathModifier
		target, want string
	}{
		{prefix("/foo", "/xyz"), "/foo/bar", "/xyz/bar"},
		{prefix("/foo", "/xyz/"), "/foo/bar", "/xyz/bar"},
		{prefix("/foo/", "/xyz"), "/foo/bar", "/xyz/bar"},
		{prefix("/foo/", "/xyz/"), "/foo/bar", "/xyz/bar"},
		{prefix("/foo", "/xyz"), "/foo", "/xyz"},
		{prefix("/foo", "/xyz"), "/foo/", "/xyz/"},
		{prefix("/foo", ""), "/foo/bar", "/bar"},
		{prefix("/foo", ""), "/foo/", "/"},
		{prefix("/foo", ""), "/foo", "/"},
		{prefix("/foo", "/"), "/foo/", "/"},
		{prefix("/foo", "/"), "/foo", "/"},

		{prefix("/foo", "/xyz"), "/foo/bar?a=/foo&b=?", "/xyz/bar?a=/foo&b=?"},
		{prefix("/foo", ""), "/foo?a=b", "/?a=b"},
		{prefix("/foo", "/xyz"), "/foo?", "/xyz?"},
		{prefix("/foo", "/xyz//"), "/foo/bar", "/xyz/bar"},
		{prefix("/foo", "/xyz"), "/foo//bar", "/xyz//bar"}, // the caller's own
		{prefix("/foo", ""), "/foo//example.org/", "/example.org/"},
		{prefix("/foo", "/xyz"), "/foobar", "/foobar"}, // no match leads here
		{prefix("/foo", "/xyz"), "/bar/foo", "/bar/foo"},
		{prefix("/foo", "/xyz"), "/FOO", "/FOO"},
		{prefix("/", "/xyz"), "/foo", "/xyz/foo"},
		{prefix("/", "/xyz"), "/", "/xyz/"},
		{prefix("/", ""), "/foo?a", "/foo?a"},
		{prefix("/foo", "/xyz"), "*", "*"},
		{prefix("/foo", "/xyz"), "", ""},
		{full("/one"), "/full/one/two", "/one"},
		{full("/one"), "/full?a=b", "/one?a=b"},
		{full("/"), "/full", "/"},
		{full("/one"), "*", "*"},
		{nil, "/as/it/is?a", "/as/it/is?a"},
	} {
		m, err := compilePathModifier(tt.m)
		if err != nil {
			t.Errorf("%v: %v", tt.m, err)
			continue
		}
		if got := m.apply(tt.target); got != tt.want {
			t.Errorf("%v: %q becomes %q, want %q", tt.m, tt.target, got, tt.want)
		}
	}
}

func TestPathModifiersAreUnderstoodWhole(t *testing.T) {
	long := "/" + strings.Repeat("a", api.MaxPath)
	for name, m := range map[string]*api.PathModifier{
		"none":                           {},
		"a field that is newer":          newer(full("/")),
		"a field of a prefix":            prefixOf(newer(&api.PrefixModifier{Matched: "/"})),
		"no path":                        full(""),
		"a path without a slash":         full("a"),
		"a host":                         full("//example.org"),
		"a query":                        full("/a?b"),
		"a fragment":                     full("/a#b"),
		"another header":                 full("/a\r\nx: y"),
		"another request line":           full("/a HTTP/1.1"),
		"a long path":                    full(long),
		"no prefix":                      prefix("", "/a"),
		"no replacement, but a query":    prefix("/a", "/?"),
		"a replacement without a slash":  prefix("/a", "b"),
		"a long replacement":             prefix("/a", long),
		"a replacement with white space": prefix("/a", "/a b"),
	} {
		if _, err := compilePathModifier(m); err == nil {
			t.Errorf("%s: a modifier was made of it", name)
		}
	}
}

func prefixOf(m *api.PrefixModifier) *api.PathModifier {
	return &api.PathModifier{Modifier: &api.PathModifier_Prefix{Prefix: m}}
}

// Whatever a caller asks for, what becomes of it is a target that can be sent, and the query is the
// caller's.
func FuzzPathModifier(f *testing.F) {
	for _, target := range []string{"/", "*", "/foo", "/foo/", "/foo//bar?a=b?c", "/foobar", "?"} {
		f.Add("/foo", "/xyz/", target)
		f.Add("/foo/", "", target)
		f.Add("/", "/", target)
	}
	f.Fuzz(func(t *testing.T, matched, replacement, target string) {
		for _, message := range []*api.PathModifier{prefix(matched, replacement), full(matched)} {
			m, err := compilePathModifier(message)
			if err != nil {
				continue
			}
			got := m.apply(target)
			path, query, _ := strings.Cut(target, "?")
			gotPath, gotQuery, _ := strings.Cut(got, "?")
			switch {
			case gotQuery != query:
				t.Errorf("%v: %q becomes %q: another query", message, target, got)
			case path == "" || path[0] != '/':
				if got != target {
					t.Errorf("%v: %q becomes %q: it has no path", message, target, got)
				}
			case gotPath[0] != '/':
				t.Errorf("%v: %q becomes %q: no path", message, target, got)
			case strings.HasPrefix(gotPath, "//") && got != target:
				t.Errorf("%v: %q becomes %q: another host", message, target, got)
			}
		}
	})
}
