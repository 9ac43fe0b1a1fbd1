package proxy

import (
	"fmt"
	"regexp"
	"strings"
	"sync/atomic"
	"time"

	"github.com/tulle-mesh/tulle/destination/api"
	"golang.org/x/net/http2/hpack"
)

// route is destination's answer for one outbound key, compiled. It is immutable, but for its pickers' counters: all that
// a request needs is resolved here, once.
type route struct {
	resolution api.Resolution
	protocol   api.Protocol
	authority  string
	namespace  string
	service    string
	rules      []*rule
	fallback   *rule // for what no rule matches
	budget     *budget
}

// rule is how the requests it matches are sent.
type rule struct {
	name     string
	match    matcher // nil: everything
	filters  []filter
	backends *picker
	request  time.Duration // whole request; 0: unbounded
	try      time.Duration
	retry    bool
	maxTries int
	classes  []class
	route    *route
}

// class decides about the responses it matches.
type class struct {
	match   statusMatcher
	failure bool
}

// find returns the rule for a request. First match wins.
func (r *route) find(req []hpack.HeaderField) *rule {
	for _, u := range r.rules {
		if u.match == nil || u.match(req) {
			return u
		}
	}
	return r.fallback
}

// failure classifies a response by its status: the profile's classes first, then 5xx.
func (u *rule) failure(status int) bool {
	for _, c := range u.classes {
		if c.match(status) {
			return c.failure
		}
	}
	return status >= 500
}

// picker chooses among weighted backends by a low-discrepancy sequence: of any hundred requests 10 % is ten, give or take
// one, not a dice roll, and without a lock.
type picker struct {
	backends []backend
	total    uint32
	count    atomic.Uint64
}

type backend struct {
	cluster *cluster
	filters []filter
	upTo    uint32 // this backend owns [previous upTo, upTo) of the picker's total
}

// golden is 2^64 divided by the golden ratio: the step whose multiples fill an interval most evenly (Knuth, TAOCP 3, 6.4).
const golden = 0x9E3779B97F4A7C15

func (p *picker) pick() *backend {
	if len(p.backends) == 1 {
		return &p.backends[0]
	}
	point := uint32((p.count.Add(1) * golden >> 32) * uint64(p.total) >> 32)
	for i := range p.backends {
		if point < p.backends[i].upTo {
			return &p.backends[i]
		}
	}
	return &p.backends[len(p.backends)-1]
}

// compileRoute turns a message into a route. lookup returns the cluster of a name, known yet or not. A rule that this
// proxy does not understand makes the whole route an error: half a policy is worse than yesterday's.
func compileRoute(m *api.Route, b *budget, lookup func(string) *cluster) (*route, error) {
	r := &route{resolution: m.Resolution, protocol: m.Protocol, authority: m.Authority, budget: b,
		namespace: m.Destination.GetNamespace(), service: m.Destination.GetService()}
	defaults, err := compileBackends(m.DefaultBackends, m.DefaultCluster, lookup)
	if err != nil {
		return nil, fmt.Errorf("default backends: %w", err)
	}
	r.fallback = &rule{backends: defaults, route: r}
	for _, um := range m.Rules {
		u, err := compileRule(um, defaults, lookup)
		if err != nil {
			return nil, fmt.Errorf("rule %q: %w", um.Name, err)
		}
		u.route = r
		r.rules = append(r.rules, u)
	}
	return r, nil
}

func compileRule(m *api.Rule, defaults *picker, lookup func(string) *cluster) (*rule, error) {
	u := &rule{name: m.Name, backends: defaults, retry: m.Retry != nil, maxTries: int(m.Retry.GetMaxTries()),
		request: time.Duration(m.Timeouts.GetRequestMs()) * time.Millisecond, try: time.Duration(m.Timeouts.GetTryMs()) * time.Millisecond}
	var err error
	if u.match, err = compileMatch(m.Match); err != nil {
		return nil, err
	}
	if u.filters, err = compileFilters(m.Filters); err != nil {
		return nil, err
	}
	if len(m.Backends) > 0 {
		if u.backends, err = compileBackends(m.Backends, "", lookup); err != nil {
			return nil, err
		}
	}
	for _, c := range m.ResponseClasses {
		match, err := compileStatus(c.Match)
		if err != nil {
			return nil, err
		}
		u.classes = append(u.classes, class{match, c.Failure})
	}
	return u, nil
}

func compileBackends(list []*api.WeightedBackend, single string, lookup func(string) *cluster) (*picker, error) {
	p := &picker{}
	for _, m := range list {
		if m.Weight == 0 {
			continue
		}
		filters, err := compileFilters(m.Filters)
		if err != nil {
			return nil, err
		}
		p.total += m.Weight
		p.backends = append(p.backends, backend{lookup(m.Cluster), filters, p.total})
	}
	if len(p.backends) == 0 && single != "" {
		p.total, p.backends = 1, []backend{{cluster: lookup(single), upTo: 1}}
	}
	return p, nil
}

// matcher is a condition on a request.
type matcher func(req []hpack.HeaderField) bool

