package redirect

import (
	"strings"
	"testing"
)

func options() Options {
	return Options{ProxyUID: 2102, InboundPort: 4143, OutboundPort: 4140, AdminPort: 4191}
}

func TestParsePorts(t *testing.T) {
	for _, tt := range []struct {
		in   string
		want []Ports
		bad  string
	}{
		{in: ""},
		{in: "  "},
		{in: "25", want: []Ports{{25, 25}}},
		{in: "25, 4567-4568 ,65535", want: []Ports{{25, 25}, {4567, 4568}, {65535, 65535}}},
		{in: "7-7", want: []Ports{{7, 7}}},
		{in: "0", bad: `"0" is no port`},
		{in: "65536", bad: `"65536" is no port`},
		{in: "9-8", bad: `"9-8" is no port`},
		{in: "1-", bad: `"1-" is no port`},
		{in: "-1", bad: `"-1" is no port`},
		{in: "1-2-3", bad: `"1-2-3" is no port`},
		{in: "25,", bad: `"" is no port`},
		{in: "http", bad: `"http" is no port`},
		{in: "+5", bad: `"+5" is no port`},
		{in: strings.Repeat("1,", MaxRanges) + "1", bad: "at most 64"},
	} {
		got, err := ParsePorts(tt.in)
		if tt.bad != "" {
			if err == nil || !strings.Contains(err.Error(), tt.bad) {
				t.Errorf("%q: %v, want %q", tt.in, err, tt.bad)
			}
			continue
		}
		if err != nil || len(got) != len(tt.want) {
			t.Errorf("%q: %v %v", tt.in, got, err)
			continue
		}
		for i := range got {
			if got[i] != tt.want[i] {
				t.Errorf("%q: %v", tt.in, got)
			}
		}
	}
}

func TestOptionsThatWouldCutThePodOff(t *testing.T) {
	for want, change := range map[string]func(*Options){
		"uid is 0":       func(o *Options) { o.ProxyUID = 0 },
		"must be set":    func(o *Options) { o.InboundPort = 0 },
		"must differ":    func(o *Options) { o.OutboundPort = o.InboundPort },
		"(4191) ports":   func(o *Options) { o.InboundPort = o.AdminPort },
		"at most 64":     func(o *Options) { o.SkipInbound = make([]Ports, MaxRanges+1) },
		"in each direct": func(o *Options) { o.SkipOutbound = make([]Ports, MaxRanges+1) },
	} {
		o := options()
		change(&o)
		if _, err := Script(o, IPv4); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("script: %v, want %q", err, want)
		}
		if err := Apply(o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("apply: %v, want %q", err, want)
		}
	}
}

const wantScript = `table ip tulle
delete table ip tulle
table ip tulle {
	chain invalid_in {
		type filter hook prerouting priority -150; policy accept;
		meta l4proto tcp iifname "lo" counter return comment "loopback"
		meta l4proto tcp ct state invalid counter drop comment "would be answered by ` +
	`a RST that ends a healthy connection"
	}
	chain invalid_out {
		type filter hook output priority -150; policy accept;
		meta l4proto tcp oifname "lo" counter return comment "loopback"
		meta l4proto tcp ct state invalid counter drop comment "would leave with ` +
	`an address that was not translated back"
	}
	chain closed_in {
		type filter hook prerouting priority -150; policy accept;
		meta l4proto tcp iifname "lo" counter return comment "loopback"
		meta l4proto tcp socket transparent { 0, 1 } counter return comment "somebody listens"
		meta l4proto tcp ct state new counter reject with tcp reset comment "nobody listens"
	}
	chain inbound {
		type nat hook prerouting priority -100; policy accept;
		meta l4proto tcp tcp dport 4191 counter return comment "the proxy's admin port"
		meta l4proto tcp tcp dport 9090 counter return comment "skipped"
		meta l4proto tcp counter redirect to :4143 comment "everything else through the proxy"
	}
	chain outbound {
		type nat hook output priority -100; policy accept;
		meta l4proto tcp meta skuid 2102 counter return comment "the proxy itself"
		meta l4proto tcp oifname "lo" counter return comment "inside the pod"
		meta l4proto tcp tcp dport 4567-4568 counter return comment "skipped"
		meta l4proto tcp counter redirect to :4140 comment "everything else through the proxy"
	}
}
`

func TestScript(t *testing.T) {
	o := options()
	o.SkipInbound, o.SkipOutbound = []Ports{Port(9090)}, []Ports{{4567, 4568}}
	got, err := Script(o, IPv4)
	if err != nil || got != wantScript {
		t.Fatalf("%v\n%s", err, got)
	}
	both, err := Script(o, IPv4, IPv6)
	want := wantScript + strings.ReplaceAll(wantScript, "table ip ", "table ip6 ")
	if err != nil || both != want {
		t.Fatalf("%v\n%s", err, both)
	}
}

// The last rule of a nat chain redirects, and nothing after a redirect could matter: the order is
// the meaning.
func TestRedirectComesLast(t *testing.T) {
	for _, c := range Rules(options()) {
		for i, r := range c.Rules {
			if last := i == len(c.Rules)-1; c.Type == "nat" && (r.Action == Redirect) != last {
				t.Errorf("%s rule %d: %v", c.Name, i, r)
			}
		}
	}
}
