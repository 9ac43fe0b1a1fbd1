package config

import (
	"strings"
	"testing"
)

func environment(changes map[string]string) func(string) string {
	env := map[string]string{
		EnvIdentity:  "spiffe://cluster.local/ns/shop/sa/web",
		EnvTrustFile: "ca.crt", EnvTokenFile: "token",
		EnvIdentityAddr:    "identity:8080",
		EnvIdentityID:      "spiffe://cluster.local/ns/tulle/sa/tulle-identity",
		EnvDestinationAddr: "destination:8086",
		EnvDestinationID:   "spiffe://cluster.local/ns/tulle/sa/tulle-destination",
	}
	for k, v := range changes {
		env[k] = v
	}
	return func(name string) string { return env[name] }
}

func TestParseDefaults(t *testing.T) {
	c, err := Parse(environment(nil))
	if err != nil {
		t.Fatal(err)
	}
	if c.OutboundListen != "127.0.0.1:4140" || c.InboundListen != ":4143" ||
		c.AdminListen != ":4191" {
		t.Errorf("listeners: %q %q %q", c.OutboundListen, c.InboundListen, c.AdminListen)
	}
	if c.Strict || !c.OpaquePorts[3306] || c.DrainGrace != DrainGrace || c.Apps != nil {
		t.Errorf("defaults: %+v", c)
	}
}

func TestParseExplicit(t *testing.T) {
	c, err := Parse(environment(map[string]string{
		EnvOutboundUpstreams: "127.0.0.1:9001=web.shop.svc.cluster.local:80",
		EnvInboundApps:       "8080=127.0.0.1:8080",
		EnvOpaquePorts:       "-", EnvMode: "strict",
		EnvProbes: "8080/ready 8080/a,b 9090/live 8443:tls",
	}))
	if err != nil {
		t.Fatal(err)
	}
	apps := environment(map[string]string{EnvInboundApps: "8080=127.0.0.1:8080"})
	if c, err := Parse(apps); err != nil || c.OutboundListen != "" {
		t.Errorf("a workload that calls nobody listens for redirected connections on %q, %v",
			c.OutboundListen, err)
	}
	if c.OutboundListen != "" || c.Upstreams[0].Authority != "web.shop.svc.cluster.local:80" ||
		c.Apps[8080] == "" {
		t.Errorf("explicit mode: %+v", c)
	}
	if p := c.Probes; len(p) != 2 || strings.Join(p[8080], " ") != "/ready /a,b" ||
		p[9090][0] != "/live" {
		t.Errorf("probes: %v", p)
	}
	if p := c.TLSProbes; len(p) != 1 || !p[8443] {
		t.Errorf("probes over TLS: %v", p)
	}
	if !c.Strict || len(c.OpaquePorts) != 0 {
		t.Errorf("strict, no opaque ports: %+v", c)
	}
}

func TestParseNamesWhatIsWrong(t *testing.T) {
	for _, tt := range []struct{ name, value string }{
		{EnvIdentity, ""}, {EnvTrustFile, ""}, {EnvIdentityAddr, "no-port"},
		{EnvDestinationAddr, "host:99999"}, {EnvTokenFD, "x"}, {EnvTokenFile, ""},
		{EnvPodIPs, "10.0.0"}, {EnvClusterNetworks, "10.0.0.0"},
		{EnvTrustedProxies, "10.0.0.0"},
		{EnvOutboundListen, "0.0.0.0:4140"}, {EnvOutboundListen, ":4140"},
		{EnvOutboundUpstreams, "127.0.0.1:9"}, {EnvInboundApps, "0=127.0.0.1:1"},
		{EnvInboundApps, "80=here"}, {EnvMode, "loose"}, {EnvOpaquePorts, "http"},
		{EnvProbes, "8080"}, {EnvProbes, "http/ready"},
		{EnvProbes, "8443:tls/x"}, {EnvProbes, ":tls"}, {EnvNodeIP, "node"},
		{EnvLogLevel, "chatty"}, {EnvDrainGrace, "soon"}, {EnvDrainGrace, "-1s"},
	} {
		_, err := Parse(environment(map[string]string{tt.name: tt.value}))
		if err == nil || !strings.Contains(err.Error(), tt.name) {
			t.Errorf("%s=%q: error %v does not name it", tt.name, tt.value, err)
		}
	}
}
