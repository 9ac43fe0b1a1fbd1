package policy

import (
	"fmt"
	"regexp"
	"strings"
	"time"

	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/tulle-mesh/tulle/destination/api"
	"github.com/tulle-mesh/tulle/destination/crd"
)

// FromHTTPRoute reads a route. Services have their names in a zone, such as cluster.local.
func FromHTTPRoute(in *gatewayv1.HTTPRoute, created time.Time, zone string) Route {
	r := newReader(object{
		kind: crd.HTTPRoute, meta: &in.ObjectMeta, parents: in.Spec.ParentRefs, created: created,
		zone: zone,
	})
	rules := in.Spec.Rules
	if len(rules) == 0 {
		rules = make([]gatewayv1.HTTPRouteRule, 1) // the API server's default
	}
	for i := range rules {
		r.httpRule(ruleName(rules[i].Name, i), &rules[i])
	}
	return r.Route
}

// httpRule makes a rule of each match of a rule: each has a rank of its own among all of the
// parent's, and what replaces a prefix must know which.
func (r *reader) httpRule(name string, in *gatewayv1.HTTPRouteRule) {
	base := Rule{Name: name}
	general := append(unsupported(in), timeouts(&base, in.Timeouts)...)
	general = append(general, retries(&base, in.Retry)...)
	matches := in.Matches
	if len(matches) == 0 {
		matches = make([]gatewayv1.HTTPRouteMatch, 1)
	}
	var dropped []error
	for i := range matches {
		m, err := readHTTPMatch(&matches[i])
		if err != nil {
			dropped = append(dropped, err)
			continue
		}
		rule := base
		rule.Match, rule.Rank = allOf(m.all), m.rank
		rule.Retry = ofMethod(base.Retry, matches[i].Method)
		wrong := append(r.treatHTTP(&rule, in, m.prefix), general...)
		dropped = append(dropped, r.add(rule, wrong)...)
	}
	r.drop(name, dropped)
}

// add adds a rule, which answers by itself if something is wrong with it. It returns what is to be
// told of that as a reason why the rule is not obeyed.
func (r *reader) add(rule Rule, wrong []error) (dropped []error) {
	if len(wrong) > 0 {
		rule.answer(r.broken)
	}
	r.Rules = append(r.Rules, rule)
	dropped = r.take(wrong)
	r.Obeyed = r.Obeyed || len(dropped) == 0
	return dropped
}

// treatHTTP says what becomes of the requests of one match, whose path begins with prefix.
func (r *reader) treatHTTP(rule *Rule, in *gatewayv1.HTTPRouteRule, prefix string) []error {
	t, wrong := r.readFilters(in.Filters, prefix)
	rule.Filters, rule.Mirrors, rule.Extensions = t.filters, t.mirrors, t.extensions
	for i := range in.BackendRefs {
		ref := &in.BackendRefs[i]
		t, more := r.backendFilters(ref.Filters, prefix)
		wrong = append(wrong, more...)
		r.share(rule, &ref.BackendRef, t)
	}
	r.unlessEmpty(rule)
	return wrong
}

// unlessEmpty makes a rule fail whose requests go nowhere. One that redirects does that before.
func (r *reader) unlessEmpty(rule *Rule) {
	if len(rule.Backends) == 0 {
		rule.Backends = []Backend{{Answer: r.broken, Weight: 1}}
	}
}

func unsupportedf(format string, args ...any) error {
	return crd.Problemf(crd.ReasonUnsupportedValue, format+" is not supported", args...)
}

// unsupported are the fields that the mesh does not have.
func unsupported(in *gatewayv1.HTTPRouteRule) (wrong []error) {
	if in.SessionPersistence != nil {
		wrong = append(wrong, unsupportedf("sessionPersistence"))
	}
	return wrong
}

func timeouts(rule *Rule, in *gatewayv1.HTTPRouteTimeouts) (wrong []error) {
	if in == nil {
		return nil
	}
	for _, one := range []struct {
		name string
		text *gatewayv1.Duration
		into *time.Duration
		said *bool
	}{
		{"request", in.Request, &rule.Timeout, &rule.OwnTimeout},
		{"backendRequest", in.BackendRequest, &rule.Try, &rule.OwnTry},
	} {
		if one.text == nil {
			continue
		}
		d, err := crd.ParseGatewayDuration(*one.text)
		if err != nil {
			wrong = append(wrong, fmt.Errorf("timeouts.%s %q %w", one.name, *one.text, err))
		}
		*one.into, *one.said = d, true
	}
	return wrong
}

// The kinds of matches on the path, in their order. That of regular expressions is left to each
// implementation: before prefixes, or a rule for all else, whose prefix is "/", would leave them
// nothing.
const (
	rankPrefix = 1 + iota
	rankRegex
	rankExact
)

