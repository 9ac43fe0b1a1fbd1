package policy

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/tulle-mesh/tulle/destination/api"
	"github.com/tulle-mesh/tulle/destination/crd"
)

func percent(p float64) *float64 { return &p }

func TestFromFaultInjection(t *testing.T) {
	f := &crd.FaultInjection{Spec: crd.FaultInjectionSpec{
		Match: &gatewayv1.HTTPRouteMatch{
			Headers: []gatewayv1.HTTPHeaderMatch{{Name: "X-Test", Value: "1"}}},
		From: []crd.FaultCaller{{Namespace: "all"}, {Namespace: "shop", ServiceAccount: "cart"},
			{Namespace: "shop", ServiceAccount: "till"}},
		Delay: &crd.FaultDelay{Duration: "1.5s", Percent: percent(0.0001)},
		Abort: &crd.FaultAbort{Status: 503},
		Until: metav1.NewTime(time.Unix(1000, 0)),
	}}
	if got, err := FromFaultInjection(f, "other", "mesh.example"); got != nil || err != nil {
		t.Errorf("a namespace that is not meant has %v", got)
	}
	if got, _ := FromFaultInjection(f, "all", "mesh.example"); got.Callers != nil {
		t.Errorf("of a whole namespace %v are meant", got.Callers)
	}
	got, err := FromFaultInjection(f, "shop", "mesh.example")
	if err != nil || got.DelayMs != 1500 || got.DelayShare != 1 || got.Status != 503 ||
		got.AbortShare != 1_000_000 || got.UntilMs != 1_000_000 || len(got.Callers) != 2 ||
		got.Callers[0] != "spiffe://mesh.example/ns/shop/sa/cart" {
		t.Errorf("%v", got)
	}
	if h := got.Match.GetHeader(); h.GetName() != "x-test" || h.GetExact() != "1" {
		t.Errorf("%v", got.Match)
	}
}

// Every request is harmed, by whichever rule it goes, and the policy that others have is as it was.
func TestHarm(t *testing.T) {
	fault := &api.Fault{Status: 500}
	origin := Origin{crd.Group, crd.FaultInjectionKind, "shop", "f"}
	harm := []Harm{{fault, origin}}
	matched := OriginRule{Rule: Rule{Name: "m", Match: &api.Match{}}}
	last := OriginRule{Rule: Rule{Name: "l"}}
	for _, c := range []struct {
		name  string
		rules []OriginRule
		want  int
	}{
		{"nothing", nil, 1}, {"a rule", []OriginRule{matched}, 2},
		{"a rule and the last", []OriginRule{matched, last}, 2},
	} {
		p := &Policy{Rules: c.rules}
		got := p.Harm(harm).Rules
		if len(got) != c.want {
			t.Errorf("%s: %d rules, want %d", c.name, len(got), c.want)
		}
		for _, r := range got {
			if r.Faults[0].Fault != fault {
				t.Errorf("%s: rule %q is not harmed", c.name, r.Name)
			}
		}
		for _, r := range p.Rules {
			if len(r.Faults) > 0 {
				t.Errorf("%s: the policy has changed", c.name)
			}
		}
	}
	if got := (*Policy)(nil).Harm(harm); len(got.Rules) != 1 || got.Rules[0].Origin != origin {
		t.Errorf("without a policy: %+v", got)
	}
	if p := (*Policy)(nil).Harm(nil); p != nil {
		t.Errorf("without faults: %+v", p)
	}
	var rule Rule
	rule.Harm(append(harm, Harm{fault, Origin{Name: "other"}}, harm[0])...)
	if len(rule.Faults) != 2 {
		t.Errorf("of two objects, one of them twice, a rule has %d faults", len(rule.Faults))
	}
}
