package destination

import (
	"time"

	"github.com/tulle-mesh/tulle/destination/api"
	"github.com/tulle-mesh/tulle/destination/crd"
	"github.com/tulle-mesh/tulle/destination/registry"
)

// outbound answers an outbound key: the Route, and the clusters that it names.
func (v *view) outbound(key *api.Key, namespace string) (*api.Route, []clusterRef, error) {
	t, err := v.resolve(key, namespace)
	if err != nil {
		return nil, nil, err
	}
	route := &api.Route{Resolution: t.resolution, Protocol: api.Protocol_PROTOCOL_DETECT}
	switch {
	case t.resolution != api.Resolution_RESOLUTION_FOUND:
		return route, nil, nil
	case t.workload != nil:
		return route, v.routeToPod(route, t), nil
	}
	return route, v.routeToService(route, t, namespace), nil
}

// routeToPod keeps to the one pod that was dialled: whoever resolved a headless name has chosen, and is not balanced
// away, nor retried elsewhere.
func (v *view) routeToPod(route *api.Route, t target) []clusterRef {
	ref := t.ref()
	if v.workloadOpaque(t.workload, t.port) {
		route.Protocol = api.Protocol_PROTOCOL_OPAQUE
	}
	route.Destination = &api.Metadata{Namespace: t.workload.Namespace}
	route.Backends = v.mesh.only(ref)
	return []clusterRef{ref}
}

func (v *view) routeToService(route *api.Route, t target, namespace string) []clusterRef {
	svc, ref := t.service, t.ref()
	profile := v.profile(v.mesh.host(svc.Key()), namespace, svc.Namespace)
	route.Protocol = v.protocolOf(svc, svc.Port(t.port), profile)
	route.Destination = &api.Metadata{Namespace: svc.Namespace, Service: svc.Name}
	route.Authority = v.mesh.clusterName(ref)
	route.Backends = v.mesh.only(ref)
	route.RetryBudget = retryBudget(profile)
	refs := []clusterRef{ref}
	if profile == nil {
		return refs
	}
	route.Http = rules(profile)
	if t.hostname != "" {
		return refs // a pod chosen by name is not split either
	}
	if backends, split := v.overrides(profile, svc, t.port); len(backends) > 0 {
		route.Backends, refs = backends, split
	}
	return refs
}

// only is the list of the one cluster that takes everything.
func (m *Mesh) only(ref clusterRef) []*api.Backend {
	return []*api.Backend{{Cluster: m.clusterName(ref), Weight: 1}}
}

// overrides compiles dstOverrides. A name that nothing in the cluster has keeps its share and has no endpoints: requests
// there fail with a reason, instead of shifting the other shares without a word.
func (v *view) overrides(profile *crd.ServiceProfile, svc *registry.Service, port uint16) ([]*api.Backend, []clusterRef) {
	var backends []*api.Backend
	var refs []clusterRef
	for _, o := range profile.Spec.DstOverrides {
		weight := o.Weight.MilliValue()
		if weight == 0 {
			continue
		}
		ref := v.overrideRef(o.Authority, svc.Namespace, port)
		refs = append(refs, ref)
		backends = append(backends, &api.Backend{Cluster: v.mesh.clusterName(ref), Weight: uint32(weight)})
	}
	return backends, refs
}

func (v *view) overrideRef(authority, namespace string, callerPort uint16) clusterRef {
	host, port, err := crd.SplitAuthority(authority)
	if err != nil {
		host = authority // an accepted profile has none such
	}
	if port == 0 {
		port = callerPort
	}
	t := v.resolveName(host, port, namespace)
	if t.resolution != api.Resolution_RESOLUTION_FOUND {
		return clusterRef{unknown: host, port: port}
	}
	return t.ref()
}

func retryBudget(profile *crd.ServiceProfile) *api.RetryBudget {
	if profile == nil {
		profile = &crd.ServiceProfile{}
	}
	b := profile.Budget()
	return &api.RetryBudget{
		RetryRatio: *b.RetryRatio, MinRetriesPerSecond: *b.MinRetriesPerSecond, TtlMs: milliseconds(b.TTL),
	}
}

