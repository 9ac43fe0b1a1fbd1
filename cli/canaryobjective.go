package cli

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/tulle-mesh/tulle/cli/canary"
	"github.com/tulle-mesh/tulle/viz"
)

// noObjective has a canary go by flags alone.
const noObjective = "none"

// objectiveOf is the objective of a Service that a canary goes by; nil: there is none, or flags say
// all that is asked.
func (c *canaryCommand) objectiveOf(
	ctx context.Context, link *vizLink, service canary.Backend,
) (*viz.ObjectiveRow, error) {
	if c.objective == noObjective ||
		c.objective == "" && c.given("success") && c.given("p99") {
		return nil, nil
	}
	q := viz.Query{Namespace: service.Namespace, Name: c.objective}
	answer, err := askViz(ctx, link, func(v *viz.Client) (*viz.Objectives, error) {
		return v.Objectives(ctx, q)
	})
	if err != nil {
		return nil, fmt.Errorf("read the objectives of service %s: %w\n--objective %s goes by "+
			"--success and --p99 alone", service.Name, err, noObjective)
	}
	rows := slices.DeleteFunc(answer.Rows, func(r viz.ObjectiveRow) bool {
		return r.Service != service.Name || c.objective == "" && r.Route != ""
	})
	switch {
	case len(rows) > 0:
		found := slices.MinFunc(rows, compareStrict)
		return &found, nil
	case c.objective != "":
		return nil, fmt.Errorf("no ServiceLevelObjective %q of service %s in namespace %s: "+
			"'meshctl slo -n %[3]s' lists them", c.objective, service.Name, service.Namespace)
	}
	return nil, nil
}

// compareStrict puts the objective first that promises more, and of equals the faster one.
func compareStrict(a, b viz.ObjectiveRow) int {
	return cmp.Or(cmp.Compare(b.Objective, a.Objective),
		cmp.Compare(latencyOr(a, math.Inf(1)), latencyOr(b, math.Inf(1))),
		cmp.Compare(a.Name, b.Name))
}

func latencyOr(r viz.ObjectiveRow, otherwise float64) float64 {
	if r.LatencyMs == nil {
		return otherwise
	}
	return *r.LatencyMs
}

// keep has the plan ask what the objective promises, but for what the user has said.
func (c *canaryCommand) keep() {
	if c.promise == nil {
		return
	}
	if !c.given("success") {
		const digits = 1e4 // of per cent, which an objective has
		c.plan.Success = math.Round(c.promise.Objective*100*digits) / digits
	}
	if !c.given("p99") {
		c.plan.P99 = time.Duration(latencyOr(*c.promise, 0) * float64(time.Millisecond))
	}
}

// canaryAsked is what is asked of the new version, and which objective says so.
type canaryAsked struct {
	Success   float64 `json:"success"`         // percent
	P99Ms     float64 `json:"p99Ms,omitempty"` // absent: any time
	Objective string  `json:"objective,omitempty"`
}

func (c *canaryCommand) asked() canaryAsked {
	a := canaryAsked{Success: c.plan.Success,
		P99Ms: float64(c.plan.P99) / float64(time.Millisecond)}
	if c.promise != nil {
		a.Objective = c.promise.Name
	}
	return a
}

func (a *canaryAsked) String() string {
	text := fmt.Sprintf("%v %% must succeed", a.Success)
	if a.P99Ms > 0 {
		text += ", and p99 be at most " +
			time.Duration(a.P99Ms*float64(time.Millisecond)).String()
	}
	if a.Objective != "" {
		text += ", by ServiceLevelObjective " + a.Objective
	}
	return text
}
