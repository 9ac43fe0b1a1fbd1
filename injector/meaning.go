package injector

import (
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
	kyaml "sigs.k8s.io/yaml"
)

// reader says what the documents of one text mean to Kubernetes, whose decoder has YAML 1.1's
// reading of `yes` and `0o7`. To ask that decoder about a document costs several times as much as
// to parse it, so it is asked about single scalars, once each, and about a whole document only
// where a node's meaning depends on others.
type reader struct {
	scalars map[string]any // plain ones, by their text
}

func newReader() *reader { return &reader{scalars: map[string]any{}} }

// meaning returns what root means, in the types of encoding/json.
func (r *reader) meaning(root *yaml.Node) (any, error) {
	if v, ok := r.read(root); ok {
		return v, nil
	}
	return decode(root)
}

// read is meaning of a node that has no alias, tag, merge key or unusual key in it.
func (r *reader) read(n *yaml.Node) (any, bool) {
	if n.Style&yaml.TaggedStyle != 0 {
		return nil, false
	}
	switch n.Kind {
	case yaml.MappingNode:
		return r.mapping(n)
	case yaml.SequenceNode:
		out := make([]any, 0, len(n.Content))
		for _, item := range n.Content {
			v, ok := r.read(item)
			if !ok {
				return nil, false
			}
			out = append(out, v)
		}
		return out, true
	case yaml.ScalarNode:
		return r.scalar(n)
	}
	return nil, false
}

// mapping leaves keys to the decoder that are no text, and those that come twice.
func (r *reader) mapping(n *yaml.Node) (any, bool) {
	out := make(map[string]any, len(n.Content)/2)
	for i := 0; i+1 < len(n.Content); i += 2 {
		key := n.Content[i]
		if key.Kind != yaml.ScalarNode || key.Style&yaml.TaggedStyle != 0 ||
			key.Style&notPlain == 0 && !plainlyText(key.Value) {
			return nil, false
		}
		if _, twice := out[key.Value]; twice {
			return nil, false
		}
		v, ok := r.read(n.Content[i+1])
		if !ok {
			return nil, false
		}
		out[key.Value] = v
	}
	return out, true
}

func (r *reader) scalar(n *yaml.Node) (any, bool) {
	switch {
	case n.Style&notPlain != 0, plainlyText(n.Value):
		return n.Value, true
	case isNull(n):
		return nil, true
	case n.Value == "true", n.Value == "false":
		return n.Value == "true", true
	}
	if v, ok := smallNumber(n.Value); ok {
		return v, true
	}
	if v, ok := r.scalars[n.Value]; ok {
		return v, true
	}
	v, err := decode(n)
	if err != nil {
		return nil, false
	}
	r.scalars[n.Value] = v
	return v, true
}

// plainlyText reports whether a plain scalar is text to every YAML reader.
func plainlyText(s string) bool {
	if s == "" {
		return false
	}
	if c := s[0] | 0x20; (c < 'a' || c > 'z') && s[0] != '/' {
		return false
	}
	return !reserved(s)
}

// smallNumber reads what is a decimal number to every YAML reader, and exact in a float64.
func smallNumber(s string) (float64, bool) {
	const most = 15 // digits
	if len(s) > most || s != "0" && (s == "" || s[0] < '1' || s[0] > '9') ||
		strings.Trim(s, "0123456789") != "" {
		return 0, false
	}
	n, err := strconv.ParseInt(s, 10, 64)
	return float64(n), err == nil
}

// decode asks Kubernetes' own decoder.
func decode(n *yaml.Node) (v any, err error) {
	text, err := yaml.Marshal(plain(n))
	if err != nil {
		return nil, err
	}
	if text, err = kyaml.YAMLToJSON(text); err != nil {
		return nil, err
	}
	err = json.Unmarshal(text, &v)
	return v, err
}

// notPlain are the styles of scalars that are not plain.
const notPlain = yaml.LiteralStyle | yaml.FoldedStyle | yaml.SingleQuotedStyle |
	yaml.DoubleQuotedStyle

// plain copies a node without comments and string styles, which change no meaning but can be
// written back wrongly.
func plain(n *yaml.Node) *yaml.Node {
	c := &yaml.Node{Kind: n.Kind, Style: n.Style & yaml.TaggedStyle, Tag: n.Tag, Value: n.Value,
		Anchor: n.Anchor, Alias: n.Alias}
	switch {
	case isNull(n):
		c.Value = "null"
	case n.Kind == yaml.ScalarNode && n.Style&notPlain != 0:
		c.Style |= yaml.DoubleQuotedStyle
	}
	for _, child := range n.Content {
		c.Content = append(c.Content, plain(child))
	}
	return c
}

// replaced is a meaning with another value at a path. What is on the way there is copied, so that
// the meaning itself stays as it is.
func replaced(v any, path []any, do func(any) any) any {
	if len(path) == 0 {
		return do(v)
	}
	switch step := path[0].(type) {
	case string:
		m, _ := v.(map[string]any)
		out := maps.Clone(m)
		if out == nil {
			out = map[string]any{}
		}
		out[step] = replaced(m[step], path[1:], do)
		return out
	case int:
		out := slices.Clone(v.([]any)) // as find has seen it
		out[step] = replaced(out[step], path[1:], do)
		return out
	}
	return v
}

// merged is a meaning with another's entries and items in front of its own.
func merged(v, added any) any {
	switch added := added.(type) {
	case map[string]any:
		m, _ := v.(map[string]any)
		out := maps.Clone(m)
		if out == nil {
			out = map[string]any{}
		}
		for key, value := range added {
			out[key] = merged(m[key], value)
		}
		return out
	case []any:
		list, _ := v.([]any)
		return append(slices.Clone(added), list...)
	}
	return added
}

// same compares two meanings. A collection that is empty means the same as none.
func same(a, b any) bool {
	switch a := a.(type) {
	case map[string]any:
		if b, ok := b.(map[string]any); ok {
			return sameEntries(a, b)
		}
	case []any:
		if b, ok := b.([]any); ok {
			return slices.EqualFunc(a, b, same)
		}
	case nil:
	default:
		switch b.(type) {
		case map[string]any, []any:
			return false
		}
		return a == b
	}
	return blank(a) && blank(b)
}

func sameEntries(a, b map[string]any) bool {
	for key, v := range a {
		if !same(v, b[key]) {
			return false
		}
	}
	for key, v := range b {
		if _, both := a[key]; !both && !blank(v) {
			return false
		}
	}
	return true
}

// blank reports whether a value means the same as no value.
func blank(v any) bool {
	switch v := v.(type) {
	case map[string]any:
		for _, entry := range v {
			if !blank(entry) {
				return false
			}
		}
		return true
	case []any:
		return len(v) == 0
	}
	return v == nil
}
