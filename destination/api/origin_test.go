package api

import (
	"strings"
	"testing"
)

func TestCheckOrigin(t *testing.T) {
	for _, ok := range []string{
		"*", "http://a", "https://www.Foo.com", "https://*.bar.com", "http://*", "https://*:8443",
		"http://10.0.0.1:65535", "http://localhost:3000",
	} {
		if err := CheckOrigin(ok); err != nil {
			t.Errorf("%q is refused: %v", ok, err)
		}
	}
	for _, bad := range []string{
		"", "null", "a", "ftp://a", "HTTP://a", "http://", "http://a:", "http://a:0", "http://a:x",
		"http://a:65536", "http://a/", "http://a*.b", "http://*a", "http://*.", "http://a b",
		"**", "http://" + strings.Repeat("a", MaxHost+1),
	} {
		if CheckOrigin(bad) == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}
