package route

import (
	"cmp"
	"errors"
	"fmt"
	"math/bits"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/tulle-mesh/tulle/destination/api"
	"github.com/tulle-mesh/tulle/proxy/header"
	"github.com/tulle-mesh/tulle/proxy/metric"
	"golang.org/x/net/http2/hpack"
)

// Route is destination's answer for one outbound key, compiled. It is immutable, but for its
// pickers' counters: all that a request needs is resolved here, once.
type Route struct {
	Resolution api.Resolution
	Reason     string // of NOT_FOUND, in destination's words; it may have none
	Protocol   api.Protocol
	Authority  string
	namespace  string
	service    string
	rules      []*Rule
	tls        []tlsRule
	tcp        []*Rule
	Fallback   *Rule    // for what no rule matches
	Clusters   []string // that its backends name, each once
	Budget     *Budget
}

// Rule is how the requests it matches are sent.
type Rule struct {
	Treatment
	name     string
	match    matcher // nil: everything
	Faults   []*Fault
	Backends *Picker
	Request  time.Duration // whole request; 0: unbounded
	Try      time.Duration
	Retry    bool
	MaxTries int           // the first one included; 0: the proxy's default
	Retries  Retries       // beside Retry
	Hedge    time.Duration // what a try has before there is a second one beside it; 0: all it wants
	Usual    *Usual        // what tries take of late, which a hedge is not before; nil: nobody asks
	classes  []class
	Route    *Route
}

// Unknown is the answer that nothing is known by a name.
func Unknown(b *Budget) *Route {
	r := &Route{Resolution: api.Resolution_RESOLUTION_NOT_FOUND, Budget: b}
	r.Fallback = &Rule{Route: r, Backends: &Picker{}}
	return r
}

// Outside goes to one cluster, of what is not the mesh's.
func Outside(b *Budget) *Route {
	m := &api.Route{
		Resolution: api.Resolution_RESOLUTION_OUTSIDE,
		Protocol:   api.Protocol_PROTOCOL_DETECT,
		Backends:   []*api.Backend{{Cluster: OutsideAuthority, Weight: 1}},
	}
	r, _ := Compile(m, b) // nothing in it can fail
	return r
}

// HTTPOnly reports whether what the route is for is declared to be HTTP: by its protocol, or where
// that is not said by rules, which nothing but HTTP has.
func (r *Route) HTTPOnly() bool {
	switch r.Protocol {
	case api.Protocol_PROTOCOL_HTTP1, api.Protocol_PROTOCOL_HTTP2:
		return true
	case api.Protocol_PROTOCOL_DETECT:
		return len(r.rules) > 0
	}
	return false
}

// OnlyNames leaves nothing of the rules but their names: filters, retries and timeouts are the
// caller's proxy's to do, once.
func (r *Route) OnlyNames() {
	for _, u := range r.rules {
		u.Retry, u.Retries, u.Request, u.Try = false, Retries{}, 0, 0
		u.Hedge, u.Usual = 0, nil
		u.Treatment = Treatment{}
		u.Faults = nil
	}
}

// Label says which service's cell it is, and that of which rule.
func (u *Rule) Label(l *metric.Labels) {
	l.Namespace, l.Service, l.Route = u.Route.namespace, u.Route.service, u.name
}

// AuthorityLabel is what metrics call the target.
func (r *Route) AuthorityLabel() string { return cmp.Or(r.Authority, OutsideAuthority) }

// OutsideAuthority stands for every destination outside the cluster: their addresses are not
// bounded.
const OutsideAuthority = "outside"

// class decides about the responses it matches.
type class struct {
	match   statusMatcher
	failure bool
}

// Find returns the rule for a request. First match wins.
func (r *Route) Find(req []hpack.HeaderField) *Rule {
	for _, u := range r.rules {
		if u.match == nil || u.match(req) {
			return u
		}
	}
	return r.Fallback
}

// Place is the number of a rule among those of its protocol, in the order of the message; -1: it is
// Fallback.
func (r *Route) Place(u *Rule) int {
	if i := slices.Index(r.rules, u); i >= 0 {
		return i
	}
	if i := slices.Index(r.tcp, u); i >= 0 {
		return i
	}
	return slices.IndexFunc(r.tls, func(t tlsRule) bool { return t.Rule == u })
}

// Failure classifies a response by its status: the profile's classes first, then 5xx.
func (u *Rule) Failure(status int) bool {
	for _, c := range u.classes {
		if c.match(status) {
			return c.failure
		}
	}
	return status >= 500
}

