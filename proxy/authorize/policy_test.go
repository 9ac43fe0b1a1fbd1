package authorize

import (
	"net/netip"
	"testing"

	"github.com/tulle-mesh/tulle/destination/api"
	"github.com/tulle-mesh/tulle/proxy/config"
	"google.golang.org/protobuf/encoding/protowire"
)

const (
	friend   = "spiffe://cluster.local/ns/shop/sa/friend"
	stranger = "spiffe://cluster.local/ns/shop/sa/stranger"
)

func TestVerdicts(t *testing.T) {
	const strict, permissive = api.Mode_MODE_STRICT, api.Mode_MODE_PERMISSIVE
	const allow, deny = api.Action_ACTION_ALLOW, api.Action_ACTION_DENY
	for _, tt := range []struct {
		mode     api.Mode
		action   api.Action
		named    bool // friend
		caller   string
		admitted bool
	}{
		{permissive, allow, false, "", true},
		{permissive, allow, false, stranger, true},
		{permissive, deny, false, "", false},
		{permissive, deny, false, stranger, false},
		{permissive, deny, true, friend, true},
		{permissive, deny, true, stranger, false},
		{permissive, deny, true, "", false},
		{strict, allow, false, "", false},
		{strict, allow, false, stranger, true},
		{strict, deny, true, friend, true},
		{strict, deny, true, "", false},
	} {
		m := &api.Inbound{Mode: tt.mode, DefaultAction: tt.action}
		if tt.named {
			m.Authorizations = []*api.Authorization{{Identities: []string{friend}}}
		}
		pol, err := Compile(m)
		if err != nil {
			t.Fatal(err)
		}
		if refusal := pol.Verdict(tt.caller); (refusal == nil) != tt.admitted {
			t.Errorf("%+v: %v", tt, refusal)
		}
		if pol.Closed().Verdict(tt.caller) == nil {
			t.Errorf("%+v: admitted by a closed policy", tt)
		}
	}
}

// Zero values, and what is not understood, admit nobody.
func TestWhatIsNotUnderstoodIsNoPolicy(t *testing.T) {
	unknown := &api.Authorization{Identities: []string{friend}}
	tag := protowire.AppendTag(nil, 9999, protowire.VarintType)
	unknown.ProtoReflect().SetUnknown(protowire.AppendVarint(tag, 1))
	for name, m := range map[string]*api.Inbound{
		"no mode":        {DefaultAction: api.Action_ACTION_ALLOW},
		"another mode":   {Mode: 99, DefaultAction: api.Action_ACTION_ALLOW},
		"no action":      {Mode: api.Mode_MODE_PERMISSIVE},
		"another action": {Mode: api.Mode_MODE_PERMISSIVE, DefaultAction: 99},
		"nobody is named": {Mode: api.Mode_MODE_PERMISSIVE, DefaultAction: api.Action_ACTION_DENY,
			Authorizations: []*api.Authorization{{}}},
		"a newer field": {Mode: api.Mode_MODE_PERMISSIVE, DefaultAction: api.Action_ACTION_DENY,
			Authorizations: []*api.Authorization{unknown}},
	} {
		if pol, err := Compile(m); err == nil {
			t.Errorf("%s: %+v", name, pol)
		}
	}
}

func TestProbesAreByMethodAndPath(t *testing.T) {
	pol, err := Compile(&api.Inbound{
		Mode: api.Mode_MODE_STRICT, DefaultAction: api.Action_ACTION_DENY,
		Probes: []*api.Probe{{Path: "/ready"}, {Path: grpcHealthPath}},
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		method, path string
		want         bool
	}{
		{"GET", "/ready", true}, {"POST", "/ready", false}, {"GET", "/ready/", false},
		{"GET", "/", false}, {"POST", grpcHealthPath, true}, {"GET", grpcHealthPath, false},
	} {
		if got := pol.Probe(tt.method, tt.path); got != tt.want {
			t.Errorf("%s %s: %v", tt.method, tt.path, got)
		}
	}
}

// Only this pod's addresses are dialed for a caller, and none of the proxy's own ports.
func TestWhichApplicationMayBeReached(t *testing.T) {
	pod := netip.MustParseAddr("10.0.0.7")
	redirected := &config.Config{PodIPs: []netip.Addr{pod}}
	explicit := &config.Config{Apps: map[uint16]string{8080: "127.0.0.1:9000"}}
	for _, tt := range []struct {
		cfg  *config.Config
		dst  string
		port uint16
		want string
	}{
		{redirected, "10.0.0.7:8080", 8080, "10.0.0.7:8080"},
		{redirected, "10.0.0.7:4143", 8080, "10.0.0.7:8080"},
		{redirected, "[::ffff:10.0.0.7]:8080", 8080, "10.0.0.7:8080"},
		{redirected, "10.0.0.7:8080", 9090, ""},
		{redirected, "10.0.0.8:8080", 8080, ""},
		{redirected, "127.0.0.1:8080", 8080, ""},
		{redirected, "10.0.0.7:4143", config.AdminPort, ""},
		{redirected, "10.0.0.7:4143", config.OutboundPort, ""},
		{redirected, "10.0.0.7:4143", config.InboundPort, ""},
		{explicit, "127.0.0.1:4143", 8080, "127.0.0.1:9000"},
		{explicit, "127.0.0.1:4143", 9090, ""},
	} {
		got, refusal := Application(tt.cfg, netip.MustParseAddrPort(tt.dst), tt.port)
		if got != tt.want || (refusal == nil) != (tt.want != "") {
			t.Errorf("%s for port %d: %q, %v", tt.dst, tt.port, got, refusal)
		}
	}
}
