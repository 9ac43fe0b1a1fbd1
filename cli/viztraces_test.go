package cli

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"k8s.io/cli-runtime/pkg/genericiooptions"

	"github.com/tulle-mesh/tulle/proxy/outcome"
	"github.com/tulle-mesh/tulle/viz"
)

const traceID = "0af7651916cd43dd8448eb211c80319c"

// aTrace is web → inventory, tried twice.
func aTrace() viz.Trace {
	start := time.Date(2026, 1, 2, 3, 4, 5, 678e6, time.UTC)
	span := func(depth int, workload, kind, name string, from, took int64) viz.Span {
		return viz.Span{SpanID: "00f067aa0ba902b7", Depth: depth, Workload: workload, Kind: kind,
			Name: name, StartUs: start.UnixMicro() + from, DurationUs: took, Status: "ok",
			Pod: workload + "-0", Attributes: map[string]any{"http.response.status_code": 200}}
	}
	t := viz.Trace{
		TraceRow: viz.TraceRow{TraceID: traceID, Root: "GET", Service: "web", Namespace: "shop",
			Start: start, DurationMs: 40, Spans: 5, Errors: 2, Retries: 1,
			Services: []string{"inventory", "web"}},
		Tree: []viz.Span{
			span(0, "web", "client", "GET stock", 0, 40_000),
			span(1, "web", "client", "GET stock", 0, 10_000),
			span(2, "inventory", "server", "GET stock", 1000, 8000),
			span(1, "web", "client", "GET stock", 11_000, 29_000),
			span(2, "inventory", "server", "GET stock", 12_000, 26_000),
		},
		Notes:  []string{"the clock of inventory-0 differs from its caller's, by about 2s"},
		Copies: []string{"ffffffffffffffffffffffffffffffff"},
	}
	for _, i := range []int{1, 2} {
		t.Tree[i].Status = "error"
		t.Tree[i].Attributes["http.response.status_code"] = 503
	}
	t.Tree[0].Events = []viz.SpanEvent{{Name: "retry", StartUs: start.UnixMicro() + 11_000}}
	t.Tree[3].Attributes["http.request.resend_count"] = 1
	t.Tree[4].ShiftedUs = 2_000_000
	return t
}

// fixedTraces answers as a viz that knows of one trace.
func fixedTraces(t *testing.T) (addr string, asked func() []string) {
	var questions []string
	row := aTrace().TraceRow
	failed := row
	failed.Failed, failed.Reason, failed.DurationMs = true, "no_endpoints", 0.25
	failed.TraceID = "ffffffffffffffffffffffffffffffff"
	client := &viz.TapRecord{Service: "inventory", Reason: "request_timeout", Status: 504}
	answers := map[string]any{
		"/api/traces":            viz.Traces{Traces: []viz.TraceRow{row, failed}, Known: 2},
		"/api/traces/" + traceID: aTrace(),
		"/api/why": viz.Why{ID: "r1", More: 3, Calls: []viz.WhyCall{
			{Client: client, Happened: []string{"web asked inventory for GET /stock: 504 after 1s",
				"it was tried 2 times"}, Advice: []viz.Advice{{Reason: "request_timeout",
				Text: "make it faster"}}},
			{Happened: []string{"web asked payments for GET /: 200 after 3ms"}}}},
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		questions = append(questions, r.URL.String())
		answer, known := answers[r.URL.Path]
		if !known {
			w.WriteHeader(http.StatusNotFound)
			answer = viz.Failure{Error: "not known"}
		}
		json.NewEncoder(w).Encode(answer)
	}))
	t.Cleanup(server.Close)
	return server.Listener.Addr().String(), func() []string { return questions }
}