// Picker chooses among weighted backends by a low-discrepancy sequence: of any hundred requests 10
// % is ten, give or take one, not a dice roll, and without a lock.
type Picker struct {
	backends []Backend
	total    uint64
	count    atomic.Uint64
}

// Backend is a share of a rule's requests, and the cluster that they go to or the answer that they
// get.
type Backend struct {
	Treatment
	Cluster string // as metrics have it: without its variant
	Index   int    // of cluster among the route's
	Answer  int    // an error's status, instead of a cluster; 0: none
	upTo    uint64 // this backend owns [previous upTo, upTo) of the picker's total
}

// golden is 2^64 divided by the golden ratio: the step whose multiples fill an interval most evenly
// (Knuth, TAOCP 3, 6.4).
const golden = 0x9E3779B97F4A7C15

// Pick returns the next backend in turn; nil: none has any weight.
func (p *Picker) Pick() *Backend {
	switch len(p.backends) {
	case 0:
		return nil
	case 1:
		return &p.backends[0]
	}
	point, _ := bits.Mul64(p.count.Add(1)*golden, p.total)
	for i := range p.backends {
		if point < p.backends[i].upTo {
			return &p.backends[i]
		}
	}
	return &p.backends[len(p.backends)-1]
}

// Compile turns a message into a route. A rule that this proxy does not understand makes the whole
// route an error: in the order of the rules each decides what is left to those after it.
func Compile(m *api.Route, b *Budget) (*Route, error) {
	if err := checkRoute(m); err != nil {
		return nil, err
	}
	r := &Route{Resolution: m.Resolution, Reason: m.Reason, Protocol: m.Protocol,
		Authority: m.Authority, Budget: b,
		namespace: m.Destination.GetNamespace(), service: m.Destination.GetService()}
	defaults, err := r.compileBackends(m.Backends)
	if err != nil {
		return nil, fmt.Errorf("default backends: %w", err)
	}
	r.Fallback = &Rule{Backends: defaults, Route: r}
	for i, um := range m.Http {
		u, err := r.compileRule(um)
		if err != nil {
			return nil, fmt.Errorf("HTTP rule %d (%s): %w", i, um.Origin.GetRule(), err)
		}
		r.rules = append(r.rules, u)
	}
	if err := r.compileConnections(m); err != nil {
		return nil, err
	}
	return r, nil
}

func checkRoute(m *api.Route) error {
	switch m.Resolution {
	case api.Resolution_RESOLUTION_FOUND,
		api.Resolution_RESOLUTION_OUTSIDE,
		api.Resolution_RESOLUTION_NOT_FOUND:
	default:
		return fmt.Errorf("a resolution (%d) that this proxy does not know", m.Resolution)
	}
	return CheckProtocol(m.Protocol)
}

// CheckProtocol refuses what this proxy does not speak.
func CheckProtocol(p api.Protocol) error {
	switch p {
	case api.Protocol_PROTOCOL_DETECT, api.Protocol_PROTOCOL_OPAQUE, api.Protocol_PROTOCOL_HTTP1,
		api.Protocol_PROTOCOL_HTTP2, api.Protocol_PROTOCOL_TLS:
		return nil
	}
	return fmt.Errorf("a protocol (%d) that this proxy does not know", p)
}