// httpMatch is one match of a rule: conditions, all of which must hold.
type httpMatch struct {
	all    []*api.Match
	prefix string // of the path, which a filter may replace; "" where the match is no prefix
	rank   Rank
}

func readHTTPMatch(in *gatewayv1.HTTPRouteMatch) (m httpMatch, err error) {
	if err := m.readPath(in.Path); err != nil {
		return m, err
	}
	if in.Method != nil {
		m.all = append(m.all, &api.Match{Match: &api.Match_Method{Method: string(*in.Method)}})
		m.rank[2] = 1
	}
	headers, err := readHeaders(in.Headers)
	if err != nil {
		return m, err
	}
	queries, err := readQueries(in.QueryParams)
	m.rank[3], m.rank[4] = len(headers), len(queries)
	m.all = append(append(m.all, headers...), queries...)
	return m, err
}

func (m *httpMatch) readPath(in *gatewayv1.HTTPPathMatch) error {
	kind, value := gatewayv1.PathMatchPathPrefix, "/"
	if in != nil && in.Type != nil {
		kind = *in.Type
	}
	if in != nil && in.Value != nil {
		value = *in.Value
	}
	if kind != gatewayv1.PathMatchRegularExpression && !strings.HasPrefix(value, "/") {
		return fmt.Errorf("the path %q does not begin with /", value)
	}
	path := &api.PathMatch{}
	switch kind {
	case gatewayv1.PathMatchExact:
		path.Path, m.rank[0] = &api.PathMatch_Exact{Exact: value}, rankExact
	case gatewayv1.PathMatchRegularExpression:
		path.Path, m.rank[0] = &api.PathMatch_Regex{Regex: value}, rankRegex
		if err := checkRegex(value); err != nil {
			return err
		}
	case gatewayv1.PathMatchPathPrefix:
		m.prefix = value
		value = strings.TrimSuffix(value, "/") // which does not count
		path.Path, m.rank[0] = &api.PathMatch_Prefix{Prefix: value}, rankPrefix
	default:
		return unsupportedf("a match on the path of type %s", kind)
	}
	if m.rank[1] = len(value); m.prefix != "/" { // which every path has
		m.all = append(m.all, &api.Match{Match: &api.Match_Path{Path: path}})
	}
	return nil
}

// checkRegex refuses what proxies, which have the same engine, could not use.
func checkRegex(text string) error {
	if _, err := regexp.Compile("^(?:" + text + ")$"); err != nil {
		return fmt.Errorf("the regular expression %q: %w", text, err)
	}
	return nil
}

// readHeaders takes the first of several matches of one name, as the Gateway API says.
func readHeaders(in []gatewayv1.HTTPHeaderMatch) (all []*api.Match, err error) {
	seen := map[string]bool{}
	for i := range in {
		name := strings.ToLower(string(in[i].Name))
		if seen[name] {
			continue
		}
		seen[name] = true
		if name == "host" {
			name = ":authority" // as a request of HTTP/2 has it, in which proxies think
		}
		h := &api.HeaderMatch{Name: name, Value: &api.HeaderMatch_Exact{Exact: in[i].Value}}
		switch kind := in[i].Type; {
		case kind == nil || *kind == gatewayv1.HeaderMatchExact:
		case *kind == gatewayv1.HeaderMatchRegularExpression:
			h.Value = &api.HeaderMatch_Regex{Regex: in[i].Value}
			if err := checkRegex(in[i].Value); err != nil {
				return nil, err
			}
		default:
			return nil, unsupportedf("a match on headers of type %s", *kind)
		}
		all = append(all, &api.Match{Match: &api.Match_Header{Header: h}})
	}
	return all, nil
}

// readQueries takes the first of several matches of one name, as the Gateway API says.
func readQueries(in []gatewayv1.HTTPQueryParamMatch) (all []*api.Match, err error) {
	seen := map[gatewayv1.HTTPHeaderName]bool{}
	for i := range in {
		if seen[in[i].Name] {
			continue
		}
		seen[in[i].Name] = true
		q := &api.QueryMatch{
			Name: string(in[i].Name), Value: &api.QueryMatch_Exact{Exact: in[i].Value},
		}
		switch kind := in[i].Type; {
		case kind == nil || *kind == gatewayv1.QueryParamMatchExact:
		case *kind == gatewayv1.QueryParamMatchRegularExpression:
			q.Value = &api.QueryMatch_Regex{Regex: in[i].Value}
			if err := checkRegex(in[i].Value); err != nil {
				return nil, err
			}
		default:
			return nil, unsupportedf("a match on the query of type %s", *kind)
		}
		all = append(all, &api.Match{Match: &api.Match_Query{Query: q}})
	}
	return all, nil
}
