package destination

import (
	"fmt"
	"slices"

	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/tulle-mesh/tulle/destination/api"
	"github.com/tulle-mesh/tulle/destination/crd"
	"github.com/tulle-mesh/tulle/destination/policy"
	"github.com/tulle-mesh/tulle/destination/registry"
	"github.com/tulle-mesh/tulle/destination/status"
)

// harmed is a policy and the faults that are about it, for callers in a namespace: those that its
// rules refer to, and those of the service's port. Where proxies see no HTTP there are none.
func (v *view) harmed(p *policy.Policy, front frontPort, namespace string) *policy.Policy {
	v.extend(p, namespace)
	var harm []policy.Harm
	all := v.PoliciesOn(front.service.Key(), crd.FaultInjectionKind)
	if len(all) == 0 || v.noHTTP(front.service, front.port, p) != "" {
		return p
	}
	for _, o := range all {
		body, ok := o.Body.(*crd.FaultInjection)
		if ok && anyCovers(body.Spec.TargetRefs, front) {
			more, _ := v.harm(o.Ref(), namespace)
			harm = append(harm, more...)
		}
	}
	return p.Harm(harm)
}

// extend adds the faults that the rules of a policy refer to. A rule that refers to one that is not
// there answers with an error: it may have been meant to keep requests away.
func (v *view) extend(p *policy.Policy, namespace string) {
	if p == nil {
		return
	}
	for i := range p.Rules {
		rule := &p.Rules[i]
		for _, name := range rule.Extensions {
			harm, why := v.harm(faultRef(rule.Origin.Namespace, name), namespace)
			if why != nil {
				rule.Break()
				break
			}
			rule.Harm(harm...)
		}
	}
}

func faultRef(namespace, name string) registry.PolicyRef {
	return registry.PolicyRef{
		Kind: crd.FaultInjectionKind, Name: registry.Name{Namespace: namespace, Name: name},
	}
}

// harm is what a FaultInjection does to callers in a namespace, maybe nothing, or why it cannot be
// used.
func (v *view) harm(
	ref registry.PolicyRef, namespace string,
) (out []policy.Harm, why *crd.Problem) {
	fault, why := v.fault(ref, namespace)
	if why != nil || fault == nil {
		return nil, why
	}
	if !slices.Contains(v.used, ref) { // many rules may refer to it
		v.used = append(v.used, ref)
	}
	return []policy.Harm{{Fault: fault, Origin: policy.Origin{
		Group: crd.Group, Kind: ref.Kind, Namespace: ref.Name.Namespace, Name: ref.Name.Name,
	}}}, nil
}

// fault is nil where callers in the namespace are not meant. Why it cannot be used is said as of
// something that a route refers to.
func (v *view) fault(ref registry.PolicyRef, namespace string) (*api.Fault, *crd.Problem) {
	p := v.Policy(ref)
	if p == nil {
		return nil, crd.Problemf(crd.ReasonBackendNotFound,
			"there is no %s %s", ref.Kind, ref.Name)
	}
	body, ok := p.Body.(*crd.FaultInjection)
	if !ok || p.Problem != "" {
		return nil, crd.Problemf(crd.ReasonBackendNotFound,
			"%s %s cannot be used: %s", ref.Kind, ref.Name, p.Problem)
	}
	fault, err := policy.FromFaultInjection(body, namespace, v.mesh.TrustDomain.Name())
	if err != nil {
		return nil, crd.Problemf(crd.ReasonBackendNotFound,
			"%s %s cannot be used: %s", ref.Kind, ref.Name, err)
	}
	return fault, nil
}

// faultReport answers what a FaultInjection's status should be, at each of its targets and of the
// routes that refer to it.
func (v *view) faultReport(p *registry.Policy, body *crd.FaultInjection) *status.Report {
	inUse := "requests are harmed until " + body.Spec.Until.UTC().Format(faultTime)
	var targets []status.Target
	add := func(ref gatewayv1.ParentReference, refused *crd.Problem) {
		targets = append(targets, status.Target{
			Ref: ref, Refused: refused, InUse: inUse, Standing: v.Standing(p.Ref()),
		})
	}
	for i := range body.Spec.TargetRefs {
		ref := &body.Spec.TargetRefs[i]
		add(ancestorOf(ref.Target()), v.unharmed(p, ref))
	}
	for _, user := range v.UsersOf(p.Ref()) {
		add(ancestorOf(&crd.TrafficTarget{
			Group: gatewayv1.GroupName, Kind: user.Kind, Name: user.Name,
		}), v.unharmedBy(p, user))
	}
	return status.OfPolicy(p, targets)
}

const faultTime = "2006-01-02 15:04:05 MST"

// unharmed says why a fault does nothing at a target, or is nil: there must be a port where it
// does.
func (v *view) unharmed(p *registry.Policy, ref *crd.ServiceReference) *crd.Problem {
	if why := v.ignored(p); why != nil {
		return why
	}
	return v.atSomePort(p, ref, "fault", func(front frontPort) *crd.Problem {
		all := v.policy(front.service, front.port, front.service.Namespace)
		if why := v.noHTTP(front.service, front.port, all); why != "" {
			return front.nothing("fault", why)
		}
		return nil
	})
}

// unharmedBy says why a fault does nothing by the rules of a route that refer to it, or is nil:
// there must be a Service that goes by the route.
func (v *view) unharmedBy(p, user *registry.Policy) *crd.Problem {
	if why := v.ignored(p); why != nil {
		return why
	}
	route, _ := policy.FromRoute(user.Body, user.Created, v.mesh.ClusterDomain)
	for i := range route.ParentRefs {
		ref := &route.ParentRefs[i]
		namespace, name, ok := crd.ParentService(ref, user.Namespace)
		on := registry.Name{Namespace: namespace, Name: name}
		if ok && v.refused(route, ref, on) == nil {
			return nil
		}
	}
	return appliesToNothing("fault", fmt.Sprintf("no Service goes by %s", route.Origin))
}

// ignored says why a fault cannot be used, or is nil.
func (v *view) ignored(p *registry.Policy) *crd.Problem {
	if p.Problem != "" {
		return crd.Problemf(status.ReasonInvalid, "the fault is ignored: %s", p.Problem)
	}
	_, err := policy.FromFaultInjection(p.Body.(*crd.FaultInjection), p.Namespace, "")
	if err != nil {
		return crd.Problemf(status.ReasonInvalid, "the fault is ignored: %s", err)
	}
	return nil
}
