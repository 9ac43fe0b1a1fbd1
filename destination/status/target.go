package status

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/tulle-mesh/tulle/destination/crd"
	"github.com/tulle-mesh/tulle/destination/registry"
)

// Target is what destination knows of a policy at one of the objects that it is about.
type Target struct {
	Ref      gatewayv1.ParentReference // as the policy has it
	Refused  *crd.Problem              // why the policy is not in force there, or nil
	InUse    string                    // what is said where it is
	Standing *registry.Standing
	Untold   bool // no proxy is told of the policy, so none has it
}

// maxAncestors is GEP-713's: what is said of more is not taken.
const maxAncestors = 16

// OfPolicy returns the status that a policy should have which is attached by reference, as GEP-713
// has it: Want.Parents are its ancestors.
func OfPolicy(p *registry.Policy, targets []Target) *Report {
	targets = targets[:min(len(targets), maxAncestors)]
	all := make([]gatewayv1.RouteParentStatus, 0, len(targets))
	for i := range targets {
		all = append(all, said(targets[i].Ref, targets[i].conditions()))
	}
	return ofEach(p, all)
}

func (t *Target) conditions() []metav1.Condition {
	if t.Refused != nil {
		return []metav1.Condition{no(Accepted, t.Refused.Reason, t.Refused.Text)}
	}
	accepted := yes(Accepted, ReasonAccepted, t.InUse)
	if t.Untold {
		return []metav1.Condition{accepted}
	}
	return []metav1.Condition{accepted, programmed("policy", t.Standing)}
}
