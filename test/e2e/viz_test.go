//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"
)

type statRow struct {
	Name      string
	Namespace string
	Kind      string
	Meshed    bool
	Requests  int
	Failures  int
	P99Ms     *float64
}

func stat(t *testing.T, args ...string) []statRow {
	t.Helper()
	var s struct{ Rows []statRow }
	out := run(t, "meshctl", append([]string{"viz", "stat", "-o", "json"}, args...)...)
	if err := json.Unmarshal([]byte(out), &s); err != nil {
		t.Fatal(err)
	}
	return s.Rows
}

func requests(t *testing.T, args ...string) int {
	t.Helper()
	total := 0
	for _, r := range stat(t, args...) {
		total += r.Requests
	}
	return total
}

// Viz counts what was sent: not one more, not one less.
func TestVizCounts(t *testing.T) {
	ready(t)
	for _, resource := range []string{"deploy/server", "svc/server", "ns/" + byCLI} {
		t.Run(resource, func(t *testing.T) {
			before := settled(t, resource)
			if ok := answered(t, "http://server."+byCLI+"/", 200); ok != 200 {
				t.Fatalf("%d of 200 were answered", ok)
			}
			eventually(t, 20*time.Second, func() error {
				if got := requests(t, resource, "-n", byCLI) - before; got != 200 {
					return fmt.Errorf("viz counted %d of 200", got)
				}
				return nil
			})
		})
	}
}

// settled is a count that no longer grows: the kubelet's probes are not in it, and all callers have reported.
func settled(t *testing.T, resource string) int {
	t.Helper()
	last := -1
	eventually(t, 30*time.Second, func() error {
		n := requests(t, resource, "-n", byCLI)
		if n != last {
			err := fmt.Errorf("still growing: %d, %d", last, n)
			last = n
			return err
		}
		return nil
	})
	return last
}
