package dev

import (
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
	"k8s.io/apimachinery/pkg/util/validation"
)

// resolved follows an alias; the parser's depth is fixed, so no alias can make it walk for long.
func resolved(n *yaml.Node) *yaml.Node {
	if n.Kind == yaml.AliasNode {
		return n.Alias
	}
	return n
}

// each walks a mapping's pairs in order, and refuses a key given twice.
func (p *parser) each(n *yaml.Node, what string, visit func(key, value *yaml.Node)) {
	n = resolved(n)
	if n.Kind != yaml.MappingNode {
		p.fail(n, "%s must be a map, not %s", orFile(what), kindName(n))
		return
	}
	seen := map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key := resolved(n.Content[i])
		if line, twice := seen[key.Value]; twice {
			p.fail(key, "%s: %q is given twice, first in line %d", orFile(what), key.Value, line)
			continue
		}
		seen[key.Value] = key.Line
		visit(key, n.Content[i+1])
	}
}

// fields walks a mapping whose keys are known, and returns those it found.
func (p *parser) fields(
	n *yaml.Node, what string, known map[string]func(*yaml.Node),
) map[string]bool {
	seen := map[string]bool{}
	p.each(n, what, func(key, value *yaml.Node) {
		take, ok := known[key.Value]
		if !ok {
			p.fail(key, "%s: unknown field %q: use one of %s", orFile(what), key.Value,
				strings.Join(sortedKeys(known), ", "))
			return
		}
		seen[key.Value] = true
		take(value)
	})
	return seen
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

func orFile(what string) string {
	if what == "" {
		return "the file"
	}
	return what
}

func kindName(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a map"
	case yaml.SequenceNode:
		return "a list"
	}
	if n.Tag == "!!null" {
		return "nothing"
	}
	return strconv.Quote(n.Value)
}

// list is a sequence's items, or nil after an error.
func (p *parser) list(n *yaml.Node, what string) []*yaml.Node {
	n = resolved(n)
	if n.Kind != yaml.SequenceNode {
		p.fail(n, "%s must be a list, not %s", what, kindName(n))
		return nil
	}
	return n.Content
}

// text is a scalar that is not empty.
func (p *parser) text(n *yaml.Node, what string) string {
	n = resolved(n)
	if n.Kind != yaml.ScalarNode || n.Tag == "!!null" || n.Value == "" {
		p.fail(n, "%s must be text, not %s", what, kindName(n))
		return ""
	}
	if strings.ContainsRune(n.Value, 0) {
		p.fail(n, "%s must not hold a NUL", what)
		return ""
	}
	return n.Value
}

// word is one of a few.
func (p *parser) word(n *yaml.Node, what string, allowed ...string) string {
	value := p.text(n, what)
	if value != "" && !slices.Contains(allowed, value) {
		p.fail(n, "%s: %q is not one of %s", what, value, strings.Join(allowed, ", "))
	}
	return value
}

func (p *parser) label(n *yaml.Node, what string) string {
	name := p.text(n, what)
	if errs := validation.IsDNS1123Label(name); name != "" && len(errs) > 0 {
		p.fail(n, "%s: %q: %s", what, name, errs[0])
	}
	return name
}

func (p *parser) boolean(n *yaml.Node, what string) bool {
	n = resolved(n)
	var v bool
	if n.Tag != "!!bool" || n.Decode(&v) != nil {
		p.fail(n, "%s must be true or false, not %s", what, kindName(n))
		return true
	}
	return v
}

// number is a whole number from 1 to highest.
func (p *parser) number(n *yaml.Node, what string, highest int) int {
	n = resolved(n)
	v, err := strconv.Atoi(n.Value)
	if n.Kind != yaml.ScalarNode || n.Tag != "!!int" || err != nil || v < 1 || v > highest {
		p.fail(n, "%s must be a whole number from 1 to %d, not %s", what, highest, kindName(n))
		return 1
	}
	return v
}

func (p *parser) command(n *yaml.Node, what string) []string {
	var argv []string
	for _, item := range p.list(n, what) {
		argv = append(argv, p.text(item, what))
	}
	if resolved(n).Kind == yaml.SequenceNode && len(argv) == 0 {
		p.fail(n, "%s: empty: the first item is the program", what)
	}
	return argv
}

// address is IP:PORT; localhost stands for 127.0.0.1, for endpoints are IPs.
func (p *parser) address(n *yaml.Node, what string) string {
	value := p.text(n, what)
	if value == "" {
		return ""
	}
	name, port, err := net.SplitHostPort(value)
	if name == "localhost" {
		name = "127.0.0.1"
	}
	addr, parseErr := netip.ParseAddrPort(net.JoinHostPort(name, port))
	if err != nil || parseErr != nil || addr.Port() == 0 {
		p.fail(n, "%s: %q must be IP:PORT, as in 127.0.0.1:8080", what, value)
		return ""
	}
	return addr.String()
}

// env refuses what Up itself says to a process.
func (p *parser) env(n *yaml.Node, what string) map[string]string {
	out := map[string]string{}
	p.each(n, what, func(key, value *yaml.Node) {
		value = resolved(value)
		switch {
		case value.Kind != yaml.ScalarNode:
			p.fail(value, "%s: %s must be text, not %s", what, key.Value, kindName(value))
		case key.Value == "PORT" || strings.HasPrefix(key.Value, "TULLE_"):
			p.fail(key, "%s: %s is set by 'meshctl dev up'", what, key.Value)
		case key.Value == "" || strings.ContainsAny(key.Value+value.Value, "\x00") ||
			strings.Contains(key.Value, "="):
			p.fail(key, "%s: %q is no name for a variable", what, key.Value)
		}
		out[key.Value] = value.Value
	})
	return out
}