func (r *Route) compileRule(m *api.HTTPRule) (*Rule, error) {
	u := &Rule{
		name:     m.Origin.GetRule(),
		Backends: r.Fallback.Backends,
		Route:    r,
		Retry:    m.Retry != nil,
		MaxTries: int(m.Retry.GetMaxTries()),
		Request:  milliseconds(m.Timeouts.GetRequestMs()),
		Try:      milliseconds(m.Timeouts.GetTryMs()),
	}
	var err error
	if m.Match != nil {
		if u.match, err = CompileMatch(m.Match); err != nil {
			return nil, err
		}
	}
	if u.Retries, err = compileRetries(m.Retry); err != nil {
		return nil, err
	}
	if u.Faults, err = compileFaults(m.Faults); err != nil {
		return nil, err
	}
	if err = u.compileHedge(m); err != nil {
		return nil, err
	}
	if u.Treatment, err = compileFilters(m.Filters); err != nil {
		return nil, err
	}
	r.findMirrors(u.Mirrors)
	if len(m.Backends) > 0 {
		if u.Backends, err = r.compileBackends(m.Backends); err != nil {
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

// longest stands for all that are longer: a sum of times must not overflow.
const longest = 100 * 365 * 24 * time.Hour

func milliseconds(n uint64) time.Duration {
	return time.Duration(min(n, uint64(longest/time.Millisecond))) * time.Millisecond
}

func (r *Route) compileBackends(list []*api.Backend) (*Picker, error) {
	p := &Picker{}
	for _, m := range list {
		b, err := compileBackend(m)
		if err != nil {
			return nil, err
		}
		if m.Weight == 0 {
			continue
		}
		if b.Answer == 0 {
			b.Index = r.clusterIndex(m.Cluster)
		}
		r.findMirrors(b.Mirrors)
		p.total += uint64(m.Weight)
		b.upTo = p.total
		p.backends = append(p.backends, b)
	}
	return p, nil
}

func compileBackend(m *api.Backend) (b Backend, err error) {
	b.Cluster, _ = api.SplitCluster(m.Cluster)
	b.Answer = int(m.Answer)
	switch {
	case m.Answer == 0:
	case m.Answer < 400 || m.Answer > 599:
		return b, fmt.Errorf("a fixed answer of status %d, which is not 400 to 599", m.Answer)
	case m.Cluster != "":
		return b, fmt.Errorf("a fixed answer instead of cluster %q, which is named", m.Cluster)
	}
	b.Treatment, err = compileFilters(m.Filters)
	return b, err
}

func (r *Route) findMirrors(list []*Mirror) {
	for _, m := range list {
		m.Index = r.clusterIndex(m.cluster)
	}
}

// clusterIndex returns the place of a cluster among those that the route names.
func (r *Route) clusterIndex(name string) int {
	i := slices.Index(r.Clusters, name)
	if i < 0 {
		i = len(r.Clusters)
		r.Clusters = append(r.Clusters, name)
	}
	return i
}

// errNotKnown is why a route of a newer destination is refused.
var errNotKnown = errors.New("this proxy does not know")

// matcher is a condition on a request.
type matcher func(req []hpack.HeaderField) bool

// CompileMatch makes a test of a request's head.
func CompileMatch(m *api.Match) (func(req []hpack.HeaderField) bool, error) {
	if err := api.Understood(m); err != nil {
		return nil, err
	}
	switch m := m.GetMatch().(type) {
	case *api.Match_Path:
		return compilePath(m.Path)
	case *api.Match_Method:
		method := m.Method
		return func(req []hpack.HeaderField) bool {
			return header.Value(req, ":method") == method
		}, nil
	case *api.Match_Header:
		return compileHeader(m.Header)
	case *api.Match_Query:
		return compileQuery(m.Query)
	case *api.Match_All:
		return compileList(m.All, true)
	case *api.Match_Any:
		return compileList(m.Any, false)
	case *api.Match_Not:
		inner, err := CompileMatch(m.Not)
		if err != nil {
			return nil, err
		}
		return func(req []hpack.HeaderField) bool { return !inner(req) }, nil
	}
	return nil, errors.New("a match on requests that this proxy does not know")
}

// compileList combines conditions: all of them, or any of them.
func compileList(list *api.MatchList, all bool) (matcher, error) {
	if err := api.Understood(list); err != nil {
		return nil, err
	}
	var inner []matcher
	for _, m := range list.GetMatches() {
		f, err := CompileMatch(m)
		if err != nil {
			return nil, err
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
		path, _, _ := strings.Cut(header.Value(req, ":path"), "?")
		return test(path)
	}, nil
}

func compilePathValue(m *api.PathMatch) (func(string) bool, error) {
	if err := api.Understood(m); err != nil {
		return nil, err
	}
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
	return nil, errors.New("a match on the path that this proxy does not know")
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
	if err := api.Understood(m); err != nil {
		return nil, err
	}
	want, test := true, func(string) bool { return true }
	switch v := m.Value.(type) {
	case *api.HeaderMatch_Exact:
		test = func(s string) bool { return s == v.Exact }
	case *api.HeaderMatch_Regex:
		re, err := compileRegex(v.Regex)
		if err != nil {
			return nil, err
		}
		test = re
	case *api.HeaderMatch_Present:
		want = v.Present
	default:
		return nil, fmt.Errorf("a match on the value of header %q that %w", m.Name, errNotKnown)
	}
	return func(req []hpack.HeaderField) bool {
		for _, f := range req {
			if f.Name == m.Name && test(f.Value) {
				return want
			}
		}
		return !want
	}, nil
}