func TestTracesGolden(t *testing.T) {
	t.Setenv("KUBECONFIG", filepath.Join(t.TempDir(), "none"))
	t.Setenv("LC_ALL", "C.UTF-8")
	t.Setenv("TERM", "xterm")
	local := time.Local
	time.Local = time.UTC
	t.Cleanup(func() { time.Local = local })
	for name, args := range map[string]string{
		"traces":      "traces",
		"traces-wide": "traces -o wide",
		"trace":       "traces " + traceID,
		"trace-ascii": "traces --ascii " + strings.ToUpper(traceID),
		"trace-wide":  "traces -o wide " + traceID,
		"trace-json":  "traces -o json " + traceID,
		"why":         "why r1",
		"why-yaml":    "why r1 -o yaml",
	} {
		t.Run(name, func(t *testing.T) {
			addr, _ := fixedTraces(t)
			out, errs, status := meshctl(t.Context(),
				append([]string{"viz", "--viz-addr", addr}, strings.Fields(args)...)...)
			if status != exitOK || errs != "" {
				t.Fatalf("status %d, stderr %q", status, errs)
			}
			golden(t, filepath.Join("testdata", "viz", name+".golden"), out)
		})
	}
}

func TestTracesAsksWhatItWasTold(t *testing.T) {
	t.Setenv("KUBECONFIG", filepath.Join(t.TempDir(), "none"))
	for args, want := range map[string]string{
		"traces": "/api/traces?limit=20",
		"traces --service web --failed --limit 50": "/api/traces?failed=1&limit=50&service=web",
		"traces --min-duration 200ms -n shop": "/api/traces?limit=20&minDuration=200ms" +
			"&namespace=shop",
		"why a/b?c": "/api/why?id=a%2Fb%3Fc",
	} {
		addr, asked := fixedTraces(t)
		argv := append([]string{"viz", "--viz-addr", addr}, strings.Fields(args)...)
		if _, errs, status := meshctl(t.Context(), argv...); status != exitOK {
			t.Errorf("%s: status %d: %s", args, status, errs)
		}
		if got := asked(); len(got) != 1 || got[0] != want {
			t.Errorf("%s asked %v, want %s", args, got, want)
		}
	}
}

// Where nothing is known, the user is told how that changes.
func TestNothingIsKnownOfTraces(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		json.NewEncoder(w).Encode(map[string]any{
			"/api/traces": viz.Traces{Traces: []viz.TraceRow{}},
			"/api/why":    viz.Why{Calls: []viz.WhyCall{}},
		}[r.URL.Path])
	}))
	defer server.Close()
	addr := server.Listener.Addr().String()
	t.Setenv("KUBECONFIG", filepath.Join(t.TempDir(), "none"))
	for args, want := range map[string]struct {
		status int
		says   string
	}{
		"traces":           {exitOK, "tracing: {sampling: 100%}"},
		"why r1":           {exitError, "meshctl viz tap"},
		"why r1 -o json":   {exitOK, ""},
		"traces -o json":   {exitOK, "viz knows of no trace"},
		"traces --limit 0": {exitUsage, "--limit 0"},
		"why":              {exitUsage, "accepts 1 arg"},
	} {
		_, errs, status := meshctl(t.Context(),
			append([]string{"viz", "--viz-addr", addr}, strings.Fields(args)...)...)
		if status != want.status || !strings.Contains(errs, want.says) {
			t.Errorf("%s: status %d, %q", args, status, errs)
		}
	}
}

// The commands that advice names are there, with the flags that they name.
func TestAdviceNamesCommandsThatAreThere(t *testing.T) {
	root := newRoot("v1", genericiooptions.NewTestIOStreamsDiscard())
	quoted := regexp.MustCompile(`'meshctl ([^']*)'`)
	for r := outcome.Plain + 1; r.String() != "unknown"; r++ {
		for _, m := range quoted.FindAllStringSubmatch(viz.AdviceFor(r.String()), -1) {
			found, _, err := root.Find(strings.Fields(m[1]))
			if err != nil || found == root || found.HasSubCommands() {
				t.Errorf("%s: no command %q", r, m[0])
			}
		}
	}
}
