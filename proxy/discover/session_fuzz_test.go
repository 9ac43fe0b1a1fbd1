package discover

import (
	"slices"
	"testing"
	"time"

	"github.com/tulle-mesh/tulle/destination/api"
	"github.com/tulle-mesh/tulle/proxy/balance"
	"github.com/tulle-mesh/tulle/proxy/route"
	"golang.org/x/net/http2/hpack"
	"google.golang.org/protobuf/proto"
)

const fuzzedTarget = "web.shop.svc.cluster.local:80"

func discoverySeeds() []*api.DiscoverResponse {
	resources := func(list ...*api.Resource) *api.DiscoverResponse {
		return &api.DiscoverResponse{
			Message: &api.DiscoverResponse_Resources{Resources: &api.Resources{Resources: list}},
		}
	}
	regex := func(s string) *api.Match {
		path := &api.PathMatch{Path: &api.PathMatch_Regex{Regex: s}}
		return &api.Match{Match: &api.Match_Path{Path: path}}
	}
	rule := &api.HTTPRule{
		Match: &api.Match{Match: &api.Match_Not{Not: regex("/a.*")}},
		Retry: &api.Retry{MaxTries: 2},
		Filters: []*api.Filter{{Filter: &api.Filter_Mirror{
			Mirror: &api.Mirror{Cluster: "d", Numerator: 1, Denominator: 2}}}},
		Backends: []*api.Backend{
			{Cluster: "c", Weight: 1 << 31}, {Cluster: "d", Weight: 1<<31 + 1},
		},
		ResponseClasses: []*api.ResponseClass{{Failure: true, Match: &api.ResponseMatch{
			Match: &api.ResponseMatch_Status{Status: &api.StatusRange{Min: 500, Max: 599}}}}},
	}
	path := &api.PathModifier{Modifier: &api.PathModifier_Prefix{
		Prefix: &api.PrefixModifier{Matched: "/a", Replacement: "/b"}}}
	answers := &api.HTTPRule{
		Match: regex("/"), Filters: []*api.Filter{{Filter: &api.Filter_Redirect{
			Redirect: &api.Redirect{Scheme: "https", Path: path, Port: 8443, Status: 302}}},
			{Filter: &api.Filter_Cors{Cors: &api.CORS{AllowOrigins: []string{"https://*.a:1"}}}}},
		Backends: []*api.Backend{{Weight: 1, Answer: 404, Filters: []*api.Filter{
			{Filter: &api.Filter_Rewrite{Rewrite: &api.Rewrite{Host: "web", Path: path}}}}}},
	}
	route := &api.Route{
		Resolution: api.Resolution_RESOLUTION_FOUND, Protocol: api.Protocol_PROTOCOL_DETECT,
		Backends: []*api.Backend{{Cluster: "c", Weight: 1}}, Http: []*api.HTTPRule{answers, rule},
	}
	endpoint := func(id, address string) *api.Endpoint {
		return &api.Endpoint{Id: id, Address: address, Protocol: api.Protocol_PROTOCOL_DETECT}
	}
	endpoints := func(list ...*api.Endpoint) *api.Resource_Endpoints {
		return &api.Resource_Endpoints{Endpoints: &api.Endpoints{Endpoints: list}}
	}
	return []*api.DiscoverResponse{
		{Message: &api.DiscoverResponse_Welcome{Welcome: &api.Welcome{}}},
		{Message: &api.DiscoverResponse_Invalid{Invalid: &api.Invalid{Key: fuzzedKey()}}},
		resources(
			&api.Resource{Kind: api.Kind_KIND_CLUSTER, Name: "c", Version: "1",
				Body: &api.Resource_Cluster{Cluster: &api.Cluster{
					Name: "c", Balancer: &api.Cluster_Ewma{Ewma: &api.EWMA{}}}}},
			&api.Resource{Kind: api.Kind_KIND_ENDPOINTS, Name: "c", Version: "1",
				Body: endpoints(endpoint("a", "10.0.0.1:80"), endpoint("b", "no address"))},
			&api.Resource{Kind: api.Kind_KIND_ENDPOINTS, Name: "c", Version: "2", Base: "1",
				Body: &api.Resource_EndpointsDelta{EndpointsDelta: &api.EndpointsDelta{
					Removed: []string{"a"},
					Changed: []*api.Endpoint{endpoint("b", "10.0.0.2:80")}}}},
			&api.Resource{Kind: api.Kind_KIND_ROUTE, Name: api.KeyString(fuzzedKey()), Version: "1",
				Body: &api.Resource_Route{Route: route}},
		),
		resources(
			&api.Resource{Kind: api.Kind_KIND_ENDPOINTS, Name: "c", Version: "3", More: true,
				Body: endpoints(endpoint("a", "10.0.0.1:80"))},
			&api.Resource{Kind: api.Kind_KIND_ENDPOINTS, Name: "c", Version: "3", Part: 1,
				Body: endpoints(endpoint("b", "10.0.0.2:80"))},
			&api.Resource{Kind: api.Kind_KIND_INBOUND, Name: "inbound/8080", Version: "1",
				Body: &api.Resource_Inbound{Inbound: &api.Inbound{
					Port: 8080, Protocol: api.Protocol_PROTOCOL_HTTP1,
					Mode: api.Mode_MODE_STRICT, DefaultAction: api.Action_ACTION_DENY,
					Reach: api.Reach_REACH_CHOSEN,
					Authorizations: []*api.Authorization{
						{Identities: []string{"spiffe://cluster.local/ns/a/sa/b"}},
					},
					RateLimits: []*api.RateLimit{{Origin: &api.Origin{}, Requests: 9,
						WindowMs: 1000}},
					Lendings: []*api.Lending{{Pool: pool}}}}},
			&api.Resource{Kind: api.Kind_KIND_CLUSTER, Name: "c", Removed: true},
		),
		{Message: &api.DiscoverResponse_Share{Share: &api.Share{Port: 8080, Pool: pool, Number: 1,
			Lend: 4, LendMs: 1000, Borrow: 3, BorrowMs: 1000, Sequence: 1}}},
	}
}

