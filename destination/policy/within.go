package policy

import (
	"slices"

	"github.com/tulle-mesh/tulle/destination/api"
)

// Within makes the condition that a request falls to one of the rules that are meant, as the first
// rule that matches decides. It is false where none of them is. A nil condition holds for every
// request.
//
// It is made from the last rule to the first: a request falls to one that is meant from here on if
// this one matches and is meant, or does not match and the request falls to one further on. So the
// condition is no longer than the rules, and nested as often as those that are meant and others
// take turns.
func (p *Policy) Within(meant func(*OriginRule) bool) (m *api.Match, ok bool) {
	if p == nil {
		return nil, false
	}
	m = either() // no request
	for i := range slices.Backward(p.Rules) {
		r := &p.Rules[i]
		is := !r.isUnmatched() && meant(r)
		ok = ok || is
		switch {
		case r.Match != nil && is:
			m = orElse(r.Match, m)
		case r.Match != nil:
			m = unless(r.Match, m)
		case is:
			m = both() // every request
		default:
			m = either()
		}
	}
	if all := m.GetAll(); all != nil {
		return allOf(all.Matches), ok
	}
	if list := m.GetAny().GetMatches(); len(list) == 1 {
		return list[0], ok
	}
	return m, ok
}

func either(of ...*api.Match) *api.Match {
	return &api.Match{Match: &api.Match_Any{Any: &api.MatchList{Matches: of}}}
}

func both(of ...*api.Match) *api.Match {
	return &api.Match{Match: &api.Match_All{All: &api.MatchList{Matches: of}}}
}

// orElse holds where one condition does, or else the rest.
func orElse(one, rest *api.Match) *api.Match {
	if list := rest.GetAny(); list != nil {
		return either(slices.Insert(list.Matches, 0, one)...)
	}
	if len(rest.GetAll().GetMatches()) == 0 {
		return rest // everywhere
	}
	return either(one, rest)
}

// unless holds where one condition does not, and the rest does.
func unless(one, rest *api.Match) *api.Match {
	one = &api.Match{Match: &api.Match_Not{Not: one}}
	if list := rest.GetAll(); list != nil {
		return both(slices.Insert(list.Matches, 0, one)...)
	}
	if len(rest.GetAny().GetMatches()) == 0 {
		return rest // nowhere
	}
	return both(one, rest)
}
