package injector

import (
	"reflect"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// What is read without Kubernetes' decoder is what that would have said.
func TestMeaningIsTheDecoders(t *testing.T) {
	words := []string{"a", "yes", "Yes", "y", "n", "N", "on", "off", "true", "False", "TRUE",
		"null", "Null", "~", "", "0", "7", "-7", "+7", "010", "0o10", "0x1F", "0b11", "1_000",
		"1.5", "1e3",
		".5", "-.inf", ".nan", "1:30", "190:20:30", "2001-01-01", "2001-01-01T00:00:00Z", "<<", "=",
		"/", "/a b", "nullable", "yesterday", "truer", "123456789012345", "1234567890123456",
		"99999999999999999999", "100m", "a: b", "a #b", "\"7\"", "'yes'", "\"\\u00e4\\n\"",
		"!!str 7",
		"!!int \"7\"", "! 7", "&x a", "|\n  a\n  b\n", ">-\n  7\n", "b\n  c", "{}", "[]",
		"[1, [yes]]",
		"{a: 1}", "{1: a}", "{yes: a}", "{\"yes\": a}", "{a: 1, a: 2}", "{~: a}", "{1.5: a}"}
	for _, word := range words {
		if strings.Contains(word, ": b") || strings.Contains(word, " #") {
			word = "'" + word + "'"
		}
		for _, text := range []string{"k: " + word + "\n", "- " + word + "\n"} {
			var doc yaml.Node
			if err := yaml.Unmarshal([]byte(text), &doc); err != nil {
				t.Fatalf("%q: %v", text, err)
			}
			want, wantErr := decode(doc.Content[0])
			got, err := newReader().meaning(doc.Content[0])
			if (err == nil) != (wantErr == nil) || !reflect.DeepEqual(got, want) {
				t.Errorf("%q: %#v %v, want %#v %v", text, got, err, want, wantErr)
			}
		}
	}
	for name, text := range awkward(t) {
		dec := yaml.NewDecoder(strings.NewReader(string(text)))
		r := newReader()
		for {
			var doc yaml.Node
			if dec.Decode(&doc) != nil {
				break
			}
			want, wantErr := decode(doc.Content[0])
			got, err := r.meaning(doc.Content[0])
			if (err == nil) != (wantErr == nil) || !reflect.DeepEqual(got, want) {
				t.Errorf("%s: %#v %v, want %#v %v", name, got, err, want, wantErr)
			}
		}
	}
}

// A meaning without its empty collections means the same.
func TestSameMeaning(t *testing.T) {
	value := func(text string) any {
		var doc yaml.Node
		if err := yaml.Unmarshal([]byte(text), &doc); err != nil {
			t.Fatal(err)
		}
		v, err := newReader().meaning(doc.Content[0])
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	for _, c := range []struct {
		a, b string
		same bool
	}{
		{"{}", "[]", true}, {"{a: {b: []}}", "{}", true}, {"{a: ~}", "{b: {}}", true},
		{"[{a: {}}]", "[{}]", true}, {"[~]", "[]", false}, {"[a]", "[a, b]", false},
		{"{a: 1}", "{a: 2}", false}, {"{a: 1}", "{a: \"1\"}", false}, {"{a: x}", "{a: [x]}", false},
		{"{a: [x]}", "{a: x}", false}, {"{a: 1, b: {}}", "{a: 1}", true}, {"{a: ''}", "{}", false},
		{"{a: {b: 1}}", "{a: {}}", false}, {"{a: false}", "{}", false},
	} {
		if same(value(c.a), value(c.b)) != c.same || same(value(c.b), value(c.a)) != c.same {
			t.Errorf("%s and %s mean the same: %v", c.a, c.b, !c.same)
		}
	}
}
