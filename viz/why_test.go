package viz

import (
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tulle-mesh/tulle/proxy/outcome"
	"github.com/tulle-mesh/tulle/proxy/trace"
	"github.com/tulle-mesh/tulle/viz/api"
)

// Each reason of the closed list has advice, in one line.
func TestEveryReasonHasAdvice(t *testing.T) {
	n := 0
	for r := outcome.Plain + 1; r.String() != "unknown"; r++ {
		n++
		text := AdviceFor(r.String())
		if text == "" || len(text) > 200 || strings.Contains(text, "\n") ||
			strings.HasSuffix(text, ".") {
			t.Errorf("%s: %q", r, text)
		}
	}
	if n != len(advice) || n < 20 {
		t.Errorf("there are %d reasons, and advice for %d", n, len(advice))
	}
}

// Commands that advice names exist: the CLI's own test reads them (cli/vizwhy_test.go).
func TestAdviceNamesCommandsInQuotes(t *testing.T) {
	loose := regexp.MustCompile(`[^']meshctl `)
	for r, text := range advice {
		if loose.MatchString(text) {
			t.Errorf("%s: a command without quotes in %q", r, text)
		}
	}
}

// A request's story is told from both sides, by its ID or its trace's.
func TestWhy(t *testing.T) {
	v, w := newTestServer(), retried(0)
	w.tell(v)
	for _, id := range []string{w.sent[0].m.RequestId, trace.ID(w.id).String(),
		strings.ToUpper(trace.ID(w.id).String())} {
		why, err := v.why(time.Now(), id)
		if err != nil || len(why.Calls) != 3 {
			t.Fatalf("%s: %+v, %v", id, why, err)
		}
		last := why.Calls[2]
		if last.Client == nil || len(last.Servers) != 2 || len(last.Tries) != 2 {
			t.Fatalf("%s: %+v", id, last)
		}
		want := []string{
			"checkout asked inventory for GET /stock, by its route stock: 200 after 32ms",
			"it was tried 2 times",
			"try 1 at 10.0.0.1:80, after 0s: 503 within 10ms",
			"try 2 at 10.0.0.2:80, after 11ms: 200 within 21ms",
			"inventory-0: its application answered 503 after 8ms",
			"inventory-0: its application answered 200 after 19ms",
		}
		if !slices.Equal(last.Happened, want) {
			t.Errorf("%s: it says\n%s", id, strings.Join(last.Happened, "\n"))
		}
	}
	nothing, err := v.why(time.Now(), "nobody")
	if err != nil || len(nothing.Calls) != 0 {
		t.Errorf("%+v, %v", nothing, err)
	}
}

func TestWhySaysWhatToDo(t *testing.T) {
	v, w := newTestServer(), newWorld(0)
	m := called(w.record("web", out, 0, 1000, 1, 0), "slow")
	m.Trace, m.Status, m.Failed = nil, 504, true
	m.Reason, m.Detail = "request_timeout", "the request took longer than its timeout"
	bare := called(w.record("web", out, 2000, 2001, 2, 0), "gone")
	bare.Trace, bare.Status, bare.Failed, bare.Tries = nil, 503, true, 0
	bare.Reason = "no_endpoints"
	w.tell(v)
	why, err := v.why(time.Now(), m.RequestId)
	if err != nil || len(why.Calls) != 2 {
		t.Fatalf("%+v, %v", why, err)
	}
	for i, want := range []string{
		"web asked slow for GET /stock: 504 after 1s|web's proxy says request_timeout: the " +
			"request took longer than its timeout|the proxy of slow tells nothing of it: it may " +
			"not have come there",
		"web asked gone for GET /stock: 503 after 1ms|web's proxy says no_endpoints|it was sent " +
			"to nobody",
	} {
		c := why.Calls[i]
		if got := strings.Join(c.Happened, "|"); got != want || !c.Failed() {
			t.Errorf("it says\n%s, want\n%s", got, want)
		}
		if len(c.Advice) != 1 || c.Advice[0].Text != AdviceFor(c.Client.Reason) {
			t.Errorf("it advises %v", c.Advice)
		}
	}
}

