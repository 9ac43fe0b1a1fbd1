package kube

import (
	"github.com/tulle-mesh/tulle/destination/crd"
	"github.com/tulle-mesh/tulle/destination/registry"
)

// convertObjective also judges an objective.
func convertObjective(o *crd.ServiceLevelObjective) *registry.Policy {
	o.Default()
	body := &crd.ServiceLevelObjective{ObjectMeta: named(o), Spec: o.Spec}
	out := &registry.Policy{Kind: crd.ServiceLevelObjectiveKind, Body: body}
	addTarget(out, o.Namespace, o.Spec.TargetRef.Name)
	return judge(out, o, &o.Status)
}
