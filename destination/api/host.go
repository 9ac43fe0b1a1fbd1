package api

import (
	"fmt"
	"net/netip"
	"strings"
)

// CheckHost refuses what is not a host as a URL names it, without a port (RFC 3986 §3.2.2): a name
// of at most MaxHost bytes, an IPv4 address, or an IPv6 address in brackets.
func CheckHost(s string) error {
	if strings.HasPrefix(s, "[") {
		return checkBracketed(s)
	}
	if s == "" || len(s) > MaxHost {
		return fmt.Errorf("host %q has %d bytes, not 1 to %d", s, len(s), MaxHost)
	}
	for i := range len(s) {
		c := s[i] | 0x20 // a letter in lower case
		if (c < 'a' || c > 'z') && (s[i] < '0' || s[i] > '9') &&
			strings.IndexByte("-._", s[i]) < 0 {
			return fmt.Errorf("host %q has byte %#02x in it, which no name has", s, s[i])
		}
	}
	return nil
}

// CheckServerName refuses what TLS connections cannot be told apart by: anything but a DNS name in
// lower case, or "*." and such a name. An address is no server name (RFC 6066 §3).
func CheckServerName(s string) error {
	name := strings.TrimPrefix(s, "*.")
	_, err := netip.ParseAddr(strings.Trim(name, "[]"))
	switch {
	case err == nil:
		return fmt.Errorf("server name %q is an address", s)
	case name != strings.ToLower(name):
		return fmt.Errorf("server name %q is not in lower case", s)
	}
	return CheckHost(name)
}

func checkBracketed(s string) error {
	inner, closed := strings.CutSuffix(s[1:], "]")
	a, err := netip.ParseAddr(inner)
	if !closed || err != nil || !a.Is6() || a.Zone() != "" {
		return fmt.Errorf("host %q is not an IPv6 address in brackets", s)
	}
	return nil
}