// Both halves of a request are one, joined by the hop that they share or by the try's span, and are
// found by whom it was from and to.
func TestRequestsAreJoinedAndFound(t *testing.T) {
	v, w := newTestServer(), retried(0)
	plain := called(w.record("web", out, 100, 120, 20, 0), "payments")
	plain.Trace, plain.Hop, plain.Path, plain.Method = nil, 5, "/pay/7", "POST"
	other := w.record("payments", in, 105, 115, 21, 0)
	other.Trace, other.Hop, other.Path, other.Method = nil, 5, "/pay/7", "POST"
	bare := called(w.record("web", out, 200, 220, 22, 0), "delivery")
	half := w.record("delivery", in, 205, 215, 23, 0)
	bare.Trace, half.Trace, bare.Path, half.Path = nil, nil, "/deliver", "/deliver"
	for _, m := range []*api.Record{bare, half} { // nothing but who they are joins them
		m.Labels.OwnId, m.Labels.PeerId = podOf("web").id, podOf("delivery").id
	}
	half.Labels.OwnId, half.Labels.PeerId = half.Labels.PeerId, half.Labels.OwnId
	w.tell(v)
	for _, tt := range []struct {
		q    RequestQuery
		want string
	}{
		{RequestQuery{}, "delivery payments inventory checkout web"},
		{RequestQuery{To: "svc/payments", ToNamespace: "shop"}, "payments"},
		{RequestQuery{To: "svc/payments", ToNamespace: "bank"}, ""},
		{RequestQuery{Method: "POST", Path: "/pay"}, "payments"},
		{RequestQuery{Path: "/pay/8"}, ""},
		{RequestQuery{MinDuration: 36 * time.Millisecond}, "checkout web"},
		{RequestQuery{Failed: true}, ""},
		{RequestQuery{Reason: "no_route"}, ""},
		{RequestQuery{RequestID: plain.RequestId}, "delivery payments inventory checkout web"},
		{RequestQuery{From: "sa/web"}, "delivery payments checkout"},
		{RequestQuery{From: "sa/web", Limit: 1}, "delivery"},
	} {
		if tt.q.Limit == 0 {
			tt.q.Limit = 10
		}
		asked, err := parseRequestQuery(tt.q.values())
		if err != nil {
			t.Fatal(err)
		}
		answer, err := v.requestList(time.Now(), asked)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, r := range answer.Requests {
			got = append(got, r.Service)
			if r.Inbound == nil || r.Direction != "outbound" {
				t.Errorf("%+v: only one half of %s: %+v", tt.q, r.Service, r)
			}
		}
		if strings.Join(got, " ") != tt.want {
			t.Errorf("%+v: %q, want %q", tt.q, got, tt.want)
		}
	}
}

// An application that passes no headers on is found, one that does is not, and of few calls nothing
// is said.
func TestWhoLosesTheContextIsNamed(t *testing.T) {
	v := newTestServer()
	for i := range uint64(2 * LeastCalls) {
		serve := func(app string, passes bool) {
			w, lost := newWorld(4*i), newWorld(4*i+1)
			w.record(app, in, 0, 20, 1, 9)
			if passes {
				w.record(app, out, 5, 10, 2, 1)
			} else {
				lost.began = w.began
				lost.record(app, out, 5, 10, 2, 0)
			}
			for _, s := range slices.Concat(w.sent, lost.sent) {
				m := s.m
				m.Trace.TraceId[0] = app[0] // else the apps' traces were the same
				v.records.take(w.began, s.who, m)
			}
		}
		serve("forgetful", false)
		serve("good", true)
		serve("mixed", i%4 > 0)
		if i < LeastCalls/2 {
			serve("rare", false)
		}
	}
	background := newWorld(100_000)
	for i := range int64(2 * LeastCalls) {
		background.record("timer", out, i*10, i*10+1, uint64(i), 0)
	}
	background.tell(v)
	answer, err := v.propagation(time.Now(), struct{}{})
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]bool{}
	for _, row := range answer.Workloads {
		got[row.Name] = row.Loses
		if row.Name == "mixed" && (row.Calls != 2*LeastCalls || row.Lost != LeastCalls/2) {
			t.Errorf("%+v", row)
		}
	}
	want := map[string]bool{"forgetful": true, "good": false, "mixed": false, "rare": false}
	for name, loses := range want {
		if l, known := got[name]; !known || l != loses {
			t.Errorf("%s loses the context: %v, want %v", name, l, loses)
		}
	}
	if _, known := got["timer"]; known {
		t.Error("what happens in the background loses nothing")
	}
}

// A newer proxy's reason is shown as it says it, and nothing is advised.
func TestAnUnknownReasonIsShown(t *testing.T) {
	v, w := newTestServer(), newWorld(0)
	m := called(w.record("web", out, 0, 1, 1, 0), "x")
	m.Reason, m.Labels.Security = "moon_phase", api.Security_SECURITY_PLAINTEXT_UNMESHED
	w.tell(v)
	why, _ := v.why(time.Now(), m.RequestId)
	c := why.Calls[0]
	if !slices.Contains(c.Happened, "web's proxy says moon_phase") || len(c.Advice) > 0 ||
		!slices.Contains(c.Happened, "x has no proxy that could tell how it went there") {
		t.Errorf("%+v", c)
	}
}
