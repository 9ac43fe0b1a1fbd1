package policy

import (
	"slices"

	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/tulle-mesh/tulle/destination/crd"
)

// addExtension adds a filter of the mesh's own, of which there is one kind: a FaultInjection.
// Whether there is one of the name is for whoever knows the cluster to find out (Extensions).
func (r *reader) addExtension(t *treatment, ref *gatewayv1.LocalObjectReference) error {
	if ref == nil {
		return unsupportedf("a filter ExtensionRef that refers to nothing")
	}
	if ref.Group != crd.Group || ref.Kind != crd.FaultInjectionKind {
		return crd.Problemf(crd.ReasonInvalidKind, "%s is a %s.%s, which is no filter of the mesh",
			ref.Name, ref.Kind, ref.Group)
	}
	name := string(ref.Name)
	t.extensions = append(t.extensions, name)
	if !slices.Contains(r.Extensions, name) {
		r.Extensions = append(r.Extensions, name)
	}
	return nil
}

// backendFilters reads the filters of a backend, which cannot be harmed alone.
func (r *reader) backendFilters(
	in []gatewayv1.HTTPRouteFilter, prefix string,
) (t treatment, wrong []error) {
	t, wrong = r.readFilters(in, prefix)
	if len(t.extensions) > 0 {
		wrong = append(wrong, unsupportedf("a filter ExtensionRef of a backend"))
	}
	return t, wrong
}

// Break makes a rule answer with an error, for something that it names is not there.
func (r *OriginRule) Break() { r.answer(brokenBy(r.Origin.Kind)) }

// brokenBy is what requests get that cannot be treated as a route of a kind says.
func brokenBy(kind string) uint32 {
	if kind == crd.GRPCRoute {
		return answerBrokenGRPC
	}
	return answerBroken
}
