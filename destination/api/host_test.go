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

func TestCheckServerName(t *testing.T) {
	for _, name := range []string{
		"a", "a.example.com", "*.example.com", "*.com", "xn--e-3fa.org", "a_b.org",
	} {
		if err := CheckServerName(name); err != nil {
			t.Error(err)
		}
	}
	for _, name := range []string{
		"", "*", "*.", "*.*.com", "a.*.com", "A.com", "10.0.0.1", "*.10.0.0.1", "::1", "[::1]",
		"a b", strings.Repeat("a", MaxHost+1),
	} {
		if CheckServerName(name) == nil {
			t.Errorf("%.40q is a server name", name)
		}
	}
}
