package destination

import (
	"github.com/tulle-mesh/tulle/destination/api"
	"github.com/tulle-mesh/tulle/destination/crd"
	"github.com/tulle-mesh/tulle/destination/policy"
	"github.com/tulle-mesh/tulle/destination/registry"
)

// explain says what becomes of each object that is about what an outbound key leads to, for callers
// in a namespace; nothing where it leads to no service.
func (v *view) explain(key *api.Key, namespace string) (out []policy.Verdict) {
	t, err := v.resolve(key, namespace)
	if err != nil || t.service == nil || t.addr.IsValid() {
		return nil
	}
	svc, port := t.service, t.service.Port(t.port)
	parent := v.parent(svc, port)
	profiles := v.profiles(svc, namespace)
	out = v.invalid(svc, namespace)
	profile, all := policy.Merge(profiles, parent, namespace), profiles
	for _, r := range v.attached(svc, namespace) {
		why := v.noRoutes(r.Origin.Kind, svc, port, profile)
		if t.hostname != "" {
			why = "a pod that is chosen by its name is not routed elsewhere"
		}
		if why == "" {
			all = append(all, r)
		} else {
			out = append(out, r.Origin.Verdict(false, why))
		}
	}
	out = append(out, policy.Explain(all, parent, namespace)...)
	return append(out, v.explainTraffic(t, namespace)...)
}

// invalid are the objects about a service that cannot be used.
func (v *view) invalid(svc *registry.Service, namespace string) (out []policy.Verdict) {
	add := func(p *registry.Policy) {
		if p != nil && p.Problem != "" {
			o := policy.Origin{Kind: p.Kind, Namespace: p.Namespace, Name: p.Name}
			out = append(out, o.Verdict(false, "it is ignored: "+p.Problem))
		}
	}
	name := registry.Name{Namespace: svc.Namespace, Name: v.mesh.host(svc.Key())}
	add(v.Policy(registry.PolicyRef{Kind: crd.Kind, Name: name}))
	if name.Namespace = namespace; namespace != svc.Namespace {
		add(v.Policy(registry.PolicyRef{Kind: crd.Kind, Name: name}))
	}
	for _, p := range v.PoliciesOn(svc.Key()) {
		add(p)
	}
	for _, p := range v.PoliciesOn(registry.Name{Namespace: svc.Namespace}) {
		add(p)
	}
	return out
}
