package span

import (
	"fmt"
	"testing"
	"time"

	"github.com/tulle-mesh/tulle/proxy/metric"
	"github.com/tulle-mesh/tulle/proxy/outcome"
	"github.com/tulle-mesh/tulle/proxy/trace"
)

func call(path string) *outcome.Record {
	return &outcome.Record{Path: path, GRPCStatus: "0", Status: 200,
		Labels: metric.Labels{Direction: metric.Outbound, Protocol: "grpc"},
		Trace:  &outcome.Trace{Span: trace.NewSpanID()}}
}

func TestMethodsAreBounded(t *testing.T) {
	var m Methods
	named := 0
	for i := range 2 * maxMethods {
		s := Of(call(fmt.Sprintf("/pkg.Service/Method%d", i)))[0]
		if s.Name(&m) != other {
			named++
		}
	}
	if named != maxMethods {
		t.Errorf("%d methods are named, want %d", named, maxMethods)
	}
}

// Who makes spans of the same record names them alike, and each has its own ID.
func TestSpansOfARecordAreTheSameAnywhere(t *testing.T) {
	r := call("/a.B/C")
	at := time.Unix(1, 0)
	for range 3 {
		r.BeginTry(at, true)
	}
	seen := map[trace.SpanID]bool{{}: true}
	for i, s := range Of(r) {
		if again := Of(r)[i].ID; seen[s.ID] || again != s.ID {
			t.Errorf("span %d is %s, and then %s", i, s.ID, again)
		}
		seen[s.ID] = true
	}
	if len(seen) != 5 {
		t.Errorf("%d spans, want the request's and three tries'", len(seen)-1)
	}
}

func TestNoAttributeComesTwice(t *testing.T) {
	r := call("/a.B/C")
	r.Labels.Route, r.Authority, r.Endpoint = "/a", "web:1", "10.0.0.1:80"
	r.BeginTry(time.Unix(1, 0), true).Beside(true)
	r.Because(outcome.Denied, "no")
	for _, s := range Of(r) {
		seen := map[string]bool{}
		s.Attributes(&Methods{}, func(a Attribute) {
			if seen[a.Key] || a.Text == "" && a.Number == 0 && !a.Flag {
				t.Errorf("%v comes twice, or is empty", a)
			}
			seen[a.Key] = true
		})
		if len(seen) < 10 {
			t.Errorf("only %v", seen)
		}
	}
}
