package route

import (
	"testing"

	"github.com/tulle-mesh/tulle/destination/api"
)

// A parameter is found however it is escaped, and of those of one name the first.
func TestQueries(t *testing.T) {
	exact := func(name, value string) *api.QueryMatch {
		return &api.QueryMatch{Name: name, Value: &api.QueryMatch_Exact{Exact: value}}
	}
	regex := &api.QueryMatch{Name: "animal", Value: &api.QueryMatch_Regex{Regex: "wh.*"}}
	for _, tt := range []struct {
		target string
		m      *api.QueryMatch
		want   bool
	}{
		{"/?animal=whale", exact("animal", "whale"), true},
		{"/?otherparam=irrelevant&animal=whale", exact("animal", "whale"), true},
		{"/?animal=whale&animal=dolphin", exact("animal", "whale"), true},
		{"/?animal=whale&animal=dolphin", exact("animal", "dolphin"), false},
		{"/?animal=whaledolphin", exact("animal", "whale"), false},
		{"/?Animal=whale", exact("animal", "whale"), false},
		{"/?animal=Whale", exact("animal", "whale"), false},
		{"/?%61nimal=wh%61le", exact("animal", "whale"), true},
		{"/?animal=blue+whale", exact("animal", "blue whale"), true},
		{"/?animal=blue%20whale", exact("animal", "blue whale"), true},
		{"/?animal=a%26b%3Dc", exact("animal", "a&b=c"), true},
		{"/?animal=100%", exact("animal", "100%"), true},
		{"/?animal=a=b", exact("animal", "a=b"), true},
		{"/?animal", exact("animal", ""), true},
		{"/?animal=what%3F", regex, true},
		{"/?animal=swan", regex, false},
		{"/animal=whale", exact("animal", "whale"), false},
		{"/", exact("animal", ""), false},
		{"*", exact("animal", "whale"), false},
	} {
		r := compile(t, found(&api.HTTPRule{
			Match: &api.Match{Match: &api.Match_Query{Query: tt.m}}}))
		if got := r.Find(asked("web", tt.target)) != r.Fallback; got != tt.want {
			t.Errorf("%s and %v: %v, want %v", tt.target, tt.m, got, tt.want)
		}
	}
}
