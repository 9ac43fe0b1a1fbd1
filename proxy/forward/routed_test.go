package forward

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tulle-mesh/tulle/destination/api"
	"github.com/tulle-mesh/tulle/proxy/header"
	"github.com/tulle-mesh/tulle/proxy/metric"
	"golang.org/x/net/http2/hpack"
)

// routed is a mesh in memory, whose route has rules.
func routed(t *testing.T, acts []act, rules ...*api.HTTPRule) *hedged {
	h := newHedged(t, 2, acts...)
	h.conn = h.Outbound(h.route(&api.Route{
		Resolution: api.Resolution_RESOLUTION_FOUND, Protocol: api.Protocol_PROTOCOL_DETECT,
		Authority: webAuthority, Backends: []*api.Backend{{Cluster: "web", Weight: 1}}, Http: rules,
	}))
	return h
}

// at is a rule for what is below a path, which is its name.
func at(path string, rule *api.HTTPRule) *api.HTTPRule {
	rule.Origin = &api.Origin{Rule: path}
	rule.Match = &api.Match{Match: &api.Match_Path{
		Path: &api.PathMatch{Path: &api.PathMatch_Prefix{Prefix: path}}}}
	return rule
}

func redirecting(m *api.Redirect) *api.Filter {
	return &api.Filter{Filter: &api.Filter_Redirect{Redirect: m}}
}

func rewriting(m *api.Rewrite) *api.Filter {
	return &api.Filter{Filter: &api.Filter_Rewrite{Rewrite: m}}
}

func replacing(matched, replacement string) *api.PathModifier {
	return &api.PathModifier{Modifier: &api.PathModifier_Prefix{
		Prefix: &api.PrefixModifier{Matched: matched, Replacement: replacement}}}
}

// marking has fields say who was there: one is set, and one is added to.
func marking(who string) []*api.Filter {
	m := &api.HeaderModifier{Set: []*api.Header{{Name: "x-last", Value: who}},
		Add: []*api.Header{{Name: "x-all", Value: who}}}
	return []*api.Filter{
		{Filter: &api.Filter_RequestHeaders{RequestHeaders: m}},
		{Filter: &api.Filter_ResponseHeaders{ResponseHeaders: m}},
	}
}

func marks(fields []hpack.HeaderField) string {
	var out []string
	for _, f := range fields {
		if f.Name == "x-last" || f.Name == "x-all" {
			out = append(out, f.Name+"="+f.Value)
		}
	}
	return strings.Join(out, " ")
}

// answering are rules that need no backend.
func answering() []*api.HTTPRule {
	fixed := func(status uint32) []*api.Backend {
		return []*api.Backend{{Weight: 1, Answer: status, Filters: marking("backend")}}
	}
	return []*api.HTTPRule{
		at("/away", &api.HTTPRule{Filters: append(marking("rule"), redirecting(
			&api.Redirect{Scheme: "https", Path: replacing("/away", "/here"), Status: 308}))}),
		at("/apart", &api.HTTPRule{Filters: marking("rule"), Backends: []*api.Backend{{
			Cluster: "web", Weight: 1, Filters: append(marking("backend"),
				redirecting(&api.Redirect{Host: "example.org", Status: 302}))}}}),
		at("/none", &api.HTTPRule{Backends: fixed(404)}),
		at("/broken", &api.HTTPRule{Filters: marking("rule"), Backends: fixed(500)}),
		at("/busy", &api.HTTPRule{Backends: fixed(503)}),
	}
}

var grpcCall = hpack.HeaderField{Name: "content-type", Value: "application/grpc"}

