package policy

import (
	"math/rand/v2"
	"testing"

	"github.com/tulle-mesh/tulle/destination/api"
)

// holds says whether a condition does for a request that has some headers: those of the rules of
// the same numbers match it.
func holds(m *api.Match, has map[string]bool) bool {
	switch m := m.GetMatch().(type) {
	case nil:
		return true
	case *api.Match_Header:
		return has[m.Header.Name]
	case *api.Match_Not:
		return !holds(m.Not, has)
	case *api.Match_All:
		for _, one := range m.All.Matches {
			if !holds(one, has) {
				return false
			}
		}
		return true
	case *api.Match_Any:
		for _, one := range m.Any.Matches {
			if holds(one, has) {
				return true
			}
		}
	}
	return false
}

// The condition says of every request what the rules say, tried one after the other.
func TestARequestFallsToTheFirstRuleThatMatches(t *testing.T) {
	names := []string{"a", "b", "c", "d", "e", "f"}
	for range 3000 {
		p, meant := &Policy{}, map[string]bool{}
		for _, name := range names[:rand.IntN(len(names)+1)] {
			r := OriginRule{Rule: Rule{Name: name, Match: &api.Match{Match: &api.Match_Header{
				Header: &api.HeaderMatch{Name: name}}}}}
			if rand.IntN(8) == 0 {
				r.Match = nil
			}
			p.Rules = append(p.Rules, r)
			meant[name] = rand.IntN(2) == 0
		}
		some := false
		for _, r := range p.Rules {
			some = some || meant[r.Name]
		}
		m, ok := p.Within(func(r *OriginRule) bool { return meant[r.Name] })
		if ok != some {
			t.Fatalf("of %v meant are %v: %v", p.Rules, meant, ok)
		}
		for bits := range 1 << len(names) {
			has := map[string]bool{}
			for i, name := range names {
				has[name] = bits>>i&1 == 1
			}
			want := false
			for _, r := range p.Rules {
				if r.Match == nil || has[r.Name] {
					want = meant[r.Name]
					break
				}
			}
			if ok && holds(m, has) != want {
				t.Fatalf("of %v meant are %v: %v is wrong for %v", p.Rules, meant, m, has)
			}
		}
	}
}
