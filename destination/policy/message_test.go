package policy

import (
	"strings"
	"testing"

	"github.com/tulle-mesh/tulle/destination/api"
	"github.com/tulle-mesh/tulle/destination/crd"
)

// Rules without a name are told apart by whose they are: a Service may have several routes. A
// profile's have names, whatever these look like.
func TestEachRuleHasItsOwnLabel(t *testing.T) {
	a := httpRoute("a", 1, `rules: [{name: named, matches: [{path: {value: /n}}]}, `+
		`{matches: [{path: {value: /a}}]}]`)
	b := httpRoute("b", 2, `rules: [{matches: [{path: {value: /b}}]}]`)
	p := Merge([]Route{a.read(t), b.read(t)}, web80, "other")
	var got []string
	for _, m := range p.HTTP(func([]Backend) []*api.Backend { return nil }) {
		got = append(got, m.Origin.Rule)
	}
	if want := "b/0 named a/1 unmatched"; strings.Join(got, " ") != want {
		t.Errorf("the rules are %q, want %q", got, want)
	}
	profiled := OriginRule{Rule{Name: "0"}, Origin{Kind: crd.Kind, Name: "web"}}
	if got := profiled.named().Origin.Rule; got != "0" {
		t.Errorf("a profile's route 0 is %q", got)
	}
}
