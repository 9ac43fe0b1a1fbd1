package api

import (
	"math/rand/v2"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

const secret = "s3cret"

// fill sets every text in a message, of each list one element, and of what is one of several one at
// random: to a secret where it is what a header or a parameter is set to or compared with.
func fill(m protoreflect.Message, depth int, r *rand.Rand) {
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		f := fields.Get(i)
		if one := f.ContainingOneof(); one != nil &&
			one.Fields().Get(r.IntN(one.Fields().Len())) != f {
			continue
		}
		switch {
		case f.Kind() == protoreflect.StringKind && f.IsList():
			m.Mutable(f).List().Append(protoreflect.ValueOfString("plain"))
		case f.Kind() == protoreflect.StringKind && isSecret(f):
			m.Set(f, protoreflect.ValueOfString(secret))
		case f.Kind() == protoreflect.StringKind:
			m.Set(f, protoreflect.ValueOfString("plain"))
		case f.Message() == nil || depth == 0:
		case f.IsList():
			fill(m.Mutable(f).List().AppendMutable().Message(), depth-1, r)
		default:
			fill(m.Mutable(f).Message(), depth-1, r)
		}
	}
}

func isSecret(f protoreflect.FieldDescriptor) bool {
	parent := f.Parent().Name()
	return f.Name() == "value" || f.ContainingOneof() != nil &&
		(parent == "HeaderMatch" || parent == "QueryMatch")
}

// Whatever a route or a port of a proxy's can have.
func TestNothingSecretIsLeftInAnyRedactedResource(t *testing.T) {
	had := 0
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 1))
		route, inbound := &Route{}, &Inbound{}
		fill(route.ProtoReflect(), 7, r)
		fill(inbound.ProtoReflect(), 7, r)
		for _, x := range []*Resource{{Body: &Resource_Route{Route: route}},
			{Body: &Resource_Inbound{Inbound: inbound}}} {
			if strings.Contains(x.String(), secret) {
				had++
			}
			if text := x.Redact().String(); strings.Contains(text, secret) {
				t.Fatalf("it is left in %s", text)
			}
		}
	}
	if had < 100 {
		t.Errorf("of 600 resources %d had a secret", had)
	}
}

// Secrets are what is compared or set, in each place that rules have for it.
func TestNothingSecretIsLeftInARedactedResource(t *testing.T) {
	modifier := &HeaderModifier{Set: []*Header{{Name: "authorization", Value: secret}},
		Add: []*Header{{Name: "x", Value: secret}}}
	filters := []*Filter{{Filter: &Filter_RequestHeaders{RequestHeaders: modifier}},
		{Filter: &Filter_ResponseHeaders{ResponseHeaders: modifier}}}
	match := &Match{Match: &Match_All{All: &MatchList{Matches: []*Match{
		{Match: &Match_Header{Header: &HeaderMatch{Name: "x",
			Value: &HeaderMatch_Exact{Exact: secret}}}},
		{Match: &Match_Not{Not: &Match{Match: &Match_Header{Header: &HeaderMatch{Name: "x",
			Value: &HeaderMatch_Regex{Regex: secret}}}}}},
		{Match: &Match_Query{Query: &QueryMatch{Name: "q",
			Value: &QueryMatch_Exact{Exact: secret}}}},
		{Match: &Match_Query{Query: &QueryMatch{Name: "q",
			Value: &QueryMatch_Regex{Regex: secret}}}},
	}}}}
	backends := []*Backend{{Cluster: "c", Weight: 1, Filters: filters}}
	rule := &HTTPRule{Match: match, Filters: filters, Backends: backends,
		Faults: []*Fault{{Match: match}}}
	for name, r := range map[string]*Resource{
		"route": {Body: &Resource_Route{Route: &Route{Http: []*HTTPRule{rule},
			Backends: backends}}},
		"inbound": {Body: &Resource_Inbound{Inbound: &Inbound{Http: []*HTTPRule{rule},
			RateLimits: []*RateLimit{{Match: match}}, HealthCheck: &HealthCheck{
				Check: &HealthCheck_Http{Http: &HTTPCheck{Path: "/healthz?token=" + secret}}}}}},
	} {
		before := proto.Clone(r)
		if text := r.String(); !strings.Contains(text, secret) {
			t.Errorf("%s: the test has no secret", name)
		}
		if text := r.Redact().String(); strings.Contains(text, secret) {
			t.Errorf("%s: it is left in %s", name, text)
		}
		if !proto.Equal(before, r) {
			t.Errorf("%s: what is in use was changed", name)
		}
	}
}
