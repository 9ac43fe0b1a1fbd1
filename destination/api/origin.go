package api

import (
	"fmt"
	"strconv"
	"strings"
)

// CheckOrigin refuses what a CORS filter cannot name as an origin: anything but "*", every origin,
// and SCHEME://HOST or SCHEME://HOST:PORT of http or https, whose host may be "*", or begin with
// "*." for all names below the rest (Gateway API, CORSOrigin).
func CheckOrigin(s string) error {
	if s == "*" {
		return nil
	}
	scheme, rest, _ := strings.Cut(s, "://")
	if scheme != "http" && scheme != "https" {
		return fmt.Errorf("origin %q does not begin with http:// or https://", s)
	}
	host, port, ported := strings.Cut(rest, ":")
	if n, err := strconv.ParseUint(port, 10, 16); ported && (err != nil || n == 0) {
		return fmt.Errorf("origin %q has port %q, which is not 1 to 65535", s, port)
	}
	if host == "*" {
		return nil
	}
	if err := CheckHost(strings.TrimPrefix(host, "*.")); err != nil {
		return fmt.Errorf("origin %q: %w", s, err)
	}
	return nil
}
