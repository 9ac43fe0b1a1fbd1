package policy

import (
	"fmt"
	"slices"
	"strings"

	"github.com/tulle-mesh/tulle/destination/crd"
)

// Verdict says what becomes of one object, for callers in one namespace of one parent's port.
type Verdict struct {
	Kind      string `json:"kind"`
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	Used      bool   `json:"used"`
	Why       string `json:"why"`
	// Fields are those of its spec that count, where some of an object's may and others not.
	Fields []string `json:"fields,omitempty"`
	// Backend is whose endpoints it is about, where that is another Service's than the one asked
	// for.
	Backend string `json:"backend,omitempty"`
}

// Verdict makes one about the object.
func (o Origin) Verdict(used bool, why string) Verdict {
	return Verdict{Kind: o.Kind, Namespace: o.Namespace, Name: o.Name, Used: used, Why: why}
}

// Explain says of each of several routes what Merge does with it, and why.
func Explain(routes []Route, parent Parent, callerNamespace string) (out []Verdict) {
	open, closed := covering(routes, parent)
	counted := slices.Concat(
		counting(slices.Clone(open), callerNamespace),
		counting(slices.Clone(closed), callerNamespace))
	kept := ofOneKind(counting(slices.Clone(closed), callerNamespace))
	for _, r := range routes {
		switch {
		case !r.covers(parent):
			out = append(out, r.Origin.Verdict(false, "it is about other ports"))
		case !has(counted, r):
			out = append(out, r.Origin.Verdict(false, fmt.Sprintf(
				"callers in %s go by what is in their own namespace", callerNamespace)))
		case r.Closed && !has(kept, r):
			out = append(out, r.Origin.Verdict(false, fmt.Sprintf(
				"a port has routes of one kind, and %s comes first", kept[0].Origin)))
		case !r.Closed && len(kept) > 0:
			out = append(out, r.Origin.Verdict(len(r.Opaque) > 0 || r.Budget != nil, fmt.Sprintf(
				"its rules give way to those of %s; its retry budget and opaque ports count",
				kept[0].Origin)))
		case r.Origin.Kind == crd.TCPRoute && !kept[0].is(r):
			out = append(out, r.Origin.Verdict(false, fmt.Sprintf(
				"connections go by %s, which is older", kept[0].Origin)))
		default:
			out = append(out, r.Origin.Verdict(true, among(r, counted, kept)))
		}
	}
	return out
}

// among says where the rules of a route that counts stand among those of others.
func among(r Route, counted, kept []Route) string {
	rest := kept
	if len(kept) == 0 {
		rest = counted
	}
	switch i := slices.IndexFunc(rest, r.is); {
	case len(rest) == 1, r.Origin.Kind == crd.TCPRoute:
		return "the rules are its"
	case r.Closed:
		return "its rules are among others', the more specific first, then those of older objects"
	case i == 0:
		return "its rules come first, for it is the oldest"
	default:
		return fmt.Sprintf("its rules come after those of %s, which is older", rest[0].Origin)
	}
}

func (r Route) is(other Route) bool { return r.Origin == other.Origin }

func has(list []Route, r Route) bool { return slices.ContainsFunc(list, r.is) }

// String is the object as messages name it: "HTTPRoute shop/web".
func (o Origin) String() string { return o.Kind + " " + o.path() }

// ExplainUse says of each of several policies which of its fields UseOf takes for callers in a
// namespace of a service's port, and whose count instead of the others.
func ExplainUse(all []Traffic, port Scope, callerNamespace string) (out []Verdict) {
	held := holders(all, port, callerNamespace)
	whose := map[string]Origin{} // by field
	for _, h := range held {
		for _, field := range h.fields() {
			if _, taken := whose[field]; !taken {
				whose[field] = h.Origin
			}
		}
	}
	for i := range all {
		t := &all[i]
		at := slices.IndexFunc(held, func(h holder) bool { return h.Origin == t.Origin })
		if at < 0 {
			out = append(out, t.Origin.Verdict(false, t.unheld(all, port, held)))
			continue
		}
		taken, why := t.taken(whose)
		verdict := t.Origin.Verdict(len(taken) > 0, held[at].scope.words()+": "+why)
		verdict.Fields = taken
		out = append(out, verdict)
	}
	return out
}

// unheld says why a policy is not one that counts for a port.
func (t *Traffic) unheld(all []Traffic, port Scope, held []holder) string {
	scope := slices.IndexFunc(port.wider(), func(s Scope) bool {
		return slices.Contains(t.Scopes, s)
	})
	switch {
	case scope < 0:
		return "it is about other ports"
	case t.Origin.Namespace != held[0].Origin.Namespace:
		return fmt.Sprintf("callers in %s go by what is in their own namespace",
			held[0].Origin.Namespace)
	}
	first := Holder(all, port.wider()[scope], t.Origin.Namespace)
	return fmt.Sprintf("%s comes first, and is about the same", first.Origin)
}

// taken are those of a policy's fields that count; why says it in words, and whose the others'
// place is.
func (t *Traffic) taken(whose map[string]Origin) (taken []string, why string) {
	var lost []string
	for _, field := range t.fields() {
		if whose[field] == t.Origin {
			taken = append(taken, field)
		} else {
			lost = append(lost, fmt.Sprintf("%s is that of %s", field, whose[field]))
		}
	}
	switch {
	case len(taken) == 1:
		lost = slices.Insert(lost, 0, taken[0]+" counts")
	case len(taken) > 1:
		lost = slices.Insert(lost, 0, strings.Join(taken, ", ")+" count")
	case len(lost) == 0:
		return nil, "it says nothing of it"
	}
	return taken, strings.Join(lost, "; ")
}

// The fields of a BackendTrafficPolicy's spec by which requests go, as a Verdict names them.
const (
	FieldBalancer    = "loadBalancer"
	FieldSlowStart   = "slowStart"
	FieldLocality    = "locality"
	FieldLimits      = "circuitBreaker"
	FieldOutliers    = "outlierDetection"
	FieldConcurrency = "adaptiveConcurrency"
	FieldBudget      = "retryBudget"
)

// fields are those of its spec that a policy has, but for whom it is about.
func (t *Traffic) fields() (out []string) {
	for _, f := range []struct {
		name string
		said bool
	}{
		{FieldBalancer, t.Cluster.Balancer != nil}, {FieldSlowStart, t.Cluster.SlowStart != nil},
		{FieldLocality, t.Cluster.LocalityPreference != nil}, {"subset", t.Subset != 0},
		{FieldLimits, t.Cluster.Limits != nil},
		{FieldOutliers, t.Cluster.OutlierDetection != nil}, {"healthCheck", t.Check != nil},
		{FieldConcurrency, t.Concurrency != nil}, {FieldBudget, t.Budget != nil},
		{"timeouts", t.Timing != nil}, {"hedge", t.Hedge != nil},
	} {
		if f.said {
			out = append(out, f.name)
		}
	}
	return out
}

// words name a scope for people.
func (s Scope) words() string {
	switch {
	case s.Service == "":
		return "for all Services of Namespace " + s.Namespace
	case s.Port == "":
		return fmt.Sprintf("for all ports of Service %s/%s", s.Namespace, s.Service)
	}
	return fmt.Sprintf("for port %s of Service %s/%s", s.Port, s.Namespace, s.Service)
}
