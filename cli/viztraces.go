package cli

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/tulle-mesh/tulle/viz"
)

// traceFlags single out traces, and say how one is drawn.
type traceFlags struct {
	service     string
	failed      bool
	minDuration time.Duration
	limit       int
	ascii       bool
}

func newVizTracesCommand(v *vizApp) *cobra.Command {
	var f traceFlags
	list := &vizReport[viz.Traces]{vizApp: v}
	cmd := &cobra.Command{
		Use:   "traces [TRACE-ID]",
		Short: "Show the latest traces, or one of them as a waterfall",
		Long: `Show the latest traces that proxies told viz of, the newest first, or one of them as
a waterfall: each span with its workload, what came of it, and when it was under way. No collector
is needed; viz keeps the last 500, and what was shown stays for two minutes at least.

FAILED traces are those whose first caller got an error; ERRORS counts all spans with one, so that
those that a retry has hidden show. Requests are traced where a TelemetryPolicy, an annotation or
the installation says so, or 'tracing' in mesh.yaml: see docs/tracing.md.`,
		Example: "  meshctl viz traces\n  meshctl viz traces --service checkout --failed\n" +
			"  meshctl viz traces --min-duration 200ms --limit 50\n" +
			"  meshctl viz traces 0af7651916cd43dd8448eb211c80319c",
		Args: cobra.MaximumNArgs(1),
	}
	flags := cmd.Flags()
	flags.StringVar(&f.service, "service", "", "only traces that this workload or service is in")
	flags.BoolVar(&f.failed, "failed", false, "only those that failed for who asked first")
	flags.DurationVar(&f.minDuration, "min-duration", 0, "only those that took as long, or longer")
	flags.IntVar(&f.limit, "limit", viz.DefaultLimit, "how many, the newest first")
	flags.BoolVar(&f.ascii, "ascii", false,
		"draw with ASCII only (as where the locale is not UTF-8)")
	list.addFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if f.limit < 1 || f.limit > viz.MaxLimit {
			return usagef(cmd, "--limit %d: use 1 to %d", f.limit, viz.MaxLimit)
		}
		if len(args) == 1 {
			return v.traceReport(list.out, list.watch, args[0], f.ascii).run(cmd)
		}
		v.listTraces(list, &f)
		return list.run(cmd)
	}
	return cmd
}

func (v *vizApp) listTraces(r *vizReport[viz.Traces], f *traceFlags) {
	r.ask = func(ctx context.Context, c *viz.Client, q viz.Query) (*viz.Traces, error) {
		return c.Traces(ctx, viz.TraceQuery{Service: f.service, Namespace: q.Namespace,
			Failed: f.failed, MinDuration: f.minDuration, Limit: f.limit})
	}
	r.table = func(w io.Writer, t *viz.Traces) error {
		return printTraces(w, t.Traces, r.out.wide())
	}
	r.empty = func(t *viz.Traces) string {
		switch {
		case len(t.Traces) > 0:
			return ""
		case t.Known > 0:
			return fmt.Sprintf("none of the %d traces that viz knows is like that", t.Known)
		}
		return "viz knows of no trace. " + v.howToTrace()
	}
}

// howToTrace says how to have requests traced.
func (v *vizApp) howToTrace() string {
	if v.local {
		return "Tracing is on where mesh.yaml says so: tracing: {sampling: 100%}"
	}
	return "Switch tracing on, for a namespace: kubectl annotate namespace NAME " +
		"tulle.dev/trace-sampling=10% (or by a TelemetryPolicy: docs/tracing.md)"
}

func printTraces(w io.Writer, rows []viz.TraceRow, wide bool) error {
	head := []string{"TRACE", "TIME", "SERVICE", "ROOT", "DURATION", "SPANS", "ERRORS", "RETRIES",
		"RESULT"}
	if wide {
		head = append(head, "NAMESPACE", "WORKLOADS")
	}
	cells := make([][]string, len(rows))
	for i := range rows {
		r := &rows[i]
		result := "ok"
		if r.Failed {
			result = strings.TrimSpace("failed " + r.Reason)
		}
		cells[i] = []string{r.TraceID, r.Start.Local().Format("15:04:05.000"), r.Service, r.Root,
			tookMs(r.DurationMs), fmt.Sprint(r.Spans), fmt.Sprint(r.Errors), fmt.Sprint(r.Retries),
			result}
		if wide {
			cells[i] = append(cells[i], dash(r.Namespace), strings.Join(r.Services, ","))
		}
	}
	return printTable(w, head, cells)
}

// tookMs is a duration in milliseconds as people read it.
func tookMs(ms float64) string {
	switch {
	case ms >= 10_000:
		return fmt.Sprintf("%.1fs", ms/1000)
	case ms >= 100:
		return fmt.Sprintf("%.0fms", ms)
	case ms >= 1:
		return fmt.Sprintf("%.1fms", ms)
	}
	return fmt.Sprintf("%.2fms", ms)
}

// traceReport shows one trace.
func (v *vizApp) traceReport(
	out *output, watch bool, id string, ascii bool,
) *vizReport[viz.Trace] {
	return &vizReport[viz.Trace]{
		vizApp: v, out: out, watch: watch,
		ask: func(ctx context.Context, c *viz.Client, _ viz.Query) (*viz.Trace, error) {
			return c.Trace(ctx, strings.ToLower(id))
		},
		table: func(w io.Writer, t *viz.Trace) error {
			d := waterfall{trace: t, marks: &lineMarks, width: v.columns(), wide: out.wide(),
				paint: v.paint}
			if ascii || !utf8Locale(os.Getenv) {
				d.marks = &asciiMarks
			}
			_, err := io.WriteString(w, d.draw())
			return err
		},
		empty: func(*viz.Trace) string { return "" },
	}
}
