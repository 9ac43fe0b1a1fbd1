package viz

import (
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/tulle-mesh/tulle/viz/api"
)

// Who is asked for what: the caller's proxy looks, and the callee's shows what the caller's has
// chosen.
func TestWhoLooksForWhat(t *testing.T) {
	const out = api.Direction_DIRECTION_OUTBOUND
	web := workload{"shop", "deployment", "web", "web-1"}
	bank := workload{"bank", "deployment", "bank", "bank-1"}
	hops := &api.Tap{HopsOnly: true}
	for name, tt := range map[string]struct {
		query     TapQuery
		web, bank *api.Tap // of web's proxy, and of bank's
	}{
		"everything": {TapQuery{}, &api.Tap{CallersToo: true, Filter: &api.TapFilter{}},
			&api.Tap{CallersToo: true, Filter: &api.TapFilter{}}},
		"a namespace": {TapQuery{Namespace: "shop"},
			&api.Tap{CallersToo: true, Filter: &api.TapFilter{}},
			&api.Tap{Filter: &api.TapFilter{Direction: out, PeerNamespace: "shop"}}},
		"a workload": {TapQuery{Resource: "deploy/web", Namespace: "shop", Failed: true},
			&api.Tap{CallersToo: true, Filter: &api.TapFilter{Failed: true}},
			&api.Tap{Filter: &api.TapFilter{Direction: out, PeerNamespace: "shop",
				PeerWorkload: "web", Failed: true}}},
		"a pod": {TapQuery{Resource: "pod/web-1"}, &api.Tap{Filter: &api.TapFilter{}}, hops},
		"a service": {TapQuery{Resource: "svc/x", Namespace: "shop"},
			&api.Tap{Filter: &api.TapFilter{Direction: out, Service: "x",
				ServiceNamespace: "shop"}},
			&api.Tap{Filter: &api.TapFilter{Direction: out, Service: "x",
				ServiceNamespace: "shop"}}},
		"from it to a service": {TapQuery{Resource: "deploy/web", To: "svc/x"},
			&api.Tap{Filter: &api.TapFilter{Direction: out, Service: "x"}}, hops},
		"from another to it": {TapQuery{Resource: "deploy/web", From: "deploy/bank"}, hops,
			&api.Tap{Filter: &api.TapFilter{Direction: out, PeerWorkload: "web"}}},
		"between": {TapQuery{From: "ns/bank", To: "ns/shop"}, hops,
			&api.Tap{Filter: &api.TapFilter{Direction: out, PeerNamespace: "shop"}}},
		"an identity": {TapQuery{Identity: "spiffe://cluster.local/ns/shop/sa/web"},
			&api.Tap{CallersToo: true, Filter: &api.TapFilter{}},
			&api.Tap{CallersToo: true, Filter: &api.TapFilter{
				PeerId: "spiffe://cluster.local/ns/shop/sa/web"}}},
	} {
		p, err := tt.query.plan()
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		for _, side := range []struct {
			who  string
			w    workload
			want *api.Tap
		}{{"spiffe://cluster.local/ns/shop/sa/web", web, tt.web},
			{"spiffe://cluster.local/ns/bank/sa/bank", bank, tt.bank}} {
			got := p.ask(0, side.who, side.w)
			if got.RecordsPerSecond != DefaultTapRPS || got.BytesPerSecond == 0 {
				t.Errorf("%s: %s has no budget: %v", name, side.w.name, got)
			}
			got.RecordsPerSecond, got.BytesPerSecond = 0, 0
			if !proto.Equal(got, side.want) {
				t.Errorf("%s: %s is asked for %v, want %v", name, side.w.name, got, side.want)
			}
		}
	}
}

func TestTapsThatMakeNoSense(t *testing.T) {
	for want, q := range map[string]TapQuery{
		"no kind":                  {Resource: "house"},
		"knows no serviceaccount":  {Resource: "sa/web"},
		"sends no requests":        {Resource: "svc/web", To: "svc/x"},
		"name the workload":        {From: "svc/web"},
		"is no trace ID":           {TraceID: "abc"},
		"is no reason":             {Reasons: []string{"weather"}},
		"statuses from":            {MinStatus: 500, MaxStatus: 400},
		"a latency of":             {Latency: -1},
		"requests a second":        {RPS: MaxTapRPS + 1},
		"a tap of 2h0m0s":          {Duration: 2 * time.Hour},
		"a condition has 513 byte": {Path: strings.Repeat("x", MaxLabelLength+1)},
		"identity":                 {Identity: "web"},
	} {
		if err := q.Check(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %q", q, err, want)
		}
	}
}

