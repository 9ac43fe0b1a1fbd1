package record

import (
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/tulle-mesh/tulle/proxy/metric"
	"github.com/tulle-mesh/tulle/proxy/outcome"
	"github.com/tulle-mesh/tulle/proxy/trace"
	"github.com/tulle-mesh/tulle/viz/api"
)

// received is a request as the callee's proxy sees it.
func received() *outcome.Record {
	return &outcome.Record{
		Request: outcome.Request{Outcome: outcome.Answered, Latency: time.Millisecond},
		Labels: metric.Labels{Direction: metric.Inbound, Security: metric.MTLS,
			PeerID: "spiffe://cluster.local/ns/shop/sa/me",
			OwnID:  "spiffe://cluster.local/ns/shop/sa/web"},
		Method: "GET", Path: "/", Authority: "web", Status: 200, Tries: 1,
	}
}

// Each condition by itself, with what it matches of a request that failed, and of one that another
// proxy received.
func TestWhatAFilterMatches(t *testing.T) {
	sent, got := request(), received()
	sent.Trace = &outcome.Trace{Context: trace.Context{Trace: trace.ID{1, 2}}}
	for name, tt := range map[string]struct {
		filter    *api.TapFilter
		sent, got bool
	}{
		"nothing":       {nil, true, true},
		"empty":         {&api.TapFilter{}, true, true},
		"outbound":      {&api.TapFilter{Direction: 2}, true, false},
		"inbound":       {&api.TapFilter{Direction: 1}, false, true},
		"another way":   {&api.TapFilter{Direction: 257}, false, false},
		"a method":      {&api.TapFilter{Methods: []string{"POST"}}, true, false},
		"two methods":   {&api.TapFilter{Methods: []string{"POST", "GET"}}, true, true},
		"a path":        {&api.TapFilter{PathPrefix: "/ord"}, true, false},
		"a host":        {&api.TapFilter{Authority: "WEB"}, true, true},
		"a host's port": {&api.TapFilter{Authority: "web:80"}, true, false},
		"another port":  {&api.TapFilter{Authority: "web:81"}, false, false},
		"statuses":      {&api.TapFilter{MinStatus: 200, MaxStatus: 299}, true, true},
		"from a status": {&api.TapFilter{MinStatus: 500}, false, false},
		"to a status":   {&api.TapFilter{MaxStatus: 199}, false, false},
		"a reason": {&api.TapFilter{Reasons: []string{"no_route", "try_timeout"}},
			true, false},
		"no such reason":  {&api.TapFilter{Reasons: []string{"weather"}}, false, false},
		"failures":        {&api.TapFilter{Failed: true}, true, false},
		"retries":         {&api.TapFilter{Retried: true}, true, false},
		"slow":            {&api.TapFilter{MinLatencyUs: 12_345}, true, false},
		"slower":          {&api.TapFilter{MinLatencyUs: 12_346}, false, false},
		"a route":         {&api.TapFilter{Route: "order"}, true, false},
		"the other route": {&api.TapFilter{Route: "[default]"}, false, true},
		"a peer": {&api.TapFilter{PeerId: "spiffe://cluster.local/ns/shop/sa/me"},
			false, true},
		"a namespace": {&api.TapFilter{PeerNamespace: "shop"}, true, true},
		"part of it":  {&api.TapFilter{PeerNamespace: "sho"}, false, false},
		"a workload":  {&api.TapFilter{PeerWorkload: "web"}, true, false},
		"a service": {&api.TapFilter{Service: "web", ServiceNamespace: "shop"},
			true, false},
		"a service's space": {&api.TapFilter{ServiceNamespace: "bank"}, false, false},
		"a request ID":      {&api.TapFilter{RequestId: "id-1"}, true, false},
		"a trace": {&api.TapFilter{TraceId: append([]byte{1, 2}, make([]byte, 14)...)},
			true, false},
		"half a trace ID": {&api.TapFilter{TraceId: []byte{1, 2}}, false, false},
		"two conditions":  {&api.TapFilter{Failed: true, Methods: []string{"GET"}}, false, false},
	} {
		m := compile(tt.filter)
		if s, g := m.matches(sent), m.matches(got); s != tt.sent || g != tt.got {
			t.Errorf("%s: of what was sent %t, want %t; of what was received %t, want %t", name, s,
				tt.sent, g, tt.got)
		}
		if m.matches(sent) && !m.goesOut(sent) {
			t.Errorf("%s: it matches, and nobody knew before that it may", name)
		}
	}
}

