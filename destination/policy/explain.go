package policy

import (
	"fmt"
	"slices"
)

// Verdict says what becomes of one object, for callers in one namespace of one parent's port.
type Verdict struct {
	Kind      string `json:"kind"`
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	Used      bool   `json:"used"`
	Why       string `json:"why"`
}

// Verdict makes one about the object.
func (o Origin) Verdict(used bool, why string) Verdict {
	return Verdict{o.Kind, o.Namespace, o.Name, used, why}
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
	case len(rest) == 1:
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
