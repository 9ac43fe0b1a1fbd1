package redirect

import (
	"errors"
	"fmt"
	"strings"
)

// Options say what to redirect. They include the proxy's own ports, because the admin port is
// always left alone.
type Options struct {
	ProxyUID     uint32
	InboundPort  uint16
	OutboundPort uint16
	AdminPort    uint16
	SkipInbound  []Ports
	SkipOutbound []Ports
}

// validate refuses what would cut the pod off instead of redirecting it.
func (o Options) validate() error {
	switch {
	case o.ProxyUID == 0:
		return errors.New("the proxy's uid is 0: every root process would bypass the proxy; " +
			"run the proxy with its own uid")
	case o.InboundPort == 0 || o.OutboundPort == 0 || o.AdminPort == 0:
		return errors.New("the inbound, outbound and admin ports must be set")
	case o.InboundPort == o.OutboundPort || o.InboundPort == o.AdminPort ||
		o.OutboundPort == o.AdminPort:
		return fmt.Errorf("the inbound (%d), outbound (%d) and admin (%d) ports must differ",
			o.InboundPort, o.OutboundPort, o.AdminPort)
	case len(o.SkipInbound) > MaxRanges || len(o.SkipOutbound) > MaxRanges:
		return fmt.Errorf(
			"at most %d skipped ports and ranges are possible in each direction", MaxRanges)
	}
	return nil
}

// Family is an nftables family. A table for each works on every kernel that has NAT in nf_tables.
// One table of family "inet" would need Linux 5.2, and would fail as a whole where IPv6 is not
// built in.
type Family string

const (
	IPv4 Family = "ip"
	IPv6 Family = "ip6"
)

// TableName is the name of the proxy's table in each family. No other table is touched.
const TableName = "tulle"

// Chain is one hook's rules.
type Chain struct {
	Name  string
	Type  string // "nat" or "filter"
	Hook  string // "prerouting" or "output"
	Rules []Rule
}

// Rule is one line of a chain. Those of its conditions that are set must all hold. Every rule is
// about TCP alone.
type Rule struct {
	UID     uint32 // not 0: what this uid's processes send
	OutLoop bool   // what leaves by the loopback interface
	InLoop  bool   // what arrived by it
	Invalid bool   // what conntrack cannot place
	New     bool   // what begins a connection
	Listens bool   // what a socket of the pod's own would take, were it not redirected
	Dest    Ports  // not zero: to these ports

	Action  Action
	To      uint16 // Redirect only
	Comment string
}

// Action is what a rule does with what it matches.
type Action string

const (
	Return   Action = "return" // the rest of the chain is skipped, so the packet goes on as it was
	Drop     Action = "drop"
	Reject   Action = "reject with tcp reset"
	Redirect Action = "redirect"
)

// closedChain refuses connections to ports on which nobody listens, as a pod without a proxy does:
// the proxy's kernel would accept them, and so a probe that only connects would succeed. It comes
// before the redirection, so it lets nothing by that the proxy has to see.
const closedChain = "closed_in"

// Rules are the chains of each family's table, the same in both.
func Rules(o Options) []Chain {
	return []Chain{
		{Name: "invalid_in", Type: "filter", Hook: "prerouting", Rules: []Rule{
			{InLoop: true, Action: Return, Comment: "loopback"},
			{Invalid: true, Action: Drop,
				Comment: "would be answered by a RST that ends a healthy connection"},
		}},
		{Name: "invalid_out", Type: "filter", Hook: "output", Rules: []Rule{
			{OutLoop: true, Action: Return, Comment: "loopback"},
			{Invalid: true, Action: Drop,
				Comment: "would leave with an address that was not translated back"},
		}},
		{Name: closedChain, Type: "filter", Hook: "prerouting", Rules: []Rule{
			{InLoop: true, Action: Return, Comment: "loopback"},
			{Listens: true, Action: Return, Comment: "somebody listens"},
			{New: true, Action: Reject, Comment: "nobody listens"},
		}},
		{Name: "inbound", Type: "nat", Hook: "prerouting", Rules: inbound(o)},
		{Name: "outbound", Type: "nat", Hook: "output", Rules: outbound(o)},
	}
}

func inbound(o Options) []Rule {
	rules := []Rule{{Dest: Port(o.AdminPort), Action: Return, Comment: "the proxy's admin port"}}
	rules = append(rules, skips(o.SkipInbound)...)
	return append(rules, rest(o.InboundPort))
}

// outbound takes every packet of a connection, and not only the first. If conntrack has forgotten a
// connection its next packet must be redirected too, and reset, or it would leave the pod in
// plaintext.
func outbound(o Options) []Rule {
	rules := []Rule{
		{UID: o.ProxyUID, Action: Return, Comment: "the proxy itself"},
		{OutLoop: true, Action: Return, Comment: "inside the pod"},
	}
	rules = append(rules, skips(o.SkipOutbound)...)
	return append(rules, rest(o.OutboundPort))
}

// rest is the last rule of a chain.
func rest(port uint16) Rule {
	return Rule{Action: Redirect, To: port, Comment: "everything else through the proxy"}
}

func skips(ports []Ports) []Rule {
	rules := make([]Rule, len(ports))
	for i, p := range ports {
		rules[i] = Rule{Dest: p, Action: Return, Comment: "skipped"}
	}
	return rules
}

func (r Rule) String() string {
	var b strings.Builder
	b.WriteString("meta l4proto tcp ")
	if r.UID != 0 {
		fmt.Fprintf(&b, "meta skuid %d ", r.UID)
	}
	if r.OutLoop {
		b.WriteString(`oifname "lo" `)
	}
	if r.InLoop {
		b.WriteString(`iifname "lo" `)
	}
	if r.Invalid {
		b.WriteString("ct state invalid ")
	}
	if r.New {
		b.WriteString("ct state new ")
	}
	if r.Listens {
		b.WriteString("socket transparent { 0, 1 } ")
	}
	if r.Dest != (Ports{}) {
		fmt.Fprintf(&b, "tcp dport %v ", r.Dest)
	}
	fmt.Fprintf(&b, "counter %s", r.Action)
	if r.Action == Redirect {
		fmt.Fprintf(&b, " to :%d", r.To)
	}
	fmt.Fprintf(&b, " comment %q", r.Comment)
	return b.String()
}

// Script is what Apply would do, in the language of nft. `nft -f` takes it.
func Script(o Options, families ...Family) (string, error) {
	if err := o.validate(); err != nil {
		return "", fmt.Errorf("redirect: %w", err)
	}
	var b strings.Builder
	for _, f := range families {
		const head = "table %s %s\ndelete table %[1]s %[2]s\ntable %[1]s %[2]s {\n"
		fmt.Fprintf(&b, head, f, TableName)
		for _, c := range Rules(o) {
			fmt.Fprintf(&b, "\tchain %s {\n\t\ttype %s hook %s priority %d; policy accept;\n",
				c.Name, c.Type, c.Hook, c.priority())
			for _, r := range c.Rules {
				fmt.Fprintf(&b, "\t\t%v\n", r)
			}
			b.WriteString("\t}\n")
		}
		b.WriteString("}\n")
	}
	return b.String(), nil
}

// priority is a chain's place among the hook's. The filters come before the translation, and after
// conntrack (-200) has placed the packet.
func (c Chain) priority() int32 {
	if c.Type == "nat" {
		return -100
	}
	return -150
}
