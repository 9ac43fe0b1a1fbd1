//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/tulle-mesh/tulle/viz"
)

// vizJSON asks viz as a user does.
func vizJSON[T any](args ...string) (out T, err error) {
	text, err := try("", "meshctl", append(append([]string{"viz"}, args...), "-o", "json")...)
	if err != nil {
		return out, err
	}
	return out, json.Unmarshal([]byte(text), &out)
}

// With an annotation and nothing installed, a request's trace is in viz, and so is why one failed.
func TestTracesWithoutACollector(t *testing.T) {
	ready(t)
	ns := ownNamespace(t)
	shell(t, "meshctl inject testdata/app.yaml | kubectl apply -n "+ns+" -f -")
	rolledOut(t, ns, "deployment/server", "deployment/client")
	run(t, "kubectl", "annotate", "namespace", ns, "tulle.dev/trace-sampling=100%")
	url := "http://server." + ns
	var found viz.Trace
	eventually(t, time.Minute, func() error {
		call(t, ns, url+"/fine")
		list, err := vizJSON[viz.Traces]("traces", "-n", ns)
		if err != nil {
			return err
		}
		for _, row := range list.Traces {
			if row.Spans == 2 && row.Service == "client" {
				found, err = vizJSON[viz.Trace]("traces", row.TraceID)
				return err
			}
		}
		return fmt.Errorf("the traces are %+v", list.Traces)
	})
	if s := found.Tree; len(s) != 2 || s[0].Kind != "client" || s[1].Kind != "server" ||
		s[1].Workload != "server" || s[1].Depth != 1 || s[1].ParentID != s[0].SpanID {
		t.Errorf("the trace is %+v", s)
	}
	if text := run(t, "meshctl", "viz", "traces", found.TraceID); !strings.Contains(text,
		"server server GET") {
		t.Errorf("it is drawn as\n%s", text)
	}
	const id = "e2e-why-1"
	call(t, ns, url+"/fail/500", "-header", "x-request-id: "+id)
	eventually(t, 30*time.Second, func() error {
		why, err := vizJSON[viz.Why]("why", id)
		if err != nil {
			return err
		}
		if len(why.Calls) != 1 || why.Calls[0].Client == nil || len(why.Calls[0].Servers) != 1 {
			return fmt.Errorf("viz knows of %+v", why.Calls)
		}
		return nil
	})
}
