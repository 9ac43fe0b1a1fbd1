package status

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tulle-mesh/tulle/destination/crd"
	"github.com/tulle-mesh/tulle/destination/registry"
)

// The conditions of a policy. Types and reasons are Gateway API's where it has them.
const (
	Accepted     = "Accepted"     // destination uses the policy
	ResolvedRefs = "ResolvedRefs" // everything that the policy names is there
	Programmed   = "Programmed"   // proxies have it, and none has said that it cannot use it

	ReasonAccepted        = "Accepted"
	ReasonInvalid         = "Invalid"
	ReasonTargetNotFound  = "TargetNotFound"
	ReasonResolvedRefs    = "ResolvedRefs"
	ReasonBackendNotFound = "BackendNotFound"
	ReasonProgrammed      = "Programmed"
	ReasonPending         = "Pending"  // no proxy has asked
	ReasonRejected        = "Rejected" // some proxy cannot use it
)

// owned lists the types of condition that are ours in a policy that is not a route.
var owned = [...]string{Accepted, ResolvedRefs, Programmed}

// maxMessage bounds a condition's text; the API server takes 32 KiB, and nobody reads that.
const maxMessage = 1024

// Facts is what destination knows of a policy that can be used.
type Facts struct {
	NoTarget string   // why the policy applies to nothing, or ""
	Missing  []string // the backends that it names and that are not there
	Beaten   []string // where others' routes are used in place of its own, and whose
	Outbid   []string // where another's retry budget is, and whose
	Counts   map[string]int32
	Standing *registry.Standing // what proxies made of it; nil while none was sent any of it
}

// Report is the status that an object should have: of a route of the Gateway API by parent.
type Report struct {
	Ref     registry.PolicyRef
	Want    registry.Status
	Differs bool // from what the object says now
}

// Of returns the status that a policy should have. The facts are not looked at where the policy
// cannot be used.
func Of(p *registry.Policy, facts Facts) *Report {
	want := registry.Status{Conditions: conditions(p, facts), Counts: facts.Counts}
	complete(want.Conditions, p.Reported.Conditions, p.Generation)
	return &Report{Ref: p.Ref(), Want: want, Differs: differs(want, p.Reported)}
}

// complete gives conditions what all of them have: which edit they speak of, and since when they
// are so, as far as the object knows.
func complete(want, has []metav1.Condition, generation int64) {
	for i := range want {
		c := &want[i]
		c.Message = strings.ToValidUTF8(c.Message[:min(len(c.Message), maxMessage)], "")
		c.ObservedGeneration = generation
		if last := meta.FindStatusCondition(has, c.Type); last != nil && last.Status == c.Status {
			c.LastTransitionTime = last.LastTransitionTime
		}
	}
}

func conditions(p *registry.Policy, facts Facts) []metav1.Condition {
	switch {
	case p.Problem != "":
		return []metav1.Condition{
			no(Accepted, ReasonInvalid, "the "+noun(p.Kind)+" is ignored: "+p.Problem)}
	case facts.NoTarget != "":
		return []metav1.Condition{
			no(Accepted, ReasonTargetNotFound,
				"the "+noun(p.Kind)+" applies to nothing: "+facts.NoTarget),
			resolved(facts.Missing)}
	}
	inUse := "the " + noun(p.Kind) + " is in use"
	if len(facts.Beaten) > 0 {
		inUse += ", but its routes are not: " + strings.Join(facts.Beaten, ", ")
	}
	if len(facts.Outbid) > 0 {
		inUse += ", but its retry budget is not: " + strings.Join(facts.Outbid, ", ")
	}
	return []metav1.Condition{
		yes(Accepted, ReasonAccepted, inUse), resolved(facts.Missing),
		programmed(noun(p.Kind), facts.Standing)}
}

// programmed speaks of the proxies that are connected, to whichever replica. How many they are is
// what it was when the standing was told, about.
func programmed(noun string, s *registry.Standing) metav1.Condition {
	switch {
	case s == nil:
		return metav1.Condition{Type: Programmed, Status: metav1.ConditionUnknown,
			Reason: ReasonPending, Message: "no proxy has asked for what the " + noun + " is about"}
	case s.Rejected == 0:
		return yes(Programmed, ReasonProgrammed, fmt.Sprintf(
			"of the proxies that are connected, about %d have been sent it, and none rejects it",
			s.Proxies))
	}
	var who []string
	for _, r := range s.Rejections {
		who = append(who, fmt.Sprintf("%s (%s)", r.Pod, r.Reason))
	}
	return no(Programmed, ReasonRejected, fmt.Sprintf(
		"of the proxies that are connected, about %d of %d cannot use it and keep what they had: "+
			"%s", s.Rejected, s.Proxies, strings.Join(who, ", ")))
}

// noun is what a message calls an object of a kind.
func noun(kind string) string {
	if kind == crd.Kind {
		return "profile"
	}
	return "policy"
}

func resolved(missing []string) metav1.Condition {
	if len(missing) == 0 {
		return yes(ResolvedRefs, ReasonResolvedRefs, "all that is named here is there")
	}
	return no(ResolvedRefs, ReasonBackendNotFound,
		"requests to these fail, for they are not there: "+strings.Join(missing, ", "))
}

func yes(kind, reason, message string) metav1.Condition {
	return metav1.Condition{
		Type: kind, Status: metav1.ConditionTrue, Reason: reason, Message: message,
	}
}

func no(kind, reason, message string) metav1.Condition {
	return metav1.Condition{
		Type: kind, Status: metav1.ConditionFalse, Reason: reason, Message: message,
	}
}

// differs looks at our own conditions only, and not at when they came to be so.
func differs(want, has registry.Status) bool {
	for _, kind := range owned {
		w := meta.FindStatusCondition(want.Conditions, kind)
		h := meta.FindStatusCondition(has.Conditions, kind)
		if (w == nil) != (h == nil) || w != nil && !same(*w, *h) {
			return true
		}
	}
	return !maps.Equal(want.Counts, has.Counts)
}

func same(a, b metav1.Condition) bool {
	a.LastTransitionTime = b.LastTransitionTime
	return a == b
}

// Equal says whether two reports ask for the same.
func (r *Report) Equal(other *Report) bool {
	if r == nil || other == nil {
		return r == other
	}
	return r.Ref == other.Ref && r.Differs == other.Differs &&
		slices.Equal(r.Want.Conditions, other.Want.Conditions) &&
		maps.Equal(r.Want.Counts, other.Want.Counts) &&
		reflect.DeepEqual(r.Want.Parents, other.Want.Parents)
}