// What the route answers comes from nobody else, counts as its rule's, and says why it is no
// success.
func TestWhatTheRouteAnswers(t *testing.T) {
	for _, tt := range []struct {
		target   string
		grpc     bool
		want     string // status, body
		location string
		status   string // of gRPC
		marks    string
		failures uint64
	}{
		{target: "/away/x?y=z", want: "308", location: "https://web/here/x?y=z",
			marks: "x-last=rule x-all=rule"},
		{target: "/away/x", grpc: true, want: "308", location: "https://web/here/x",
			marks: "x-last=rule x-all=rule"},
		{target: "/apart", want: "302", location: "http://example.org/apart",
			marks: "x-all=rule x-last=backend x-all=backend"},
		{target: "/none", want: "404 the route answers 404", marks: "x-last=backend x-all=backend"},
		{target: "/none", grpc: true, want: "200", status: "12",
			marks: "x-last=backend x-all=backend"},
		{target: "/broken", want: "500 the route answers 500", failures: 1,
			marks: "x-all=rule x-last=backend x-all=backend"},
		{target: "/broken", grpc: true, want: "200", status: "13", failures: 1,
			marks: "x-all=rule x-last=backend x-all=backend"},
		{target: "/busy", want: "503 the route answers 503", failures: 1,
			marks: "x-last=backend x-all=backend"},
		{target: "/busy", grpc: true, want: "200", status: "14", failures: 1,
			marks: "x-last=backend x-all=backend"},
	} {
		for _, http1 := range []bool{true, false} {
			if tt.grpc && http1 {
				continue
			}
			t.Run(fmt.Sprintf("%s,%v,%v", tt.target, http1, tt.grpc), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					h := routed(t, nil, answering()...)
					h.conn.http1 = http1
					var fields []hpack.HeaderField
					if tt.grpc {
						fields = append(fields, grpcCall)
					}
					_, s := h.conn.ask(tt.target, true, fields...)
					if got, _ := h.ends(t, s); got != tt.want || s.grpc != tt.status {
						t.Errorf("answered by %q, status %q of gRPC; want %q, %q",
							got, s.grpc, tt.want, tt.status)
					}
					if got := header.Value(s.head, "location"); got != tt.location {
						t.Errorf("location %q, want %q", got, tt.location)
					}
					if got := marks(s.head); got != tt.marks {
						t.Errorf("marked %q, want %q", got, tt.marks)
					}
					why := header.Value(s.head, header.Error)
					if fixed := tt.location == ""; fixed != strings.Contains(why, ": the route ") {
						t.Errorf("tulle-error is %q", why)
					}
					h.countedAt(t, "/"+strings.Split(tt.target, "/")[1], tt.failures)
				})
			})
		}
	}
}

// countedAt checks that one request was counted, at the rule, and no try.
func (h *hedged) countedAt(t *testing.T, rule string, failures uint64) {
	t.Helper()
	if all, _ := h.seen(); len(all) > 0 {
		t.Errorf("a backend was asked: %v", all)
	}
	h.Metrics.Each(func(_ uint32, l metric.Labels, c *metric.Cell) {
		if n := c.Requests.Load(); n > 0 && l.Route != rule {
			t.Errorf("%d requests are counted at %q, want %q", n, l.Route, rule)
		}
	})
	if c, counted := h.counted(); len(counted) != 1 || c != (figures{failures: failures}) {
		t.Errorf("%d requests are counted: %+v, want 1 and %d failures", len(counted), c, failures)
	}
}

// What a caller still sends after its answer is taken, and dropped.
func TestABodyThatComesAfterTheRoutesAnswer(t *testing.T) {
	for _, target := range []string{"/away", "/none"} {
		h := routed(t, nil, answering()...)
		h.conn.http1 = false
		x, s := h.conn.ask(target, false)
		s.wait(t)
		for range 3 {
			x.OnData(make([]byte, 1000), false)
		}
		x.OnData(nil, true)
		if n := s.consumed.Load(); n != 3000 {
			t.Errorf("%s: the window is given back for %d bytes of 3000", target, n)
		}
		nothingLeft(t, h.harness, h.conn.cluster())
	}
}

// Of a route whose answer is a share, only that share gets it, and each is counted as what it is.
func TestAnAnswerIsAShare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := routed(t, nil, at("/", &api.HTTPRule{Backends: []*api.Backend{
			{Cluster: "web", Weight: 2}, {Answer: 500, Weight: 1}, {Cluster: "gone", Weight: 1},
		}}))
		got := map[string]int{}
		for range 40 {
			_, s := h.conn.request()
			status, _ := s.wait(t)
			got[status]++
		}
		if got["200"]+got["500"]+got["503"] != 40 || got["500"] < 8 || got["503"] < 8 {
			t.Errorf("answered by %v", got)
		}
		counted := map[string]int{}
		h.Metrics.Each(func(_ uint32, l metric.Labels, c *metric.Cell) {
			counted[l.Backend] += int(c.Requests.Load())
		})
		if counted["web"] != got["200"] || counted[""] != got["500"] ||
			counted["gone"] != got["503"] {
			t.Errorf("answered by %v, counted at %v", got, counted)
		}
	})
}

