package policy

import (
	"time"

	"github.com/tulle-mesh/tulle/destination/api"
	"github.com/tulle-mesh/tulle/destination/crd"
)

// FromServiceProfile reads a valid profile.
func FromServiceProfile(p *crd.ServiceProfile, created time.Time) Route {
	budget := budgetOf(p.Budget())
	out := Route{
		Origin:  Origin{crd.Group, crd.Kind, p.Namespace, p.Name},
		Created: created,
		Parents: []Parent{{Host: p.Name}},
		Budget:  &budget,
	}
	for i := range p.Spec.Routes {
		out.Rules = append(out.Rules, profileRule(&p.Spec.Routes[i]))
	}
	for _, o := range p.Spec.DstOverrides {
		if weight := o.Weight.MilliValue(); weight > 0 {
			host, port := splitAuthority(o.Authority)
			out.Default = append(out.Default, Backend{Host: host, Port: port, Weight: weight})
		}
	}
	for i := range p.Spec.OpaquePorts {
		if ports, err := crd.ParsePortRange(p.Spec.OpaquePorts[i].String()); err == nil {
			out.Opaque = append(out.Opaque, ports)
		}
	}
	return out
}

// budgetOf reads a budget that has its defaults.
func budgetOf(b crd.RetryBudget) Budget {
	return Budget{
		Ratio: *b.RetryRatio, MinPerSecond: *b.MinRetriesPerSecond, TTL: duration(b.TTL),
	}
}

func splitAuthority(authority string) (host string, port uint16) {
	host, port, err := crd.SplitAuthority(authority)
	if err != nil {
		return authority, 0 // a valid profile has none such
	}
	return host, port
}

// duration is 0 where the text is empty; validation has refused what is malformed.
func duration(text string) time.Duration {
	d, err := time.ParseDuration(text)
	if err != nil {
		return 0
	}
	return d
}

func profileRule(r *crd.Route) Rule {
	out := Rule{
		Name: r.Name, Match: requestMatch(r.Condition), Timeout: duration(r.Timeout),
		OwnTimeout: r.Timeout != "", Hedge: hedge(r.Hedge),
	}
	if r.IsRetryable {
		out.Retry = &api.Retry{}
	}
	for _, class := range r.ResponseClasses {
		out.Responses = append(out.Responses,
			&api.ResponseClass{Match: responseMatch(class.Condition), Failure: class.IsFailure})
	}
	return out
}

func hedge(h *crd.Hedge) *api.Hedge {
	if h == nil {
		return nil
	}
	return &api.Hedge{AfterMs: milliseconds(duration(h.After)), Percentile: h.Percentile}
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
		all = append(
			all,
			&api.ResponseMatch{Match: &api.ResponseMatch_Status{Status: statusRange(m.Status)}})
	}
	if m.All != nil {
		all = append(
			all, &api.ResponseMatch{Match: &api.ResponseMatch_All{All: responseMatches(m.All)}})
	}
	if m.Any != nil {
		all = append(
			all, &api.ResponseMatch{Match: &api.ResponseMatch_Any{Any: responseMatches(m.Any)}})
	}
	if m.Not != nil {
		all = append(
			all, &api.ResponseMatch{Match: &api.ResponseMatch_Not{Not: responseMatch(m.Not)}})
	}
	if len(all) == 1 {
		return all[0]
	}
	list := &api.ResponseMatchList{Matches: all}
	return &api.ResponseMatch{Match: &api.ResponseMatch_All{All: list}}
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
