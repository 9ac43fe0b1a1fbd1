package route

import (
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tulle-mesh/tulle/destination/api"
	"golang.org/x/net/http2/hpack"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

func found(rules ...*api.HTTPRule) *api.Route {
	return &api.Route{
		Resolution: api.Resolution_RESOLUTION_FOUND, Protocol: api.Protocol_PROTOCOL_DETECT,
		Http: rules,
	}
}

func compile(t *testing.T, m *api.Route) *Route {
	t.Helper()
	r, err := Compile(m, NewBudget(nil))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestPickerKeepsWeightsExactly(t *testing.T) {
	r := compile(t, &api.Route{
		Resolution: api.Resolution_RESOLUTION_FOUND, Protocol: api.Protocol_PROTOCOL_DETECT,
		Backends: []*api.Backend{{Cluster: "a", Weight: 90}, {Cluster: "b", Weight: 10}},
	})
	count := 0
	for i := 1; i <= 2000; i++ {
		if r.Fallback.Backends.Pick().Cluster == "b" {
			count++
		}
		if i%100 == 0 && math.Abs(float64(count)-float64(i)/10) > 2 {
			t.Fatalf("after %d picks, %d of b: want a tenth", i, count)
		}
	}
}

// A variant of a cluster is another cluster, and metrics show what it is a variant of.
func TestAVariantIsShownAsItsCluster(t *testing.T) {
	r := compile(t, &api.Route{
		Resolution: api.Resolution_RESOLUTION_FOUND, Protocol: api.Protocol_PROTOCOL_DETECT,
		Backends: []*api.Backend{{Cluster: "a:80/other", Weight: 1}, {Cluster: "a:80", Weight: 1}},
	})
	if want := []string{"a:80/other", "a:80"}; !slices.Equal(r.Clusters, want) {
		t.Errorf("the clusters are %q, want %q", r.Clusters, want)
	}
	seen := map[int]bool{}
	for range 2 {
		b := r.Fallback.Backends.Pick()
		seen[b.Index] = true
		if b.Cluster != "a:80" {
			t.Errorf("cluster %s is shown as %s", r.Clusters[b.Index], b.Cluster)
		}
	}
	if len(seen) != 2 {
		t.Errorf("two picks of two equal shares go to %v", seen)
	}
}

// Weights whose sum is more than 32 bits keep their shares.
func TestLargeWeightsKeepTheirShares(t *testing.T) {
	r := compile(t, &api.Route{
		Resolution: api.Resolution_RESOLUTION_FOUND, Protocol: api.Protocol_PROTOCOL_DETECT,
		Backends: []*api.Backend{
			{Cluster: "a", Weight: math.MaxUint32}, {Cluster: "b", Weight: math.MaxUint32},
			{Cluster: "c", Weight: math.MaxUint32}, {Cluster: "d", Weight: math.MaxUint32},
		},
	})
	got := map[string]int{}
	for range 400 {
		got[r.Fallback.Backends.Pick().Cluster]++
	}
	for name, n := range got {
		if n < 98 || n > 102 {
			t.Errorf("%s got %d of 400, want a quarter", name, n)
		}
	}
}

// A backend's index is its cluster's place, each cluster once, whichever rules name it.
func TestClustersAreNamedOnce(t *testing.T) {
	r := compile(t, &api.Route{
		Resolution: api.Resolution_RESOLUTION_FOUND, Protocol: api.Protocol_PROTOCOL_DETECT,
		Backends: []*api.Backend{{Cluster: "a", Weight: 1}},
		Http: []*api.HTTPRule{
			{Backends: []*api.Backend{{Cluster: "b", Weight: 1}}},
			{Backends: []*api.Backend{{Cluster: "a", Weight: 1}}},
		},
	})
	if len(r.Clusters) != 2 {
		t.Errorf("the clusters are %v", r.Clusters)
	}
	for _, u := range append(r.rules, r.Fallback) {
		if b := u.Backends.Pick(); r.Clusters[b.Index] != b.Cluster {
			t.Errorf("the backend of %q has the index of %q", b.Cluster, r.Clusters[b.Index])
		}
	}
}

func TestARouteWithoutBackendsPicksNone(t *testing.T) {
	if b := Unknown(NewBudget(nil)).Fallback.Backends.Pick(); b != nil {
		t.Errorf("picked %q", b.Cluster)
	}
}

// filtered is a route whose rule has a filter.
func filtered(f *api.Filter) *api.Route {
	return found(&api.HTTPRule{Filters: []*api.Filter{f}})
}

func requestHeaders(m *api.HeaderModifier) *api.Filter {
	return &api.Filter{Filter: &api.Filter_RequestHeaders{RequestHeaders: m}}
}

// A filter must not reframe a message, send it elsewhere or speak for the mesh.
func TestFiltersMayNotChange(t *testing.T) {
	for _, name := range []string{
		":path", ":authority", "host", "Host", "connection", "proxy-connection", "keep-alive", "te",
		"trailer", "transfer-encoding", "Transfer_Encoding", "upgrade", "http2-settings",
		"content-length", "tulle-client-id", "Tulle_Client-ID", "x-forwarded-client-cert",
		"", "a b", "a:b", "a\r\nb", "ä",
	} {
		header := []*api.Header{{Name: name, Value: "v"}}
		for what, m := range map[string]*api.HeaderModifier{
			"set": {Set: header}, "add": {Add: header}, "remove": {Remove: []string{name}},
		} {
			if _, err := Compile(filtered(requestHeaders(m)), NewBudget(nil)); err == nil {
				t.Errorf("%q may be %s", name, what)
			}
		}
	}
}

func TestFilterValuesAreLegal(t *testing.T) {
	for value, legal := range map[string]bool{
		"": true, "a b": true, "a\tb": true, "ä": true,
		" a": false, "a ": false, "a\r\nb": false, "a\x00": false, "a\x7f": false,
	} {
		m := &api.HeaderModifier{Set: []*api.Header{{Name: "x", Value: value}}}
		if _, err := Compile(filtered(requestHeaders(m)), NewBudget(nil)); (err == nil) != legal {
			t.Errorf("%q: %v", value, err)
		}
	}
}

func TestEdit(t *testing.T) {
	r := compile(t, found(&api.HTTPRule{Filters: []*api.Filter{
		requestHeaders(&api.HeaderModifier{
			Set: []*api.Header{{Name: "X-Set", Value: "new"}},
			Add: []*api.Header{{Name: "x-add", Value: "two"}}, Remove: []string{"X-Gone"},
		}),
		{Filter: &api.Filter_ResponseHeaders{ResponseHeaders: &api.HeaderModifier{
			Set: []*api.Header{{Name: "x-set", Value: "response"}},
		}}},
	}}))
	fields := func() []hpack.HeaderField {
		return []hpack.HeaderField{
			{Name: ":path", Value: "/"}, {Name: "x-set", Value: "old"},
			{Name: "x-set", Value: "older"}, {Name: "x-add", Value: "one"},
			{Name: "x-gone", Value: "1"},
		}
	}
	for response, want := range map[bool]string{
		false: ":path=/ x-add=one x-set=new x-add=two",
		true:  ":path=/ x-add=one x-gone=1 x-set=response",
	} {
		var got []string
		for _, f := range Edit(r.rules[0].Filters, response, fields()) {
			got = append(got, f.Name+"="+f.Value)
		}
		if s := strings.Join(got, " "); s != want {
			t.Errorf("response %v: %s, want %s", response, s, want)
		}
	}
}

// newer is m with a field that this proxy does not know.
func newer[M proto.Message](m M) M {
	tag := protowire.AppendTag(nil, 9999, protowire.VarintType)
	m.ProtoReflect().SetUnknown(protowire.AppendVarint(tag, 1))
	return m
}

// What decides who is meant, or what is sent, is understood whole or refused.
func TestWhatDecidesIsUnderstoodWhole(t *testing.T) {
	all := &api.Match{Match: &api.Match_All{All: &api.MatchList{}}}
	path := func(p *api.PathMatch) *api.Match { return &api.Match{Match: &api.Match_Path{Path: p}} }
	exact := &api.PathMatch{Path: &api.PathMatch_Exact{Exact: "/"}}
	class := func(m *api.ResponseMatch) *api.HTTPRule {
		return &api.HTTPRule{ResponseClasses: []*api.ResponseClass{{Match: m}}}
	}
	for name, rule := range map[string]*api.HTTPRule{
		"a match":      {Match: newer(all)},
		"no condition": {Match: &api.Match{}},
		"a list": {Match: &api.Match{
			Match: &api.Match_Any{Any: newer(&api.MatchList{})}}},
		"a negation of nothing": {Match: &api.Match{
			Match: &api.Match_Not{Not: &api.Match{}}}},
		"a condition on the path": {Match: path(newer(proto.CloneOf(exact)))},
		"no path":                 {Match: path(&api.PathMatch{})},
		"a condition on a header": {Match: &api.Match{
			Match: &api.Match_Header{Header: newer(&api.HeaderMatch{
				Name: "x", Value: &api.HeaderMatch_Present{Present: true}})}}},
		"no condition on a header": {Match: &api.Match{
			Match: &api.Match_Header{Header: &api.HeaderMatch{Name: "x"}}}},
		"no condition on the query": {Match: &api.Match{
			Match: &api.Match_Query{Query: &api.QueryMatch{Name: "x"}}}},
		"a filter":  {Filters: []*api.Filter{newer(requestHeaders(&api.HeaderModifier{}))}},
		"no filter": {Filters: []*api.Filter{{}}},
		"a header": {Filters: []*api.Filter{requestHeaders(&api.HeaderModifier{
			Set: []*api.Header{newer(&api.Header{Name: "x"})}})}},
		"a condition on the response": class(newer(&api.ResponseMatch{
			Match: &api.ResponseMatch_Status{Status: &api.StatusRange{Min: 500, Max: 599}}})),
		"no condition on the response": class(&api.ResponseMatch{}),
		"statuses that are none": class(&api.ResponseMatch{
			Match: &api.ResponseMatch_Status{Status: &api.StatusRange{Min: 2, Max: 1}}}),
		"a regular expression, invalid": {
			Match: path(&api.PathMatch{Path: &api.PathMatch_Regex{Regex: "("}})},
	} {
		if _, err := Compile(found(rule), NewBudget(nil)); err == nil {
			t.Errorf("%s: a route was made of what is not understood", name)
		}
	}
}

// What is only shown, or merely tunes, may grow: an older proxy goes on without it.
func TestWhatIsShownMayGrow(t *testing.T) {
	rule := newer(&api.HTTPRule{
		Origin: newer(&api.Origin{Rule: "a"}), Timeouts: newer(&api.Timeouts{RequestMs: 10}),
	})
	r := compile(t, newer(found(rule)))
	if u := r.Find(nil); u == r.Fallback || u.Request == 0 {
		t.Error("the rule is not the one that was sent")
	}
}

// A hedge is of what may be retried, after a time that the timers can tell; any other is refused.
func TestHedges(t *testing.T) {
	for _, tt := range []struct {
		name  string
		rule  *api.HTTPRule
		after time.Duration
		err   string
	}{
		{name: "none", rule: &api.HTTPRule{Retry: &api.Retry{}}},
		{name: "the least", rule: hedging(5), after: 5 * time.Millisecond},
		{name: "too soon", rule: hedging(4), err: "a hedge after 4ms, less than 5ms"},
		{name: "at once", rule: hedging(0), err: "a hedge after 0s, less than 5ms"},
		{name: "never", rule: hedging(math.MaxUint64), after: longest},
		{name: "unretried", rule: &api.HTTPRule{Hedge: &api.Hedge{AfterMs: 50}},
			err: "a hedge of what may not be retried"},
	} {
		r, err := Compile(found(tt.rule), NewBudget(nil))
		if err != nil || tt.err != "" {
			if tt.err == "" || err == nil || !strings.Contains(err.Error(), tt.err) {
				t.Errorf("%s: %v, want %q", tt.name, err, tt.err)
			}
			continue
		}
		if got := r.rules[0].Hedge; got != tt.after {
			t.Errorf("%s: after %v, want %v", tt.name, got, tt.after)
		}
		if r.OnlyNames(); r.rules[0].Hedge != 0 {
			t.Errorf("%s: the service's own proxy hedges", tt.name)
		}
	}
}

// Times that are longer than any request lasts do not turn into short ones, or negative ones.
func TestTimesDoNotOverflow(t *testing.T) {
	for _, ms := range []uint64{math.MaxUint64, math.MaxInt64, math.MaxUint64/1_000_000 + 1} {
		r := compile(t, found(&api.HTTPRule{Timeouts: &api.Timeouts{RequestMs: ms, TryMs: ms}}))
		if u := r.rules[0]; u.Request != longest || u.Try != longest {
			t.Errorf("%d ms become %v and %v", ms, u.Request, u.Try)
		}
	}
}

func hedging(after uint64) *api.HTTPRule {
	return &api.HTTPRule{Retry: &api.Retry{}, Hedge: &api.Hedge{AfterMs: after}}
}
