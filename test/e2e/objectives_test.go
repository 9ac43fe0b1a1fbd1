//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/tulle-mesh/tulle/destination/crd"
	"github.com/tulle-mesh/tulle/viz"
)

const objective = `apiVersion: tulle.dev/v1alpha1
kind: ServiceLevelObjective
metadata: {name: server}
spec:
  targetRef: {kind: Service, name: server}
  objective: "99.9"
  latency: 250ms
`

// An objective is accepted, and viz counts its requests from then on: those of the last hour too.
func TestObjectivesAreCounted(t *testing.T) {
	ready(t)
	feed(t, objective, "kubectl", "apply", "-n", byHook, "-f", "-")
	t.Cleanup(func() { run(t, "kubectl", "-n", byHook, "delete", "slo", "--all") })
	eventually(t, 30*time.Second, func() error {
		out, err := try("", "kubectl", "-n", byHook, "get", "slo", "server", "-o",
			`jsonpath={range .status.ancestors[*].conditions[*]}{.type}={.status} {.message}{end}`)
		if err == nil && (!strings.HasPrefix(out, "Accepted=True ") ||
			!strings.Contains(out, "245.76ms")) {
			err = fmt.Errorf("the condition is %q", out)
		}
		return err
	})
	before := standing(t)
	const calls = 40
	for range calls {
		call(t, byHook, "http://server."+byHook+"/fail/2")
	}
	eventually(t, 30*time.Second, func() error {
		now := standing(t)
		switch {
		case now.Requests < before.Requests+calls:
			return fmt.Errorf("%d requests are counted, want %d more than %d", now.Requests, calls,
				before.Requests)
		case now.Bad == 0 || now.Bad > now.Requests || now.BudgetLeft > 1:
			return fmt.Errorf("%+v", now)
		}
		return nil
	})
	out := run(t, "meshctl", "slo", "server", "-n", byHook)
	if !strings.Contains(out, "EXHAUSTED_IN") || !strings.Contains(out, "99.9%") {
		t.Errorf("meshctl slo prints\n%s", out)
	}
}

// standing is how viz has the objective, once it does.
func standing(t *testing.T) (row viz.ObjectiveRow) {
	t.Helper()
	eventually(t, 30*time.Second, func() error {
		out, err := try("", "meshctl", "slo", "server", "-n", byHook, "-o", "json")
		if err != nil {
			return err
		}
		var answer viz.Objectives
		if err := json.Unmarshal([]byte(out), &answer); err != nil {
			return err
		}
		if len(answer.Rows) != 1 {
			return fmt.Errorf("viz has %d objectives", len(answer.Rows))
		}
		row = answer.Rows[0]
		return nil
	})
	return row
}

// One that nothing can be counted for says why.
func TestObjectivesWithoutATargetSayWhy(t *testing.T) {
	ready(t)
	feed(t, strings.Replace(objective, "name: server}\n  obj", "name: nobody}\n  obj", 1),
		"kubectl", "apply", "-n", byCLI, "-f", "-")
	t.Cleanup(func() { run(t, "kubectl", "-n", byCLI, "delete", "slo", "--all") })
	eventually(t, 30*time.Second, func() error {
		out, err := try("", "kubectl", "-n", byCLI, "get", "slo", "server", "-o",
			`jsonpath={range .status.ancestors[*].conditions[*]}{.type}={.status} {.message}{end}`)
		if err == nil && (!strings.HasPrefix(out, "Accepted=False ") ||
			!strings.Contains(out, "there is no Service")) {
			err = fmt.Errorf("the condition is %q", out)
		}
		return err
	})
}

// The API server refuses of an objective what destination refuses, and nothing else.
func TestTheAPIServerAcceptsObjectivesThatDestinationDoes(t *testing.T) {
	ready(t)
	edges, err := os.ReadFile("testdata/objective-edges.txt")
	if err != nil {
		t.Fatal(err)
	}
	for _, spec := range strings.Split(strings.TrimSpace(string(edges)), "\n") {
		agreed(t, crd.ServiceLevelObjectiveKind, spec, func(d *crd.Document) error {
			_, err := d.ServiceLevelObjective()
			return err
		})
	}
}
