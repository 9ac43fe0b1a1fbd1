package destination

import (
	"strings"
	"testing"

	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/tulle-mesh/tulle/destination/api"
)

// answered puts an answer into a key's cell, as if the state had led to it.
func (s *server) answered(key *api.Key, route *api.Route) *resource {
	s.hub.mu.Lock()
	c := s.hub.cells[webPod.question(key)]
	s.hub.mu.Unlock()
	r := newResource(api.Kind_KIND_ROUTE, api.KeyString(key),
		&api.Resource{Body: &api.Resource_Route{Route: route}})
	c.answer.Store((&answer{resources: []*resource{r}}).seal())
	s.hub.notify(c)
	return r
}

// A proxy that does not name a capability is not sent what needs it: it keeps what it has, is told
// which capability it lacks, and is counted. One that names it is sent all.
func TestWhatAProxyCannotDoIsWithheld(t *testing.T) {
	s := startServer(t, cluster)
	close(s.gate.open)
	key := authority("web")
	able := s.dial(t, s.root.source(t, "spiffe://cluster.local/ns/shop/sa/web", "web-1"))
	able.hello(api.CapabilityRequestHeaders)
	able.resume()
	unable := s.proxy(t)
	for _, c := range []*client{able, unable} {
		c.subscribe(key)
		c.wants(wholeRoute, wholeWeb, "Route authority/web")
	}

	filter := &api.Filter{Filter: &api.Filter_RequestHeaders{RequestHeaders: &api.HeaderModifier{}}}
	beyond := &api.Route{
		Resolution: api.Resolution_RESOLUTION_FOUND,
		Http:       []*api.HTTPRule{{Filters: []*api.Filter{filter}}},
	}
	r := s.answered(key, beyond)
	able.wants("Route authority/web", "Cluster "+webName+" removed",
		"Endpoints "+webName+" removed")
	invalid := unable.next().GetInvalid()
	if api.KeyString(invalid.GetKey()) != "authority/web" ||
		!strings.Contains(invalid.GetReason(), api.CapabilityRequestHeaders) {
		t.Errorf("the proxy is told %v", invalid)
	}
	// The proxy keeps both while its route names them.
	unable.wants("Cluster "+webName+" removed", "Endpoints "+webName+" removed")
	s.rejected.mu.Lock()
	if n := len(s.rejected.byID[r.id]); n != 1 {
		t.Errorf("%d proxies are known not to have it, want 1", n)
	}
	s.rejected.mu.Unlock()

	s.answered(key, &api.Route{Resolution: api.Resolution_RESOLUTION_NOT_FOUND})
	able.wants("Route authority/web")
	unable.wants("Route authority/web")
}

// Every filter, every kind of rule that is not HTTP's, a fixed answer, retries of some statuses and
// auditing has a capability, wherever it is.
func TestWhatNotEveryProxyCanDoNeedsACapability(t *testing.T) {
	one := (&api.Filter{}).ProtoReflect().Descriptor().Oneofs().Get(0)
	for i := range one.Fields().Len() {
		m, field := &api.Filter{}, one.Fields().Get(i)
		m.ProtoReflect().Set(field,
			protoreflect.ValueOfMessage(m.ProtoReflect().NewField(field).Message()))
		filters := []*api.Filter{m}
		backends := []*api.Backend{{Filters: filters}}
		for where, route := range map[string]*api.Route{
			"a rule":            {Http: []*api.HTTPRule{{Filters: filters}}},
			"a rule's backend":  {Http: []*api.HTTPRule{{Backends: backends}}},
			"a route's backend": {Backends: backends},
		} {
			r := &api.Resource{Body: &api.Resource_Route{Route: route}}
			if len(r.Needs()) != 1 {
				t.Errorf("%s of %s needs %v, want one capability", field.Name(), where, r.Needs())
			}
		}
	}
	answers := []*api.Backend{{Weight: 1, Answer: 404}}
	for _, route := range []*api.Route{
		{Backends: answers}, {Http: []*api.HTTPRule{{Backends: answers}}},
	} {
		r := &api.Resource{Body: &api.Resource_Route{Route: route}}
		if got := r.Needs(); len(got) != 1 || got[0] != api.CapabilityAnswer {
			t.Errorf("%v needs %v", route, got)
		}
	}
	for _, retry := range []*api.Retry{{Listed: true}, {Statuses: []uint32{503}}, {BackoffMs: 1},
		{GrpcStatuses: []uint32{14}}, {Methods: []string{"GET"}}} {
		route := &api.Route{Http: []*api.HTTPRule{{Retry: retry}}}
		r := &api.Resource{Body: &api.Resource_Route{Route: route}}
		if got := r.Needs(); len(got) != 1 || got[0] != api.CapabilityRetryStatuses {
			t.Errorf("%v needs %v", retry, got)
		}
	}
	hedge := &api.Route{Http: []*api.HTTPRule{{Hedge: &api.Hedge{AfterMs: 50, Percentile: 95}}}}
	if got := (&api.Resource{Body: &api.Resource_Route{Route: hedge}}).Needs(); len(got) != 1 ||
		got[0] != api.CapabilityHedgePercentile {
		t.Errorf("a hedge at a percentile needs %v", got)
	}
	every := &api.Route{Http: []*api.HTTPRule{{Retry: &api.Retry{MaxTries: 3}}}}
	if got := (&api.Resource{Body: &api.Resource_Route{Route: every}}).Needs(); len(got) > 0 {
		t.Errorf("what every proxy knows needs %v", got)
	}
	for want, r := range map[string]*api.Resource{
		api.CapabilityTLSRules: {
			Body: &api.Resource_Route{Route: &api.Route{Tls: []*api.TLSRule{{}}}}},
		api.CapabilityTCPRules: {
			Body: &api.Resource_Route{Route: &api.Route{Tcp: []*api.TCPRule{{}}}}},
		api.CapabilityLimits: {Body: &api.Resource_Cluster{
			Cluster: &api.Cluster{Limits: &api.ClusterLimits{}}}},
		api.CapabilityOutliers: {Body: &api.Resource_Cluster{
			Cluster: &api.Cluster{OutlierDetection: &api.OutlierDetection{}}}},
		api.CapabilityLocality: {Body: &api.Resource_Cluster{
			Cluster: &api.Cluster{LocalityPreference: &api.LocalityPreference{}}}},
		api.CapabilityConfig: {Body: &api.Resource_Config{Config: &api.Config{}}},
		api.CapabilityLeastRequest: {Body: &api.Resource_Cluster{
			Cluster: &api.Cluster{Balancer: &api.Cluster_LeastRequest{}}}},
		api.CapabilityRoundRobin: {Body: &api.Resource_Cluster{
			Cluster: &api.Cluster{Balancer: &api.Cluster_RoundRobin{}}}},
		api.CapabilityRandom: {Body: &api.Resource_Cluster{
			Cluster: &api.Cluster{Balancer: &api.Cluster_Random{}}}},
		api.CapabilityConsistentHash: {Body: &api.Resource_Cluster{
			Cluster: &api.Cluster{Balancer: &api.Cluster_ConsistentHash{}}}},
		api.CapabilityConcurrency: {Body: &api.Resource_Inbound{
			Inbound: &api.Inbound{Concurrency: &api.Concurrency{}}}},
		api.CapabilityAudit: {Body: &api.Resource_Inbound{
			Inbound: &api.Inbound{DefaultAction: api.Action_ACTION_AUDIT}}},
	} {
		if got := r.Needs(); len(got) != 1 || got[0] != want {
			t.Errorf("needs %v, want %s", got, want)
		}
	}
}
