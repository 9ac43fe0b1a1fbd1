package policy

import (
	"errors"
	"math"
	"net/http"
	"slices"
	"strconv"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/tulle-mesh/tulle/destination/api"
	"github.com/tulle-mesh/tulle/destination/crd"
)

// What requests are answered with that a route speaks of and that reach no backend, as the Gateway
// API has it. A gRPC caller is told the status that gRPC maps these to: UNIMPLEMENTED for the
// first, UNAVAILABLE for the last.
const (
	answerNoMatch    = http.StatusNotFound
	answerBroken     = http.StatusInternalServerError
	answerBrokenGRPC = http.StatusServiceUnavailable
)

// FromRoute reads a route of the Gateway API, of whichever kind. Services have their names in a
// zone, such as cluster.local.
func FromRoute(in any, created time.Time, zone string) (route Route, ok bool) {
	switch in := in.(type) {
	case *gatewayv1.HTTPRoute:
		return FromHTTPRoute(in, created, zone), true
	case *gatewayv1.GRPCRoute:
		return FromGRPCRoute(in, created, zone), true
	case *gatewayv1.TLSRoute:
		return FromTLSRoute(in, created, zone), true
	case *gatewayv1.TCPRoute:
		return FromTCPRoute(in, created, zone), true
	}
	return Route{}, false
}

// object is what the routes of the Gateway API have in common.
type object struct {
	kind    string
	meta    *metav1.ObjectMeta
	parents []gatewayv1.ParentReference
	created time.Time
	zone    string // that Services have their names in, such as cluster.local
	broken  uint32 // what requests get that cannot be treated as the object says
}

// reader makes a Route of an object of the Gateway API.
//
// What cannot be obeyed is never obeyed by half. A rule with a filter or a field that the mesh does
// not have answers with an error, for whoever wrote it may have meant it to protect something. A
// match that is not understood matches nothing. Either is in Route.Dropped.
type reader struct {
	object
	Route
}

func newReader(o object) *reader {
	o.broken = brokenBy(o.kind)
	r := &reader{object: o}
	r.Route = Route{
		Origin: Origin{gatewayv1.GroupName, o.kind, o.meta.Namespace, o.meta.Name},
		Closed: true, Created: o.created, ParentRefs: o.parents,
	}
	for i := range o.parents {
		if parent, ok := ParentOf(&o.parents[i], o.meta.Namespace, o.zone); ok {
			r.Parents = append(r.Parents, parent)
		}
	}
	return r
}

// ParentOf is the parent that a reference of a route means, which is not a Service's where ok is
// false. Services have their names in a zone, such as cluster.local.
func ParentOf(
	ref *gatewayv1.ParentReference, routeNamespace, zone string,
) (parent Parent, ok bool) {
	namespace, name, ok := crd.ParentService(ref, routeNamespace)
	parent.Host = serviceHost(namespace, name, zone)
	if ref.Port != nil {
		if parent.Port = portOf(ref.Port); parent.Port == 0 {
			parent.Host = "" // nobody's port is not whichever port
		}
	}
	if ref.SectionName != nil {
		parent.PortName = string(*ref.SectionName)
	}
	return parent, ok
}

// portOf is 0 where there is no port, or none that TCP has.
func portOf(p *gatewayv1.PortNumber) uint16 {
	if p == nil || *p < 1 || *p > math.MaxUint16 {
		return 0
	}
	return uint16(*p)
}

func serviceHost(namespace, name, zone string) string {
	return name + "." + namespace + ".svc." + zone
}

// ruleName is how a rule is shown: its name, or its number.
func ruleName(name *gatewayv1.SectionName, number int) string {
	if name != nil && *name != "" {
		return string(*name)
	}
	return strconv.Itoa(number)
}

// take notes what a rule refers to and cannot have, and returns what else is wrong with it.
func (r *reader) take(wrong []error) (rest []error) {
	for _, err := range wrong {
		var problem *crd.Problem
		if errors.As(err, &problem) && problem.Reason == crd.ReasonInvalidKind {
			r.unresolved(*problem)
			continue
		}
		rest = append(rest, err)
	}
	return rest
}

func (r *reader) unresolved(p crd.Problem) {
	if !slices.Contains(r.Unresolved, p) {
		r.Unresolved = append(r.Unresolved, p)
	}
}

// drop notes that a rule, or a match of it, is not obeyed.
func (r *reader) drop(name string, wrong []error) {
	if len(wrong) == 0 {
		return
	}
	reason := crd.ReasonUnsupportedValue
	var first *crd.Problem
	if errors.As(wrong[0], &first) {
		reason = first.Reason
	}
	r.Dropped = append(r.Dropped, *crd.Problemf(reason, "rule %s: %s", name, sentence(wrong)))
}

// sentence says each of the errors once.
func sentence(all []error) (text string) {
	var said []string
	for _, err := range all {
		if slices.Contains(said, err.Error()) {
			continue
		}
		if said = append(said, err.Error()); len(said) > 1 {
			text += "; "
		}
		text += err.Error()
	}
	return text
}

// answer makes a rule answer by itself, whatever it was to do.
func (rule *Rule) answer(status uint32) {
	rule.Backends = []Backend{{Answer: status, Weight: 1}}
	rule.Filters, rule.Mirrors, rule.Timeout, rule.Try, rule.Retry = nil, nil, 0, 0, nil
	rule.Extensions, rule.Faults = nil, nil
}

// share adds a backend to a rule, unless nothing goes there.
func (r *reader) share(rule *Rule, ref *gatewayv1.BackendRef, t treatment) {
	b := r.backend(&ref.BackendObjectReference)
	if ref.Weight != nil {
		b.Weight = int64(*ref.Weight)
	}
	if b.Answer == 0 {
		b.Filters, b.Mirrors = t.filters, t.mirrors
	}
	if b.Weight > 0 {
		rule.Backends = append(rule.Backends, b)
	}
}

// backend is what a reference means, which is noted. In place of what is no Service there is an
// answer.
func (r *reader) backend(ref *gatewayv1.BackendObjectReference) Backend {
	namespace, name, ok := crd.BackendService(ref, r.Origin.Namespace)
	if !ok {
		r.unresolved(*crd.Problemf(crd.ReasonInvalidKind, "%s is a %s: backends are Services",
			ref.Name, kindOf(ref)))
		return Backend{Weight: 1, Answer: r.broken}
	}
	one := Ref{serviceHost(namespace, name, r.zone), portOf(ref.Port)}
	if !slices.Contains(r.Refs, one) {
		r.Refs = append(r.Refs, one)
	}
	return Backend{Host: one.Host, Port: one.Port, Weight: 1, Missing: r.broken}
}

// kindOf is how a backend's kind is shown.
func kindOf(ref *gatewayv1.BackendObjectReference) string {
	kind := "Service"
	if ref.Kind != nil {
		kind = string(*ref.Kind)
	}
	if ref.Group != nil && *ref.Group != "" {
		kind += "." + string(*ref.Group)
	}
	return kind
}

// allOf holds where all of several conditions do; nil: always.
func allOf(all []*api.Match) *api.Match {
	switch len(all) {
	case 0:
		return nil
	case 1:
		return all[0]
	}
	return &api.Match{Match: &api.Match_All{All: &api.MatchList{Matches: all}}}
}