// What a proxy shows is looked at again, and what a file says is looked at for the first time.
func TestWhatARecordMatches(t *testing.T) {
	out := &TapRecord{Direction: "outbound", Method: "GET", Path: "/cart", Status: 200, Tries: 2,
		Duration: 0.2, Host: "checkout", Port: 80, ClientNamespace: "shop",
		ClientWorkload: "deployment/web", ClientPod: "web-1", ServerNamespace: "shop",
		ServerWorkload: "deployment/checkout", ServerPod: "checkout-1", Namespace: "shop",
		Service: "checkout", ClientID: "spiffe://cluster.local/ns/shop/sa/web",
		Flags: []string{"retried"}, Inbound: &TapRecord{Direction: "inbound", Method: "GET",
			Path: "/cart", Status: 500, Flags: []string{"failed"}, RequestID: "id-1"}}
	for _, q := range []TapQuery{
		{}, {Namespace: "shop"}, {Resource: "ns/shop"}, {Resource: "deploy/web"},
		{Resource: "deploy/checkout", Namespace: "shop"}, {Resource: "svc/checkout"},
		{Resource: "pod/web-1"}, {Resource: "deploy", To: "svc/checkout"},
		{From: "deploy/web", To: "deploy/checkout"}, {MinStatus: 200, MaxStatus: 200},
		{MinStatus: 500}, {Failed: true}, {Retried: true}, {Latency: 200 * time.Millisecond},
		{Route: "[default]"}, {Methods: []string{"POST", "GET"}}, {Path: "/ca"},
		{Authority: "CHECKOUT"}, {Authority: "checkout:80"}, {RequestID: "id-1"},
		{Identity: "spiffe://cluster.local/ns/shop/sa/web"},
	} {
		if !q.Matches(out) {
			t.Errorf("%+v does not match", q)
		}
	}
	for _, q := range []TapQuery{
		{Namespace: "bank"}, {Resource: "sts/web"}, {Resource: "deploy/we"},
		{Resource: "deploy/checkout", To: "deploy/web"}, {From: "deploy/checkout"},
		{To: "svc/web"}, {MinStatus: 404, MaxStatus: 499}, {Route: "order"}, {Path: "/x"},
		{Authority: "checkout:81"}, {Methods: []string{"POST"}}, {Failed: true, MaxStatus: 300},
		{Identity: "spiffe://cluster.local/ns/shop/sa/checkout"}, {Reasons: []string{"loop"}},
		{TraceID: strings.Repeat("ab", 16)}, {Latency: time.Second},
	} {
		if q.Matches(out) {
			t.Errorf("%+v matches", q)
		}
	}
}

func TestStatuses(t *testing.T) {
	for text, want := range map[string][2]uint32{"": {}, "404": {404, 404}, "5xx": {500, 599},
		"50X": {500, 509}, "400-499": {400, 499}} {
		if from, to, err := ParseStatuses(text); err != nil || [2]uint32{from, to} != want {
			t.Errorf("%q is %d to %d, %v", text, from, to, err)
		}
	}
	for _, text := range []string{"5", "xxx", "500-400", "-", "abc", "99", "1000", "200-"} {
		if _, _, err := ParseStatuses(text); err == nil {
			t.Errorf("%q is a status", text)
		}
	}
}

// A query is the same after it was asked over HTTP.
func TestATapsQuestionArrives(t *testing.T) {
	q := TapQuery{Resource: "deploy/web", Namespace: "shop", From: "ns/a", FromNamespace: "b",
		To: "svc/c", ToNamespace: "d", Methods: []string{"GET", "PUT"}, Path: "/x y",
		Authority: "h:1",
		MinStatus: 400, MaxStatus: 499, Reasons: []string{"loop"}, Route: "r", Identity: "i",
		Failed: true, Retried: true, Latency: time.Second, RequestID: "id", TraceID: "t", RPS: 7,
		Limit: 9, Duration: time.Minute}
	again, err := parseTapQuery(q.values())
	if err != nil || !equalQueries(*again, q) {
		t.Errorf("it is %+v, %v", again, err)
	}
}

func equalQueries(a, b TapQuery) bool { return a.values().Encode() == b.values().Encode() }
