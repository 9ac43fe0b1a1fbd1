package destination

import (
	"cmp"
	"maps"
	"slices"

	"github.com/tulle-mesh/tulle/destination/crd"
	"github.com/tulle-mesh/tulle/destination/registry"
	"github.com/tulle-mesh/tulle/destination/status"
)

// telemetry is what the nearest TelemetryPolicy that has something to say tells a workload's proxy
// of it; nil: there is none. Those that select some of a namespace's pods are nearer than those
// about all, and of two the older one is.
func (v *view) telemetry(
	own *registry.Meta, says func(*crd.TelemetryPolicySpec) bool,
) *crd.TelemetryPolicySpec {
	for _, p := range v.telemetryOf(own.Namespace) {
		spec := &p.Body.(*crd.TelemetryPolicy).Spec
		if p.Problem != "" || !says(spec) || !selects(spec.Selector, own.Labels) {
			continue
		}
		if !slices.Contains(v.used, p.Ref()) {
			v.used = append(v.used, p.Ref())
		}
		return spec
	}
	return nil
}

// telemetryOf are the policies of a namespace, the nearest first.
func (v *view) telemetryOf(namespace string) []*registry.Policy {
	out := v.PoliciesOn(registry.Name{Namespace: namespace}, crd.TelemetryPolicyKind)
	out = slices.DeleteFunc(out, func(p *registry.Policy) bool {
		_, ok := p.Body.(*crd.TelemetryPolicy)
		return !ok
	})
	slices.SortFunc(out, nearer)
	return out
}

// nearer puts policies in the order in which they count.
func nearer(a, b *registry.Policy) int {
	return cmp.Or(cmp.Compare(breadth(a), breadth(b)), a.Created.Compare(b.Created),
		cmp.Compare(a.Name, b.Name))
}

// breadth is 0 for a policy that selects pods, and 1 for one about all.
func breadth(p *registry.Policy) int {
	if p.Body.(*crd.TelemetryPolicy).Spec.Selector != nil {
		return 0
	}
	return 1
}

func selects(s *crd.WorkloadSelector, labels registry.Labels) bool {
	return s == nil || labels.Contains(registry.NewLabels(s.MatchLabels))
}

func hasAccessLog(s *crd.TelemetryPolicySpec) bool { return s.AccessLog != nil }

func hasTracing(s *crd.TelemetryPolicySpec) bool { return s.Tracing != nil }

// telemetryReport answers what a TelemetryPolicy's status should be.
func (v *view) telemetryReport(p *registry.Policy, body *crd.TelemetryPolicy) *status.Report {
	inUse := "the policy is in use"
	if t := body.Spec.Tracing; t != nil && t.Mode != crd.TelemetryDisabled && t.Provider == nil &&
		v.mesh.Tracing.GetEndpoint() == "" {
		inUse += noCollector
	}
	var targets []status.Target
	for i := range body.Spec.TargetRefs {
		ref := &body.Spec.TargetRefs[i]
		target := crd.TrafficTarget{Group: ref.Group, Kind: ref.Kind, Name: ref.Name}
		targets = append(targets, status.Target{
			Ref: ancestorOf(&target), Refused: v.untold(p, ref), InUse: inUse,
			Standing: v.Standing(p.Ref()),
		})
	}
	return status.OfPolicy(p, targets)
}

// noCollector is said of a policy about spans that no collector gets.
const noCollector = "; 'meshctl viz traces' shows the spans, and no collector gets them, for it" +
	" names no provider"

// untold says why a policy is not in force, or is nil.
func (v *view) untold(p *registry.Policy, ref *crd.TelemetryTarget) *crd.Problem {
	switch {
	case p.Problem != "":
		return crd.Problemf(status.ReasonInvalid, "the policy is ignored: %s", p.Problem)
	case ref.Name != p.Namespace:
		return crd.Problemf(status.ReasonTargetNotFound, "the policy applies to nothing: it is in"+
			" namespace %s, and about pods of its own namespace only", p.Namespace)
	}
	for _, other := range v.telemetryOf(p.Namespace) {
		switch {
		case other.Ref() == p.Ref():
			return nil
		case other.Problem == "" && sameTelemetry(other, p):
			return crd.Problemf(crd.ReasonConflicted, "%s %s/%s is older, and about the same",
				other.Kind, other.Namespace, other.Name)
		}
	}
	return nil
}

// sameTelemetry reports whether a policy says all that another one does, of the same pods.
func sameTelemetry(first, second *registry.Policy) bool {
	a := &first.Body.(*crd.TelemetryPolicy).Spec
	b := &second.Body.(*crd.TelemetryPolicy).Spec
	return (a.AccessLog != nil || b.AccessLog == nil) && (a.Tracing != nil || b.Tracing == nil) &&
		maps.Equal(labelsOf(a.Selector), labelsOf(b.Selector))
}

func labelsOf(s *crd.WorkloadSelector) map[string]string {
	if s == nil {
		return nil
	}
	return s.MatchLabels
}
