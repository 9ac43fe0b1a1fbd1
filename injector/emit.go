package injector

import (
	"bytes"
	"encoding/json"
	"regexp"
	"strings"

	"go.yaml.in/yaml/v3"
)

// blockStyle is how a text indents: additions are written in it.
type blockStyle struct {
	indent
	memo *memo
}

type indent struct {
	unit int // a mapping inside a mapping
	list int // a list's dash, from the list's key
	dash int // an item, from its dash
}

// memo remembers what was written for one workload of a text: most get the same containers and
// volumes, in the same indentation.
type memo struct {
	specs  map[string]addition // by their JSON
	means  map[*yaml.Node]any  // what their trees mean
	blocks map[blockAt][]string
	used   []blockAt        // since add cleared it
	read   map[blockAt]bool // those that are read back somewhere in full
}

// addition is what is added to a pod's spec, and a stand-in for it that has of each item the name
// alone. They are not to be changed; nil: nothing is added.
type addition struct{ whole, short *yaml.Node }

func newMemo() *memo {
	return &memo{specs: map[string]addition{}, means: map[*yaml.Node]any{},
		blocks: map[blockAt][]string{}, read: map[blockAt]bool{}}
}

// familiar says whether all that was used for an addition is read back elsewhere already: each of
// its lists is a block, at a column at which there was one like it. If not, it is from now on.
func (m *memo) familiar(a addition) bool {
	if a.short == nil {
		return false
	}
	all := len(m.used) == len(a.whole.Content)/2
	for _, key := range m.used {
		all = all && m.read[key]
		m.read[key] = true
	}
	return all
}

// meaning is what a change's tree means, which was JSON. Nothing of it is to be changed.
func (m *memo) meaning(tree *yaml.Node) any {
	out := map[string]any{}
	for i := 0; i+1 < len(tree.Content); i += 2 {
		key, node := tree.Content[i].Value, tree.Content[i+1]
		v, known := m.means[node]
		if !known {
			v, _ = newReader().read(node)
		}
		if key == "spec" {
			m.means[node] = v
		}
		out[key] = v
	}
	return out
}

// blockAt is a list, and where and how it is written.
type blockAt struct {
	list   *yaml.Node
	column int
	indent
}

// styleOf looks at how the pod template is written; the pod's containers are always there to show
// how lists are.
func (s *splicer) styleOf(template location) blockStyle {
	style := blockStyle{indent{unit: 2, list: 0, dash: 2}, s.memo}
	spec, ok := template.child("spec")
	if !ok || spec.value.Kind != yaml.MappingNode || len(spec.value.Content) == 0 {
		return style
	}
	if spec.value.Style&yaml.FlowStyle == 0 {
		style.unit = max(1, spec.value.Content[0].Column-spec.key.Column)
	}
	list, ok := spec.child("containers")
	if !ok || list.value.Kind != yaml.SequenceNode || list.value.Style&yaml.FlowStyle != 0 ||
		len(list.value.Content) == 0 {
		return style
	}
	dash := s.column(list.value)
	style.list = max(0, dash-(list.key.Column-1))
	if item := list.value.Content[0]; item.Column-1-dash > 0 {
		style.dash = item.Column - 1 - dash
	}
	return style
}

// block writes the entries of a mapping, or the items of a list, as lines at a column.
func (b blockStyle) block(column int, n *yaml.Node) []string {
	pad := strings.Repeat(" ", column)
	var lines []string
	if n.Kind == yaml.SequenceNode {
		key := blockAt{n, column, b.indent}
		b.memo.used = append(b.memo.used, key)
		if lines, ok := b.memo.blocks[key]; ok {
			return lines
		}
		for _, item := range n.Content {
			lines = append(lines, b.item(pad, column, item)...)
		}
		b.memo.blocks[key] = lines
		return lines
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		lines = append(lines, b.entry(pad, column, n.Content[i], n.Content[i+1])...)
	}
	return lines
}

func (b blockStyle) item(pad string, column int, item *yaml.Node) []string {
	dash := "-" + strings.Repeat(" ", b.dash-1)
	if item.Kind == yaml.ScalarNode {
		return []string{pad + dash + scalarText(item)}
	}
	lines := b.block(column+b.dash, item)
	lines[0] = pad + dash + lines[0][column+b.dash:]
	return lines
}

func (b blockStyle) entry(pad string, column int, key, value *yaml.Node) []string {
	head := pad + scalarText(key) + ":"
	switch {
	case value.Kind == yaml.ScalarNode:
		return []string{head + " " + scalarText(value)}
	case len(value.Content) == 0:
		return []string{head + " " + flow(value)}
	case value.Kind == yaml.SequenceNode:
		return append([]string{head}, b.block(column+b.list, value)...)
	}
	return append([]string{head}, b.block(column+b.unit, value)...)
}

// unquoted matches strings that no YAML reader takes for anything else.
var unquoted = regexp.MustCompile(`^[A-Za-z/][A-Za-z0-9_./-]*(:[A-Za-z0-9_./-]+)*$`)

// reserved reports whether YAML 1.1 reads a word as a boolean or null.
func reserved(s string) bool {
	const longest = len("false")
	if len(s) > longest {
		return false
	}
	switch strings.ToLower(s) {
	case "y", "n", "yes", "no", "on", "off", "true", "false", "null":
		return true
	}
	return false
}

func scalarText(n *yaml.Node) string {
	if n.Tag != "!!str" || unquoted.MatchString(n.Value) && !reserved(n.Value) {
		return n.Value
	}
	return quoted(n.Value)
}

func quoted(s string) string {
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(s); err != nil {
		return `""` // a string always encodes
	}
	return strings.TrimSuffix(out.String(), "\n")
}

// flow writes a node as JSON on one line.
func flow(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "{" + strings.Join(jsonEntries(n, "", ""), ", ") + "}"
	case yaml.SequenceNode:
		return "[" + strings.Join(jsonEntries(n, "", ""), ", ") + "]"
	}
	if n.Tag == "!!str" {
		return quoted(n.Value)
	}
	return n.Value
}

// jsonEntries writes the entries or items of a collection as JSON, over several lines if there is a
// unit to indent by.
func jsonEntries(n *yaml.Node, indent, unit string) []string {
	var out []string
	if n.Kind == yaml.SequenceNode {
		for _, item := range n.Content {
			out = append(out, indented(item, indent, unit))
		}
		return out
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		out = append(out, quoted(n.Content[i].Value)+": "+indented(n.Content[i+1], indent, unit))
	}
	return out
}

func indented(n *yaml.Node, indent, unit string) string {
	text := flow(n)
	if unit == "" {
		return text
	}
	var out bytes.Buffer
	if err := json.Indent(&out, []byte(text), indent, unit); err != nil {
		return text // what flow writes is JSON
	}
	return out.String()
}
