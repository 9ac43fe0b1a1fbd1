package cli

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/tulle-mesh/tulle/viz"
)

// promising is a viz that counts these objectives.
func promising(t *testing.T, all ...viz.ObjectiveRow) (addr string) {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		out := viz.Objectives{Rows: []viz.ObjectiveRow{}}
		for _, o := range all {
			if q := r.URL.Query(); r.URL.Path == "/api/slo" && q.Get("namespace") == "shop" &&
				(q.Get("name") == "" || q.Get("name") == o.Name) {
				out.Rows = append(out.Rows, o)
			}
		}
		json.NewEncoder(w).Encode(out)
	}))
	t.Cleanup(server.Close)
	return server.Listener.Addr().String()
}

// A canary must keep what its Service promises, unless the user asks for something else.
func TestCanaryGoesByTheObjective(t *testing.T) {
	loose := viz.ObjectiveRow{Name: "loose", Service: "web", Objective: 0.9}
	strict := viz.ObjectiveRow{Name: "strict", Service: "web", Objective: 0.9995}
	fast := viz.ObjectiveRow{Name: "fast", Service: "web", Objective: 0.9995, LatencyMs: ptr(250.0)}
	pay := viz.ObjectiveRow{Name: "pay", Service: "web", Route: "pay", Objective: 0.99999}
	other := viz.ObjectiveRow{Name: "other", Service: "db", Objective: 0.99999}
	all := []viz.ObjectiveRow{loose, strict, fast, pay, other}
	for _, tt := range []struct {
		rows []viz.ObjectiveRow
		args string
		want string
	}{
		{nil, "", "checked every 30s: 99 % must succeed\n"},
		{[]viz.ObjectiveRow{pay, other}, "", "checked every 30s: 99 % must succeed\n"},
		{[]viz.ObjectiveRow{loose, strict}, "",
			"30s: 99.95 % must succeed, by ServiceLevelObjective strict\n"},
		{all, "", "30s: 99.95 % must succeed, and p99 be at most 250ms, by " +
			"ServiceLevelObjective fast\n"},
		{all, "--success 98", "30s: 98 % must succeed, and p99 be at most 250ms, by " +
			"ServiceLevelObjective fast\n"},
		{all, "--p99 0", "30s: 99.95 % must succeed, by ServiceLevelObjective fast\n"},
		{all, "--success 98 --p99 1s", "30s: 98 % must succeed, and p99 be at most 1s\n"},
		{all, "--objective none", "30s: 99 % must succeed\n"},
		{all, "--objective pay", "30s: 99.999 % must succeed, by ServiceLevelObjective pay\n"},
	} {
		ctx, cancel := context.WithCancel(t.Context())
		s := &routeServer{weights: [2]int{1, 0}, changed: cancel}
		s.start(t)
		args := append([]string{"canary", "httproute/web", "--viz-addr", promising(t, tt.rows...)},
			strings.Fields(tt.args)...)
		out, errs, _ := meshctl(ctx, args...)
		if !strings.Contains(out, tt.want) || errs != "" {
			t.Errorf("%s: %s\n%s\nwant %s", tt.args, errs, out, tt.want)
		}
	}
}

func TestCanaryTellsProgramsOfTheObjective(t *testing.T) {
	s := &routeServer{weights: [2]int{0, 100}}
	s.start(t)
	addr := promising(t, viz.ObjectiveRow{Name: "web", Service: "web", Objective: 0.999,
		LatencyMs: ptr(250.0)})
	out, errs, status := meshctl(t.Context(), "canary", "httproute/web", "--viz-addr", addr,
		"-o", "json")
	var line struct {
		Objective      string
		Success, P99Ms float64
	}
	if err := json.Unmarshal([]byte(out), &line); err != nil || status != exitOK || errs != "" {
		t.Fatalf("status %d, %q, %v: %s", status, errs, err, out)
	}
	if line.Objective != "web" || line.Success != 99.9 || line.P99Ms != 250 {
		t.Errorf("%s", out)
	}
}

// Nothing is moved while nobody can say what is promised.
func TestCanaryNeedsItsObjective(t *testing.T) {
	s := &routeServer{weights: [2]int{100, 0}}
	s.start(t)
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	for args, want := range map[string]string{
		"--viz-addr " + promising(t) + " --objective web": `no ServiceLevelObjective "web" of ` +
			"service web in namespace shop: 'meshctl slo -n shop' lists them",
		"--viz-addr " + gone.Listener.Addr().String(): "--objective none goes by",
	} {
		_, errs, status := meshctl(t.Context(), append([]string{"canary", "httproute/web"},
			strings.Fields(args)...)...)
		if status != exitError || !strings.Contains(errs, want) || s.changes != 0 {
			t.Errorf("%s: status %d, %d changes: %s", args, status, s.changes, errs)
		}
	}
}
