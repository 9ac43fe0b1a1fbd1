package manifest

import (
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/tulle-mesh/tulle/destination/crd"
	"github.com/tulle-mesh/tulle/identity/names"
)

// The roles that the mesh has for people.
const (
	seeRole   = names.TapRole + "-view"
	aggregate = "rbac.authorization.k8s.io/aggregate-to-"
)

// userRoles add to Kubernetes' own roles: who may edit what is in a namespace may run commands in
// its pods, and so see all that a tap shows, and who may only view it may not tap, but see that
// others do. Bound in a namespace they are for that one; sessions of the cluster want a binding for
// all of it. Admin has what edit has.
func userRoles() []runtime.Object {
	return []runtime.Object{
		userRole(names.TapRole, "edit", tapRule("create", "delete", "get", "list", "watch")),
		userRole(seeRole, "view", tapRule("get", "list", "watch")),
	}
}

func userRole(name, to string, rule rbacv1.PolicyRule) *rbacv1.ClusterRole {
	m := meta(name, "")
	m.Labels[aggregate+to] = "true"
	return &rbacv1.ClusterRole{TypeMeta: typeMeta("rbac.authorization.k8s.io/v1", "ClusterRole"),
		ObjectMeta: m, Rules: []rbacv1.PolicyRule{rule}}
}

// tapRule is about both kinds of TapSession.
func tapRule(verbs ...string) rbacv1.PolicyRule {
	return rbacv1.PolicyRule{APIGroups: []string{crd.Group},
		Resources: []string{crd.TapSessions, crd.ClusterTapSessions}, Verbs: verbs}
}