// telling are requests as backends saw them.
type telling chan string

// tell answers, and says what was asked.
func (h telling) tell(status int) act {
	return func(w http.ResponseWriter, r *http.Request) {
		h <- fmt.Sprintf("%s %s x-last=%s x-all=%s", r.Host, r.RequestURI,
			strings.Join(r.Header["X-Last"], ","), strings.Join(r.Header["X-All"], ","))
		w.WriteHeader(status)
		io.WriteString(w, "told")
	}
}

// A backend is asked for what its rule's filters make of the request, and then its own; every try
// is the same, and the rule is found by what the caller asked for.
func TestEachTryIsRewritten(t *testing.T) {
	rewritten := func(host, matched, replacement string) *api.Filter {
		return rewriting(&api.Rewrite{Host: host, Path: replacing(matched, replacement)})
	}
	rules := []*api.HTTPRule{
		at("/strip", &api.HTTPRule{Retry: &api.Retry{},
			Filters: append(marking("rule"), rewritten("one.example.org", "/strip", ""))}),
		at("/both", &api.HTTPRule{
			Filters: append(marking("rule"), rewritten("", "/both", "/strip")),
			Backends: []*api.Backend{{Cluster: "web", Weight: 1,
				Filters: append(marking("backend"), rewritten("two", "/strip", "/three"))}}}),
	}
	for _, tt := range []struct {
		target string
		acts   []int
		heard  string
		want   string
		route  string
	}{
		{"/strip/a?b=c", []int{500, 200}, "one.example.org /a?b=c x-last=rule x-all=rule",
			"x-last=rule x-all=rule", "/strip"},
		{"/strip", []int{200}, "one.example.org / x-last=rule x-all=rule",
			"x-last=rule x-all=rule", "/strip"},
		{"/both/a?b=c", []int{200}, "two /three/a?b=c x-last=backend x-all=rule,backend",
			"x-all=rule x-last=backend x-all=backend", "/both"},
		{"/other?b=c", []int{200}, "web /other?b=c x-last= x-all=", "", ""},
	} {
		for _, http1 := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s,%v", tt.target, http1), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					told, acts := make(telling, len(tt.acts)), []act(nil)
					for _, status := range tt.acts {
						acts = append(acts, told.tell(status))
					}
					h := routed(t, acts, rules...)
					h.conn.http1 = http1
					_, s := h.conn.ask(tt.target, true)
					if got, _ := h.ends(t, s); got != "200 told" {
						t.Errorf("answered by %q", got)
					}
					for range tt.acts {
						if got := <-told; got != tt.heard {
							t.Errorf("a backend was asked for %q, want %q", got, tt.heard)
						}
					}
					if got := marks(s.head); got != tt.want {
						t.Errorf("marked %q, want %q", got, tt.want)
					}
					h.Metrics.Each(func(_ uint32, l metric.Labels, c *metric.Cell) {
						if c.Requests.Load() > 0 && l.Route != tt.route {
							t.Errorf("counted at %q, want %q", l.Route, tt.route)
						}
					})
				})
			})
		}
	}
}

// A try that takes longer than one may is given up, and the next one has as much time; the request
// is not.
func TestATryHasItsOwnTime(t *testing.T) {
	for _, http1 := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			h := routed(t, []act{hang, hang, answer(40, 200, "third")}, at("/", &api.HTTPRule{
				Retry: &api.Retry{}, Timeouts: &api.Timeouts{RequestMs: 2000, TryMs: 80}}))
			h.conn.http1 = http1
			_, s := h.conn.request()
			got, took := h.ends(t, s)
			if got != "200 third" || took < 200*time.Millisecond {
				t.Errorf("answered by %q after %v", got, took)
			}
			if c, _ := h.counted(); c.tries != 3 || c.failedTries != 2 || c.timeouts != 0 {
				t.Errorf("counted %+v", c)
			}
		})
	}
}
