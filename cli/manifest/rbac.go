package manifest

import (
	"slices"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/runtime"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/tulle-mesh/tulle/destination/crd"
	"github.com/tulle-mesh/tulle/destination/kube"
	"github.com/tulle-mesh/tulle/destination/status"
	"github.com/tulle-mesh/tulle/identity/names"
	"github.com/tulle-mesh/tulle/injector"
)

// rules are what one server may do: in the whole cluster, and in the control plane's namespace.
type rules struct {
	cluster, own []rbacv1.PolicyRule
}

// ruleTable gives each server what its work needs, and a reason where that shows less than it could
// mean.
func ruleTable() map[string]rules {
	return map[string]rules{
		names.Identity: {
			cluster: []rbacv1.PolicyRule{
				rule("authentication.k8s.io", "tokenreviews", "create"),
				rule("", "namespaces", "get", "list", "watch"),
				// RBAC cannot limit "create" to a name. Reading and changing is limited to the one
				// ConfigMap.
				rule("", "configmaps", "create"),
				named(rule("", "configmaps", "get", "list", "watch", "update", "patch"),
					names.TrustConfigMap),
				rule("", "events", "create", "patch"),
			},
			own: []rbacv1.PolicyRule{
				rule("", "secrets", "create"),
				named(rule("", "secrets", "get", "list", "watch"), names.IssuerSecret),
			},
		},
		names.Destination: {
			cluster: append(readKinds(), writeStatus()...),
			own: []rbacv1.PolicyRule{
				// The Lease by which replicas agree who writes status. RBAC cannot limit "create"
				// to a name.
				rule("coordination.k8s.io", "leases", "create"),
				named(rule("coordination.k8s.io", "leases", "get", "update"), status.Lease),
			},
		},
		names.Injector: {
			cluster: []rbacv1.PolicyRule{
				rule("", "namespaces", "get"),
				named(rule("admissionregistration.k8s.io", "mutatingwebhookconfigurations", "get",
					"update"), injector.WebhookName),
			},
		},
		names.Viz: {
			// What users promise of their Services, who may tap, whose leave is over, and an Event
			// of each tap. All else viz hears from proxies.
			cluster: []rbacv1.PolicyRule{
				read(crd.Group, crd.ServiceLevelObjectives, crd.TapSessions,
					crd.ClusterTapSessions),
				tapRule("delete"),
				rule("", "events", "create"),
			},
		},
	}
}

// readKinds lets destination read the kinds that it answers from.
func readKinds() []rbacv1.PolicyRule {
	var out []rbacv1.PolicyRule
	for _, k := range kube.Kinds() {
		i := slices.IndexFunc(out, func(r rbacv1.PolicyRule) bool {
			return r.APIGroups[0] == k.Resource.Group
		})
		if i < 0 {
			out = append(out, read(k.Resource.Group, k.Resource.Resource))
			continue
		}
		out[i].Resources = append(out[i].Resources, k.Resource.Resource)
	}
	return out
}

// writeStatus lets destination say what has become of what users wrote.
func writeStatus() []rbacv1.PolicyRule {
	routes := rule(gatewayv1.GroupName, crd.HTTPRoutes+"/status", "patch")
	routes.Resources = append(routes.Resources, crd.GRPCRoutes+"/status", crd.TLSRoutes+"/status",
		crd.TCPRoutes+"/status", crd.BackendTLSPolicies+"/status")
	ours := rule(crd.Group, crd.Resource+"/status", "patch")
	ours.Resources = append(ours.Resources, crd.BackendTrafficPolicies+"/status",
		crd.RateLimitPolicies+"/status", crd.FaultInjections+"/status",
		crd.TelemetryPolicies+"/status", crd.ServiceLevelObjectives+"/status")
	return []rbacv1.PolicyRule{ours, routes}
}

// rights are a server's roles and their bindings; none, if it never asks the API server.
func (c Config) rights(s server) []runtime.Object {
	r := ruleTable()[s.name]
	var out []runtime.Object
	if len(r.cluster) > 0 {
		out = append(out, &rbacv1.ClusterRole{
			TypeMeta:   typeMeta("rbac.authorization.k8s.io/v1", "ClusterRole"),
			ObjectMeta: meta(s.name, ""), Rules: r.cluster,
		}, &rbacv1.ClusterRoleBinding{
			TypeMeta:   typeMeta("rbac.authorization.k8s.io/v1", "ClusterRoleBinding"),
			ObjectMeta: meta(s.name, ""),
			RoleRef:    roleRef("ClusterRole", s.name), Subjects: c.subject(s),
		})
	}
	if len(r.own) > 0 {
		out = append(out, &rbacv1.Role{
			TypeMeta:   typeMeta("rbac.authorization.k8s.io/v1", "Role"),
			ObjectMeta: meta(s.name, c.Injector.Namespace), Rules: r.own,
		}, &rbacv1.RoleBinding{
			TypeMeta:   typeMeta("rbac.authorization.k8s.io/v1", "RoleBinding"),
			ObjectMeta: meta(s.name, c.Injector.Namespace),
			RoleRef:    roleRef("Role", s.name), Subjects: c.subject(s),
		})
	}
	return out
}

func (c Config) subject(s server) []rbacv1.Subject {
	return []rbacv1.Subject{{Kind: "ServiceAccount", Name: s.name, Namespace: c.Injector.Namespace}}
}

func roleRef(kind, name string) rbacv1.RoleRef {
	return rbacv1.RoleRef{APIGroup: "rbac.authorization.k8s.io", Kind: kind, Name: name}
}

func rule(group, resource string, verbs ...string) rbacv1.PolicyRule {
	return rbacv1.PolicyRule{APIGroups: []string{group}, Resources: []string{resource},
		Verbs: verbs}
}

func read(group string, resources ...string) rbacv1.PolicyRule {
	return rbacv1.PolicyRule{APIGroups: []string{group}, Resources: resources,
		Verbs: []string{"get", "list", "watch"}}
}

func named(r rbacv1.PolicyRule, names ...string) rbacv1.PolicyRule {
	r.ResourceNames = names
	return r
}
