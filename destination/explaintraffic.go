package destination

import (
	"fmt"
	"slices"

	"github.com/tulle-mesh/tulle/destination/api"
	"github.com/tulle-mesh/tulle/destination/crd"
	"github.com/tulle-mesh/tulle/destination/policy"
	"github.com/tulle-mesh/tulle/destination/registry"
)

// explainTraffic says what becomes of each object that is about the use of what a target leads to,
// beside its routes: of BackendTrafficPolicies for callers in a namespace, of RateLimitPolicies,
// and of FaultInjections.
func (v *view) explainTraffic(t target, namespace string) (out []policy.Verdict) {
	front := frontPort{t.service, t.service.Port(t.port)}
	why := ""
	if t.hostname != "" {
		why = "a pod that is chosen by its name is not balanced"
	}
	out = v.explainUse(front, namespace, why)
	out = append(out, v.explainLimits(front)...)
	return append(out, v.explainFaults(front, namespace)...)
}

// explainBackends is the part of it that is each backend's own, where that is another Service's. A
// retry budget, timeouts and a hedge are of the Service that is called.
func (v *view) explainBackends(
	key *api.Key, refs []clusterRef, namespace string,
) (out []policy.Verdict) {
	t, err := v.resolve(key, namespace)
	if err != nil || t.service == nil || t.addr.IsValid() {
		return nil
	}
	seen := map[frontPort]bool{{t.service, t.service.Port(t.port)}: true}
	for _, ref := range refs {
		svc := v.Service(ref.service)
		if svc == nil || svc.Port(ref.port) == nil || ref.hostname != "" {
			continue
		}
		front := frontPort{svc, svc.Port(ref.port)}
		if seen[front] {
			continue
		}
		seen[front] = true
		all := v.trafficOn(svc, namespace)
		for i := range all {
			all[i].Budget, all[i].Timing, all[i].Hedge = nil, nil, nil
		}
		for _, verdict := range policy.ExplainUse(all, front.scope(), namespace) {
			verdict.Backend = v.mesh.clusterName(ref)
			verdict.Why = fmt.Sprintf("of backend %s: %s", verdict.Backend, verdict.Why)
			out = append(out, verdict)
		}
	}
	return out
}

// explainInbound is about what a pod's own proxy goes by at one of its ports, whoever calls.
func (v *view) explainInbound(pod registry.Name, port uint32) (out []policy.Verdict) {
	for _, front := range v.portsBefore(pod, uint16(port)) {
		out = append(out, v.explainUse(front, front.service.Namespace, "")...)
		out = append(out, v.explainLimits(front)...)
	}
	return out
}

func (f frontPort) scope() policy.Scope {
	return policy.Scope{Namespace: f.service.Namespace, Service: f.service.Name, Port: f.port.Name}
}

// trafficOn reads the policies that can be used of those on a service or its namespace, each once.
func (v *view) trafficOn(svc *registry.Service, namespace string) []policy.Traffic {
	all := v.traffic(svc.Key(), namespace)
	for _, t := range v.traffic(registry.Name{Namespace: svc.Namespace}, namespace) {
		if !slices.ContainsFunc(all, func(o policy.Traffic) bool { return o.Origin == t.Origin }) {
			all = append(all, t)
		}
	}
	return all
}

// explainUse is about the BackendTrafficPolicies of a service's port; why none counts, if it does
// not lead to balanced endpoints.
func (v *view) explainUse(front frontPort, namespace, why string) (out []policy.Verdict) {
	all := v.trafficOn(front.service, namespace)
	if why == "" {
		why = noFrontend(front.service)
	}
	if why == "" {
		return policy.ExplainUse(all, front.scope(), namespace)
	}
	for _, t := range all {
		out = append(out, t.Origin.Verdict(false, why))
	}
	return out
}

// explainLimits is about the RateLimitPolicies, whoever calls.
func (v *view) explainLimits(front frontPort) (out []policy.Verdict) {
	for _, p := range v.PoliciesOn(front.service.Key(), crd.RateLimitPolicyKind) {
		body, ok := p.Body.(*crd.RateLimitPolicy)
		if !ok || p.Problem != "" {
			continue
		}
		used, why := true, "the pods' proxies count its limits:"
		for i := range body.Spec.Limits {
			why += " " + body.Spec.Limits[i].Name
		}
		if body.Spec.DryRun {
			why += "; it is a dry run, and nothing is refused"
		}
		if !anyCovers(body.Spec.TargetRefs, front) {
			used, why = false, "it is about other ports"
		} else if problem := v.unlimitedAt(p, front); problem != nil {
			used, why = false, problem.Text
		}
		out = append(out, originOf(p).Verdict(used, why))
	}
	return out
}

// explainFaults is about the FaultInjections, for callers in a namespace.
func (v *view) explainFaults(front frontPort, namespace string) (out []policy.Verdict) {
	profile := v.profile(front.service, front.service.Namespace)
	noHTTP := v.noHTTP(front.service, front.port, profile)
	for _, p := range v.PoliciesOn(front.service.Key(), crd.FaultInjectionKind) {
		body, ok := p.Body.(*crd.FaultInjection)
		if !ok || p.Problem != "" {
			continue
		}
		fault, err := policy.FromFaultInjection(body, namespace, v.mesh.TrustDomain.Name())
		used, why := false, ""
		switch {
		case !anyCovers(body.Spec.TargetRefs, front):
			why = "it is about other ports"
		case noHTTP != "":
			why = noHTTP
		case err != nil:
			why = err.Error()
		case fault == nil:
			why = "it is about callers in other namespaces than " + namespace
		default:
			used, why = true, "requests are harmed until "+body.Spec.Until.UTC().Format(faultTime)
		}
		out = append(out, originOf(p).Verdict(used, why))
	}
	return out
}

func originOf(p *registry.Policy) policy.Origin {
	return policy.Origin{
		Group: crd.Group, Kind: p.Kind, Namespace: p.Namespace, Name: p.Name,
	}
}
