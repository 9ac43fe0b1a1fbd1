package destination

import (
	"github.com/tulle-mesh/tulle/destination/crd"
	"github.com/tulle-mesh/tulle/destination/policy"
	"github.com/tulle-mesh/tulle/destination/registry"
)

// use is how callers in a namespace use what is behind a service's port, or nil where the proxies'
// defaults count.
func (v *view) use(
	svc *registry.Service, port *registry.ServicePort, callerNamespace string,
) *policy.Use {
	if noFrontend(svc) != "" {
		return nil
	}
	return policy.UseOf(
		v.trafficOn(svc, callerNamespace), frontPort{svc, port}.scope(), callerNamespace)
}

// useOf is the same for callers to whom a reference is made.
func (v *view) useOf(ref clusterRef) *policy.Use {
	if ref.service.Name == "" || ref.hostname != "" { // a pod chosen by name is not balanced
		return nil
	}
	svc := v.Service(ref.service)
	if svc == nil || svc.Port(ref.port) == nil {
		return nil
	}
	namespace := svc.Namespace
	if ref.variant != "" {
		namespace = ref.variant
	}
	return v.use(svc, svc.Port(ref.port), namespace)
}

// as is a reference made to callers in a namespace: to their variant of the cluster, where they
// have policies of their own.
func (v *view) as(ref clusterRef, callerNamespace string) clusterRef {
	own := ref
	own.variant = callerNamespace
	if use := v.useOf(own); use != nil && use.Consumers {
		return own
	}
	return ref
}

// traffic reads the policies that can be used of those on a service, or on a namespace, that are
// its own or the callers'.
func (v *view) traffic(on registry.Name, callerNamespace string) (out []policy.Traffic) {
	for _, p := range v.PoliciesOn(on, crd.BackendTrafficPolicyKind) {
		if p.Namespace != callerNamespace && p.Namespace != on.Namespace {
			continue // another consumer's
		}
		if t, ok := readTraffic(p); ok {
			out = append(out, t)
		}
	}
	return out
}

func readTraffic(p *registry.Policy) (out policy.Traffic, ok bool) {
	body, ok := p.Body.(*crd.BackendTrafficPolicy)
	if !ok || p.Problem != "" {
		return policy.Traffic{}, false
	}
	return policy.FromBackendTrafficPolicy(body, p.Created), true
}

// refsOf are the policies by which a cluster is as it is.
func refsOf(use *policy.Use) (out []registry.PolicyRef) {
	if use == nil {
		return nil
	}
	for _, o := range use.Origins {
		out = append(out, refOf(o))
	}
	return out
}
