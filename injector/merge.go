package injector

import (
	"strings"

	"go.yaml.in/yaml/v3"
)

// merger adds one tree to a pod template in the text.
type merger struct {
	s       *splicer
	style   blockStyle
	records []string // "path": created by us; "path=literal": stood there before
}

// merge adds the entries of a mapping, or the items of a list, to what stands at a place.
func (m *merger) merge(at location, add *yaml.Node) {
	switch {
	case isNull(at.value):
		m.fillNull(at, add)
	case at.value.Kind == yaml.AliasNode:
		m.wrapAlias(at, add)
	case at.value.Kind != add.Kind:
		m.s.fail(errAt(at.value, "%s has a shape that a pod's %s cannot have", at.path, at.path))
	case add.Kind == yaml.SequenceNode:
		m.insert(at, add)
	default:
		m.mergeMapping(at, add)
	}
}

func (m *merger) mergeMapping(at location, add *yaml.Node) {
	fresh := &yaml.Node{Kind: yaml.MappingNode}
	for i := 0; i+1 < len(add.Content); i += 2 {
		key, value := add.Content[i], add.Content[i+1]
		child, ok := at.child(key.Value)
		switch {
		case !ok:
			fresh.Content = append(fresh.Content, key, value)
		case value.Kind == yaml.ScalarNode:
			m.s.fail(
				errAt(child.key, "%s is set here already, though nothing was injected: remove it",
					key.Value))
		default:
			m.merge(child, value)
		}
	}
	if len(fresh.Content) > 0 {
		m.recordCollections(at, fresh)
		m.insert(at, fresh)
	}
}

// recordCollections remembers the collections among new entries: empty again, they must go as well.
func (m *merger) recordCollections(at location, add *yaml.Node) {
	if add.Kind != yaml.MappingNode {
		return
	}
	for i := 0; i+1 < len(add.Content); i += 2 {
		if add.Content[i+1].Kind != yaml.ScalarNode {
			m.records = append(m.records, at.sub(add.Content[i].Value))
		}
	}
}

// insert writes new entries or items in front of those that a collection has.
func (m *merger) insert(at location, add *yaml.Node) {
	if at.value.Style&yaml.FlowStyle != 0 || len(at.value.Content) == 0 {
		m.insertFlow(at, add)
		return
	}
	line, ok := m.blockLine(at)
	if !ok {
		m.s.fail(
			errAt(at.value, "cannot add to a mapping that starts here: put a line break before it"))
		return
	}
	m.insertBlock(line, m.s.column(at.value), add)
}

func (m *merger) insertBlock(after, column int, add *yaml.Node) {
	if !m.s.dry {
		m.s.insertLines(after, m.style.block(column, add))
	}
}

// blockLine is the line after which a block collection's new first entry goes.
func (m *merger) blockLine(at location) (int, bool) {
	if at.key != nil {
		return at.key.Line, true
	}
	// A whole object, or an item of a List: "- apiVersion: v1" keeps its first line.
	first := at.value.Content[0]
	if m.s.startsLine(first) {
		return first.Line - 1, true
	}
	if len(at.value.Content) > 2 && m.s.startsLine(at.value.Content[2]) {
		return at.value.Content[2].Line - 1, true
	}
	return 0, false
}

// insertFlow writes into {...} or [...], JSON included. What is written is JSON, which is YAML as
// well.
func (m *merger) insertFlow(at location, add *yaml.Node) {
	open := m.s.open(at.value)
	if open < 0 {
		m.s.fail(errAt(at.value, "%s: expected a bracket here", at.path))
		return
	}
	if len(at.value.Content) == 0 {
		m.s.insert(open+1, strings.Join(jsonEntries(add, "", ""), ", "))
		return
	}
	first := m.s.offset(at.value.Content[0])
	gap := string(m.s.text[open+1 : first])
	nl := strings.LastIndexAny(gap, "\r\n")
	if nl < 0 || strings.TrimSpace(gap) != "" {
		m.s.insert(first, strings.Join(jsonEntries(add, "", ""), ", ")+", ")
		return
	}
	// One entry a line, as the text has it.
	indent := gap[nl+1:]
	outer := m.s.indentation(open)
	unit := strings.TrimPrefix(indent, outer)
	entries := strings.Join(jsonEntries(add, indent, unit), ","+gap) + "," + gap
	if strings.Contains(gap, "\r\n") {
		entries = strings.ReplaceAll(strings.ReplaceAll(entries, "\r\n", "\n"), "\n", "\r\n")
	}
	m.s.insert(first, entries)
}

// fillNull: nothing after the key gets lines below it; a written null is replaced and remembered.
func (m *merger) fillNull(at location, add *yaml.Node) {
	m.recordCollections(at, add)
	if at.value.Value != "" {
		m.replaceLiteral(at, at.value.Value, flow(add))
		return
	}
	if at.key == nil || !m.s.startsLine(at.key) {
		m.s.fail(errAt(at.value, "%s is empty here: write {} for it", at.path))
		return
	}
	column := at.key.Column - 1 + m.style.unit
	if add.Kind == yaml.SequenceNode {
		column = at.key.Column - 1 + m.style.list
	}
	m.insertBlock(at.key.Line, column, add)
}

// wrapAlias turns `labels: *common` into a mapping that merges it. Items cannot be merged, nor can
// entries inside entries.
func (m *merger) wrapAlias(at location, add *yaml.Node) {
	target := location{value: at.value.Alias, path: at.path}
	if add.Kind != yaml.MappingNode || target.value.Kind != yaml.MappingNode {
		m.s.fail(errAt(at.value, "%s is an alias: write it out", at.path))
		return
	}
	for i := 0; i+1 < len(add.Content); i += 2 {
		if _, taken := target.child(add.Content[i].Value); taken {
			m.s.fail(errAt(at.value, "%s is an alias that sets %s: write it out", at.path,
				add.Content[i].Value))
			return
		}
	}
	m.recordCollections(at, add)
	alias := "*" + at.value.Value
	m.replaceLiteral(at, alias, "{<<: "+alias+", "+strings.Join(jsonEntries(add, "", ""), ", ")+"}")
}

func (m *merger) replaceLiteral(at location, literal, with string) {
	from := m.s.offset(at.value)
	if !strings.HasPrefix(string(m.s.text[from:]), literal) {
		m.s.fail(errAt(at.value, "%s: expected %s here", at.path, literal))
		return
	}
	m.records = append(m.records, at.path+"="+literal)
	m.s.replace(from, from+len(literal), with)
}

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.Tag == "!!null" }