// milliseconds rounds up: a timeout of less than one must not become none.
func milliseconds(text string) uint64 {
	d, err := time.ParseDuration(text)
	if err != nil || d <= 0 {
		return 0 // absent; validation has refused what is malformed
	}
	return uint64((d + time.Millisecond - 1) / time.Millisecond)
}

func rules(profile *crd.ServiceProfile) []*api.HTTPRule {
	out := make([]*api.HTTPRule, 0, len(profile.Spec.Routes))
	for i := range profile.Spec.Routes {
		r := &profile.Spec.Routes[i]
		rule := namedRule(profile, r)
		if ms := milliseconds(r.Timeout); ms > 0 {
			rule.Timeouts = &api.Timeouts{RequestMs: ms}
		}
		if r.IsRetryable {
			rule.Retry = &api.Retry{}
		}
		out = append(out, rule)
	}
	return out
}

// namedRule is what metrics need of a route: which requests are its, and which of their responses are failures.
func namedRule(profile *crd.ServiceProfile, r *crd.Route) *api.HTTPRule {
	rule := &api.HTTPRule{Match: requestMatch(r.Condition), Origin: &api.Origin{
		Group: crd.Group, Kind: crd.Kind, Namespace: profile.Namespace, Name: profile.Name, Rule: r.Name,
	}}
	for _, class := range r.ResponseClasses {
		rule.ResponseClasses = append(rule.ResponseClasses,
			&api.ResponseClass{Match: responseMatch(class.Condition), Failure: class.IsFailure})
	}
	return rule
}

// requestMatch compiles a condition. Fields that are set together hold together.
func requestMatch(m *crd.RequestMatch) *api.Match {
	var all []*api.Match
	if m.Method != "" {
		all = append(all, &api.Match{Match: &api.Match_Method{Method: m.Method}})
	}
	if m.PathRegex != "" {
		path := &api.PathMatch{Path: &api.PathMatch_Regex{Regex: m.PathRegex}}
		all = append(all, &api.Match{Match: &api.Match_Path{Path: path}})
	}
	if m.All != nil {
		all = append(all, &api.Match{Match: &api.Match_All{All: requestMatches(m.All)}})
	}
	if m.Any != nil {
		all = append(all, &api.Match{Match: &api.Match_Any{Any: requestMatches(m.Any)}})
	}
	if m.Not != nil {
		all = append(all, &api.Match{Match: &api.Match_Not{Not: requestMatch(m.Not)}})
	}
	if len(all) == 1 {
		return all[0]
	}
	return &api.Match{Match: &api.Match_All{All: &api.MatchList{Matches: all}}}
}

func requestMatches(in []*crd.RequestMatch) *api.MatchList {
	out := &api.MatchList{}
	for _, m := range in {
		out.Matches = append(out.Matches, requestMatch(m))
	}
	return out
}

func responseMatch(m *crd.ResponseMatch) *api.ResponseMatch {
	var all []*api.ResponseMatch
	if m.Status != nil {
		all = append(all, &api.ResponseMatch{Match: &api.ResponseMatch_Status{Status: statusRange(m.Status)}})
	}
	if m.All != nil {
		all = append(all, &api.ResponseMatch{Match: &api.ResponseMatch_All{All: responseMatches(m.All)}})
	}
	if m.Any != nil {
		all = append(all, &api.ResponseMatch{Match: &api.ResponseMatch_Any{Any: responseMatches(m.Any)}})
	}
	if m.Not != nil {
		all = append(all, &api.ResponseMatch{Match: &api.ResponseMatch_Not{Not: responseMatch(m.Not)}})
	}
	if len(all) == 1 {
		return all[0]
	}
	return &api.ResponseMatch{Match: &api.ResponseMatch_All{All: &api.ResponseMatchList{Matches: all}}}
}

func responseMatches(in []*crd.ResponseMatch) *api.ResponseMatchList {
	out := &api.ResponseMatchList{}
	for _, m := range in {
		out.Matches = append(out.Matches, responseMatch(m))
	}
	return out
}

// statusRange writes open ends out, so that proxies need not know what an absent one means.
func statusRange(s *crd.StatusRange) *api.StatusRange {
	out := &api.StatusRange{Min: s.Min, Max: s.Max}
	if out.Min == 0 {
		out.Min = 100
	}
	if out.Max == 0 {
		out.Max = 599
	}
	return out
}