// A condition of tomorrow is one that this proxy cannot hold: it shows nothing.
func TestAFilterWithAnUnknownConditionMatchesNothing(t *testing.T) {
	b, err := proto.Marshal(&api.TapFilter{Failed: true})
	if err != nil {
		t.Fatal(err)
	}
	f := &api.TapFilter{}
	if err := proto.Unmarshal(append(b, 0xba, 0x3e, 1, 'x'), f); err != nil { // field 999
		t.Fatal(err)
	}
	if m := compile(f); m.matches(request()) || m.goesOut(request()) {
		t.Error("it shows what nobody asked for")
	}
}

// Whatever viz says, requests go on, and what is shown has been asked for.
func FuzzTaps(f *testing.F) {
	for _, m := range []*api.RecordsResponse{
		{}, {Taps: []*api.Tap{{Id: 1, RecordsPerSecond: 100, BytesPerSecond: 1 << 20}}},
		{Taps: []*api.Tap{{Id: 1}, {Id: 1}, {HopsOnly: true}, {Id: 7, CallersToo: true,
			RecordsPerSecond: 1 << 31, BytesPerSecond: 1 << 31, Filter: &api.TapFilter{
				Direction: 2, Methods: []string{"GET"}, PathPrefix: "/", MinStatus: 1 << 31,
				MaxStatus: 1 << 31, Reasons: []string{"", "loop"}, MinLatencyUs: 1 << 63,
				TraceId: []byte{1}}}}},
		{Endpoints: []*api.EndpointsQuestion{{Id: 1, Clusters: []string{"web:80"}}, nil}},
	} {
		b, err := proto.Marshal(m)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m := &api.RecordsResponse{}
		if proto.Unmarshal(b, m) != nil {
			return
		}
		r := NewRecords(RecordsOptions{Changed: func() {}})
		r.follow(m)
		r.follow(m)
		var h outcome.Hook
		r.Join(&h, nil)
		told := map[uint32]bool{}
		for _, one := range m.Taps {
			told[one.GetId()] = true
		}
		for _, o := range []*outcome.Record{request(), received(), {}} {
			if h.Pick != nil {
				h.Pick(o)
			}
			h.Live(o)
		}
		for len(r.queue) > 0 {
			w := <-r.queue
			for _, id := range w.taps {
				if !told[id] {
					t.Errorf("shown for tap %d, which there is not", id)
				}
			}
			if _, err := proto.Marshal(message(w.Record, w.taps)); err != nil {
				t.Error(err)
			}
		}
	})
}

// What peers have said is no reason for a message that cannot be sent.
func FuzzMessage(f *testing.F) {
	f.Add("GET", "/", "web", "ua", "?a=REDACTED")
	f.Add("\xff", "/\xff\x00", "\xc3", "\xed\xa0\x80", "\xfe")
	f.Fuzz(func(t *testing.T, method, path, authority, agent, query string) {
		r := request()
		r.Method, r.Path, r.Authority, r.UserAgent, r.RequestID, r.GRPCStatus, r.Detail = method,
			path, authority, agent, agent, authority, path
		r.Trace = &outcome.Trace{Query: query, Tries: []outcome.Try{{GRPC: agent}}}
		if _, err := proto.Marshal(message(r, nil)); err != nil {
			t.Error(err)
		}
	})
}

// What a tap costs each request that it does not show, and one that it does.
func BenchmarkTap(b *testing.B) {
	filter := &api.TapFilter{Methods: []string{"GET"}, PathPrefix: "/cart", MinStatus: 500,
		MaxStatus: 599, PeerNamespace: "shop", PeerWorkload: "web"}
	for name, change := range map[string]func(*outcome.Record){
		"other":   func(*outcome.Record) {},
		"matches": func(r *outcome.Record) { r.Method, r.Path, r.Status = "GET", "/cart/1", 503 },
	} {
		b.Run(name, func(b *testing.B) {
			r := NewRecords(RecordsOptions{Changed: func() {}})
			r.follow(&api.RecordsResponse{Taps: []*api.Tap{{Id: 1, Filter: filter,
				RecordsPerSecond: 100, BytesPerSecond: 1 << 20}}})
			o := request()
			change(o)
			o.Failed, o.Reason = false, outcome.Plain
			b.ReportAllocs()
			for b.Loop() {
				r.take(o, nil)
			}
		})
	}
}
