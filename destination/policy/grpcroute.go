package policy

import (
	"regexp"
	"slices"
	"time"

	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/tulle-mesh/tulle/destination/api"
	"github.com/tulle-mesh/tulle/destination/crd"
)

// FromGRPCRoute reads a route. Services have their names in a zone, such as cluster.local.
func FromGRPCRoute(in *gatewayv1.GRPCRoute, created time.Time, zone string) Route {
	r := newReader(object{
		kind: crd.GRPCRoute, meta: &in.ObjectMeta, parents: in.Spec.ParentRefs, created: created,
		zone: zone,
	})
	rules := in.Spec.Rules
	if len(rules) == 0 {
		rules = make([]gatewayv1.GRPCRouteRule, 1)
	}
	for i := range rules {
		r.grpcRule(ruleName(rules[i].Name, i), &rules[i])
	}
	return r.Route
}

// grpcRule makes a rule of each match of a rule: each has a rank of its own.
func (r *reader) grpcRule(name string, in *gatewayv1.GRPCRouteRule) {
	var general, dropped []error
	if in.SessionPersistence != nil {
		general = append(general, unsupportedf("sessionPersistence"))
	}
	matches := in.Matches
	if len(matches) == 0 {
		matches = make([]gatewayv1.GRPCRouteMatch, 1)
	}
	for i := range matches {
		all, rank, err := readGRPCMatch(&matches[i])
		if err != nil {
			dropped = append(dropped, err)
			continue
		}
		rule := Rule{Name: name, Match: allOf(all), Rank: rank}
		wrong := append(r.treatGRPC(&rule, in), general...)
		dropped = append(dropped, r.add(rule, wrong)...)
	}
	r.drop(name, dropped)
}

func (r *reader) treatGRPC(rule *Rule, in *gatewayv1.GRPCRouteRule) []error {
	t, wrong := r.readFilters(asHTTP(in.Filters), "")
	rule.Filters, rule.Mirrors, rule.Extensions = t.filters, t.mirrors, t.extensions
	for i := range in.BackendRefs {
		ref := &in.BackendRefs[i]
		t, more := r.backendFilters(asHTTP(ref.Filters), "")
		wrong = append(wrong, more...)
		r.share(rule, &ref.BackendRef, t)
	}
	r.unlessEmpty(rule)
	return wrong
}

// asHTTP takes filters to those of HTTPRoutes, which have all of these under the same names.
func asHTTP(in []gatewayv1.GRPCRouteFilter) (out []gatewayv1.HTTPRouteFilter) {
	for _, f := range in {
		out = append(out, gatewayv1.HTTPRouteFilter{
			Type:                   gatewayv1.HTTPRouteFilterType(f.Type),
			RequestHeaderModifier:  f.RequestHeaderModifier,
			ResponseHeaderModifier: f.ResponseHeaderModifier,
			RequestMirror:          f.RequestMirror, ExtensionRef: f.ExtensionRef,
		})
	}
	return out
}

// readGRPCMatch ranks by the characters of the service, then of the method, then by headers. A
// match without a method is one of every method.
func readGRPCMatch(in *gatewayv1.GRPCRouteMatch) (all []*api.Match, rank Rank, err error) {
	var headers []gatewayv1.HTTPHeaderMatch
	for _, h := range in.Headers {
		headers = append(headers, gatewayv1.HTTPHeaderMatch{
			Type: (*gatewayv1.HeaderMatchType)(h.Type),
			Name: gatewayv1.HTTPHeaderName(h.Name), Value: h.Value,
		})
	}
	more, err := readHeaders(headers)
	if err != nil {
		return nil, rank, err
	}
	rank[2] = len(more)
	if in.Method == nil {
		return more, rank, nil
	}
	service, method := text(in.Method.Service), text(in.Method.Method)
	rank[0], rank[1] = len(service), len(method)
	path, err := grpcPath(in.Method.Type, service, method)
	if path != nil {
		all = append(all, &api.Match{Match: &api.Match_Path{Path: path}})
	}
	return slices.Concat(all, more), rank, err
}

func text(p *string) string {
	if p == nil {
		return ""
	}
	return *p
}

// grpcPath is the path of a call, /SERVICE/METHOD, of which either may be empty: any. It is nil
// where both are.
func grpcPath(
	kind *gatewayv1.GRPCMethodMatchType, service, method string,
) (*api.PathMatch, error) {
	exact := kind == nil || *kind == gatewayv1.GRPCMethodMatchExact
	switch {
	case !exact && *kind != gatewayv1.GRPCMethodMatchRegularExpression:
		return nil, unsupportedf("a match on the method of type %s", *kind)
	case service == "" && method == "":
		return nil, nil
	case exact && method == "":
		return &api.PathMatch{Path: &api.PathMatch_Prefix{Prefix: "/" + service}}, nil
	case exact && service != "":
		return &api.PathMatch{Path: &api.PathMatch_Exact{Exact: "/" + service + "/" + method}}, nil
	case exact:
		method = regexp.QuoteMeta(method)
	}
	expr := "/" + orAny(service) + "/" + orAny(method)
	return &api.PathMatch{Path: &api.PathMatch_Regex{Regex: expr}}, checkRegex(expr)
}

func orAny(expr string) string {
	if expr == "" {
		return "[^/]+"
	}
	return "(?:" + expr + ")"
}
