package api

import (
	"strings"
	"testing"
)

func TestCheckTarget(t *testing.T) {
	long := "/" + strings.Repeat("a", MaxPath-1)
	for _, target := range []string{"/", "//a", "/a?b=c&d", "/a%20b?", long} {
		if err := CheckTarget(target); err != nil {
			t.Error(err)
		}
	}
	for _, target := range []string{"", "?a", "*", "http://a/", "/a b", "/a#b", "/a\r\nb", "/ä",
		long + "a"} {
		if CheckTarget(target) == nil {
			t.Errorf("%.40q can be asked for", target)
		}
	}
}

func TestCheckPath(t *testing.T) {
	long := "/" + strings.Repeat("a", MaxPath-1)
	for _, path := range []string{"/", "/a/b", "/a%20b;c=d,e:f@g", "/a//b", long} {
		if err := CheckPath(path); err != nil {
			t.Error(err)
		}
	}
	for _, path := range []string{
		"", "a", "//", "//a", "*", "http://a/", "/a b", "/a?b", "/a#b", "/a\r\nb", "/a\x00", "/ä",
		"/\x7f", long + "a",
	} {
		if CheckPath(path) == nil {
			t.Errorf("%.40q is a path", path)
		}
	}
}
