package api

import (
	"strings"
	"testing"
)

func TestCheckHost(t *testing.T) {
	long := strings.Repeat("a", MaxHost)
	for _, host := range []string{
		"example.org", "Echo", "a_b", "192.0.2.1", "[2001:db8::1]", long,
	} {
		if err := CheckHost(host); err != nil {
			t.Error(err)
		}
	}
	for _, host := range []string{
		"", "a:80", "a/b", "a b", "a@b", "a\r\n", "ä", "*.example.org", "2001:db8::1", "[]",
		"[2001:db8::1]:80", "[2001:db8::1", "[192.0.2.1]", "[fe80::1%eth0]", long + "a",
	} {
		if CheckHost(host) == nil {
			t.Errorf("%.40q is a host", host)
		}
	}
}
