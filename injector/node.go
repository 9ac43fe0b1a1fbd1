package injector

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"

	"go.yaml.in/yaml/v3"
)

// tree is the change as a YAML node, in the order that people write pods. What it adds to the spec
// does not depend on what is remembered in the annotations, and is made once.
func (c Change) tree(spec *yaml.Node) *yaml.Node {
	metadata, root := mappingNode(), mappingNode()
	put(metadata, "annotations", entriesOf(c.Annotations))
	put(metadata, "labels", entriesOf(c.Labels))
	put(root, "metadata", metadata)
	if spec != nil {
		put(root, "spec", spec)
	}
	return root
}

// spec is what a change adds to a pod's spec.
func (m *memo) spec(c Change) (addition, error) {
	if c.InitContainers == nil {
		return addition{}, nil
	}
	text, err := json.Marshal(map[string]any{
		"initContainers": c.InitContainers, "volumes": c.Volumes,
	})
	if err != nil {
		return addition{}, fmt.Errorf("write the change: %w", err)
	}
	if known, ok := m.specs[string(text)]; ok {
		return known, nil
	}
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.UseNumber()
	node, err := nodeOf(dec)
	if err != nil {
		return addition{}, fmt.Errorf("read the change: %w", err)
	}
	made := addition{node, shortened(node)}
	m.specs[string(text)] = made
	return made, nil
}

// shortened has of each item of a mapping's lists the name alone. It is nil where one has none.
func shortened(mapping *yaml.Node) *yaml.Node {
	out := mappingNode()
	for i := 0; i+1 < len(mapping.Content); i += 2 {
		list := &yaml.Node{Kind: yaml.SequenceNode, Tag: "!!seq"}
		for _, item := range mapping.Content[i+1].Content {
			name := lookup(item, "name")
			if name == nil {
				return nil
			}
			named := mappingNode()
			put(named, "name", name)
			list.Content = append(list.Content, named)
		}
		put(out, mapping.Content[i].Value, list)
	}
	return out
}

// nodeOf reads a JSON value as a YAML node, whose entries are in the text's order.
func nodeOf(dec *json.Decoder) (*yaml.Node, error) {
	token, err := dec.Token()
	if err != nil {
		return nil, err
	}
	switch token := token.(type) {
	case json.Delim:
		return collectionOf(dec, token)
	case string:
		return textNode(token), nil
	case json.Number:
		return scalarNode("!!int", token.String()), nil
	case bool:
		return scalarNode("!!bool", strconv.FormatBool(token)), nil
	}
	return scalarNode("!!null", "null"), nil
}

func collectionOf(dec *json.Decoder, open json.Delim) (*yaml.Node, error) {
	n := mappingNode()
	if open == '[' {
		n.Kind, n.Tag = yaml.SequenceNode, "!!seq"
	}
	for dec.More() { // in an object, keys and values by turns
		child, err := nodeOf(dec)
		if err != nil {
			return nil, err
		}
		n.Content = append(n.Content, child)
	}
	_, err := dec.Token()
	return n, err
}

func scalarNode(tag, value string) *yaml.Node {
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: tag, Value: value}
}

func textNode(s string) *yaml.Node {
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Style: yaml.DoubleQuotedStyle, Value: s}
}

func mappingNode() *yaml.Node { return &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"} }

func put(mapping *yaml.Node, key string, value *yaml.Node) {
	mapping.Content = append(mapping.Content, textNode(key), value)
}

func entriesOf(m map[string]string) *yaml.Node {
	n := mappingNode()
	for _, key := range slices.Sorted(maps.Keys(m)) {
		put(n, key, textNode(m[key]))
	}
	return n
}
