package policy

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/tulle-mesh/tulle/destination/api"
)

// A rule's own word counts before a policy's, and a policy's before none.
func TestWhatARuleDoesNotSayThePolicySays(t *testing.T) {
	patient, hedger := Origin{Name: "patient"}, Origin{Name: "hedger"}
	all := &Use{timing: &Timing{10 * time.Second, 3 * time.Second}, Timer: patient,
		hedge: &api.Hedge{AfterMs: 50}, Hedger: hedger}
	match := &api.Match{Match: &api.Match_Method{Method: "GET"}}
	for _, tt := range []struct {
		name  string
		use   *Use
		kind  string
		rules []Rule
		want  string // of each rule: its timeouts, and its hedge
		used  string
	}{
		{"nothing is said", nil, "", []Rule{{Match: match}}, "0s/0s/0", ""},
		{"no rules", all, "", nil, "10s/3s/0", "patient"},
		{"a rule", all, "", []Rule{{Match: match}}, "10s/3s/0 10s/3s/0", "patient"},
		{"its own", all, "", []Rule{{Match: match, Timeout: time.Second, OwnTimeout: true}},
			"1s/3s/0 10s/3s/0", "patient"},
		{"none of its own", all, "", []Rule{{Match: match, OwnTimeout: true, OwnTry: true}},
			"0s/0s/0 10s/3s/0", "patient"},
		{"what may be retried", all, "", []Rule{{Match: match, Retry: &api.Retry{}}},
			"10s/3s/50 10s/3s/0", "patient hedger"},
		{"its own hedge", all, "",
			[]Rule{{Match: match, Retry: &api.Retry{}, Hedge: &api.Hedge{AfterMs: 7}}},
			"10s/3s/7 10s/3s/0", "patient"},
		{"closed rules", all, "HTTPRoute", []Rule{{Match: match},
			{Backends: []Backend{{Answer: answerNoMatch, Weight: 1}}}}, "10s/3s/0 0s/0s/0",
			"patient"},
		{"no timeouts", &Use{timing: &Timing{}, Timer: patient}, "", []Rule{{Match: match}},
			"0s/0s/0 0s/0s/0", ""},
		{"a hedge alone", &Use{hedge: &api.Hedge{AfterMs: 50}, Hedger: hedger}, "",
			[]Rule{{Retry: &api.Retry{}, Match: match}, {Match: match}}, "0s/0s/50 0s/0s/0",
			"hedger"},
		{"connections", all, "TCPRoute", []Rule{{}}, "0s/0s/0", ""},
	} {
		var before *Policy
		if tt.rules != nil {
			before = &Policy{Kind: tt.kind}
			for _, r := range tt.rules {
				before.Rules = append(before.Rules, OriginRule{Rule: r})
			}
		}
		after, origins := before.ByDefault(tt.use)
		var got, used []string
		for _, r := range after.Rules {
			got = append(got, fmt.Sprintf("%s/%s/%d", r.Timeout, r.Try, r.Rule.Hedge.GetAfterMs()))
		}
		for _, o := range origins {
			used = append(used, o.Name)
		}
		if text := strings.Join(got, " "); text != tt.want || strings.Join(used, " ") != tt.used {
			t.Errorf("%s: %q by %v, want %q by %q", tt.name, text, used, tt.want, tt.used)
		}
		if before != nil && len(before.Rules) != len(tt.rules) {
			t.Errorf("%s: the policy itself has changed", tt.name)
		}
	}
}
