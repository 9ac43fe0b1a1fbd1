package authorize

import (
	"net/netip"
	"strings"
	"testing"
	"time"

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
		m := &api.Inbound{
			Mode: tt.mode, DefaultAction: tt.action, Reach: api.Reach_REACH_DIALED,
		}
		if tt.named {
			m.Authorizations = []*api.Authorization{{Identities: []string{friend}}}
		}
		pol, err := Compile(m)
		if err != nil {
			t.Fatal(err)
		}
		who := Caller{ID: tt.caller}
		if refusal := pol.Verdict(who); (refusal == nil) != tt.admitted {
			t.Errorf("%+v: %v", tt, refusal)
		}
		if pol.Closed().Verdict(who) == nil {
			t.Errorf("%+v: admitted by a closed policy", tt)
		}
	}
}

// Whoever came by the proxy's own port has a port that is named, or none; whoever dialed the port
// itself is judged by the rest.
func TestAChosenPortMustBeOneThatMayBeChosen(t *testing.T) {
	for _, tt := range []struct {
		reach    api.Reach
		chose    bool
		admitted bool
	}{
		{api.Reach_REACH_CHOSEN, true, true}, {api.Reach_REACH_CHOSEN, false, true},
		{api.Reach_REACH_DIALED, true, false}, {api.Reach_REACH_DIALED, false, true},
	} {
		pol, err := Compile(&api.Inbound{
			Port: 9999, Mode: api.Mode_MODE_STRICT, DefaultAction: api.Action_ACTION_ALLOW,
			Reach: tt.reach,
		})
		if err != nil {
			t.Fatal(err)
		}
		refusal := pol.Verdict(Caller{ID: friend, Chose: tt.chose})
		if (refusal == nil) != tt.admitted {
			t.Errorf("%+v: %v", tt, refusal)
		}
		if refusal != nil && !strings.Contains(refusal.Reason, "9999") {
			t.Errorf("the reason does not name the port: %s", refusal.Reason)
		}
	}
}

// What callers could choose they may choose for a while after its last name is gone, and a policy
// that comes meanwhile makes the while no longer.
func TestAGraceBeginsWithTheLastName(t *testing.T) {
	compile := func(reach api.Reach) *Policy {
		pol, err := Compile(&api.Inbound{
			Mode: api.Mode_MODE_STRICT, DefaultAction: api.Action_ACTION_ALLOW, Reach: reach,
		})
		if err != nil {
			t.Fatal(err)
		}
		return pol
	}
	named, unnamed := compile(api.Reach_REACH_CHOSEN), compile(api.Reach_REACH_DIALED)
	who, now := Caller{ID: friend, Chose: true}, time.Now()
	for _, tt := range []struct {
		name     string
		pol      *Policy
		admitted bool
	}{
		{"never named", unnamed.After(unnamed, now, time.Hour), false},
		{"named until now", unnamed.After(named, now, time.Hour), true},
		{"named until long ago", unnamed.After(named, now.Add(-2*time.Hour), time.Hour), false},
		{"another policy within the grace",
			unnamed.After(unnamed.After(named, now, time.Hour), now, time.Hour), true},
		{"another policy after it", unnamed.After(
			unnamed.After(named, now.Add(-2*time.Hour), time.Hour), now, time.Hour), false},
		{"named again", named.After(unnamed, now, time.Hour), true},
	} {
		if refusal := tt.pol.Verdict(who); (refusal == nil) != tt.admitted {
			t.Errorf("%s: %v", tt.name, refusal)
		}
	}
}

// Zero values, and what is not understood, admit nobody.
func TestWhatIsNotUnderstoodIsNoPolicy(t *testing.T) {
	unknown := &api.Authorization{Identities: []string{friend}}
	tag := protowire.AppendTag(nil, 9999, protowire.VarintType)
	unknown.ProtoReflect().SetUnknown(protowire.AppendVarint(tag, 1))
	for name, m := range map[string]*api.Inbound{
		"no reach": {
			Mode: api.Mode_MODE_PERMISSIVE, DefaultAction: api.Action_ACTION_ALLOW},
		"another reach": {
			Mode: api.Mode_MODE_PERMISSIVE, DefaultAction: api.Action_ACTION_ALLOW, Reach: 99},
		"no mode":        {DefaultAction: api.Action_ACTION_ALLOW},
		"another mode":   {Mode: 99, DefaultAction: api.Action_ACTION_ALLOW},
		"no action":      {Mode: api.Mode_MODE_PERMISSIVE},
		"another action": {Mode: api.Mode_MODE_PERMISSIVE, DefaultAction: 99},
		"nobody is named": {Mode: api.Mode_MODE_PERMISSIVE, DefaultAction: api.Action_ACTION_DENY,
			Authorizations: []*api.Authorization{{}}},
		"a newer field": {Mode: api.Mode_MODE_PERMISSIVE, DefaultAction: api.Action_ACTION_DENY,
			Authorizations: []*api.Authorization{unknown}},
	} {
		if m.Reach == 0 && name != "no reach" {
			m.Reach = api.Reach_REACH_CHOSEN
		}
		if pol, err := Compile(m); err == nil {
			t.Errorf("%s: %+v", name, pol)
		}
	}
}

func TestProbesAreByMethodAndPath(t *testing.T) {
	pol, err := Compile(&api.Inbound{
		Mode: api.Mode_MODE_STRICT, DefaultAction: api.Action_ACTION_DENY,
		Reach:  api.Reach_REACH_DIALED,
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
