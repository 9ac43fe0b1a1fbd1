package destination

import (
	"fmt"

	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/tulle-mesh/tulle/destination/crd"
	"github.com/tulle-mesh/tulle/destination/policy"
	"github.com/tulle-mesh/tulle/destination/registry"
	"github.com/tulle-mesh/tulle/destination/status"
)

// trafficReport answers what a BackendTrafficPolicy's status should be, at each of its targets.
func (v *view) trafficReport(
	p *registry.Policy, body *crd.BackendTrafficPolicy,
) *status.Report {
	var targets []status.Target
	for i := range body.Spec.TargetRefs {
		ref := &body.Spec.TargetRefs[i]
		one := status.Target{
			Ref: ancestorOf(ref), Refused: v.refusedTarget(p, ref), InUse: "the policy is in use",
			Standing: v.Standing(p.Ref()),
		}
		if ns, _ := ref.Service(p.Namespace); ns != p.Namespace {
			one.InUse += " by the callers in namespace " + p.Namespace
			if body.Spec.AdaptiveConcurrency != nil {
				one.InUse += "; adaptiveConcurrency is for a policy of the pods' own namespace"
			}
		}
		targets = append(targets, one)
	}
	return status.OfPolicy(p, targets)
}

// backendTLSReport says of a BackendTLSPolicy, at each Service that it is about, that it is not
// obeyed. Of what else it is about, or of gateways in front, the mesh has nothing to say.
func (v *view) backendTLSReport(
	p *registry.Policy, body *gatewayv1.BackendTLSPolicy,
) *status.Report {
	var targets []status.Target
	for i := range body.Spec.TargetRefs {
		ref := &body.Spec.TargetRefs[i]
		if !crd.TargetsService(ref) {
			continue
		}
		one := crd.TrafficTarget{Group: string(ref.Group), Kind: string(ref.Kind),
			Name: string(ref.Name)}
		if ref.SectionName != nil {
			one.SectionName = string(*ref.SectionName)
		}
		targets = append(targets, status.Target{Ref: ancestorOf(&one), Refused: noBackendTLS})
	}
	return status.OfPolicy(p, targets)
}

var noBackendTLS = crd.Problemf(crd.ReasonUnsupportedValue, "callers in the mesh do not obey it:"+
	" their proxies begin TLS with pods of the mesh alone, which is the mesh's own. Have the"+
	" application speak TLS to this Service, and it is passed on as it is")

// ancestorOf is a target as a status has it, which leaves out what the policy does. Without a group
// it would be one of the Gateway API's.
func ancestorOf(t *crd.TrafficTarget) gatewayv1.ParentReference {
	group, kind := gatewayv1.Group(t.Group), gatewayv1.Kind(t.Kind)
	out := gatewayv1.ParentReference{
		Group: &group, Kind: &kind, Name: gatewayv1.ObjectName(t.Name),
	}
	if t.Namespace != "" {
		namespace := gatewayv1.Namespace(t.Namespace)
		out.Namespace = &namespace
	}
	if t.SectionName != "" {
		section := gatewayv1.SectionName(t.SectionName)
		out.SectionName = &section
	}
	return out
}

// refusedTarget says why a policy is not in force at a target, or is nil.
func (v *view) refusedTarget(p *registry.Policy, ref *crd.TrafficTarget) *crd.Problem {
	if p.Problem != "" {
		return crd.Problemf(status.ReasonInvalid, "the policy is ignored: %s", p.Problem)
	}
	scope := policy.ScopeOf(ref, p.Namespace)
	if why := v.noScope(scope); why != "" {
		return crd.Problemf(status.ReasonTargetNotFound,
			"the policy applies to nothing: %s", why)
	}
	on := registry.Name{Namespace: scope.Namespace, Name: scope.Service}
	first := policy.Holder(v.traffic(on, p.Namespace), scope, p.Namespace)
	if first == nil || refOf(first.Origin) == p.Ref() {
		return nil
	}
	return crd.Problemf(crd.ReasonConflicted, "%s %s/%s is older, and about the same",
		first.Origin.Kind, first.Origin.Namespace, first.Origin.Name)
}

// noScope says why nothing is in a scope, or "".
func (v *view) noScope(s policy.Scope) string {
	name := registry.Name{Namespace: s.Namespace, Name: s.Service}
	if name.Name == "" {
		if v.Namespace(s.Namespace) == nil && len(v.ServicesIn(s.Namespace)) == 0 {
			return "there is no Namespace " + s.Namespace
		}
		return ""
	}
	svc := v.Service(name)
	switch {
	case svc == nil:
		return fmt.Sprintf("there is no Service %s", name)
	case noFrontend(svc) != "":
		return fmt.Sprintf("of Service %s: %s", name, noFrontend(svc))
	case s.Port != "" && svc.PortNamed(s.Port) == 0:
		return fmt.Sprintf("Service %s has no TCP port that is called %s", name, s.Port)
	}
	return ""
}