func fuzzedKey() *api.Key { return &api.Key{Key: &api.Key_Authority{Authority: fuzzedTarget}} }

// Whatever destination says, the proxy goes on: what it holds can route any request, and pick an
// endpoint if there is one.
func FuzzDiscovery(f *testing.F) {
	for _, m := range discoverySeeds() {
		b, err := proto.Marshal(m)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m := &api.DiscoverResponse{}
		if proto.Unmarshal(b, m) != nil {
			return
		}
		d := newSession(t)
		target := d.Target(fuzzedKey())
		d.Port(8080)
		d.Apply(m)
		d.Apply(m)
		if a := target.Now(); a != nil {
			useAnswer(t, a)
		}
	})
}

func useAnswer(t *testing.T, a *Answer) {
	for _, path := range []string{"/", "/a?b=c", "*", ""} {
		head := []hpack.HeaderField{
			{Name: ":method", Value: "GET"}, {Name: ":path", Value: path}, {Name: "x", Value: "y"},
		}
		u := a.Find(head)
		route.Edit(u.Filters, false, slices.Clone(head))
		if u.Route != a.Route {
			t.Fatal("a rule without its route")
		}
		u.Failure(503)
		if u.Redirect != nil {
			u.Redirect.Location(head, a.Authority)
		}
		if u.CORS != nil {
			u.CORS.Share(head, slices.Clone(head))
		}
		for _, m := range u.Mirrors {
			if m.Takes() && a.Members[m.Index] == nil {
				t.Fatal("a mirror without its cluster")
			}
		}
		b := u.Backends.Pick()
		if b == nil {
			continue
		}
		route.Edit(b.Filters, false, slices.Clone(head))
		c := a.Cluster(b)
		if c == nil {
			continue // an answer
		}
		s := c.Current()
		if s != nil && len(s.All) > 0 && s.Pick(balance.Key{Now: time.Now()}) == nil {
			t.Fatal("endpoints, and none was picked")
		}
	}
}

// What the proxy makes a route of it also says that it is able to do, else it is never sent any.
func TestTheHelloNamesWhatIsUsed(t *testing.T) {
	needs := 0
	for _, m := range discoverySeeds() {
		for _, r := range m.GetResources().GetResources() {
			for _, need := range r.Needs() {
				needs++
				if !slices.Contains(capabilities, need) {
					t.Errorf("%s is not in the Hello", need)
				}
			}
		}
	}
	if needs < 3 {
		t.Errorf("%d capabilities are needed: of what?", needs)
	}
}