func compileMatch(m *api.Match) (matcher, error) {
	switch m := m.GetMatch().(type) {
	case nil:
		return nil, nil
	case *api.Match_Path:
		return compilePath(m.Path)
	case *api.Match_Method:
		return func(req []hpack.HeaderField) bool { return value(req, ":method") == m.Method }, nil
	case *api.Match_Header:
		return compileHeader(m.Header)
	case *api.Match_Query:
		return compileQuery(m.Query)
	case *api.Match_All:
		return compileList(m.All.GetMatches(), true)
	case *api.Match_Any:
		return compileList(m.Any.GetMatches(), false)
	case *api.Match_Not:
		inner, err := compileMatch(m.Not)
		if err != nil || inner == nil {
			return func([]hpack.HeaderField) bool { return false }, err
		}
		return func(req []hpack.HeaderField) bool { return !inner(req) }, nil
	}
	return nil, fmt.Errorf("a condition this proxy does not know: %T", m.Match)
}

// compileList combines conditions: all of them, or any of them. An absent condition is true.
func compileList(list []*api.Match, all bool) (matcher, error) {
	var inner []matcher
	for _, m := range list {
		f, err := compileMatch(m)
		if err != nil {
			return nil, err
		}
		if f == nil {
			f = func([]hpack.HeaderField) bool { return true }
		}
		inner = append(inner, f)
	}
	return func(req []hpack.HeaderField) bool {
		for _, f := range inner {
			if f(req) != all {
				return !all
			}
		}
		return all
	}, nil
}

func compilePath(m *api.PathMatch) (matcher, error) {
	test, err := compilePathValue(m)
	if err != nil {
		return nil, err
	}
	return func(req []hpack.HeaderField) bool {
		path, _, _ := strings.Cut(value(req, ":path"), "?")
		return test(path)
	}, nil
}

func compilePathValue(m *api.PathMatch) (func(string) bool, error) {
	switch m := m.GetPath().(type) {
	case *api.PathMatch_Exact:
		return func(p string) bool { return p == m.Exact }, nil
	case *api.PathMatch_Prefix:
		prefix := strings.TrimSuffix(m.Prefix, "/")
		return func(p string) bool {
			return strings.HasPrefix(p, prefix) && (len(p) == len(prefix) || p[len(prefix)] == '/')
		}, nil
	case *api.PathMatch_Regex:
		return compileRegex(m.Regex)
	}
	return nil, fmt.Errorf("a path match this proxy does not know")
}

// compileRegex anchors at both ends, as ServiceProfiles' pathRegex is defined.
func compileRegex(s string) (func(string) bool, error) {
	re, err := regexp.Compile("^(?:" + s + ")$")
	if err != nil {
		return nil, fmt.Errorf("regex %q: %w", s, err)
	}
	return re.MatchString, nil
}

func compileHeader(m *api.HeaderMatch) (matcher, error) {
	test := func(string) bool { return true }
	switch v := m.Value.(type) {
	case *api.HeaderMatch_Exact:
		test = func(s string) bool { return s == v.Exact }
	case *api.HeaderMatch_Regex:
		re, err := compileRegex(v.Regex)
		if err != nil {
			return nil, err
		}
		test = re
	}
	return func(req []hpack.HeaderField) bool {
		for _, f := range req {
			if f.Name == m.Name && test(f.Value) {
				return true
			}
		}
		return false
	}, nil
}

func compileQuery(m *api.QueryMatch) (matcher, error) {
	test := func(s string) bool { return s == m.GetExact() }
	if m.GetRegex() != "" {
		re, err := compileRegex(m.GetRegex())
		if err != nil {
			return nil, err
		}
		test = re
	}
	return func(req []hpack.HeaderField) bool {
		_, query, _ := strings.Cut(value(req, ":path"), "?")
		for part := range strings.SplitSeq(query, "&") {
			if name, v, _ := strings.Cut(part, "="); name == m.Name && test(v) {
				return true
			}
		}
		return false
	}, nil
}

// statusMatcher is a condition on a response.
type statusMatcher func(status int) bool

func compileStatus(m *api.ResponseMatch) (statusMatcher, error) {
	switch m := m.GetMatch().(type) {
	case *api.ResponseMatch_Status:
		lo, hi := int(m.Status.Min), int(m.Status.Max)
		if hi == 0 {
			hi = 599
		}
		return func(s int) bool { return s >= lo && s <= hi }, nil
	case *api.ResponseMatch_All:
		return compileStatusList(m.All.GetMatches(), true)
	case *api.ResponseMatch_Any:
		return compileStatusList(m.Any.GetMatches(), false)
	case *api.ResponseMatch_Not:
		inner, err := compileStatus(m.Not)
		if err != nil {
			return nil, err
		}
		return func(s int) bool { return !inner(s) }, nil
	}
	return nil, fmt.Errorf("a response condition this proxy does not know")
}

func compileStatusList(list []*api.ResponseMatch, all bool) (statusMatcher, error) {
	var inner []statusMatcher
	for _, m := range list {
		f, err := compileStatus(m)
		if err != nil {
			return nil, err
		}
		inner = append(inner, f)
	}
	return func(s int) bool {
		for _, f := range inner {
			if f(s) != all {
				return !all
			}
		}
		return all
	}, nil
}

// value returns the first field of that name.
func value(fields []hpack.HeaderField, name string) string {
	for i := range fields {
		if fields[i].Name == name {
			return fields[i].Value
		}
	}
	return ""
}
