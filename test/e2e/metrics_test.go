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
	for name, question := range map[string][]string{
		"a service, by its callers": {"svc/server", "-n", byCLI},
		"a workload, by a caller": {
			"deploy/server", "-n", byCLI, "--from", "deploy/client", "--from-namespace", byHook,
		},
		"a caller": {
			"deploy/client", "-n", byHook, "--to", "svc/server", "--to-namespace", byCLI,
		},
		"a namespace, by a caller": {
			"ns/" + byCLI, "--from", "deploy/client", "--from-namespace", byHook,
		},
	} {
		t.Run(name, func(t *testing.T) {
			before := settled(t, question)
			if ok := answered(t, "http://server."+byCLI+"/", 200); ok != 200 {
				t.Fatalf("%d of 200 were answered", ok)
			}
			if got := settled(t, question) - before; got != 200 {
				t.Errorf("viz counted %d of 200", got)
			}
		})
	}
}

// settled is a count after every proxy has reported what there is: they do so each second while
// they are few.
func settled(t *testing.T, question []string) int {
	t.Helper()
	last, since := -1, time.Now()
	eventually(t, time.Minute, func() error {
		if n := requests(t, question...); n != last {
			last, since = n, time.Now()
		}
		if time.Since(since) < 5*time.Second {
			return fmt.Errorf("not yet settled: %d", last)
		}
		return nil
	})
	return last
}
