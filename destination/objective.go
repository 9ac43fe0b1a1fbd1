package destination

import (
	"fmt"

	"github.com/tulle-mesh/tulle/destination/crd"
	"github.com/tulle-mesh/tulle/destination/registry"
	"github.com/tulle-mesh/tulle/destination/status"
	"github.com/tulle-mesh/tulle/proxy/metric"
)

// objectiveReport answers what a ServiceLevelObjective's status should be. No proxy is told of it:
// viz counts.
func (v *view) objectiveReport(
	p *registry.Policy, body *crd.ServiceLevelObjective,
) *status.Report {
	t := &body.Spec.TargetRef
	target := crd.TrafficTarget{Group: t.Group, Kind: t.Kind, Name: t.Name}
	inUse := "viz counts what callers' proxies report"
	if d := body.Spec.MaxLatency(); d > 0 && metric.Snap(d) != d {
		inUse += fmt.Sprintf("; of latency it goes by %s, the nearest bound that they tell apart",
			metric.Snap(d))
	}
	return status.OfPolicy(p, []status.Target{{
		Ref: ancestorOf(&target), Refused: v.unmeasured(p, t), InUse: inUse, Untold: true,
	}})
}

// unmeasured says why nothing is counted for an objective, or is nil.
func (v *view) unmeasured(p *registry.Policy, t *crd.ObjectiveTarget) *crd.Problem {
	if p.Problem != "" {
		return crd.Problemf(status.ReasonInvalid, "the objective is ignored: %s", p.Problem)
	}
	ref := &crd.ServiceReference{Kind: t.Kind, Name: t.Name}
	return v.atSomePort(p, ref, "objective", func(front frontPort) *crd.Problem {
		all := v.policy(front.service, front.port, front.service.Namespace)
		if why := v.noHTTP(front.service, front.port, all); why != "" {
			return front.nothing("objective", why)
		}
		return nil
	})
}
