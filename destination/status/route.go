package status

import (
	"reflect"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/tulle-mesh/tulle/destination/crd"
	"github.com/tulle-mesh/tulle/destination/registry"
	"github.com/tulle-mesh/tulle/identity/names"
)

// PartiallyInvalid is the Gateway API's condition of a route of which only some rules are obeyed.
const PartiallyInvalid = string(gatewayv1.RouteConditionPartiallyInvalid)

// Parent is what destination knows of a route at one of the Services that it is attached to.
type Parent struct {
	Ref        gatewayv1.ParentReference // as the route has it
	Refused    *crd.Problem              // why nothing of the route is in force there, or nil
	Behind     []string                  // where others of its kind count before it, and which
	Dropped    []crd.Problem             // why rules are not obeyed
	Unresolved []crd.Problem             // what rules refer to, and there is none of
	Standing   *registry.Standing
}

// OfRoute returns the status that a route should have. Nothing is said of parents that are not
// here.
func OfRoute(p *registry.Policy, parents []Parent) *Report {
	all := make([]gatewayv1.RouteParentStatus, 0, len(parents))
	for i := range parents {
		all = append(all, said(parents[i].Ref, parents[i].conditions()))
	}
	return ofEach(p, all)
}

func said(ref gatewayv1.ParentReference, all []metav1.Condition) gatewayv1.RouteParentStatus {
	return gatewayv1.RouteParentStatus{
		ParentRef: ref, ControllerName: names.GatewayController, Conditions: all,
	}
}

// ofEach is the status of an object that says of each of those it refers to what has become of it
// there. Of what is said twice the first counts.
func ofEach(p *registry.Policy, all []gatewayv1.RouteParentStatus) *Report {
	var want registry.Status
	for _, one := range all {
		if indexOf(want.Parents, one.ParentRef) >= 0 {
			continue
		}
		complete(one.Conditions, conditionsAt(p.Reported.Parents, one.ParentRef), p.Generation)
		want.Parents = append(want.Parents, one)
	}
	return &Report{
		Ref: p.Ref(), Want: want, Differs: parentsDiffer(want.Parents, p.Reported.Parents),
	}
}

func (p *Parent) conditions() []metav1.Condition {
	resolved := yes(ResolvedRefs, ReasonResolvedRefs, "all that is named here is there")
	if len(p.Unresolved) > 0 {
		resolved = no(ResolvedRefs, p.Unresolved[0].Reason,
			"requests to these fail: "+Texts(p.Unresolved))
	}
	if p.Refused != nil {
		return []metav1.Condition{no(Accepted, p.Refused.Reason, p.Refused.Text), resolved}
	}
	inUse := "the route is in use"
	if len(p.Behind) > 0 {
		inUse = "the route is accepted, but an older one is in use: " +
			strings.Join(p.Behind, ", ")
	}
	out := []metav1.Condition{yes(Accepted, ReasonAccepted, inUse), resolved}
	if len(p.Dropped) > 0 {
		// the first words are the Gateway API's
		out = append(out, yes(PartiallyInvalid, p.Dropped[0].Reason,
			"Dropped Rule: "+Texts(p.Dropped)))
	}
	return append(out, programmed("route", p.Standing))
}

// Texts is what several problems are, in one line.
func Texts(all []crd.Problem) string {
	var out []string
	for i := range all {
		out = append(out, all[i].Text)
	}
	return strings.Join(out, ", ")
}

// indexOf returns the place of what is said of a parent, or -1. References are compared whole: one
// that leaves out a field differs from one that names its default.
func indexOf(all []gatewayv1.RouteParentStatus, ref gatewayv1.ParentReference) int {
	return slices.IndexFunc(all, func(s gatewayv1.RouteParentStatus) bool {
		return reflect.DeepEqual(s.ParentRef, ref)
	})
}

// conditionsAt are what is said of a parent.
func conditionsAt(
	all []gatewayv1.RouteParentStatus, ref gatewayv1.ParentReference,
) []metav1.Condition {
	if i := indexOf(all, ref); i >= 0 {
		return all[i].Conditions
	}
	return nil
}

// parentsDiffer looks at neither the order, which other controllers may choose, nor at when
// conditions came to be so.
func parentsDiffer(want, has []gatewayv1.RouteParentStatus) bool {
	return len(want) != len(has) ||
		slices.ContainsFunc(want, func(w gatewayv1.RouteParentStatus) bool {
			h := conditionsAt(has, w.ParentRef)
			return len(h) != len(w.Conditions) ||
				slices.ContainsFunc(w.Conditions, func(c metav1.Condition) bool {
					last := meta.FindStatusCondition(h, c.Type)
					return last == nil || !same(c, *last)
				})
		})
}
