package proxy

import (
	"net/netip"
	"testing"

	"github.com/tulle-mesh/tulle/proxy/config"
	"github.com/tulle-mesh/tulle/proxy/metric"
)

// A caller on loopback is this pod itself, but for a mesh on one host, where every caller is.
func TestPlainSecurity(t *testing.T) {
	apps := map[uint16]string{8080: "127.0.0.1:8080"}
	cases := []struct {
		from string
		apps map[uint16]string
		want metric.Security
	}{
		{"127.0.0.1", nil, metric.Loopback},
		{"::1", nil, metric.Loopback},
		{"10.0.0.1", nil, metric.PlaintextUnmeshed},
		{"127.0.0.1", apps, metric.PlaintextUnmeshed},
		{"10.0.0.1", apps, metric.PlaintextUnmeshed},
	}
	for _, c := range cases {
		p := &Proxy{cfg: config.Config{Apps: c.apps}}
		if got := p.plainSecurity(netip.MustParseAddr(c.from)); got != c.want {
			t.Errorf("%s with apps %v: %v, want %v", c.from, c.apps, got, c.want)
		}
	}
}
